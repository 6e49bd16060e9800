//! How long to wait before the next attempt: exponential, with jitter. Takes no clock and rolls no dice.

use std::time::Duration;

/// The waits between attempts that fail in a row.
#[derive(Clone, Debug)]
pub(super) struct Backoff {
    min: Duration,
    max: Duration,
    failures: u32,
}

impl Backoff {
    pub(super) fn new(min: Duration, max: Duration) -> Self {
        Self { min, max, failures: 0 }
    }

    /// The wait after one more failure, never outside `min..=max`. `random` in `0.0..=1.0` places it in
    /// the upper half of the doubled range, so that cameras that fail together do not return together.
    pub(super) fn next(&mut self, random: f64) -> Duration {
        let doubled = self.min.saturating_mul(1u32 << self.failures.min(31)).min(self.max);
        self.failures = self.failures.saturating_add(1);
        doubled.mul_f64(0.5 + 0.5 * random.clamp(0.0, 1.0)).max(self.min)
    }

    /// The camera was well again.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MIN: Duration = Duration::from_millis(500);
    const MAX: Duration = Duration::from_secs(30);

    proptest! {
        #[test]
        fn waits_stay_in_range_and_grow_to_the_maximum(randoms in prop::collection::vec(0.0..=1.0f64, 1..100)) {
            let mut backoff = Backoff::new(MIN, MAX);
            for (failures, random) in randoms.into_iter().enumerate() {
                let wait = backoff.next(random);
                prop_assert!((MIN..=MAX).contains(&wait));
                prop_assert!(failures < 6 || wait >= MAX / 2);
            }
        }
    }

    #[test]
    fn waits_double_until_the_maximum_and_start_over_after_health() {
        let mut backoff = Backoff::new(MIN, MAX);
        let waits: Vec<f64> = (0..8).map(|_| backoff.next(1.0).as_secs_f64()).collect();
        assert_eq!(waits, [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]);
        backoff.reset();
        assert_eq!(backoff.next(0.0), MIN);
    }
}
