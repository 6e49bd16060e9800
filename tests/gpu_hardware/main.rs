//! The engine's device layer on a real GPU: memory, streams, graphs, the preprocessing's kernel, lost contexts.
//!
//! TensorRT has no part in it. In its place stands a network of one kernel that tells its input back, so that every
//! byte that comes out can be checked. Not among the default tests, since it needs a GPU; `scripts/gpu-check.sh` runs
//! it, and by hand: `cargo test --features tensorrt --test gpu_hardware -- --test-threads=1 --nocapture`.

// Clippy's own allowance covers the tests, not their helpers.
#![allow(clippy::unwrap_used)]
#![allow(unsafe_code)]

mod faults;
#[path = "../gpu_preprocess/levels.rs"]
#[allow(dead_code)] // the part that compares with the kernel on the host
mod levels;
mod network;
mod pictures;
mod runs;
