//! Between ingest and the engine: one slot a camera, fair turns, batches as the engine wants them.
//!
//! The decisions are [`queue::Queue`]'s; this file adds the lock, the waiting and the metrics. The engine's
//! lanes pull: an idle lane blocks in [`Scheduler::take`] and holds its batch the moment one is due, without
//! a task or a channel in between that frames could grow old in.

use std::hash::Hash;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use prometheus::{Histogram, HistogramOpts, Registry};

use crate::telemetry::SECONDS_BUCKETS;

pub mod order;
pub mod queue;

use order::{InOrder, Turn};
use queue::{BatchPolicy, Plan, Queue};

/// What the scheduler measures.
#[derive(Clone, Debug)]
pub struct Metrics {
    queue_seconds: Histogram,
    batch_size: Histogram,
}

impl Metrics {
    /// Registers the scheduler's metrics.
    ///
    /// # Errors
    /// A metric registered twice.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let queue_seconds = Histogram::with_opts(
            HistogramOpts::new("centerx_queue_seconds", "Time a dispatched item waited for an engine.")
                .buckets(SECONDS_BUCKETS.to_vec()),
        )?;
        let batch_size = Histogram::with_opts(
            HistogramOpts::new("centerx_batch_size", "Items in a dispatched batch.")
                .buckets(vec![1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0]),
        )?;
        registry.register(Box::new(queue_seconds.clone()))?;
        registry.register(Box::new(batch_size.clone()))?;
        Ok(Self { queue_seconds, batch_size })
    }
}

/// One item of a batch and its place in its key's order.
#[derive(Debug)]
pub struct Scheduled<T, R> {
    /// The item.
    pub item: T,
    /// To be finished with the item's result.
    pub turn: Turn<R>,
}

/// The scheduler of one model: keys `K`, items `T`, results `R`.
#[derive(Debug)]
pub struct Scheduler<K, T, R> {
    state: Mutex<State<K, T, R>>,
    changed: Condvar,
    metrics: Metrics,
}

#[derive(Debug)]
struct State<K, T, R> {
    queue: Queue<K, T>,
    order: InOrder<K, R>,
    closed: bool,
}

impl<K: Hash + Eq + Clone, T, R> Scheduler<K, T, R> {
    /// An empty scheduler for an engine that wants `policy`.
    pub fn new(policy: BatchPolicy, metrics: Metrics) -> Self {
        let state = State { queue: Queue::new(policy), order: InOrder::default(), closed: false };
        Self { state: Mutex::new(state), changed: Condvar::new(), metrics }
    }

    /// Puts `item` into the slot of `key` and returns the older item it replaces. Never waits for an engine.
    ///
    /// # Errors
    /// The item itself, once the scheduler is closed.
    pub fn offer(&self, key: K, item: T) -> Result<Option<T>, T> {
        let mut state = self.lock();
        if state.closed {
            return Err(item);
        }
        let replaced = state.queue.offer(key, item, Instant::now());
        drop(state);
        if replaced.is_none() {
            self.changed.notify_one();
        }
        Ok(replaced)
    }

    /// Waits for the next batch; none once the scheduler is closed.
    pub fn take(&self) -> Option<Vec<Scheduled<T, R>>> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            let now = Instant::now();
            state = match state.queue.plan(now) {
                Plan::Idle => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Plan::WaitUntil(until) => {
                    let waited = self.changed.wait_timeout(state, until.saturating_duration_since(now));
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                Plan::Dispatch(batch) => {
                    self.metrics.batch_size.observe(batch.len() as f64);
                    let scheduled = batch.into_iter().map(|dispatched| {
                        let waited = now.saturating_duration_since(dispatched.offered);
                        self.metrics.queue_seconds.observe(waited.as_secs_f64());
                        Scheduled { item: dispatched.item, turn: state.order.begin(dispatched.key) }
                    });
                    return Some(scheduled.collect());
                }
            };
        }
    }

    /// Takes back what waits in the slot of `key`.
    pub fn forget(&self, key: &K) -> Option<T> {
        self.lock().queue.remove(key)
    }

    /// Refuses new items, ends every [`Scheduler::take`] and returns what was still waiting.
    pub fn close(&self) -> Vec<T> {
        let mut state = self.lock();
        state.closed = true;
        self.changed.notify_all();
        state.queue.drain()
    }

    fn lock(&self) -> MutexGuard<'_, State<K, T, R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::time::Duration;

    fn scheduler(max_batch: usize) -> Arc<Scheduler<u32, u32, u32>> {
        let policy = BatchPolicy { max_batch, preferred_batch: 1, max_queue_delay: Duration::ZERO };
        Arc::new(Scheduler::new(policy, Metrics::register(&Registry::new()).unwrap()))
    }

    #[test]
    fn a_waiting_lane_is_woken_by_an_offer_and_ended_by_close() {
        let scheduler = scheduler(1);
        let lane = std::thread::spawn({
            let scheduler = Arc::clone(&scheduler);
            move || {
                let mut taken = Vec::new();
                while let Some(batch) = scheduler.take() {
                    taken.extend(batch.iter().map(|scheduled| scheduled.item));
                    batch.into_iter().for_each(|s| s.turn.finish(0, |_| ()));
                }
                taken
            }
        });
        assert_eq!(scheduler.offer(1, 10), Ok(None));
        while !scheduler.lock().queue.is_empty() {
            std::thread::yield_now();
        }
        assert!(scheduler.close().is_empty());
        assert_eq!(lane.join().unwrap(), [10]);
        assert_eq!(scheduler.offer(1, 11), Err(11));
    }

    #[test]
    fn close_returns_what_waited() {
        let scheduler = scheduler(1);
        assert_eq!(scheduler.offer(1, 10), Ok(None));
        assert_eq!(scheduler.offer(1, 11), Ok(Some(10)));
        assert_eq!(scheduler.close(), [11]);
        assert!(scheduler.take().is_none());
    }

    #[test]
    fn a_forgotten_key_gives_its_item_back() {
        let scheduler = scheduler(4);
        assert_eq!(scheduler.offer(7, 1), Ok(None));
        assert_eq!(scheduler.forget(&7), Some(1));
        assert_eq!(scheduler.forget(&7), None);
    }
}
