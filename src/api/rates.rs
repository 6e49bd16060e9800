//! Calls a second, by peer: a token bucket each. Takes no clock.

use std::collections::HashMap;
use std::hash::Hash;
use std::num::NonZeroU32;
use std::time::Instant;

/// From so many buckets on, those that are full again are looked for and forgotten.
const TIDY_FROM: usize = 1024;

/// The buckets of those who called lately. Each holds the calls of a second at most and fills at that rate.
#[derive(Debug)]
pub(super) struct Rates<K> {
    rate: f64,
    buckets: HashMap<K, Bucket>,
    tidy_at: usize,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    calls: f64,
    at: Instant,
}

impl Bucket {
    fn fill(&mut self, rate: f64, now: Instant) {
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        *self = Self { calls: (self.calls + since * rate).min(rate), at: self.at.max(now) };
    }
}

impl<K: Eq + Hash> Rates<K> {
    /// So many calls a second, and as many at once.
    pub(super) fn new(rate: NonZeroU32) -> Self {
        Self { rate: f64::from(rate.get()), buckets: HashMap::new(), tidy_at: TIDY_FROM }
    }

    /// Whether `who` may make a call `now`, which counts then.
    pub(super) fn take(&mut self, who: K, now: Instant) -> bool {
        if self.buckets.len() >= self.tidy_at {
            self.tidy(now);
        }
        let bucket = self.buckets.entry(who).or_insert(Bucket { calls: self.rate, at: now });
        bucket.fill(self.rate, now);
        let may = bucket.calls >= 1.0;
        bucket.calls -= f64::from(u8::from(may));
        may
    }

    /// Forgets the full buckets: a new one is as full. Waits until there are twice as many before the next time.
    fn tidy(&mut self, now: Instant) {
        let rate = self.rate;
        self.buckets.retain(|_, bucket| {
            bucket.fill(rate, now);
            bucket.calls < rate
        });
        self.tidy_at = (2 * self.buckets.len()).max(TIDY_FROM);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn rates(rate: u32) -> Rates<u32> {
        Rates::new(NonZeroU32::new(rate).unwrap())
    }

    #[test]
    fn a_burst_of_a_second_passes_and_then_the_rate() {
        let (mut rates, start) = (rates(10), Instant::now());
        assert_eq!((0..100).filter(|_| rates.take(1, start)).count(), 10);
        assert!(rates.take(2, start), "another one has calls of its own");
        let later = start + Duration::from_millis(500);
        assert_eq!((0..100).filter(|_| rates.take(1, later)).count(), 5);
    }

    #[test]
    fn those_who_called_long_ago_are_forgotten() {
        let (mut rates, start) = (rates(10), Instant::now());
        for second in 0..20 {
            (0..5000).for_each(|who| {
                _ = rates.take(second * 5000 + who, start + Duration::from_secs(second.into()))
            });
        }
        assert!(rates.buckets.len() <= 10_000, "{}", rates.buckets.len());
    }

    proptest! {
        #[test]
        fn no_peer_gets_more_than_its_rate_and_a_burst(
            rate in 1u32..50, gaps in prop::collection::vec((0u32..3, 0u64..200), 1..300)
        ) {
            let (mut rates, start) = (rates(rate), Instant::now());
            let (mut now, mut taken) = (start, [0u32; 3]);
            for (who, gap) in gaps {
                now += Duration::from_millis(gap);
                taken[who as usize] += u32::from(rates.take(who, now));
            }
            let most = f64::from(rate) * (1.0 + (now - start).as_secs_f64()) + 1e-6;
            prop_assert!(taken.iter().all(|taken| f64::from(*taken) <= most), "{taken:?} of {most}");
        }
    }
}
