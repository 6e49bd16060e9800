//! What brings frames in: the traits between the retry loop and GStreamer, so that tests inject another.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::camera::{CameraSpec, FailureKind};
use crate::frame::Picture;

use super::link::Link;

/// Why a camera does not bring frames: a kind for software and words for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The kind.
    pub kind: FailureKind,
    /// What happened and what would mend it. Never holds a password.
    pub message: String,
}

impl Failure {
    /// A failure in words.
    pub fn new(kind: FailureKind, message: impl fmt::Display) -> Self {
        Self { kind, message: message.to_string() }
    }
}

/// One decoded picture as a source hands it over.
#[derive(Debug)]
pub struct Decoded {
    /// The pixels.
    pub picture: Picture,
    /// When its coded frame arrived here; `decoded` itself where nothing had to be decoded.
    pub arrived: Instant,
    /// When its coded frame got to the decoder: later than it arrived where it had to wait.
    pub decode_began: Instant,
    /// When the decoder was done with it.
    pub decoded: Instant,
    /// When it was captured, by the camera's own clock, if the camera tells.
    pub reported: Option<SystemTime>,
    /// The decoder lacked some of what it is made of, as before a stream's first keyframe and after a lost packet.
    pub damaged: bool,
}

/// What a connection needs to know of the settings.
#[derive(Clone, Debug)]
pub struct Options {
    /// Give up connecting after so long.
    pub connect_timeout: Duration,
    /// How long late packets of a UDP camera are waited for.
    pub udp_latency: Duration,
    /// Coded frames that waited longer for a decoder are skipped.
    pub max_backlog: Duration,
    /// Threads for the decoder.
    pub decoder_threads: u32,
}

/// Opens cameras.
pub trait Source: Send + Sync + 'static {
    /// Begins to connect; pictures, the end and failures arrive at `link`, also after a successful return.
    /// Called on a thread of its own: it may block.
    ///
    /// # Errors
    /// What is known at once, such as a missing device.
    fn open(
        &self,
        spec: &CameraSpec,
        options: &Options,
        link: Arc<Link>,
    ) -> Result<Box<dyn Session>, Failure>;
}

/// An open connection.
pub trait Session: Send {
    /// Ends it and frees what it holds. Called on a thread of its own: it may block. Afterwards nothing of
    /// it runs any more.
    fn close(self: Box<Self>);
}
