//! When a frame was captured, by the wall clock. Takes no clock.
//!
//! A camera's sender reports (RTCP, RFC 3550, 6.4.1) tell the time of capture by the camera's own clock. It is
//! believed as long as it is near the time of arrival by this server's clock; else the arrival stands for it, and is
//! marked. Ages are never taken from either: they are the monotonic clock's matter.
//!
//! Times of a camera only rise, whatever the clocks do. Where a clock was set back, or a camera's first sender report
//! shows that frames were captured earlier than they arrived, the times of the following frames run at an eighth of
//! the speed until what is meant has caught up.

use std::time::{Duration, Instant, SystemTime};

use crate::frame::CaptureQuality;

/// While times are held back they run slower by this.
const SLOWER: u32 = 8;
/// Held back for more than this, a camera's time is not its own any more.
const HELD: Duration = Duration::from_secs(1);

/// The capture times of one camera.
#[derive(Debug, Default)]
pub(super) struct CaptureClock {
    last: Option<(Instant, SystemTime)>,
    /// The camera's clock was found to be off, and nobody need be told again.
    told: bool,
}

/// A frame's time of capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dated {
    pub(super) wall: SystemTime,
    pub(super) quality: CaptureQuality,
    /// For the first time since it was last right, the camera's clock is off by so much.
    pub(super) news: Option<Duration>,
}

impl CaptureClock {
    /// Dates a frame that arrived at `arrived`, which this server's wall clock calls `arrival`, and of which the
    /// camera says that it captured it at `reported`. That is believed up to `max_offset` away from `arrival`.
    pub(super) fn date(
        &mut self,
        arrived: Instant,
        arrival: SystemTime,
        reported: Option<SystemTime>,
        max_offset: Duration,
    ) -> Dated {
        let offset = reported.map(|reported| distance(reported, arrival));
        let (meant, quality) = match (reported, offset) {
            (Some(reported), Some(offset)) if offset <= max_offset => {
                (reported, CaptureQuality::SenderReport)
            }
            (Some(_), _) => (arrival, CaptureQuality::CameraClockOff),
            (None, _) => (arrival, CaptureQuality::Arrival),
        };
        let news = self.news(quality, offset.unwrap_or_default());
        let wall = self.rise(arrived, meant);
        let held = distance(wall, meant) > HELD && quality == CaptureQuality::SenderReport;
        let quality = if held { CaptureQuality::CameraClockOff } else { quality };
        Dated { wall, quality, news }
    }

    /// The time that is meant, or a later one that keeps times rising.
    fn rise(&mut self, arrived: Instant, meant: SystemTime) -> SystemTime {
        let Some((before, last)) = self.last else {
            self.last = Some((arrived, meant));
            return meant;
        };
        let step = arrived.saturating_duration_since(before) / SLOWER;
        let wall = meant.max(last.checked_add(step).unwrap_or(last));
        self.last = Some((arrived.max(before), wall));
        wall
    }

    fn news(&mut self, quality: CaptureQuality, offset: Duration) -> Option<Duration> {
        match quality {
            CaptureQuality::CameraClockOff => (!std::mem::replace(&mut self.told, true)).then_some(offset),
            CaptureQuality::SenderReport => {
                self.told = false;
                None
            }
            CaptureQuality::Arrival => None,
        }
    }
}

