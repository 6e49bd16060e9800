//! The engine that runs a plan on GPUs, over a [`Device`] that is CUDA's driver or, in tests, a fake one.
//!
//! From the bottom up: [`api`] is what is needed of CUDA, [`network`] of TensorRT, call by call; [`cuda`] is CUDA's
//! driver behind it; [`context`] keeps a device's context for as long as someone works in it and throws it away when it
//! is lost; [`owned`] gives handles an owner; [`loaded`] is a model in a context; [`pixels`] holds decoded pictures for
//! the preprocessing there; [`lane`] runs batches on one stream; [`engine`] spreads lanes over devices. Beside them:
//! [`startup`] says why a machine cannot do all this, [`watch`] reads memory and utilisation, [`metrics`] counts.
//!
//! # How copies and compute overlap
//! A lane does one batch after the other: copy in, compute, copy out, wait. Two lanes on a device have two streams
//! and two TensorRT contexts, and a thread each, so while one computes the other copies. Nothing else is needed for
//! the copies to cost no time.
//!
//! # How work spreads over devices
//! Lanes pull: an idle one takes the next batch, whatever camera it comes from. A device that is twice as fast
//! takes twice as many; one that fails takes none. No camera belongs to a device.

pub mod alone;
pub mod api;
pub mod context;
pub mod cuda;
pub mod engine;
pub mod error;
#[doc(hidden)]
pub mod fake;
pub mod lane;
pub mod loaded;
pub mod metrics;
pub mod network;
pub mod nvml;
pub mod owned;
pub mod pixels;
pub mod startup;
#[cfg(test)]
mod tests;
pub mod watch;

pub use api::{Capability, Device, DeviceInfo, Execution, ExecutionSource, Plan, PlanShape};
pub use context::Gpu;
pub use engine::{Setup, TensorRtEngine};
pub use error::{DeviceError, ErrorKind};
pub use metrics::Metrics;
