//! The server under fire: cameras that misbehave in every way there is, cameras that come and go, and all of it
//! at once. What each test promises, and the figures measured, are in docs/reliability.md.
//!
//! The short forms are what CI runs. `CENTERX_CHAOS=long` runs the long ones, `CENTERX_CHAOS_MINUTES` sets how
//! long the soak takes.

// A test that fails is to panic.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};

mod actors;
mod churn;
mod clients;
#[path = "../support/fake_server.rs"]
mod fake_server;
#[path = "../support/files.rs"]
mod files;
#[path = "../support/hostile/mod.rs"]
mod hostile;
mod isolation;
mod neighbours;
#[path = "../support/process.rs"]
mod process;
#[path = "../support/rtsp_camera/mod.rs"]
mod rtsp_camera;
mod samples;
mod soak;
#[path = "../support/tiny_model.rs"]
mod tiny_model;
mod verdicts;

const PATIENCE: Duration = Duration::from_secs(30);

/// The tests take turns: each looks at the clock, and at what its process holds.
async fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::const_new(());
    ALONE.lock().await
}

/// Whether the long forms are asked for.
fn long() -> bool {
    std::env::var("CENTERX_CHAOS").is_ok_and(|form| form == "long")
}

/// A number from the environment.
fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}")))
}

/// Threads or files (`task`, `fd`) that a process holds.
fn held(process: &str, what: &str) -> usize {
    std::fs::read_dir(format!("/proc/{process}/{what}")).unwrap().count()
}

/// The value below which so many percent of the values lie.
fn percentile(values: &mut [f64], percent: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let rank = (percent / 100.0 * values.len() as f64).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}