fn distance(one: SystemTime, other: SystemTime) -> Duration {
    one.duration_since(other).unwrap_or_else(|error| error.duration())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MOST: Duration = Duration::from_secs(10);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Noon of some day, and what the monotonic clock says then.
    fn noon() -> (Instant, SystemTime) {
        (Instant::now(), SystemTime::UNIX_EPOCH + Duration::from_secs(20_000 * 86_400 + 43_200))
    }

    #[test]
    fn a_camera_s_own_time_is_taken_once_it_is_told() {
        let (mut clock, (start, noon)) = (CaptureClock::default(), noon());
        let first = clock.date(start, noon, None, MOST);
        assert_eq!((first.wall, first.quality), (noon, CaptureQuality::Arrival));
        // Captured 80 ms before it arrived, and so 30 ms after the frame before it.
        let second = clock.date(start + ms(110), noon + ms(110), Some(noon + ms(30)), MOST);
        assert_eq!((second.wall, second.quality), (noon + ms(30), CaptureQuality::SenderReport));
        assert_eq!(second.news, None);
    }

    #[test]
    fn the_first_report_does_not_turn_time_back() {
        let (mut clock, (start, noon)) = (CaptureClock::default(), noon());
        clock.date(start, noon, None, MOST);
        let mut walls = Vec::new();
        for frame in 1..=10 {
            let at = ms(100 * frame);
            walls.push(clock.date(start + at, noon + at, Some(noon + at - ms(300)), MOST).wall);
        }
        assert!(walls.is_sorted() && walls[0] == noon + ms(100) / 8, "{walls:?}");
        assert_eq!(walls[9], noon + ms(700), "it has caught up");
    }

    #[test]
    fn a_time_that_cannot_be_is_replaced_marked_and_told_once() {
        let (start, noon) = noon();
        let ntp_era = SystemTime::UNIX_EPOCH - Duration::from_secs(2_208_988_800);
        let hour = Duration::from_secs(3600);
        for absurd in [ntp_era, SystemTime::UNIX_EPOCH, noon - hour, noon + hour] {
            let mut clock = CaptureClock::default();
            let first = clock.date(start, noon, Some(absurd), MOST);
            assert_eq!((first.wall, first.quality), (noon, CaptureQuality::CameraClockOff));
            assert_eq!(first.news, Some(distance(absurd, noon)));
            let next = clock.date(start + ms(100), noon + ms(100), Some(absurd + ms(100)), MOST);
            assert_eq!((next.wall, next.news), (noon + ms(100), None));
            let right = noon + ms(150);
            assert_eq!(
                clock.date(start + ms(200), noon + ms(200), Some(right), MOST).quality,
                CaptureQuality::SenderReport
            );
            let again = clock.date(start + ms(300), noon + ms(300), Some(absurd), MOST);
            assert!(again.news.is_some(), "it was right in between");
        }
    }

    #[test]
    fn a_camera_s_clock_that_is_set_back_is_marked_while_it_catches_up() {
        let (mut clock, (start, noon)) = (CaptureClock::default(), noon());
        clock.date(start, noon, Some(noon + ms(8000)), MOST);
        let back = clock.date(start + ms(80), noon + ms(80), Some(noon + ms(80)), MOST);
        assert_eq!((back.wall, back.quality), (noon + ms(8010), CaptureQuality::CameraClockOff));
        let later = clock.date(start + ms(9200), noon + ms(9200), Some(noon + ms(9200)), MOST);
        assert_eq!((later.wall, later.quality), (noon + ms(9200), CaptureQuality::SenderReport));
    }

    #[test]
    fn with_no_offset_allowed_only_exact_clocks_are_believed() {
        let (mut clock, (start, noon)) = (CaptureClock::default(), noon());
        let off = clock.date(start, noon, Some(noon - ms(1)), Duration::ZERO);
        assert_eq!((off.wall, off.quality), (noon, CaptureQuality::CameraClockOff));
    }

    /// A frame: after so many ms; the server's clock then off by so many; the camera's report, if any.
    fn any_frame() -> impl Strategy<Value = (u64, i64, Option<i64>)> {
        let server = prop_oneof![8 => Just(0i64), 1 => -5_000_000i64..5_000_000];
        let camera = prop_oneof![
            4 => (-400i64..50).prop_map(Some),
            2 => Just(None),
            1 => (-20_000i64..20_000).prop_map(Some),
            1 => (-4_000_000_000i64..4_000_000_000).prop_map(Some),
        ];
        (0u64..2000, server, camera)
    }

    fn shift(time: SystemTime, by: i64) -> SystemTime {
        if by < 0 { time - ms(by.unsigned_abs()) } else { time + ms(by.unsigned_abs()) }
    }

    proptest! {
        #[test]
        fn times_never_fall_and_what_is_called_the_camera_s_is_near_it(
            frames in prop::collection::vec(any_frame(), 1..100)
        ) {
            let (mut clock, (start, noon)) = (CaptureClock::default(), noon());
            let (mut at, mut last) = (0, SystemTime::UNIX_EPOCH);
            for (after, server, camera) in frames {
                at += after;
                let arrival = shift(noon + ms(at), server);
                let reported = camera.map(|off| shift(arrival, off));
                let dated = clock.date(start + ms(at), arrival, reported, MOST);
                prop_assert!(dated.wall >= last, "{dated:?} after {last:?}");
                last = dated.wall;
                match (dated.quality, reported) {
                    (CaptureQuality::SenderReport, Some(reported)) => {
                        prop_assert!(distance(dated.wall, reported) <= HELD);
                        prop_assert!(distance(reported, arrival) <= MOST);
                    }
                    (CaptureQuality::SenderReport, None) => prop_assert!(false, "nothing was reported"),
                    (CaptureQuality::Arrival, reported) => prop_assert!(reported.is_none()),
                    (CaptureQuality::CameraClockOff, reported) => prop_assert!(reported.is_some()),
                }
            }
        }

        #[test]
        fn a_well_set_camera_is_dated_exactly_after_a_while(delays in prop::collection::vec(20u64..400, 80..120)) {
            let (mut clock, (start, noon)) = (CaptureClock::default(), noon());
            for (number, delay) in delays.iter().enumerate() {
                let captured = ms(1000 + 100 * number as u64);
                let arrived = captured + ms(*delay);
                let reported = (number > 10).then(|| noon + captured);
                let dated = clock.date(start + arrived, noon + arrived, reported, MOST);
                if number > 20 {
                    prop_assert_eq!((dated.wall, dated.quality), (noon + captured, CaptureQuality::SenderReport));
                }
            }
        }
    }
}
