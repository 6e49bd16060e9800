//! Whose turn it is, by weight. Pure, like the queue it serves.
//!
//! Start-time fair queueing (Goyal, Vin and Cheng, 1996): a key's turn is tagged with a virtual time, the
//! lowest tag goes first, and a turn taken moves the key's next tag on by one turn over its weight. Keys that
//! always have something waiting are so served in proportion to their weights; what a key cannot use, the
//! others share. Beyond the paper, a key that comes late for its turn does not lose it at once, but may save
//! up one: a camera's next frame comes when it comes.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// The greatest weight.
pub const MAX_WEIGHT: u32 = 10;
/// Virtual time of one turn of weight 1: what every weight up to [`MAX_WEIGHT`] divides.
const TURN: u64 = 2520;
/// Keys that took no turn for so long are as good as new. It bounds what is remembered of keys used once.
const MEMORY: u64 = 16 * TURN;
/// Keys are looked through for forgettable ones once there are so many.
const SWEEP_FROM: usize = 64;

/// A place in the order of turns: its tag, and who came first among equals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    tag: u64,
    number: u64,
}

/// When the next turn of a key that does not wait is due.
#[derive(Clone, Copy, Debug)]
enum Due {
    /// It had its turn; the next is due at this tag.
    Served(u64),
    /// It could not use its turn, and has it still.
    Kept(Place),
}

impl Due {
    fn tag(self) -> u64 {
        match self {
            Self::Served(tag) => tag,
            Self::Kept(place) => place.tag,
        }
    }
}

/// The turns of all keys.
#[derive(Debug)]
pub(super) struct Turns<K> {
    /// Virtual time: the greatest tag that was served.
    now: u64,
    waiting: BTreeMap<Place, K>,
    due: HashMap<K, Due>,
    entered: u64,
    sweep_at: usize,
}

impl<K: Hash + Eq + Clone> Turns<K> {
    pub(super) fn new() -> Self {
        Self { now: 0, waiting: BTreeMap::new(), due: HashMap::new(), entered: 0, sweep_at: SWEEP_FROM }
    }

    /// Lines up a key that does not wait yet. A new one comes after those who wait, as if it had just had
    /// its turn, so that many keys used once cannot hold up one that stays.
    pub(super) fn enter(&mut self, key: K, weight: u32) -> Place {
        self.entered += 1;
        let number = self.entered;
        let place = match self.due.remove(&key) {
            Some(Due::Served(tag)) => Place { tag: tag.max(self.now.saturating_sub(stride(weight))), number },
            Some(Due::Kept(place)) => place,
            None => Place { tag: self.now + stride(weight), number },
        };
        self.waiting.insert(place, key);
        place
    }

    /// Who waits, first turn first.
    pub(super) fn in_order(&self) -> impl Iterator<Item = (Place, &K)> {
        self.waiting.iter().map(|(place, key)| (*place, key))
    }

    /// The key takes its turn.
    pub(super) fn serve(&mut self, place: Place, weight: u32) {
        self.now = self.now.max(place.tag);
        self.leave(place, Due::Served(place.tag + stride(weight)));
    }

    /// The key cannot use its turn, and keeps it for when it waits again.
    pub(super) fn keep(&mut self, place: Place) {
        self.leave(place, Due::Kept(place));
    }

    /// Forgets a key, waiting or not.
    pub(super) fn forget(&mut self, key: &K, place: Option<Place>) {
        place.map(|place| self.waiting.remove(&place));
        self.due.remove(key);
    }

    fn leave(&mut self, place: Place, due: Due) {
        if let Some(key) = self.waiting.remove(&place) {
            self.sweep();
            self.due.insert(key, due);
        }
    }

    /// Doubling the mark keeps the cost a constant a turn.
    fn sweep(&mut self) {
        if self.due.len() >= self.sweep_at {
            self.due.retain(|_, due| due.tag() + MEMORY > self.now);
            self.sweep_at = (2 * self.due.len()).max(SWEEP_FROM);
        }
    }

