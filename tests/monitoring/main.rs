//! What operators look at, against a real Prometheus: dashboards whose every query has an answer, and alerts that
//! fire when their fault is caused.

// A test that fails is to panic.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

mod alerts;
mod dashboards;
#[path = "../support/fake_server.rs"]
mod fake_server;
mod faults;
#[path = "../support/files.rs"]
mod files;
mod healthy;
#[path = "../tls/pki.rs"]
mod pki;
#[path = "../support/process.rs"]
mod process;
#[path = "../support/prometheus/mod.rs"]
mod prometheus_server;
mod restarts;
#[path = "../support/rtsp_camera/mod.rs"]
mod rtsp_camera;
#[path = "../support/tiny_model.rs"]
mod tiny_model;

use process::errors;
use prometheus_server::{Prometheus, Setup, rules};

const PATIENCE: Duration = Duration::from_secs(60);

/// Tests that run servers take turns: they look at the clock.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A file or folder of the project.
fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn assert_success(output: &Output) {
    assert!(output.status.success(), "{}{}", String::from_utf8_lossy(&output.stdout), errors(output));
}
