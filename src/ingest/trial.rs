//! Tries a camera that is not there yet: connects as if it were, waits for the first picture, closes.
//!
//! Nothing of it enters anybody's books, states or metrics.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, oneshot};
use tokio::time::{Instant, sleep_until};

use crate::camera::{CameraError, CameraSpec};
use crate::frame::Picture;

use super::config::Config;
use super::connector::Connector;
use super::link::{Link, Receiver};
use super::source::{Decoded, Failure, Source};
use super::verdict;

/// Trials at a time; more are refused. Each may hold a connection and a decoder.
const MAX_TRIALS: usize = 4;

/// From a stream's first picture to its first whole one: cameras send a keyframe every few seconds, and what a decoder
/// makes before it is grey.
const KEYFRAME_PATIENCE: Duration = Duration::from_secs(5);

/// How a trial went.
#[derive(Debug)]
pub struct Trial {
    /// The first picture, or why none came.
    pub outcome: Result<Picture, Failure>,
    /// From the first step to the picture or the failure.
    pub took: Duration,
}

/// The trials under way.
#[derive(Debug)]
pub(super) struct Trials(Arc<Semaphore>);

impl Default for Trials {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_TRIALS)))
    }
}

impl Trials {
    /// Tries a camera. When this future is dropped, the trial ends and its connection is closed.
    pub(super) async fn run(
        &self,
        source: Arc<dyn Source>,
        config: Arc<Config>,
        spec: CameraSpec,
    ) -> Result<Trial, CameraError> {
        let permit = Arc::clone(&self.0).try_acquire_owned();
        let permit = permit.map_err(|_| CameraError::TooManyTests(MAX_TRIALS))?;
        let (answer, outcome) = oneshot::channel();
        // A task of its own, so that what was opened is closed away from this one, whatever becomes of it.
        tokio::spawn(async move {
            let mut connector = Connector::new(source, &config);
            attempt(&mut connector, &config, &Arc::new(spec), answer).await;
            // A connection that hangs keeps its place: callers cannot pile up such.
            connector.closed().await;
            drop(permit);
        });
        outcome.await.map_err(|_| CameraError::TestCrashed)
    }
}

/// Connects, answers, and closes.
async fn attempt(
    connector: &mut Connector,
    config: &Config,
    spec: &Arc<CameraSpec>,
    mut answer: oneshot::Sender<Trial>,
) {
    let (started, first) = (Instant::now(), Arc::new(First::default()));
    let link = Link::new(Arc::clone(&first) as _, 0);
    let opened = tokio::select! {
        biased;
        () = answer.closed() => return,
        opened = connector.open(spec, &link) => opened,
    };
    let (outcome, session) = match opened {
        Ok(session) => {
            let outcome = tokio::select! {
                biased;
                () = answer.closed() => None,
                outcome = picture(config, &link, &first) => Some(outcome),
            };
            (outcome, Some(session))
        }
        Err(failure) => (Some(Err(failure)), None),
    };
    let took = started.elapsed();
    if let Some(outcome) = outcome {
        let outcome = match outcome {
            Ok(picture) => Ok(picture),
            Err(failure) => Err(verdict::explain(spec, failure).await.0),
        };
        // Whoever hung up does not mind.
        let _ = answer.send(Trial { outcome, took });
    }
    if let Some(session) = session {
        connector.close(session).await;
    }
}

/// Waits for the first whole picture of a connection, or for a damaged one if none comes.
async fn picture(config: &Config, link: &Link, first: &First) -> Result<Picture, Failure> {
    let started = Instant::now();
    loop {
        let progress = link.snapshot();
        // Looked at after the progress: what ended had brought its pictures before.
        if let Some(picture) = first.take() {
            return Ok(picture);
        }
        if let Some(outcome) = progress.outcome {
            let failure = || outcome.err().unwrap_or_else(verdict::empty);
            return first.take_damaged().ok_or_else(failure);
        }
        let deadline = match first.damaged_since() {
            Some(since) => since + KEYFRAME_PATIENCE,
            None => verdict::deadline(config, started, &progress),
        };
        if Instant::now() >= deadline {
            return first.take_damaged().ok_or_else(|| verdict::overdue(config, &progress));
        }
        tokio::select! {
            () = link.news() => {}
            () = first.came.notified() => {}
            () = sleep_until(deadline) => {}
        }
    }
}

/// Keeps the first whole picture and the first damaged one, and lets go of all others.
#[derive(Debug, Default)]
struct First {
    kept: Mutex<Kept>,
    /// Told of each that is kept.
    came: Notify,
}

#[derive(Debug, Default)]
struct Kept {
    whole: Option<Picture>,
    damaged: Option<(Instant, Picture)>,
}

impl First {
    fn take(&self) -> Option<Picture> {
        self.kept().whole.take()
    }

    fn take_damaged(&self) -> Option<Picture> {
        self.kept().damaged.take().map(|(_, picture)| picture)
    }

    fn damaged_since(&self) -> Option<Instant> {
        self.kept().damaged.as_ref().map(|(since, _)| *since)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Receiver for First {
    fn enter(&self, _connection: u64, decoded: Decoded) {
        let mut kept = self.kept();
        match (decoded.damaged, &mut *kept) {
            (false, Kept { whole: whole @ None, .. }) => *whole = Some(decoded.picture),
            (true, Kept { damaged: damaged @ None, .. }) => {
                *damaged = Some((Instant::now(), decoded.picture))
            }
            _ => return,
        }
        drop(kept);
        self.came.notify_one();
    }

    fn count_skipped(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(side: u32, damaged: bool) -> Decoded {
        let now = std::time::Instant::now();
        let picture = Picture::rgb(side, 1, vec![0; side as usize * 3]).unwrap();
        Decoded { picture, arrived: now, decode_began: now, decoded: now, reported: None, damaged }
    }

    async fn shown(pictures: &[(u32, bool)], end: bool) -> u32 {
        let first = Arc::new(First::default());
        let link = Link::new(Arc::clone(&first) as _, 0);
        pictures.iter().for_each(|&(side, damaged)| link.deliver(decoded(side, damaged)));
        if end {
            link.end(Ok(()));
        }
        picture(&Config::default(), &link, &first).await.unwrap().width
    }

    #[tokio::test]
    async fn the_first_whole_picture_is_shown_or_a_damaged_one_if_there_is_no_other() {
        assert_eq!(shown(&[(1, false), (2, false)], false).await, 1);
        assert_eq!(shown(&[(1, true), (2, true), (3, false)], false).await, 3);
        assert_eq!(shown(&[(1, true), (2, true)], true).await, 1);
    }

    #[tokio::test]
    async fn a_whole_picture_ends_the_wait() {
        let first = Arc::new(First::default());
        let link = Link::new(Arc::clone(&first) as _, 0);
        link.deliver(decoded(1, true));
        let config = Config::default();
        let (shown, ()) = tokio::join!(picture(&config, &link, &first), async {
            tokio::task::yield_now().await;
            link.deliver(decoded(2, false));
        });
        assert_eq!(shown.unwrap().width, 2);
    }
}
