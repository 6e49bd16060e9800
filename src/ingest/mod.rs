//! Brings cameras' frames in: connects, decodes, watches for stalls, and retries for ever.
//!
//! ```text
//! Fleet ── one task a camera (watcher) ── Source::open ── streaming thread ── Link ── gate ── Sink::offer
//! ```
//!
//! The streaming thread decodes and hands each picture to the camera's gate, which enters it into the
//! books and either drops it by name or offers it to the [`Sink`]; it never waits. The task sees how the
//! connection fares, tells the camera's state and reconnects.
//!
//! What does not belong here: what is done with frames, and which camera's turn it is (`scheduler`).
//! `gstreamer` is the only module of it that names GStreamer.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use crate::camera::{CameraId, CameraStatus};
use crate::frame::Frame;
use crate::trace::Trace;

mod backoff;
mod capture;
mod config;
mod connector;
mod fleet;
mod gstreamer;
mod guarded;
mod link;
mod metrics;
mod pacing;
mod reach;
mod registry;
mod source;
mod trial;
mod verdict;
mod watched;
mod watcher;

pub use config::{Admission, Config};
pub use fleet::Fleet;
pub use gstreamer::{GStreamer, clip};
pub use link::Link;
pub use metrics::Metrics;
pub use registry::Store;
pub use source::{Decoded, Failure, Options, Session, Source};
pub use trial::Trial;

/// Where frames and camera states go. Calls come from streaming threads and tasks: none may block.
pub trait Sink: Send + Sync + 'static {
    /// Takes a frame, or drops it by name.
    fn offer(&self, frame: Frame);
    /// The trace of a frame whose coded frame arrived at `arrived`, if it is one of those that are traced.
    fn trace(&self, _id: &CameraId, _sequence: u64, _arrived: Instant) -> Option<Arc<Trace>> {
        None
    }
    /// A camera's state changed. Calls for one camera come in order.
    fn state_changed(&self, id: &CameraId, status: &Arc<CameraStatus>);
    /// The camera was removed, disabled or changed: frames of it that wait are to be dropped as
    /// [`CameraRemoved`](crate::ledger::DropReason::CameraRemoved). None of the old ones follows.
    fn forget(&self, id: &CameraId);
}

/// Why ingest cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// GStreamer cannot be used.
    #[error("GStreamer cannot be used: {0}")]
    GStreamer(String),
    /// The file of cameras cannot be used.
    #[error("the camera store {}: {problem}", path.display())]
    Store {
        /// The file.
        path: PathBuf,
        /// What is wrong and what would mend it.
        problem: String,
    },
}
