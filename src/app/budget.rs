//! How old a camera's detections may be, and what happens where none can be young enough.
//!
//! Takes no clock.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A camera on a machine that is too slow for any frame within its budget still says something this often.
pub const SIGN_OF_LIFE: Duration = Duration::from_secs(1);

/// When a camera's detections were last published. It outlives changes of the camera's settings.
#[derive(Debug)]
pub struct Pulse(Mutex<Beat>);

#[derive(Debug)]
struct Beat {
    last: Instant,
    told: bool,
}

impl Pulse {
    /// Of a camera that is new `now`.
    pub fn new(now: Instant) -> Self {
        Self(Mutex::new(Beat { last: now, told: false }))
    }
}

/// What is to become of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is young enough.
    Publish,
    /// It is too old, and published since nothing else can be.
    SignOfLife {
        /// The first of its camera.
        first: bool,
    },
    /// It is too old.
    TooOld,
}

/// A camera's `max_age`, held against its results.
#[derive(Clone, Debug)]
pub struct Budget {
    max_age: Duration,
    pulse: Arc<Pulse>,
}

impl Budget {
    /// At most `max_age` from a frame's arrival to the publication of its detections.
    pub fn new(max_age: Duration, pulse: Arc<Pulse>) -> Self {
        Self { max_age, pulse }
    }

    /// The limit.
    pub fn max_age(&self) -> Duration {
        self.max_age
    }

    /// When a frame that arrived at `captured` is too old.
    pub fn expires(&self, captured: Instant) -> Instant {
        captured + self.max_age
    }

    /// Whether nothing was published for so long that something must be.
    pub fn is_overdue(&self, now: Instant) -> bool {
        let beat = self.pulse.0.lock().unwrap_or_else(PoisonError::into_inner);
        now.saturating_duration_since(beat.last) >= SIGN_OF_LIFE
    }

    /// Judges the result of a frame that arrived at `captured`; `late` if it was run although it was too late
    /// from the start. What is not [`Verdict::TooOld`] is to be published.
    pub fn judge(&self, captured: Instant, late: bool, now: Instant) -> Verdict {
        let in_time = now <= self.expires(captured);
        let excused = late && self.is_overdue(now);
        if !in_time && !excused {
            return Verdict::TooOld;
        }
        let mut beat = self.pulse.0.lock().unwrap_or_else(PoisonError::into_inner);
        beat.last = now;
        if in_time {
            return Verdict::Publish;
        }
        Verdict::SignOfLife { first: !std::mem::replace(&mut beat.told, true) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX_AGE: Duration = Duration::from_millis(200);

    #[test]
    fn what_is_older_than_the_budget_is_not_published() {
        let start = Instant::now();
        let budget = Budget::new(MAX_AGE, Arc::new(Pulse::new(start)));
        assert_eq!(budget.judge(start, false, start + MAX_AGE), Verdict::Publish);
        let late = start + MAX_AGE + Duration::from_millis(1);
        assert_eq!(budget.judge(start, false, late), Verdict::TooOld);
        // A hiccup of the engine is no reason to publish what is old, however long it lasts.
        assert_eq!(budget.judge(start, false, late + 10 * SIGN_OF_LIFE), Verdict::TooOld);
    }

    #[test]
    fn one_late_result_a_second_is_published_where_none_comes_in_time() {
        let start = Instant::now();
        let budget = Budget::new(MAX_AGE, Arc::new(Pulse::new(start)));
        let verdicts: Vec<_> = (1..=30)
            .map(|frame| {
                let done = start + frame * MAX_AGE / 2;
                budget.judge(done - 2 * MAX_AGE, true, done)
            })
            .collect();
        let said = verdicts.iter().filter(|verdict| **verdict != Verdict::TooOld).count();
        assert_eq!(said, 3, "30 results in 3 s: {verdicts:?}");
        assert!(verdicts.contains(&Verdict::SignOfLife { first: true }));
    }
}
