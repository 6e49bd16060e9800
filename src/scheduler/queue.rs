//! What waits for an engine, and what goes next. Pure: no clock, no locks, tested by values.
//!
//! One slot a key (a camera, or one client's picture). A newer item takes the older one's place in the
//! slot and keeps its turn, so that a fast camera cannot push itself forward: keys take turns by weight.
//!
//! An item may expire: one whose result would come too late is not dispatched, and its key keeps the turn for
//! the next one. Where even an item that has just come would be too late, whoever offers it may ask for it to
//! be run all the same ([`Terms::overdue`]).

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

use super::turns::{Place, Turns};

/// How an engine wants to be fed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchPolicy {
    /// Items a dispatch at most, at least 1.
    pub max_batch: usize,
    /// With fewer ready, it may pay to wait for more; at least 1 and at most `max_batch`.
    pub preferred_batch: usize,
    /// How long the oldest item may be kept waiting for company.
    pub max_queue_delay: Duration,
}

/// On what terms an item waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Under overload, twice the weight gets twice the turns; 1 to [`MAX_WEIGHT`](super::turns::MAX_WEIGHT).
    pub weight: u32,
    /// When its result is worth nothing any more; never if absent.
    pub expires: Option<Instant>,
    /// Nothing of its key has come out for too long: run it even if it is too late when it is offered, as on
    /// a machine that is too slow for any item.
    pub overdue: bool,
}

impl Default for Terms {
    fn default() -> Self {
        Self { weight: 1, expires: None, overdue: false }
    }
}

/// What to do now.
#[derive(Debug, PartialEq, Eq)]
pub enum Plan<K, T> {
    /// Nothing waits.
    Idle,
    /// A fuller batch may come; ask again at this time at the latest.
    WaitUntil(Instant),
    /// Process these now, in this order.
    Dispatch(Vec<Dispatched<K, T>>),
}

/// An item on its way to an engine.
#[derive(Debug, PartialEq, Eq)]
pub struct Dispatched<K, T> {
    /// The slot it came from.
    pub key: K,
    /// The item.
    pub item: T,
    /// When it was offered.
    pub offered: Instant,
    /// It was too late already when it was offered, and is run because its key was overdue.
    pub late: bool,
}

#[derive(Debug)]
struct Slot<T> {
    item: T,
    offered: Instant,
    /// When the slot was last empty: the age of the turn, not of the item.
    waiting_since: Instant,
    place: Place,
    weight: u32,
    /// When it must be dispatched to be of use.
    expires: Option<Instant>,
    late: bool,
}

/// The slots, and the order of their turns.
#[derive(Debug)]
pub struct Queue<K, T> {
    policy: BatchPolicy,
    run_time: Duration,
    slots: HashMap<K, Slot<T>>,
    turns: Turns<K>,
}

impl<K: Hash + Eq + Clone, T> Queue<K, T> {
    /// An empty queue for an engine that wants `policy`.
    pub fn new(policy: BatchPolicy) -> Self {
        Self { policy, run_time: Duration::ZERO, slots: HashMap::new(), turns: Turns::new() }
    }

    /// From now on feeds an engine that wants `policy`. What waits keeps its turn.
    pub fn set_policy(&mut self, policy: BatchPolicy) {
        self.policy = policy;
    }

    /// What its engine wants.
    pub fn policy(&self) -> BatchPolicy {
        self.policy
    }

    /// How long a run is expected to take: an item that has less time left has expired. Zero until told.
    pub fn set_run_time(&mut self, run_time: Duration) {
        self.run_time = run_time;
    }

    /// Puts `item` into the slot of `key` and returns the older item it replaces, if any.
    pub fn offer(&mut self, key: K, item: T, terms: Terms, now: Instant) -> Option<T> {
        let late = terms.overdue && terms.expires.is_some_and(|expires| now + self.run_time > expires);
        let expires = terms.expires.filter(|_| !late);
        if let Some(slot) = self.slots.get_mut(&key) {
            (slot.offered, slot.weight, slot.expires, slot.late) = (now, terms.weight, expires, late);
            return Some(std::mem::replace(&mut slot.item, item));
        }
        let place = self.turns.enter(key.clone(), terms.weight);
        let slot =
            Slot { item, offered: now, waiting_since: now, place, weight: terms.weight, expires, late };
        self.slots.insert(key, slot);
        None
    }

    /// Takes back what waits in the slot of `key`, and forgets the key.
    pub fn remove(&mut self, key: &K) -> Option<T> {
        let slot = self.slots.remove(key);
        self.turns.forget(key, slot.as_ref().map(|slot| slot.place));
        slot.map(|slot| slot.item)
    }

    /// Takes back everything.
    pub fn drain(&mut self) -> Vec<T> {
        self.turns = Turns::new();
        self.slots.drain().map(|(_, slot)| slot.item).collect()
    }

