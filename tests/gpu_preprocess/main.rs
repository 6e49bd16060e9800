//! The GPU's preprocessing: compiled for every GPU that is served, and, by its source compiled for the host,
//! compared with the CPU path. None of this runs on a GPU, nor needs one.

// Clippy's own allowance covers the tests, not their helpers.
#![allow(clippy::unwrap_used)]

#[path = "../support/files.rs"]
mod files;

mod compile;
mod generated;
mod levels;
mod real;
