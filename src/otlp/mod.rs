//! Traces of sampled frames to an OpenTelemetry collector, by OTLP over gRPC.
//!
//! One trace a frame, one span a stage under it (`convert`). Stories wait in a queue of limited length for one task
//! that sends them in batches (`export`). What the queue has no room for, and what cannot be sent, is dropped and
//! counted: a collector that is slow or gone costs the server nothing but its traces.
//!
//! The settings are here whether or not the server was built with the feature `otlp`.

mod config;
#[cfg(feature = "otlp")]
mod convert;
#[cfg(feature = "otlp")]
mod export;

pub use config::Config;
#[cfg(feature = "otlp")]
pub use export::{Error, Exporter, Metrics};
