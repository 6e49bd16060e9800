//! The real TensorRT-RTX, without a GPU: plans of every family, and what is refused, with which words. Where there is
//! a GPU, the plans are loaded as well.

// A test that fails is to panic.
#![allow(clippy::unwrap_used)]

#[path = "../support/files.rs"]
mod files;
#[path = "../support/process.rs"]
mod process;
#[path = "../support/synthetic.rs"]
mod synthetic;

mod cli;
mod libraries;
mod plans;
mod refusals;
mod support;
