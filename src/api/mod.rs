//! The gRPC services: the only place with generated types and `Status`.
//!
//! [`backend::Backend`] is all that the services know of the rest of the server. A request is converted and
//! checked (`convert_*`), handed over, and the outcome is converted back or mapped to a status (`status`).
//!
//! What does not belong here: deciding anything about cameras, models or frames.

mod authorize;
pub mod backend;
mod budget;
mod cameras;
mod convert_cameras;
mod convert_detections;
mod convert_frames;
mod convert_history;
mod convert_live;
mod convert_tests;
mod cors;
mod detect_stream;
mod detections;
#[cfg(fuzzing)]
pub mod fuzzing;
mod health;
mod live;
mod models;
mod observe;
mod peers;
mod places;
mod rates;
#[cfg(test)]
mod reference;
mod server;
mod status;
mod subscribe;

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use serde::Deserialize;

use crate::listen::places::Limits;
use crate::listen::tls;

pub use health::Health;
pub use observe::Metrics;
pub use server::{ServeError, Server, bind};

/// The generated wire types, clients and server traits of `proto/centerx/v1`, for Rust clients.
#[allow(missing_docs, clippy::all)] // generated
pub mod v1 {
    tonic::include_proto!("centerx.v1");
}

/// The protos as reflection tells them, comments included.
const DESCRIPTORS: &[u8] = tonic::include_file_descriptor_set!("centerx_descriptor");

/// The gRPC settings.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address and port to listen on.
    pub listen: SocketAddr,
    /// A request is answered within this time; subscriptions last as long as both sides like.
    #[serde(with = "humantime_serde")]
    pub request_timeout: Duration,
    /// On shutdown, for answers and subscriptions under way.
    #[serde(with = "humantime_serde")]
    pub drain: Duration,
    /// Clients' pictures that are decoded at a time.
    pub decoders: NonZeroUsize,
    /// Clients' pictures that may be decoded, wait and be looked at at a time. More of `Detect` are refused;
    /// those of `DetectStream` wait, and take half of the places at most.
    pub pictures: NonZeroUsize,
    /// Calls of `DetectStream` at a time; more are refused.
    pub streams: NonZeroUsize,
    /// Frames of one `DetectStream` that may be under way; more are not read yet.
    pub stream_window: NonZeroUsize,
    /// Subscriptions and calls of `DetectStream` that one peer may have open; more are refused. A peer is an IPv4
    /// address, or the first 64 bits of an IPv6 address.
    pub peer_streams: NonZeroUsize,
    /// Calls a second that one peer may begin; more are refused.
    pub peer_calls: NonZeroU32,
    /// Bytes of the largest picture that a client may send; the largest message is a little larger.
    pub picture_bytes: NonZeroU32,
    /// Origins of web pages that may use this server, such as `https://cameras.example`; `*` is all of them.
    /// Pages of this machine may in any case.
    pub web_origins: Vec<String>,
    /// Connections at a time; a quarter of them at most have not made a call yet.
    pub connections: usize,
    /// Connections at a time from one address; an IPv6 network of 64 bits counts as one.
    pub connections_per_peer: usize,
    /// From a connection to its HTTP/2 greeting or the end of its first request's head, TLS included.
    #[serde(with = "humantime_serde")]
    pub first_request_timeout: Duration,
    /// A connection without a call for so long is closed; clients open another with their next call.
    #[serde(with = "humantime_serde")]
    pub idle_timeout: Duration,
    /// A connection that is silent this long is asked whether it lives, and has as long to answer; 1 s at
    /// least.
    #[serde(with = "humantime_serde")]
    pub keep_alive: Duration,
    /// Its certificate: https in place of http.
    pub tls: Option<tls::Config>,
}

impl Default for Config {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 50051)),
            request_timeout: Duration::from_secs(30),
            drain: Duration::from_secs(1),
            // A picture of 50 megapixels takes 150 MB and more while it is decoded.
            decoders: cores.min(NonZeroUsize::MIN.saturating_add(3)),
            pictures: NonZeroUsize::MIN.saturating_add(31),
            streams: NonZeroUsize::MIN.saturating_add(63),
            // One a lane of a small machine, one in the slot, one in the decoder.
            stream_window: NonZeroUsize::MIN.saturating_add(3),
            // A proxy may carry a thousand subscribers, and bring them all back at once.
            peer_streams: NonZeroUsize::MIN.saturating_add(1999),
            peer_calls: NonZeroU32::MIN.saturating_add(1999),
            picture_bytes: NonZeroU32::MIN.saturating_add((16 << 20) - 1),
            web_origins: Vec::new(),
            connections: 4096,
            // Proxies bring many clients from one address.
            connections_per_peer: 1024,
            first_request_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(600),
            keep_alive: Duration::from_secs(20),
            tls: None,
        }
    }
}

impl Config {
    /// Bytes of the largest picture.
    fn max_picture(&self) -> usize {
        usize::try_from(self.picture_bytes.get()).unwrap_or(usize::MAX)
    }

    /// Who may hold a connection.
    pub fn limits(&self) -> Limits {
        Limits {
            connections: self.connections,
            per_peer: self.connections_per_peer,
            first_request: self.first_request_timeout,
            idle: self.idle_timeout,
        }
    }

    /// Checks what parsing alone does not.
    ///
    /// # Errors
    /// The first value that cannot be accepted, and what would be right.
    pub fn validate(&self) -> Result<(), String> {
        if self.keep_alive < Duration::from_secs(1) {
            return Err(format!("keep_alive = {:?} asks too often: 1s at least", self.keep_alive));
        }
        self.limits().validate()
    }
}
