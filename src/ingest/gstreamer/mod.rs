//! The source that GStreamer is: one pipeline a connection.
//!
//! ```text
//! rtsp   rtspsrc ───────────────────────────┐
//! v4l2   v4l2src ───────────────────────────┼─ decodebin ─ videoconvert ─ appsink ─ Link
//! file   filesrc ──── parsebin ─ clocksync ─┤
//! http   souphttpsrc ─ parsebin ─ clocksync ┘
//! test   videotestsrc ─────────────────────────────────── videoconvert ─ appsink ─ Link
//! ```
//!
//! `clocksync` paces what arrives faster than real time *before* the decoder, so that what follows is the
//! same for files as for cameras: nothing waits after it. Decoders are picked by rank; `videoconvert`
//! passes I420 and NV12 through untouched.

use std::sync::Arc;

use gstreamer as gst;
use gstreamer::prelude::*;

use crate::camera::{CameraSpec, FailureKind};

use super::Error;
use super::link::Link;
use super::source::{Failure, Options, Session, Source};

mod backlog;
pub mod clip;
mod errors;
mod picture;
mod pipeline;
mod run;
mod sources;

/// Opens cameras with GStreamer.
#[derive(Debug)]
pub struct GStreamer(());

/// Every pipeline needs these, whatever the camera.
const ELEMENTS: [(&str, &str); 7] = [
    ("decodebin", "gstreamer1.0-plugins-base"),
    ("parsebin", "gstreamer1.0-plugins-base"),
    ("videoconvert", "gstreamer1.0-plugins-base"),
    ("appsink", "gstreamer1.0-plugins-base"),
    ("clocksync", "libgstreamer1.0-0"),
    ("filesrc", "libgstreamer1.0-0"),
    ("rtspsrc", "gstreamer1.0-plugins-good"),
];

impl GStreamer {
    /// Starts GStreamer.
    ///
    /// # Errors
    /// It does not start, or lacks what every camera needs.
    pub fn new() -> Result<Self, Error> {
        gst::init().map_err(|error| Error::GStreamer(error.to_string()))?;
        match ELEMENTS.iter().find(|(name, _)| gst::ElementFactory::find(name).is_none()) {
            Some((name, package)) => Err(Error::GStreamer(format!(
                "its element {name} is missing; install {package} and gstreamer1.0-libav (Debian's names)"
            ))),
            None => Ok(Self(())),
        }
    }
}

impl Source for GStreamer {
    fn open(
        &self,
        spec: &CameraSpec,
        options: &Options,
        link: Arc<Link>,
    ) -> Result<Box<dyn Session>, Failure> {
        let pipeline = pipeline::build(spec, options, Arc::clone(&link))?;
        let session = Box::new(Playing(pipeline));
        if session.0.set_state(gst::State::Playing).is_err() {
            // An element has told why already, as a rule; the first word counts.
            link.end(Err(Failure::new(FailureKind::Other, format!("{} cannot be started", spec.url))));
        }
        Ok(session)
    }
}

/// A pipeline that is stopped when it goes.
struct Playing(gst::Pipeline);

impl Session for Playing {
    fn close(self: Box<Self>) {
        drop(self);
    }
}

impl Drop for Playing {
    fn drop(&mut self) {
        // Waits for the streaming threads to end. A pipeline that refuses to stop cannot be helped.
        let _ = self.0.set_state(gst::State::Null);
        if let Some(bus) = self.0.bus() {
            bus.unset_sync_handler();
        }
    }
}
