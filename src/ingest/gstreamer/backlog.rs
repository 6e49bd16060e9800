//! Which coded frames are worth decoding when a decoder cannot keep up. Takes no clock.
//!
//! An RTSP camera sends on whether we keep up or not, and what is not decoded waits in memory. So a frame
//! that waited too long, and all that follow it up to a fresh keyframe, are skipped: skipping is quick, the
//! backlog is gone at once, and what is watched is new again.

use std::time::{Duration, Instant};

/// How long frames waited, and whether to skip.
#[derive(Debug)]
pub(super) struct Backlog {
    budget: Duration,
    /// The least lateness seen: what the camera's clock and the network add to all frames.
    usual: Duration,
    skipping_since: Option<Instant>,
}

/// Skipping that has not helped for so long does not help: the camera's time stamps are off, or the network
/// is too slow. Then late video is better than none.
const GIVE_UP_AFTER: Duration = Duration::from_secs(5);

impl Backlog {
    pub(super) fn new(budget: Duration) -> Self {
        Self { budget, usual: Duration::ZERO, skipping_since: None }
    }

    /// Takes a coded frame that reached the decoder `now`, `late` by its time stamp. Returns how long it
    /// waited, or none if it is to be skipped.
    pub(super) fn admit(&mut self, late: Duration, is_keyframe: bool, now: Instant) -> Option<Duration> {
        if late > self.usual + self.budget {
            let since = *self.skipping_since.get_or_insert(now);
            if !is_keyframe || now.saturating_duration_since(since) < GIVE_UP_AFTER {
                return None;
            }
            self.usual = late;
        } else if self.skipping_since.is_some() && !is_keyframe {
            return None;
        }
        self.skipping_since = None;
        self.usual = self.usual.min(late);
        Some(late - self.usual)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: Duration = Duration::from_secs(1);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn late_video_is_skipped_up_to_a_fresh_keyframe() {
        let (mut backlog, now) = (Backlog::new(BUDGET), Instant::now());
        assert_eq!(backlog.admit(ms(20), true, now), Some(ms(20)));
        assert_eq!(backlog.admit(ms(900), false, now), Some(ms(900)));
        for (late, is_keyframe) in [(1100, false), (1050, true), (400, false), (0, false)] {
            assert_eq!(backlog.admit(ms(late), is_keyframe, now), None);
        }
        assert_eq!(backlog.admit(ms(10), true, now), Some(ms(10)));
        assert_eq!(backlog.admit(ms(30), false, now), Some(ms(30)));
    }

    #[test]
    fn video_that_is_always_late_is_watched_after_a_while() {
        let (mut backlog, start) = (Backlog::new(BUDGET), Instant::now());
        assert_eq!(backlog.admit(ms(7000), true, start), None);
        assert_eq!(backlog.admit(ms(7000), false, start + GIVE_UP_AFTER), None);
        assert_eq!(backlog.admit(ms(7000), true, start + GIVE_UP_AFTER), Some(ms(0)));
        assert_eq!(backlog.admit(ms(7500), false, start + GIVE_UP_AFTER), Some(ms(500)));
        assert_eq!(backlog.admit(ms(100), false, start + GIVE_UP_AFTER), Some(ms(0)), "it caught up");
        assert_eq!(backlog.admit(ms(1200), false, start + GIVE_UP_AFTER), None);
    }
}
