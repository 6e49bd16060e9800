//! Every family's decode in the graph against the independent decode, through ONNX Runtime.

// A test that fails is to panic.
#![allow(clippy::unwrap_used)]

#[path = "../support/files.rs"]
mod files;
#[path = "../support/process.rs"]
mod process;
#[path = "../support/synthetic.rs"]
mod synthetic;

mod command;
mod families;