    /// Whether anything waits in the slot of `key`.
    pub fn holds(&self, key: &K) -> bool {
        self.slots.contains_key(key)
    }

    /// Items waiting.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Takes out the items whose turn it is at `now` and whose results would come too late. Their keys keep
    /// the turn.
    pub fn expire(&mut self, now: Instant) -> Vec<T> {
        let expired: Vec<_> = self
            .turns
            .in_order()
            .take_while(|(_, key)| self.slots.get(key).is_none_or(|slot| self.has_expired(slot, now)))
            .map(|(place, key)| (place, key.clone()))
            .collect();
        let take = |(place, key)| {
            self.turns.keep(place);
            self.slots.remove(&key).map(|slot| slot.item)
        };
        expired.into_iter().filter_map(take).collect()
    }

    /// Decides what an idle engine should do at `now`, with what has not expired.
    pub fn plan(&mut self, now: Instant) -> Plan<K, T> {
        let ready = self.turns.in_order().filter_map(|(_, key)| {
            let slot = self.slots.get(key)?;
            (!self.has_expired(slot, now)).then_some((key, slot))
        });
        let ready: Vec<_> = ready.take(self.policy.max_batch.max(1)).collect();
        let Some(oldest) = ready.iter().map(|(_, slot)| slot.waiting_since).min() else {
            return Plan::Idle;
        };
        let deadline = oldest + self.policy.max_queue_delay;
        // What would not survive the wait cannot be kept waiting.
        let patient = ready.iter().all(|(_, slot)| !self.has_expired(slot, deadline));
        if ready.len() < self.policy.preferred_batch && now < deadline && patient {
            return Plan::WaitUntil(deadline);
        }
        let keys: Vec<K> = ready.into_iter().map(|(key, _)| key.clone()).collect();
        Plan::Dispatch(keys.into_iter().filter_map(|key| self.dispatch(key)).collect())
    }

    fn dispatch(&mut self, key: K) -> Option<Dispatched<K, T>> {
        let slot = self.slots.remove(&key)?;
        self.turns.serve(slot.place, slot.weight);
        Some(Dispatched { key, item: slot.item, offered: slot.offered, late: slot.late })
    }

