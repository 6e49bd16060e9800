//! Between ingest and the engine: one slot a camera, fair turns, batches as the engine wants them.
//!
//! The decisions are [`queue::Queue`]'s; this file adds the lock, the waiting and the metrics. The engine's
//! lanes pull: an idle lane blocks in [`Scheduler::take`] and holds its batch the moment one is due, without
//! a task or a channel in between that frames could grow old in.
//!
//! Lanes work in crews, and one [`Crew`] is on duty. [`Scheduler::relieve`] puts another one on: what waits
//! stays where it is, the old lanes end after the batch they hold, and the order of each key goes on.

use std::hash::Hash;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

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

/// The lanes that work together. Clones are the same crew.
#[derive(Clone, Debug, Default)]
pub struct Crew(Arc<AtomicBool>);

impl Crew {
    // Read and written under the scheduler's lock, which orders it.
    fn is_dismissed(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn dismiss(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// The scheduler of one model: keys `K`, items `T`, results `R`.
#[derive(Debug)]
pub struct Scheduler<K, T, R> {
    state: Mutex<State<K, T, R>>,
    /// Wakes lanes on duty: there is something to take, or their duty is over.
    changed: Condvar,
    /// Wakes lanes that wait for their duty. They must not eat a wake-up meant for one on duty.
    relieved: Condvar,
    metrics: Metrics,
}

#[derive(Debug)]
struct State<K, T, R> {
    queue: Queue<K, T>,
    order: InOrder<K, R>,
    on_duty: Crew,
    closed: bool,
}

impl<K: Hash + Eq + Clone, T, R> Scheduler<K, T, R> {
    /// An empty scheduler with `crew` on duty, whose engine wants `policy`.
    pub fn new(crew: Crew, policy: BatchPolicy, metrics: Metrics) -> Self {
        let queue = Queue::new(policy);
        let state = State { queue, order: InOrder::default(), on_duty: crew, closed: false };
        Self { state: Mutex::new(state), changed: Condvar::new(), relieved: Condvar::new(), metrics }
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

    /// Waits for the next batch for a lane of `crew`; none once the crew was dismissed or the scheduler is
    /// closed. A crew that is not on duty yet waits until it is.
    pub fn take(&self, crew: &Crew) -> Option<Vec<Scheduled<T, R>>> {
        let mut state = self.lock();
        loop {
            if state.closed || crew.is_dismissed() {
                return None;
            }
            if !crew.is(&state.on_duty) {
                state = self.relieved.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
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

    /// Puts `crew`, whose engine wants `policy`, on duty and dismisses the one before: between two batches,
    /// and without touching what waits.
    pub fn relieve(&self, crew: &Crew, policy: BatchPolicy) {
        let mut state = self.lock();
        std::mem::replace(&mut state.on_duty, crew.clone()).dismiss();
        state.queue.set_policy(policy);
        drop(state);
        self.wake_all();
    }

    /// Ends the lanes of a crew, each after the batch it holds.
    pub fn dismiss(&self, crew: &Crew) {
        let state = self.lock();
        crew.dismiss();
        drop(state);
        self.wake_all();
    }

    /// Waits for `pause`, or until the lanes of `crew` have to end, and tells whether they may go on.
    pub fn rest(&self, crew: &Crew, pause: Duration) -> bool {
        let resting = |state: &mut State<K, T, R>| !(state.closed || crew.is_dismissed());
        let waited = self.relieved.wait_timeout_while(self.lock(), pause, resting);
        waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    fn wake_all(&self) {
        self.changed.notify_all();
        self.relieved.notify_all();
    }

    /// Takes back what waits in the slot of `key`.
    pub fn forget(&self, key: &K) -> Option<T> {
        self.lock().queue.remove(key)
    }

    /// Whether anything waits in the slot of `key`.
    pub fn holds(&self, key: &K) -> bool {
        self.lock().queue.holds(key)
    }

    /// Refuses new items, ends every [`Scheduler::take`] and returns what was still waiting.
    pub fn close(&self) -> Vec<T> {
        let mut state = self.lock();
        state.closed = true;
        self.wake_all();
        state.queue.drain()
    }

    fn lock(&self) -> MutexGuard<'_, State<K, T, R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread::JoinHandle;

    type Numbers = Arc<Scheduler<u32, u32, u32>>;

    fn policy(max_batch: usize) -> BatchPolicy {
        BatchPolicy { max_batch, preferred_batch: 1, max_queue_delay: Duration::ZERO }
    }

    fn scheduler(max_batch: usize) -> (Numbers, Crew) {
        let crew = Crew::default();
        let metrics = Metrics::register(&Registry::new()).unwrap();
        (Arc::new(Scheduler::new(crew.clone(), policy(max_batch), metrics)), crew)
    }

    /// A lane that returns what it took when it ends.
    fn lane(scheduler: &Numbers, crew: &Crew) -> JoinHandle<Vec<u32>> {
        let (scheduler, crew) = (Arc::clone(scheduler), crew.clone());
        std::thread::spawn(move || {
            let mut taken = Vec::new();
            while let Some(batch) = scheduler.take(&crew) {
                taken.extend(batch.iter().map(|scheduled| scheduled.item));
                batch.into_iter().for_each(|s| assert_eq!(s.turn.finish(0, |_| ()), None));
            }
            taken
        })
    }

    fn until_taken(scheduler: &Numbers, key: u32) {
        while scheduler.holds(&key) {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_waiting_lane_is_woken_by_an_offer_and_ended_by_close() {
        let (scheduler, crew) = scheduler(1);
        let lane = lane(&scheduler, &crew);
        assert_eq!(scheduler.offer(1, 10), Ok(None));
        until_taken(&scheduler, 1);
        assert!(scheduler.close().is_empty());
        assert_eq!(lane.join().unwrap(), [10]);
        assert_eq!(scheduler.offer(1, 11), Err(11));
    }

    #[test]
    fn close_returns_what_waited() {
        let (scheduler, crew) = scheduler(1);
        assert_eq!(scheduler.offer(1, 10), Ok(None));
        assert_eq!(scheduler.offer(1, 11), Ok(Some(10)));
        assert_eq!(scheduler.close(), [11]);
        assert!(scheduler.take(&crew).is_none());
    }

    #[test]
    fn a_forgotten_key_gives_its_item_back() {
        let (scheduler, _crew) = scheduler(4);
        assert_eq!(scheduler.offer(7, 1), Ok(None));
        assert_eq!(scheduler.forget(&7), Some(1));
        assert_eq!(scheduler.forget(&7), None);
    }

    #[test]
    fn a_new_crew_takes_over_what_waits_as_its_engine_wants_it() {
        let (scheduler, old) = scheduler(1);
        let held = (scheduler.offer(0, 1), scheduler.take(&old).unwrap()).1;
        (0..3).for_each(|key| assert_eq!(scheduler.offer(key, 10 + key), Ok(None)));
        let new = Crew::default();
        scheduler.relieve(&new, policy(8));
        assert!(scheduler.take(&old).is_none());
        let batch = scheduler.take(&new).unwrap();
        assert_eq!(batch.iter().map(|scheduled| scheduled.item).collect::<Vec<_>>(), [10, 11, 12]);
        // The new crew is done first; key 0 still comes in order.
        let mut out = Vec::new();
        let finish = |scheduled: Scheduled<u32, u32>, out: &mut Vec<u32>| {
            assert_eq!(scheduled.turn.finish(scheduled.item, |r| out.push(r)), None);
        };
        batch.into_iter().for_each(|scheduled| finish(scheduled, &mut out));
        assert_eq!(out, [11, 12]);
        held.into_iter().for_each(|scheduled| finish(scheduled, &mut out));
        assert_eq!(out, [11, 12, 1, 10]);
    }

    #[test]
    fn idle_lanes_are_relieved_and_waiting_ones_begin() {
        let (scheduler, old) = scheduler(1);
        let new = Crew::default();
        let (retiring, beginning) = (lane(&scheduler, &old), lane(&scheduler, &new));
        scheduler.relieve(&new, policy(1));
        assert_eq!(retiring.join().unwrap(), [0; 0]);
        assert_eq!(scheduler.offer(1, 10), Ok(None));
        until_taken(&scheduler, 1);
        scheduler.close();
        assert_eq!(beginning.join().unwrap(), [10]);
    }

    #[test]
    fn a_lane_that_rests_is_woken_by_the_end_of_its_duty() {
        let (scheduler, crew) = scheduler(1);
        assert!(scheduler.rest(&crew, Duration::ZERO));
        let resting = {
            let (scheduler, crew) = (Arc::clone(&scheduler), crew.clone());
            std::thread::spawn(move || scheduler.rest(&crew, Duration::from_secs(600)))
        };
        scheduler.dismiss(&crew);
        assert!(!resting.join().unwrap());
        scheduler.close();
        assert!(!scheduler.rest(&Crew::default(), Duration::ZERO));
    }

    #[test]
    fn a_crew_that_never_came_on_duty_can_be_sent_home() {
        let (scheduler, old) = scheduler(1);
        let spare = Crew::default();
        let waiting = lane(&scheduler, &spare);
        scheduler.dismiss(&spare);
        assert_eq!(waiting.join().unwrap(), [0; 0]);
        assert_eq!(scheduler.offer(1, 10), Ok(None));
        assert_eq!(scheduler.take(&old).unwrap()[0].item, 10);
    }
}
