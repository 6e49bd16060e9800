//! Attacks on a running server: it refuses them, stays within its memory, and serves on.

// A test that fails is to panic.
#![allow(clippy::unwrap_used)]

mod bombs;
#[path = "../support/files.rs"]
mod files;
#[path = "../support/process.rs"]
mod process;
#[path = "../support/tiny_model.rs"]
mod tiny_model;
