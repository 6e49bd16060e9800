//! When a viewer is due for its next picture. Takes no clock.

use std::time::{Duration, Instant};

/// A viewer's rate.
#[derive(Debug)]
pub(super) struct Pace {
    interval: Duration,
    due: Instant,
}

impl Pace {
    /// At most so many pictures a second, more than 0; none lets all through.
    pub(super) fn new(max_fps: Option<f64>, now: Instant) -> Self {
        let interval = max_fps.map(|fps| Duration::try_from_secs_f64(1.0 / fps).unwrap_or(Duration::MAX));
        Self { interval: interval.unwrap_or_default(), due: now }
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        now >= self.due
    }

    /// A picture was taken. The next is due an interval after this one was, so that the rate holds over time; frames
    /// come unevenly, and may make up for it by an eighth of an interval.
    pub(super) fn took(&mut self, now: Instant) {
        let by = |from: Instant, time: Duration| from.checked_add(time).unwrap_or(from);
        self.due = by(self.due, self.interval).max(by(now, self.interval - self.interval / 8));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn taken(max_fps: f64, frames: impl Iterator<Item = Duration>) -> usize {
        let start = Instant::now();
        let mut pace = Pace::new(Some(max_fps), start);
        frames.filter(|&at| pace.is_due(start + at).then(|| pace.took(start + at)).is_some()).count()
    }

    #[test]
    fn half_of_the_frames_are_every_second_one_however_unevenly_they_come() {
        let frames = (0..100).map(|n| Duration::from_millis(n * 100 + n * 7 % 20));
        assert_eq!(taken(5.0, frames), 50);
        let all = (0..100).map(|n| Duration::from_millis(n * 100));
        assert_eq!(taken(1000.0, all), 100);
    }

    proptest! {
        #[test]
        fn the_rate_is_never_more_than_asked(
            max_fps in 0.5f64..30.0, gaps in prop::collection::vec(1u64..400, 1..200),
        ) {
            let times: Vec<_> = gaps.iter().scan(0, |at, gap| { *at += gap; Some(Duration::from_millis(*at)) }).collect();
            let most = times.last().unwrap().as_secs_f64() * max_fps + 2.0;
            prop_assert!(taken(max_fps, times.into_iter()) as f64 <= most);
        }
    }
}
