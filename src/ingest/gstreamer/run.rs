//! What the callbacks of one pipeline share. It never holds the pipeline, which holds them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use gstreamer as gst;
use gstreamer_app as gst_app;

use crate::camera::{CameraUrl, FailureKind};
use crate::ingest::link::Link;
use crate::ingest::source::{Decoded, Failure};

use super::backlog::Backlog;
use super::errors;
use super::picture;

/// The state of one run of a pipeline.
pub(super) struct Run {
    pub(super) url: CameraUrl,
    link: Arc<Link>,
    arrivals: Mutex<Arrivals>,
    backlog: Option<Mutex<Backlog>>,
    hints: Mutex<Hints>,
}

/// What was seen on the way to an error and explains it.
#[derive(Clone, Debug, Default)]
pub(super) struct Hints {
    /// Some stream is video.
    pub(super) video: bool,
    /// What the streams that are not video are, such as `audio`.
    pub(super) others: Vec<String>,
    /// What no decoder was found for, as caps.
    pub(super) missing: Option<String>,
}

impl Hints {
    /// There is no decoder for `caps`. Of several, that of the video explains why there is none.
    fn lack(&mut self, caps: String) {
        if self.missing.is_none() || caps.starts_with("video/") {
            self.missing = Some(caps);
        }
    }
}

impl Run {
    /// With a `max_backlog`, coded frames that waited longer are skipped.
    pub(super) fn new(url: CameraUrl, link: Arc<Link>, max_backlog: Option<Duration>) -> Arc<Self> {
        let backlog = max_backlog.map(|budget| Mutex::new(Backlog::new(budget)));
        Arc::new(Self { url, link, arrivals: Mutex::default(), backlog, hints: Mutex::default() })
    }

    /// Whether a stream is the one to watch: the first that is video.
    pub(super) fn choose(&self, media: &str) -> bool {
        let mut hints = self.hints();
        let is_video = matches!(media, "video" | "image");
        if !is_video {
            hints.others.push(media.to_owned());
        }
        is_video && !std::mem::replace(&mut hints.video, true)
    }

    /// All streams are known: one must be video.
    pub(super) fn all_streams_known(&self) {
        let hints = self.hints().clone();
        if !hints.video {
            self.fail(errors::no_video(&self.url, &hints));
        }
    }

    /// A coded frame reached the decoder, `late` by its time stamp. Returns whether it is to be decoded.
    pub(super) fn coded(&self, buffer: &gst::BufferRef, late: Duration) -> bool {
        let now = Instant::now();
        let is_keyframe = !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
        let waited = self.backlog.as_ref().map_or(Some(Duration::ZERO), |backlog| {
            backlog.lock().unwrap_or_else(PoisonError::into_inner).admit(late, is_keyframe, now)
        });
        let Some(waited) = waited else {
            self.link.skip();
            return false;
        };
        let arrived = now.checked_sub(waited).unwrap_or(now);
        let arrival = Arrival { arrived, decode_began: now, reported: reported(buffer) };
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner).note(buffer.pts(), arrival);
        self.link.coded();
        true
    }

    /// A picture is ready.
    pub(super) fn sample(&self, sink: &gst_app::AppSink) -> Result<gst::FlowSuccess, gst::FlowError> {
        let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
        let decoded = Instant::now();
        let pts = sample.buffer().and_then(|buffer| buffer.pts());
        let damaged =
            sample.buffer().is_some_and(|buffer| buffer.flags().contains(gst::BufferFlags::CORRUPTED));
        let arrival = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner).take(pts);
        match picture::from_sample(&sample) {
            Ok(picture) => {
                let at_once = Arrival { arrived: decoded, decode_began: decoded, reported: None };
                let Arrival { arrived, decode_began, reported } = arrival.unwrap_or(at_once);
                self.link.deliver(Decoded { picture, arrived, decode_began, decoded, reported, damaged });
                Ok(gst::FlowSuccess::Ok)
            }
            Err(problem) => {
                self.fail(Failure::new(FailureKind::Codec, format!("a picture cannot be used: {problem}")));
                Err(gst::FlowError::Error)
            }
        }
    }

    /// Something was said on the pipeline's bus. Runs on whatever thread says it.
    pub(super) fn message(&self, message: &gst::Message) {
        match message.view() {
            gst::MessageView::Eos(_) => self.link.end(Ok(())),
            gst::MessageView::Error(error) => {
                let debug = error.debug().unwrap_or_default();
                self.fail(errors::explain(&self.url, &error.error(), &debug, &self.hints()));
            }
            gst::MessageView::Element(element) => {
                if let Some(caps) = element.structure().and_then(errors::missing_decoder) {
                    self.hints().lack(caps);
                }
            }
            _ => {}
        }
    }

    pub(super) fn fail(&self, failure: Failure) {
        self.link.end(Err(failure));
    }

    fn hints(&self) -> MutexGuard<'_, Hints> {
        self.hints.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When coded frames arrived, so that their pictures can be dated.
