//! What waits for an engine, and what goes next. Pure: no clock, no locks, tested by values.
//!
//! One slot a key (a camera, or one client's picture). A newer item takes the older one's place in the
//! slot and keeps its turn, so that a fast camera cannot push itself forward: keys are served round robin.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::time::{Duration, Instant};

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
}

#[derive(Debug)]
struct Slot<T> {
    item: T,
    offered: Instant,
    /// When the slot was last empty: the age of the turn, not of the item.
    waiting_since: Instant,
}

/// The slots, and the order of their turns.
#[derive(Debug)]
pub struct Queue<K, T> {
    policy: BatchPolicy,
    slots: HashMap<K, Slot<T>>,
    turns: VecDeque<K>,
}

impl<K: Hash + Eq + Clone, T> Queue<K, T> {
    /// An empty queue for an engine that wants `policy`.
    pub fn new(policy: BatchPolicy) -> Self {
        Self { policy, slots: HashMap::new(), turns: VecDeque::new() }
    }

    /// From now on feeds an engine that wants `policy`. What waits keeps its turn.
    pub fn set_policy(&mut self, policy: BatchPolicy) {
        self.policy = policy;
    }

    /// Puts `item` into the slot of `key` and returns the older item it replaces, if any.
    pub fn offer(&mut self, key: K, item: T, now: Instant) -> Option<T> {
        if let Some(slot) = self.slots.get_mut(&key) {
            slot.offered = now;
            return Some(std::mem::replace(&mut slot.item, item));
        }
        self.turns.push_back(key.clone());
        self.slots.insert(key, Slot { item, offered: now, waiting_since: now });
        None
    }

    /// Takes back what waits in the slot of `key`.
    pub fn remove(&mut self, key: &K) -> Option<T> {
        let slot = self.slots.remove(key)?;
        self.turns.retain(|turn| turn != key);
        Some(slot.item)
    }

    /// Takes back everything.
    pub fn drain(&mut self) -> Vec<T> {
        self.turns.clear();
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

    /// Decides what an idle engine should do at `now`.
    pub fn plan(&mut self, now: Instant) -> Plan<K, T> {
        let Some(oldest) = self.turns.front().and_then(|key| self.slots.get(key)) else {
            return Plan::Idle;
        };
        let deadline = oldest.waiting_since + self.policy.max_queue_delay;
        if self.turns.len() < self.policy.preferred_batch && now < deadline {
            return Plan::WaitUntil(deadline);
        }
        let count = self.turns.len().min(self.policy.max_batch.max(1));
        let batch = self.turns.drain(..count).filter_map(|key| {
            let slot = self.slots.remove(&key)?;
            Some(Dispatched { key, item: slot.item, offered: slot.offered })
        });
        Plan::Dispatch(batch.collect())
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
        assert_eq!(queue.offer("a", 1, now), None);
        assert_eq!(queue.offer("b", 2, now), None);
        assert_eq!(queue.offer("a", 3, now), Some(1));
        assert_eq!(items(queue.plan(now)), [3]);
        assert_eq!(items(queue.plan(now)), [2]);
        assert_eq!(queue.plan(now), Plan::Idle);
    }

    #[test]
    fn a_small_batch_waits_for_company_until_the_delay_is_over() {
        let (mut queue, start) = (Queue::new(BATCHED), Instant::now());
        queue.offer("a", 1, start);
        let deadline = start + BATCHED.max_queue_delay;
        assert_eq!(queue.plan(start), Plan::WaitUntil(deadline));
        // A newer frame of the same camera must not postpone the turn.
        queue.offer("a", 2, start + Duration::from_millis(4));
        assert_eq!(queue.plan(start + Duration::from_millis(4)), Plan::WaitUntil(deadline));
        assert_eq!(items(queue.plan(deadline)), [2]);
    }

    #[test]
    fn a_full_enough_batch_goes_at_once_and_never_exceeds_the_maximum() {
        let (mut queue, now) = (Queue::new(BATCHED), Instant::now());
        (0..11).for_each(|key| assert_eq!(queue.offer(key, key, now), None));
        assert_eq!(items(queue.plan(now)).len(), 8);
        assert!(matches!(queue.plan(now), Plan::WaitUntil(_)));
    }

    proptest! {
        /// Whatever the order of calls, each item comes out exactly once: dispatched, replaced or taken back.
        #[test]
        fn nothing_is_lost_or_doubled(steps in prop::collection::vec((0u8..4, 0u8..6), 0..300)) {
            let (mut queue, now) = (Queue::new(BATCHED), Instant::now());
            let (mut offered, mut out) = (0u32, Vec::new());
            for (step, key) in steps {
                match step {
                    0 | 1 => { out.extend(queue.offer(key, offered, now)); offered += 1; }
                    2 => out.extend(queue.remove(&key)),
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
            (0..cameras).for_each(|key| { queue.offer(key, (), now); });
            let mut served = Vec::new();
            for turn in 0..rounds * cameras as usize {
                // Greedy cameras offer more often; it must not help them.
                if let Some(greedy) = extra.get(turn % extra.len().max(1)).filter(|key| **key < cameras) {
                    queue.offer(*greedy, (), now);
                }
                if let Plan::Dispatch(batch) = queue.plan(now) {
                    for dispatched in batch { served.push(dispatched.key); queue.offer(dispatched.key, (), now); }
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