    #[cfg(test)]
    fn remembered(&self) -> usize {
        self.due.len()
    }
}

fn stride(weight: u32) -> u64 {
    TURN / u64::from(weight.clamp(1, MAX_WEIGHT))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn serve_first(turns: &mut Turns<u64>, weight_of: impl Fn(u64) -> u32) -> Option<u64> {
        let (place, key) = turns.in_order().next().map(|(place, key)| (place, *key))?;
        turns.serve(place, weight_of(key));
        Some(key)
    }

    proptest! {
        /// Keys that always wait are served by weight, to a turn.
        #[test]
        fn turns_follow_weights(weights in prop::collection::vec(1u32..=10, 1..12), rounds in 1u64..8) {
            let weight_of = |key: u64| weights[key as usize];
            let mut turns = Turns::new();
            (0..weights.len() as u64).for_each(|key| { turns.enter(key, weight_of(key)); });
            let mut served = vec![0u64; weights.len()];
            for _ in 0..rounds * u64::from(weights.iter().sum::<u32>()) {
                let key = serve_first(&mut turns, weight_of).unwrap();
                served[key as usize] += 1;
                turns.enter(key, weight_of(key));
            }
            for (served, weight) in served.iter().zip(&weights) {
                prop_assert!(served.abs_diff(rounds * u64::from(*weight)) <= 1, "{served} for {weight}");
            }
        }
    }

    #[test]
    fn a_key_that_comes_late_is_next_and_has_saved_up_one_turn() {
        let mut turns = Turns::new();
        (0..3).for_each(|key| {
            turns.enter(key, 1);
        });
        (0..3).for_each(|key| assert_eq!(serve_first(&mut turns, |_| 1), Some(key)));
        // Key 0 stays away for many turns of the others.
        for _ in 0..10 {
            (1..3).for_each(|key| {
                turns.enter(key, 1);
            });
            (1..3).for_each(|key| assert_eq!(serve_first(&mut turns, |_| 1), Some(key)));
        }
        let next_five: Vec<_> = (0..5)
            .map(|_| {
                (0..3).for_each(|key| {
                    if !turns.waiting.values().any(|waiting| *waiting == key) {
                        turns.enter(key, 1);
                    }
                });
                serve_first(&mut turns, |_| 1).unwrap()
            })
            .collect();
        assert_eq!(next_five.iter().filter(|key| **key == 0).count(), 3, "{next_five:?}");
    }

    #[test]
    fn a_kept_turn_is_the_next_one() {
        let mut turns = Turns::new();
        let place = turns.enter(0, 1);
        (1..4).for_each(|key| {
            turns.enter(key, 1);
        });
        turns.keep(place);
        assert_eq!(serve_first(&mut turns, |_| 1), Some(1));
        turns.enter(0, 1);
        assert_eq!(serve_first(&mut turns, |_| 1), Some(0));
        assert_eq!(serve_first(&mut turns, |_| 1), Some(2));
    }

    #[test]
    fn keys_used_once_hold_up_nobody_and_are_forgotten() {
        const WAITING: usize = 8;
        let mut turns = Turns::new();
        turns.enter(0, 1);
        let (mut waits, mut longest) = (0, 0);
        for key in 1..10_000 {
            // As many as are let wait at a time, always.
            for n in turns.waiting.len()..WAITING {
                turns.enter(key + 10_000 * (1 + n as u64), 1);
            }
            waits += 1;
            if serve_first(&mut turns, |_| 1) == Some(0) {
                turns.enter(0, 1);
                longest = longest.max(std::mem::take(&mut waits));
            }
        }
        assert!((1..=WAITING).contains(&longest) && waits <= WAITING, "{longest}, {waits}");
        assert!(turns.remembered() <= 4 * SWEEP_FROM, "{}", turns.remembered());
    }
}
