//! Which frames a camera's `max_fps` lets through. Takes no clock.

use std::time::{Duration, Instant};

/// Lets frames through at a steady rate.
///
/// Each frame let through moves the next due time on by exactly one interval, so the rate holds over time
/// whatever the jitter; a frame may come a quarter of an interval early, so that a camera of 10 frames a
/// second held to 5 gives every second one even if they arrive unevenly.
#[derive(Debug, Default)]
pub(super) struct Pacer {
    interval: Option<Duration>,
    due: Option<Instant>,
}

/// How far, in intervals, a slow camera may lag behind its due times before they start anew: what it
/// could let through in a burst afterwards.
const MAX_LAG: u32 = 2;

impl Pacer {
    /// Sets the limit in frames a second; none lets all frames through.
    pub(super) fn limit(&mut self, max_fps: Option<f64>) {
        *self = Self { interval: max_fps.map(|fps| Duration::from_secs_f64(1.0 / fps)), due: None };
    }

    /// Whether the frame that arrived `at` is let through.
    pub(super) fn admit(&mut self, at: Instant) -> bool {
        let Some(interval) = self.interval else { return true };
        let due = self.due.unwrap_or(at);
        if at + interval / 4 < due {
            return false;
        }
        let lag = at.saturating_duration_since(due);
        self.due = Some(if lag > interval * MAX_LAG { at } else { due } + interval);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn admitted(max_fps: f64, arrivals: impl Iterator<Item = Duration>) -> usize {
        let mut pacer = Pacer::default();
        pacer.limit(Some(max_fps));
        let start = Instant::now();
        arrivals.filter(|&at| pacer.admit(start + at)).count()
    }

    proptest! {
        #[test]
        fn half_the_rate_gives_half_the_frames_despite_jitter(jitter in prop::collection::vec(0u64..45, 100)) {
            let arrivals = jitter.iter().enumerate().map(|(i, ms)| Duration::from_millis(100 * i as u64 + ms));
            prop_assert!((49..=51).contains(&admitted(5.0, arrivals)));
        }

        #[test]
        fn the_camera_s_own_rate_loses_nearly_nothing(jitter in prop::collection::vec(0u64..80, 200)) {
            let arrivals = jitter.iter().enumerate().map(|(i, ms)| Duration::from_millis(100 * i as u64 + ms));
            prop_assert!(admitted(10.0, arrivals) >= 197);
        }

        #[test]
        fn no_arrivals_exceed_the_limit(gaps in prop::collection::vec(0u64..400, 300)) {
            let mut at = 0;
            let arrivals: Vec<_> = gaps.iter().map(|gap| { at += gap; Duration::from_millis(at) }).collect();
            let limit = at as f64 / 1000.0 * 5.0 + f64::from(MAX_LAG) + 2.0;
            prop_assert!(admitted(5.0, arrivals.into_iter()) as f64 <= limit);
        }
    }

    #[test]
    fn rates_that_do_not_divide_hold_on_average() {
        let thirty = (0..3000).map(|i| Duration::from_secs_f64(f64::from(i) / 30.0));
        assert!((1999..=2001).contains(&admitted(20.0, thirty)));
    }

    #[test]
    fn without_a_limit_all_pass() {
        let now = Instant::now();
        let mut pacer = Pacer::default();
        assert!(pacer.admit(now) && pacer.admit(now));
    }
}
