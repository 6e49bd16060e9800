//! Looks after all lanes: notices those that hang, and counts how many do.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use super::{Config, Metrics};

/// Looks a timeout is divided into.
const LOOKS: u32 = 32;
/// Between two looks at most.
const LONGEST_PERIOD: Duration = Duration::from_millis(250);

/// What is looked after.
pub(super) trait Watched: Send + Sync {
    /// Called again and again. What was seen at the same work more than `patience` times hangs.
    fn look_after(self: Arc<Self>, patience: u32);
}

/// Looks after lanes with a thread of its own, which ends with the last clone.
#[derive(Clone)]
pub struct Supervisor(Arc<Inner>);

struct Inner {
    config: Config,
    metrics: Metrics,
    watched: Mutex<Vec<Weak<dyn Watched>>>,
    /// Threads that were given up and have not come back.
    hung: AtomicUsize,
    _running: SyncSender<()>,
}

impl Supervisor {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system has none to give.
    pub fn start(config: Config, metrics: Metrics) -> std::io::Result<Self> {
        let (running, stopped) = sync_channel(0);
        let (watched, hung) = (Mutex::default(), AtomicUsize::new(0));
        let inner = Arc::new(Inner { config, metrics, watched, hung, _running: running });
        let watcher = Arc::downgrade(&inner);
        std::thread::Builder::new().name("supervisor".into()).spawn(move || watch(&watcher, &stopped))?;
        Ok(Self(inner))
    }

    /// Why the server cannot be helped but by a restart; none while it is well.
    pub fn trouble(&self) -> Option<String> {
        let hung = self.0.hung.load(Ordering::Relaxed);
        (!self.may_replace()).then(|| {
            format!("{hung} engine lanes hang and cannot be ended, as many as may; restart the server")
        })
    }

    pub(super) fn watch(&self, post: &Arc<dyn Watched>) {
        self.0.watched().push(Arc::downgrade(post));
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    pub(super) fn hang_timeout(&self) -> Duration {
        self.0.config.hang_timeout
    }

    /// Whether one more thread may be put in place of one that hangs.
    pub(super) fn may_replace(&self) -> bool {
        self.0.hung.load(Ordering::Relaxed) < self.0.config.max_hung
    }

    /// A thread is given up.
    pub(super) fn count_given_up(&self) {
        self.0.hung.fetch_add(1, Ordering::Relaxed);
        self.0.metrics.hung.inc();
        self.0.metrics.count_restart(super::Cause::Hang);
    }

    /// A thread that was given up has ended.
    pub(super) fn count_returned(&self) {
        self.0.hung.fetch_sub(1, Ordering::Relaxed);
        self.0.metrics.hung.dec();
    }
}

impl Inner {
    fn watched(&self) -> std::sync::MutexGuard<'_, Vec<Weak<dyn Watched>>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All that is still there.
    fn roll_call(&self) -> Vec<Arc<dyn Watched>> {
        let mut watched = self.watched();
        watched.retain(|post| post.strong_count() > 0);
        watched.iter().filter_map(Weak::upgrade).collect()
    }
}

/// How often to look, and how many looks at the same work are within the timeout.
///
/// Looks are counted and not the time: when the whole process stood still, or the machine is so busy that
/// this thread does not run either, no lane is at fault.
fn rhythm(hang_timeout: Duration) -> (Duration, u32) {
    let period = (hang_timeout / LOOKS).min(LONGEST_PERIOD);
    let looks = hang_timeout.as_nanos().div_ceil(period.as_nanos().max(1));
    (period, u32::try_from(looks).unwrap_or(u32::MAX))
}

fn watch(inner: &Weak<Inner>, stopped: &Receiver<()>) {
    let Some((period, patience)) = inner.upgrade().map(|inner| rhythm(inner.config.hang_timeout)) else {
        return;
    };
    while stopped.recv_timeout(period) == Err(RecvTimeoutError::Timeout) {
        let Some(inner) = inner.upgrade() else { return };
        for post in inner.roll_call() {
            post.look_after(patience);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_never_cut_short_and_noticed_in_a_fraction() {
        for millis in [50, 99, 1000, 8000, 60_001] {
            let timeout = Duration::from_millis(millis);
            let (period, patience) = rhythm(timeout);
            // The first look may come at once, the one that counts is one period after each.
            let (least, most) = (period * patience, period * (patience + 1));
            assert!(least >= timeout && most <= timeout + timeout / 16 + period, "{timeout:?} {period:?}");
            assert!(period <= LONGEST_PERIOD);
        }
    }
}
