//! The gRPC services: the only place with generated types and `Status`.
//!
//! [`backend::Backend`] is all that the services know of the rest of the server. A request is converted and
//! checked (`convert_*`), handed over, and the outcome is converted back or mapped to a status (`status`).
//!
//! What does not belong here: deciding anything about cameras, models or frames.

pub mod backend;
mod cameras;
mod convert_cameras;
mod convert_detections;
mod cors;
mod detections;
mod health;
mod models;
mod observe;
mod server;
mod status;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use serde::Deserialize;

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
    /// On shutdown, subscriptions and answers under way get this long.
    #[serde(with = "humantime_serde")]
    pub drain: Duration,
    /// Pictures of `Detect` that are decoded at a time.
    pub decoders: NonZeroUsize,
    /// Pictures of `Detect` that may be decoded, wait and be looked at at a time; more are refused.
    pub pictures: NonZeroUsize,
    /// Origins of web pages that may use this server, such as `https://cameras.example`; `*` is all of them.
    /// Pages of this machine may in any case.
    pub web_origins: Vec<String>,
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
            web_origins: Vec::new(),
        }
    }
}
