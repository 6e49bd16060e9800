//! TensorRT on NVIDIA GPUs: the same detector, compiled, batched.
//!
//! The only place with `unsafe` code. Neither TensorRT nor CUDA is linked: both are loaded when they are wanted,
//! so that one binary serves with and without a GPU.
//!
//! TensorRT itself is reached in three layers: `shim.cpp` over its C++, `sys` over that, and what is public here,
//! where each object keeps what it depends on: [`Context`] its [`PlanEngine`], that its [`Runtime`], that
//! [`TensorRt`].

mod builder;
mod context;
pub mod device;
mod error;
pub mod execution;
#[cfg(test)]
mod fake;
mod handle;
mod library;
mod log;
mod plan;
pub mod preprocess;
mod runtime;
mod sys;
#[cfg(test)]
mod tests;

pub use crate::engine::flavour::{Capability, Flavour, Version};
pub use builder::{BuildRequest, Built, OnProgress, Profile, Progress, ShapeRange};
pub use context::{Context, DeviceMemory, Stream};
pub use error::TensorRtError;
pub use library::{TensorRt, VARIABLE};
pub use plan::{BatchRange, DataType, PlanEngine, RuntimeCache, Tensor};
pub use runtime::Runtime;
