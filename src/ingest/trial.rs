//! Tries a camera that is not there yet: connects as if it were, waits for the first picture, closes.
//!
//! Nothing of it enters anybody's books, states or metrics.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};
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
        outcome
            .await
            .map_err(|_| CameraError::Store("the test panicked; please report it with the log".into()))
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

/// Waits for the first picture of a connection.
async fn picture(config: &Config, link: &Link, first: &First) -> Result<Picture, Failure> {
    let started = Instant::now();
    loop {
        let progress = link.snapshot();
        // Looked at after the progress: what ended had brought its pictures before.
        if let Some(picture) = first.take() {
            return Ok(picture);
        }
        if let Some(outcome) = progress.outcome {
            return Err(outcome.err().unwrap_or_else(verdict::empty));
        }
        let deadline = verdict::deadline(config, started, &progress);
        if Instant::now() >= deadline {
            return Err(verdict::overdue(config, &progress));
        }
        tokio::select! {
            () = link.news() => {}
            () = sleep_until(deadline) => {}
        }
    }
}

/// Keeps the first picture, and lets go of all others.
#[derive(Debug, Default)]
struct First(Mutex<Kept>);

#[derive(Debug, Default)]
enum Kept {
    #[default]
    Nothing,
    Picture(Picture),
    Taken,
}

impl First {
    fn take(&self) -> Option<Picture> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *kept, Kept::Taken) {
            Kept::Picture(picture) => Some(picture),
            before => {
                *kept = before;
                None
            }
        }
    }
}

impl Receiver for First {
    fn enter(&self, _connection: u64, decoded: Decoded) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*kept, Kept::Nothing) {
            *kept = Kept::Picture(decoded.picture);
        }
    }

    fn count_skipped(&self) {}
}
