//! TensorRT on NVIDIA GPUs: the same detector, compiled, batched.
//!
//! The only place with `unsafe` code. Neither TensorRT nor CUDA is linked: both are loaded when they are wanted,
//! so that one binary serves with and without a GPU.

pub mod device;
