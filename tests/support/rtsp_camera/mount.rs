//! One camera of the server: feeds a clip for ever, with time stamps that only rise.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_rtsp_server as rtsp;
use gstreamer_rtsp_server::prelude::*;

use super::Clip;

/// The sinks of the RTSP server hold the frames to the clock; two frames ahead are enough.
pub const LAUNCH: &str = "( appsrc name=clip format=time max-buffers=2 max-bytes=0 \
    caps=video/x-h264,stream-format=byte-stream,alignment=au \
    ! rtph264pay config-interval=-1 name=pay0 pt=96 )";

/// A handle on a served clip, to make it misbehave.
#[derive(Clone)]
pub struct Mount(Arc<Mutex<State>>);

struct State {
    clip: Arc<Clip>,
    start: usize,
    fps: Option<gst::Fraction>,
    frozen: bool,
    /// Seconds by which its clock is wrong.
    clock: Arc<AtomicI64>,
    feeders: Vec<Weak<Mutex<Feeder>>>,
}

/// Feeds one media, that all its viewers share.
struct Feeder {
    /// Weak: the source's callback holds the feeder.
    source: gst::glib::WeakRef<gst_app::AppSrc>,
    clip: Arc<Clip>,
    next: usize,
    time: gst::ClockTime,
}

impl Mount {
    pub(super) fn new(clip: Arc<Clip>, start: usize, fps: Option<gst::Fraction>) -> Self {
        Self(Arc::new(Mutex::new(State {
            clip,
            start,
            fps,
            frozen: false,
            clock: Arc::default(),
            feeders: Vec::new(),
        })))
    }

    /// Stops the frames and keeps the connections, or lets frames come again.
    pub fn freeze(&self, frozen: bool) {
        let feeders = {
            let mut state = self.lock();
            state.frozen = frozen;
            state.feeders.retain(|feeder| feeder.strong_count() > 0);
            state.feeders.clone()
        };
        for feeder in feeders.iter().filter_map(Weak::upgrade) {
            self.push(&feeder);
        }
    }

    /// Sets its clock wrong by so many seconds, as its sender reports tell the time.
    pub fn set_clock(&self, seconds: i64) {
        self.lock().clock.store(seconds, Ordering::SeqCst);
    }

    /// Goes on with another clip, from its beginning.
    pub fn switch(&self, clip: Arc<Clip>) {
        self.lock().clip = clip;
    }

    pub(super) fn feed(&self, media: &rtsp::RTSPMedia) {
        let clock = Arc::clone(&self.lock().clock);
        media.connect_prepared(move |media| {
            if let Some(pipeline) = media.element().parent().and_downcast::<gst::Bin>() {
                tell_time(&pipeline, &clock);
            }
        });
        let element = media.element();
        let source = element
            .downcast_ref::<gst::Bin>()
            .and_then(|bin| bin.by_name("clip"))
            .and_then(|source| source.downcast::<gst_app::AppSrc>().ok());
        let Some(source) = source else { return };
        let feeder = {
            let mut state = self.lock();
            let clip = Arc::clone(&state.clip);
            let next = clip.keyframe_from(state.start);
            let feeder = Feeder { source: source.downgrade(), clip, next, time: gst::ClockTime::ZERO };
            let feeder = Arc::new(Mutex::new(feeder));
            state.feeders.push(Arc::downgrade(&feeder));
            feeder
        };
        let mount = self.clone();
        let callbacks = gst_app::AppSrcCallbacks::builder().need_data(move |_, _| mount.push(&feeder));
        source.set_callbacks(callbacks.build());
    }

    /// Pushes the next frame, unless frozen.
    fn push(&self, feeder: &Mutex<Feeder>) {
        let (clip, fps) = {
            let state = self.lock();
            if state.frozen {
                return;
            }
            (Arc::clone(&state.clip), state.fps)
        };
        let mut feeder = feeder.lock().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&clip, &feeder.clip) {
            (feeder.clip, feeder.next) = (clip, 0);
        }
        let duration = Clip::frame_duration(fps.unwrap_or(feeder.clip.fps));
        // The bytes are shared, only the time stamps are this frame's own.
        let mut buffer = feeder.clip.units[feeder.next].buffer.copy();
        if let Some(stamps) = buffer.get_mut() {
            stamps.set_pts(feeder.time);
            stamps.set_dts(feeder.time);
            stamps.set_duration(duration);
        }
        feeder.time += duration;
        feeder.next = (feeder.next + 1) % feeder.clip.units.len();
        if let Some(source) = feeder.source.upgrade() {
            // It fails when the last viewer has gone, and then nobody waits for it.
            let _ = source.push_buffer(buffer);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a sender report has the seconds of its NTP time (RFC 3550, 6.4.1), and the type that says it is one.
const NTP_SECONDS: std::ops::Range<usize> = 8..12;
const SENDER_REPORT: u8 = 200;

/// Makes all that a media sends tell the time of a clock that is wrong by so many seconds.
fn tell_time(pipeline: &gst::Bin, clock: &Arc<AtomicI64>) {
    let is_manager =
        |element: &gst::Element| element.factory().is_some_and(|factory| factory.name() == "rtpbin");
    let managers = pipeline.children().into_iter().filter(is_manager);
    for pad in managers.flat_map(|manager| manager.src_pads()) {
        if !pad.name().starts_with("send_rtcp_src") {
            continue;
        }
        let clock = Arc::clone(clock);
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, probe| {
            let wrong_by = clock.load(Ordering::SeqCst);
            if let (true, Some(gst::PadProbeData::Buffer(buffer))) = (wrong_by != 0, &mut probe.data)
                && let Ok(mut bytes) = buffer.make_mut().map_writable()
                && bytes.get(1) == Some(&SENDER_REPORT)
                && let Some(field) = bytes.get_mut(NTP_SECONDS)
                && let Ok(seconds) = <[u8; 4]>::try_from(&*field)
            {
                let told = i64::from(u32::from_be_bytes(seconds)).wrapping_add(wrong_by) as u32;
                field.copy_from_slice(&told.to_be_bytes());
            }
            gst::PadProbeReturn::Ok
        });
    }
}
