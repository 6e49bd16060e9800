//! Results leave in the order their frames were dispatched, a key at a time.
//!
//! Several lanes may work on one camera at once; the later frame can be done first. Its result then waits
//! here for the earlier one, so that a stream's sequence numbers never go back. It does not wait for long: of
//! a lane that hangs, the result is passed over.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Since the dispatch of a frame, for its result, once later ones are there: a subscriber is better off with
/// those. Many times what lanes differ by.
const PATIENCE: Duration = Duration::from_secs(1);

/// The place of one dispatched item in its key's order. Give it back to [`InOrder::finish`].
#[derive(Debug)]
#[must_use = "a turn let go is skipped"]
pub struct Turn<R> {
    line: Arc<Mutex<Line<R>>>,
    number: u64,
    finished: bool,
}

#[derive(Debug)]
struct Line<R> {
    first: u64,
    places: VecDeque<Place<R>>,
}

#[derive(Debug)]
enum Place<R> {
    /// Since when.
    Waiting(Instant),
    Done(R),
    /// Its turn was let go, as after a panic: nobody waits for it.
    Gone,
}

impl<R> Line<R> {
    /// The place of a turn; none if it was passed over.
    fn place(&mut self, number: u64) -> Option<&mut Place<R>> {
        self.places.get_mut(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    fn pop_ready(&mut self, now: Instant) -> Option<Place<R>> {
        if let Place::Waiting(since) = self.places.front()? {
            let later_ones = self.places.iter().any(|place| matches!(place, Place::Done(_)));
            if !later_ones || now.saturating_duration_since(*since) < PATIENCE {
                return None;
            }
        }
        self.first += 1;
        self.places.pop_front()
    }
}

/// Lines are looked through for idle ones once there are so many.
const SWEEP_FROM: usize = 64;

/// The lines, one a key that has items under way.
#[derive(Debug)]
pub struct InOrder<K, R> {
    lines: HashMap<K, Arc<Mutex<Line<R>>>>,
    sweep_at: usize,
}

impl<K: Hash + Eq, R> Default for InOrder<K, R> {
    fn default() -> Self {
        Self { lines: HashMap::new(), sweep_at: SWEEP_FROM }
    }
}

impl<K: Hash + Eq, R> InOrder<K, R> {
    /// Takes the next place in the line of `key`.
    pub fn begin(&mut self, key: K) -> Turn<R> {
        self.sweep();
        let line = self
            .lines
            .entry(key)
            .or_insert_with(|| Arc::new(Mutex::new(Line { first: 0, places: VecDeque::with_capacity(2) })));
        let mut open = line.lock().unwrap_or_else(PoisonError::into_inner);
        open.places.push_back(Place::Waiting(Instant::now()));
        let number = open.first + open.places.len() as u64 - 1;
        drop(open);
        Turn { line: Arc::clone(line), number, finished: false }
    }

    /// Forgets lines without turns under way, so that keys used once do not pile up. Doubling the mark
    /// keeps the cost a constant a turn.
    fn sweep(&mut self) {
        if self.lines.len() >= self.sweep_at {
            self.lines.retain(|_, line| Arc::strong_count(line) > 1);
            self.sweep_at = (2 * self.lines.len()).max(SWEEP_FROM);
        }
    }
}

impl<R> Turn<R> {
    /// Hands in the result and calls `release` for each result whose turn has come, in order. Returns the
    /// result if it comes too late: its turn was passed over.
    ///
    /// `release` runs under the lock of this key alone: it must not wait for anything.
    pub fn finish(self, result: R, release: impl FnMut(R)) -> Option<R> {
        self.finish_at(Instant::now(), result, release)
    }

    fn finish_at(mut self, now: Instant, result: R, mut release: impl FnMut(R)) -> Option<R> {
        self.finished = true;
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        match line.place(self.number) {
            Some(place) => *place = Place::Done(result),
            None => return Some(result),
        }
        while let Some(place) = line.pop_ready(now) {
            if let Place::Done(ready) = place {
                release(ready);
            }
        }
        None
    }
}

impl<R> Drop for Turn<R> {
    fn drop(&mut self) {
        if !self.finished
            && let Some(place) = self.line.lock().unwrap_or_else(PoisonError::into_inner).place(self.number)
        {
            *place = Place::Gone;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_result_waits_for_the_one_before_it() {
        let (mut order, mut out) = (InOrder::default(), Vec::new());
        let (first, second) = (order.begin("a"), order.begin("a"));
        second.finish(2, |r| out.push(r));
        assert!(out.is_empty());
        first.finish(1, |r| out.push(r));
        assert_eq!(out, [1, 2]);
    }

    #[test]
    fn a_turn_let_go_holds_up_nobody() {
        let (mut order, mut out) = (InOrder::default(), Vec::new());
        let (lost, second) = (order.begin("a"), order.begin("a"));
        drop(lost);
        second.finish(2, |r| out.push(r));
        assert_eq!(out, [2]);
    }

    #[test]
    fn a_turn_that_hangs_is_passed_over_and_its_late_result_handed_back() {
        let (mut order, mut out) = (InOrder::default(), Vec::new());
        let (hung, second, third) = (order.begin("a"), order.begin("a"), order.begin("a"));
        let later = Instant::now() + PATIENCE;
        assert_eq!(second.finish_at(later - PATIENCE / 2, 2, |r| out.push(r)), None);
        assert!(out.is_empty(), "{out:?}");
        assert_eq!(third.finish_at(later, 3, |r| out.push(r)), None);
        assert_eq!(out, [2, 3]);
        assert_eq!(hung.finish_at(later, 1, |r| out.push(r)), Some(1));
        let (gone, next) = (order.begin("a"), order.begin("a"));
        assert_eq!(next.finish_at(later + 2 * PATIENCE, 5, |r| out.push(r)), None);
        drop(gone);
        assert_eq!(out, [2, 3, 5]);
    }

    #[test]
    fn keys_used_once_do_not_pile_up() {
        let mut order = InOrder::default();
        let held = order.begin(u32::MAX);
        (0..10_000).for_each(|key| assert_eq!(order.begin(key).finish((), |()| ()), None));
        assert!(order.lines.len() <= SWEEP_FROM && order.lines.contains_key(&u32::MAX));
        held.finish((), |()| ());
    }

    #[test]
    fn keys_do_not_wait_for_each_other() {
        let (mut order, mut out) = (InOrder::default(), Vec::new());
        let (_held, free) = (order.begin("a"), order.begin("b"));
        free.finish(1, |r| out.push(r));
        assert_eq!(out, [1]);
    }

    proptest! {
        #[test]
        fn any_order_of_finishing_comes_out_sorted(finish in Just((0..30u32).collect::<Vec<_>>()).prop_shuffle()) {
            let (mut order, mut out) = (InOrder::default(), Vec::new());
            let mut turns: Vec<_> = (0..30).map(|_| Some(order.begin(()))).collect();
            for number in finish {
                let turn: Turn<u32> = turns[number as usize].take().unwrap();
                turn.finish(number, |r| out.push(r));
            }
            prop_assert_eq!(out, (0..30).collect::<Vec<_>>());
        }
    }
}
