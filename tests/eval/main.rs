//! `centerx eval`: the metric against pycocotools, the command on real pictures and on bad input.

// A test that fails is to panic.
#![allow(clippy::unwrap_used)]

#[path = "../support/files.rs"]
mod files;
#[path = "../support/process.rs"]
mod process;

mod bad_input;
mod labels;
mod pycocotools;
mod scene;
mod teacher;
