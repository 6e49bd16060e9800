//! What cameras ask of a model, and what it can do.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::camera::{CameraSpec, CameraUrl};

/// What a camera without `max_fps` counts as until its rate was seen, in frames a second.
pub const ASSUMED_FPS: f64 = 25.0;
/// A rate is told after so long.
const WINDOW: Duration = Duration::from_secs(2);
/// A camera that brought nothing for so long was away, and not slow.
const AWAY: Duration = Duration::from_secs(5);

/// How many frames a second come. Takes no clock.
#[derive(Debug, Default)]
pub struct Meter(Mutex<Window>);

#[derive(Debug, Default)]
struct Window {
    first: Option<Instant>,
    last: Option<Instant>,
    frames: u32,
    rate: Option<f64>,
}

impl Meter {
    /// A frame comes.
    pub fn count(&self, now: Instant) {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let away = window.last.is_none_or(|last| now.saturating_duration_since(last) > AWAY);
        let first = window.first.filter(|_| !away).unwrap_or(now);
        window.last = Some(now);
        let elapsed = now.saturating_duration_since(first);
        if away || elapsed >= WINDOW {
            if elapsed >= WINDOW {
                window.rate = Some(f64::from(window.frames) / elapsed.as_secs_f64());
            }
            (window.first, window.frames) = (Some(now), 1);
        } else {
            window.frames += 1;
        }
    }

    /// Frames a second when last seen; none before that.
    pub fn rate(&self) -> Option<f64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).rate
    }
}

/// What of a camera's settings decides how many frames come from it.
#[derive(Clone, Debug, PartialEq)]
pub struct Flow {
    url: CameraUrl,
    enabled: bool,
    max_fps: Option<f64>,
}

impl Flow {
    /// Those of a camera.
    pub fn of(spec: &CameraSpec) -> Self {
        Self { url: spec.url.clone(), enabled: spec.enabled, max_fps: spec.max_fps }
    }

    /// Frames a second it asks to be looked at: as seen, or else as allowed, or else [`ASSUMED_FPS`].
    pub fn load(&self, meter: &Meter) -> f64 {
        if !self.enabled {
            return 0.0;
        }
        meter.rate().or(self.max_fps).unwrap_or(ASSUMED_FPS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::camera::CameraId;

    fn flow(enabled: bool, max_fps: Option<f64>) -> Flow {
        let url = CameraUrl::parse("test://ball").unwrap();
        let spec = CameraSpec { enabled, max_fps, ..CameraSpec::new(CameraId::new("a").unwrap(), url) };
        Flow::of(&spec)
    }

    fn feed(meter: &Meter, from: Instant, fps: u32, seconds: u32) -> Instant {
        (0..fps * seconds).for_each(|frame| meter.count(from + Duration::from_secs(1) / fps * frame));
        from + Duration::from_secs(seconds.into())
    }

    #[test]
    fn a_rate_is_seen_after_a_while_and_survives_an_absence() {
        let (meter, start) = (Meter::default(), Instant::now());
        let end = feed(&meter, start, 10, 1);
        assert_eq!(meter.rate(), None);
        let end = feed(&meter, end, 10, 2);
        assert!((meter.rate().unwrap() - 10.0).abs() < 0.1, "{:?}", meter.rate());
        let end = feed(&meter, end + Duration::from_secs(60), 10, 1);
        assert!((meter.rate().unwrap() - 10.0).abs() < 0.6, "{:?}", meter.rate());
        feed(&meter, end, 30, 5);
        assert!((meter.rate().unwrap() - 30.0).abs() < 0.5, "{:?}", meter.rate());
    }

    #[test]
    fn a_camera_asks_for_what_was_seen_or_else_allowed() {
        let meter = Meter::default();
        assert_eq!(flow(true, None).load(&meter), ASSUMED_FPS);
        assert_eq!(flow(true, Some(5.0)).load(&meter), 5.0);
        assert_eq!(flow(false, Some(5.0)).load(&meter), 0.0);
        feed(&meter, Instant::now(), 4, 5);
        assert!((flow(true, Some(5.0)).load(&meter) - 4.0).abs() < 0.1);
    }
}