#[derive(Debug, Default)]
struct Arrivals(VecDeque<(Option<gst::ClockTime>, Arrival)>);

/// When a coded frame arrived here, and when it got to its decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Arrival {
    arrived: Instant,
    decode_began: Instant,
    /// When it was captured, by the camera's clock, if it tells.
    reported: Option<SystemTime>,
}

/// Seconds from NTP's beginning, 1900, to Unix's, 1970 (RFC 868).
const NTP_TO_UNIX: Duration = Duration::from_secs(2_208_988_800);

/// When a frame was captured by the camera's clock: `rtspsrc` works it out from the camera's sender reports, and notes
/// it as nanoseconds since 1900. Takes it to be in NTP's first era, until 2036.
fn reported(buffer: &gst::BufferRef) -> Option<SystemTime> {
    let is_ntp =
        |reference: &gst::CapsRef| reference.structure(0).is_some_and(|s| s.name() == "timestamp/x-ntp");
    let notes = buffer.iter_meta::<gst::ReferenceTimestampMeta>();
    let since_1900 = notes.filter(|note| is_ntp(note.reference())).map(|note| note.timestamp()).next()?;
    let since_1900 = Duration::from_nanos(since_1900.nseconds());
    match since_1900.checked_sub(NTP_TO_UNIX) {
        Some(since_1970) => SystemTime::UNIX_EPOCH.checked_add(since_1970),
        None => SystemTime::UNIX_EPOCH.checked_sub(NTP_TO_UNIX - since_1900),
    }
}

/// More than any decoder holds back to bring its pictures into order.
const MOST_ARRIVALS: usize = 64;

impl Arrivals {
    fn note(&mut self, pts: Option<gst::ClockTime>, at: Arrival) {
        if self.0.len() == MOST_ARRIVALS {
            self.0.pop_front();
        }
        self.0.push_back((pts, at));
    }

    /// The arrival of the picture with this time stamp; of the last coded frame where the stamps do not
    /// tell.
    fn take(&mut self, pts: Option<gst::ClockTime>) -> Option<Arrival> {
        let stamped = pts.and_then(|_| self.0.iter().position(|(stamp, _)| *stamp == pts));
        match stamped {
            Some(index) => self.0.remove(index).map(|(_, at)| at),
            None => self.0.back().map(|(_, at)| *at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_dated_by_their_coded_frames_in_any_order() {
        let (mut arrivals, start) = (Arrivals::default(), Instant::now());
        let at =
            |ms| Arrival { arrived: start, decode_began: start + Duration::from_millis(ms), reported: None };
        let stamp = |ms| Some(gst::ClockTime::from_mseconds(ms));
        for (pts, ms) in [(0, 1), (80, 41), (40, 81)] {
            arrivals.note(stamp(pts), at(ms));
        }
        assert_eq!(arrivals.take(stamp(40)), Some(at(81)));
        assert_eq!(arrivals.take(stamp(80)), Some(at(41)));
        assert_eq!(arrivals.take(stamp(7)), Some(at(1)), "an unknown stamp takes the last arrival");
        assert_eq!(Arrivals::default().take(None), None);
    }

    #[test]
    fn arrivals_nobody_asks_for_do_not_pile_up() {
        let mut arrivals = Arrivals::default();
        for _ in 0..1000 {
            let now = Instant::now();
            arrivals.note(None, Arrival { arrived: now, decode_began: now, reported: None });
        }
        assert_eq!(arrivals.0.len(), MOST_ARRIVALS);
    }
}