    fn has_expired(&self, slot: &Slot<T>, now: Instant) -> bool {
        slot.expires.is_some_and(|expires| now + self.run_time > expires)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ONE_BY_ONE: BatchPolicy =
        BatchPolicy { max_batch: 1, preferred_batch: 1, max_queue_delay: Duration::ZERO };
    const BATCHED: BatchPolicy =
        BatchPolicy { max_batch: 8, preferred_batch: 4, max_queue_delay: Duration::from_millis(5) };

    fn items<K, T>(plan: Plan<K, T>) -> Vec<T> {
        match plan {
            Plan::Dispatch(batch) => batch.into_iter().map(|dispatched| dispatched.item).collect(),
            _ => Vec::new(),
        }
    }

    #[test]
    fn the_newest_item_wins_and_keeps_the_turn() {
        let (mut queue, now) = (Queue::new(ONE_BY_ONE), Instant::now());
        assert_eq!(queue.offer("a", 1, Terms::default(), now), None);
        assert_eq!(queue.offer("b", 2, Terms::default(), now), None);
        assert_eq!(queue.offer("a", 3, Terms::default(), now), Some(1));
        assert_eq!(items(queue.plan(now)), [3]);
        assert_eq!(items(queue.plan(now)), [2]);
        assert_eq!(queue.plan(now), Plan::Idle);
    }

    #[test]
    fn a_small_batch_waits_for_company_until_the_delay_is_over() {
        let (mut queue, start) = (Queue::new(BATCHED), Instant::now());
        queue.offer("a", 1, Terms::default(), start);
        let deadline = start + BATCHED.max_queue_delay;
        assert_eq!(queue.plan(start), Plan::WaitUntil(deadline));
        // A newer frame of the same camera must not postpone the turn.
        queue.offer("a", 2, Terms::default(), start + Duration::from_millis(4));
        assert_eq!(queue.plan(start + Duration::from_millis(4)), Plan::WaitUntil(deadline));
        assert_eq!(items(queue.plan(deadline)), [2]);
    }

    #[test]
    fn a_full_enough_batch_goes_at_once_and_never_exceeds_the_maximum() {
        let (mut queue, now) = (Queue::new(BATCHED), Instant::now());
        (0..11).for_each(|key| assert_eq!(queue.offer(key, key, Terms::default(), now), None));
        assert_eq!(items(queue.plan(now)).len(), 8);
        assert!(matches!(queue.plan(now), Plan::WaitUntil(_)));
    }

    /// What is of use until `ms` after `start`.
    fn until(start: Instant, ms: u64) -> Terms {
        Terms { expires: Some(start + Duration::from_millis(ms)), ..Terms::default() }
    }

    #[test]
    fn what_would_come_too_late_is_not_run_and_its_key_keeps_the_turn() {
        let (mut queue, start) = (Queue::new(ONE_BY_ONE), Instant::now());
        queue.set_run_time(Duration::from_millis(20));
        queue.offer("a", 1, until(start, 50), start);
        queue.offer("b", 2, Terms::default(), start);
        let late = start + Duration::from_millis(31);
        assert_eq!(queue.expire(start + Duration::from_millis(30)), [0; 0], "there is just time");
        assert_eq!(queue.expire(late), [1]);
        assert_eq!(queue.offer("c", 3, Terms::default(), late), None);
        assert_eq!(queue.offer("a", 4, until(late, 50), late), None);
        assert_eq!(items(queue.plan(late)), [4]);
        assert_eq!(items(queue.plan(late)), [2]);
        assert_eq!(items(queue.plan(late)), [3]);
    }

    #[test]
    fn what_expired_further_back_is_passed_over() {
        let (mut queue, start) = (Queue::new(BATCHED), Instant::now());
        queue.offer("a", 1, Terms::default(), start);
        queue.offer("b", 2, until(start, 1), start);
        queue.offer("c", 3, Terms::default(), start);
        let late = start + Duration::from_millis(5);
        assert!(queue.expire(late).is_empty());
        assert_eq!(items(queue.plan(late)), [1, 3]);
        assert_eq!((queue.plan(late), queue.expire(late)), (Plan::Idle, vec![2]));
    }

    #[test]
    fn only_what_is_too_late_from_the_start_is_run_late_and_only_when_its_key_is_overdue() {
        let (mut queue, start) = (Queue::new(ONE_BY_ONE), Instant::now());
        queue.set_run_time(Duration::from_millis(20));
        let overdue = |ms| Terms { overdue: true, ..until(start, ms) };
        queue.offer("too slow", 1, until(start, 10), start);
        assert_eq!(queue.expire(start), [1]);
        queue.offer("too slow", 2, overdue(10), start);
        assert!(queue.expire(start + Duration::from_secs(1)).is_empty());
        let Plan::Dispatch(batch) = queue.plan(start) else { panic!("nothing is dispatched") };
        assert_eq!((batch[0].item, batch[0].late), (2, true));
        // One that could come out in time has no claim to be late.
        queue.offer("busy", 3, overdue(30), start);
        assert_eq!(queue.expire(start + Duration::from_millis(11)), [3]);
    }

    #[test]
    fn nothing_is_kept_waiting_for_company_until_it_is_too_late() {
        let (mut queue, start) = (Queue::new(BATCHED), Instant::now());
        queue.offer("a", 1, until(start, 3), start);
        assert_eq!(items(queue.plan(start)), [1]);
    }

    proptest! {
        /// Whatever the order of calls, each item comes out exactly once: dispatched, replaced or taken back.
        #[test]
        fn nothing_is_lost_or_doubled(steps in prop::collection::vec((0u8..6, 0u8..6), 0..300)) {
            let (mut queue, now) = (Queue::new(BATCHED), Instant::now());
            let (mut offered, mut out) = (0u32, Vec::new());
            for (step, key) in steps {
                match step {
                    0 | 1 => { out.extend(queue.offer(key, offered, Terms::default(), now)); offered += 1; }
                    2 => out.extend(queue.remove(&key)),
                    3 => { out.extend(queue.offer(key, offered, until(now, 2), now)); offered += 1; }
                    4 => out.extend(queue.expire(now + Duration::from_millis(3))),
                    _ => out.extend(items(queue.plan(now + BATCHED.max_queue_delay))),
                }
                prop_assert_eq!(out.len() + queue.len(), offered as usize);
            }
            out.extend(queue.drain());
            out.sort_unstable();
            prop_assert_eq!(out, (0..offered).collect::<Vec<_>>());
        }

        /// With every camera always ready, none is served twice before each was served once.
        #[test]
        fn cameras_are_served_round_robin(cameras in 1u32..20, rounds in 1usize..5, extra in prop::collection::vec(0u32..20, 0..40)) {
            let (mut queue, now) = (Queue::new(ONE_BY_ONE), Instant::now());
            (0..cameras).for_each(|key| { queue.offer(key, (), Terms::default(), now); });
            let mut served = Vec::new();
            for turn in 0..rounds * cameras as usize {
                // Greedy cameras offer more often; it must not help them.
                if let Some(greedy) = extra.get(turn % extra.len().max(1)).filter(|key| **key < cameras) {
                    queue.offer(*greedy, (), Terms::default(), now);
                }
                if let Plan::Dispatch(batch) = queue.plan(now) {
                    for dispatched in batch { served.push(dispatched.key); queue.offer(dispatched.key, (), Terms::default(), now); }
                }
            }
            for round in served.chunks(cameras as usize) {
                let mut round = round.to_vec();
                round.sort_unstable();
                prop_assert_eq!(round, (0..cameras).collect::<Vec<_>>());
            }
        }
    }
}
