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

mod metrics;
pub mod order;
mod pace;
pub mod queue;
#[cfg(test)]
mod simulation;
pub mod turns;

pub use metrics::Metrics;
use order::{InOrder, Turn};
use pace::Pace;
use queue::{BatchPolicy, Plan, Queue, Terms};

/// One item of a batch and its place in its key's order.
#[derive(Debug)]
pub struct Scheduled<T, R> {
    /// The item.
    pub item: T,
    /// To be finished with the item's result.
    pub turn: Turn<R>,
    /// It is run although it was too late from the start, see [`Terms::overdue`].
    pub late: bool,
    /// With the first item of a batch.
    pub run: Option<Run>,
}

/// A batch on its way.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// Items in it.
    pub items: usize,
    /// When it was taken.
    pub begun: Instant,
}

/// What a lane is given.
#[derive(Debug)]
pub enum Taken<T, R> {
    /// To be processed.
    Batch(Vec<Scheduled<T, R>>),
    /// Too late to be processed: to be let go.
    Expired(Vec<T>),
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
    pace: Pace,
    order: InOrder<K, R>,
    on_duty: Crew,
    closed: bool,
}

impl<K: Hash + Eq + Clone, T, R> Scheduler<K, T, R> {
    /// An empty scheduler with `crew` on duty, whose engine wants `policy`.
    pub fn new(crew: Crew, policy: BatchPolicy, metrics: Metrics) -> Self {
        let queue = Queue::new(policy);
        let (pace, order) = (Pace::default(), InOrder::default());
        let state = State { queue, pace, order, on_duty: crew, closed: false };
        Self { state: Mutex::new(state), changed: Condvar::new(), relieved: Condvar::new(), metrics }
    }

    /// Puts `item` into the slot of `key` and returns the older item it replaces. Never waits for an engine.
    ///
    /// # Errors
    /// The item itself, once the scheduler is closed.
    pub fn offer(&self, key: K, item: T, terms: Terms) -> Result<Option<T>, T> {
        let mut state = self.lock();
        if state.closed {
            return Err(item);
        }
        let replaced = state.queue.offer(key, item, terms, Instant::now());
        drop(state);
        if replaced.is_none() {
            self.changed.notify_one();
        }
        Ok(replaced)
    }

    /// Waits for the next batch for a lane of `crew`, or for what has waited too long; none once the crew was
    /// dismissed or the scheduler is closed. A crew that is not on duty yet waits until it is.
    pub fn take(&self, crew: &Crew) -> Option<Taken<T, R>> {
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
            let expired = state.queue.expire(now);
            if !expired.is_empty() {
                return Some(Taken::Expired(expired));
            }
            state = match state.queue.plan(now) {
                Plan::Idle => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Plan::WaitUntil(until) => {
                    let waited = self.changed.wait_timeout(state, until.saturating_duration_since(now));
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                Plan::Dispatch(batch) => {
                    self.metrics.batch_size.observe(batch.len() as f64);
                    let mut run = Some(Run { items: batch.len(), begun: now });
                    let scheduled = batch.into_iter().map(|dispatched| {
                        let waited = now.saturating_duration_since(dispatched.offered);
                        self.metrics.queue_seconds.observe(waited.as_secs_f64());
                        let turn = state.order.begin(dispatched.key);
                        Scheduled { item: dispatched.item, turn, late: dispatched.late, run: run.take() }
                    });
                    return Some(Taken::Batch(scheduled.collect()));
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
        // Another engine has another pace.
        state.queue.set_run_time(Duration::ZERO);
        state.pace = Pace::default();
        drop(state);
        self.wake_all();
    }

    /// A lane of `crew` was done with a batch of so many items so long after it had taken them.
    pub fn ran(&self, crew: &Crew, items: usize, time: Duration) {
        let mut state = self.lock();
        if crew.is(&state.on_duty) {
            state.pace.ran(items, time);
            let run_time = state.pace.run_time();
            state.queue.set_run_time(run_time);
        }
    }

    /// Items a second that one lane can process, by what its runs took; none while that is not known.
    pub fn items_per_second(&self) -> Option<f64> {
        let state = self.lock();
        state.pace.items_per_second(state.queue.policy().preferred_batch)
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
    use prometheus::Registry;
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

    fn offer(scheduler: &Numbers, key: u32, item: u32) -> Result<Option<u32>, u32> {
        scheduler.offer(key, item, Terms::default())
    }

    fn take(scheduler: &Numbers, crew: &Crew) -> Option<Vec<Scheduled<u32, u32>>> {
        match scheduler.take(crew)? {
            Taken::Batch(batch) => Some(batch),
            Taken::Expired(expired) => panic!("{expired:?} expired"),
        }
    }

    /// A lane that returns what it took when it ends.
    fn lane(scheduler: &Numbers, crew: &Crew) -> JoinHandle<Vec<u32>> {
        let (scheduler, crew) = (Arc::clone(scheduler), crew.clone());
        std::thread::spawn(move || {
            let mut taken = Vec::new();
            while let Some(batch) = take(&scheduler, &crew) {
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
        assert_eq!(offer(&scheduler, 1, 10), Ok(None));
        until_taken(&scheduler, 1);
        assert!(scheduler.close().is_empty());
        assert_eq!(lane.join().unwrap(), [10]);
        assert_eq!(offer(&scheduler, 1, 11), Err(11));
    }

    #[test]
    fn close_returns_what_waited() {
        let (scheduler, crew) = scheduler(1);
        assert_eq!(offer(&scheduler, 1, 10), Ok(None));
        assert_eq!(offer(&scheduler, 1, 11), Ok(Some(10)));
        assert_eq!(scheduler.close(), [11]);
        assert!(take(&scheduler, &crew).is_none());
    }

    #[test]
    fn what_would_come_too_late_is_handed_out_as_such_once_the_pace_is_known() {
        let (scheduler, crew) = scheduler(1);
        let in_a_second =
            || Terms { expires: Some(Instant::now() + Duration::from_secs(1)), ..Terms::default() };
        assert_eq!(scheduler.offer(1, 10, in_a_second()), Ok(None));
        assert_eq!(take(&scheduler, &crew).unwrap()[0].item, 10);
        assert_eq!(scheduler.items_per_second(), None);
        scheduler.ran(&crew, 1, Duration::from_secs(2));
        assert_eq!(scheduler.items_per_second(), Some(0.5));
        assert_eq!(scheduler.offer(1, 11, in_a_second()), Ok(None));
        assert!(matches!(scheduler.take(&crew), Some(Taken::Expired(expired)) if expired == [11]));
        // Another engine may be faster.
        let new = Crew::default();
        scheduler.relieve(&new, policy(1));
        scheduler.ran(&crew, 1, Duration::from_secs(2));
        assert_eq!(scheduler.offer(1, 12, in_a_second()), Ok(None));
        assert_eq!(take(&scheduler, &new).unwrap()[0].item, 12);
    }

    #[test]
    fn a_forgotten_key_gives_its_item_back() {
        let (scheduler, _crew) = scheduler(4);
        assert_eq!(offer(&scheduler, 7, 1), Ok(None));
        assert_eq!(scheduler.forget(&7), Some(1));
        assert_eq!(scheduler.forget(&7), None);
    }

    #[test]
    fn a_new_crew_takes_over_what_waits_as_its_engine_wants_it() {
        let (scheduler, old) = scheduler(1);
        let held = (offer(&scheduler, 0, 1), take(&scheduler, &old).unwrap()).1;
        (0..3).for_each(|key| assert_eq!(offer(&scheduler, key, 10 + key), Ok(None)));
        let new = Crew::default();
        scheduler.relieve(&new, policy(8));
        assert!(take(&scheduler, &old).is_none());
        let batch = take(&scheduler, &new).unwrap();
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
        assert_eq!(offer(&scheduler, 1, 10), Ok(None));
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
        assert_eq!(offer(&scheduler, 1, 10), Ok(None));
        assert_eq!(take(&scheduler, &old).unwrap()[0].item, 10);
    }
}
