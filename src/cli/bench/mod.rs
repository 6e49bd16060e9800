//! `centerx bench`: what this machine can do, as ratios to something else measured in the same run.

use std::path::PathBuf;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

mod cpu;
mod engine;
mod pipeline;
mod plain;

/// Measure this machine.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// The engine through centerx's own trait against the bare runtime, in turns.
    Engine(engine::Args),
    /// Real cameras end to end: what they cost, what is served, how old it is.
    Pipeline(pipeline::Args),
}

impl Args {
    /// Measures and prints.
    ///
    /// # Errors
    /// A missing model or runtime, a camera that does not come.
    pub fn run(self) -> anyhow::Result<()> {
        match self.what {
            What::Engine(args) => args.run(),
            What::Pipeline(args) => args.run(),
        }
    }
}

/// The model to measure with.
#[derive(Debug, clap::Args)]
struct ModelArgs {
    /// The model: the name of a pulled one or an ONNX file.
    #[arg(long, default_value = "coco")]
    model: String,
}

/// A picture to measure with, where a real one matters little: noise, uint8 `[height, width, 3]`.
fn noise(width: u32, height: u32) -> Vec<u8> {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..width * height * 3).map(|_| next()).collect()
}

/// Runs each of `workers` on a thread of its own, again and again for `time`, and returns runs a second.
fn runs_a_second<W: FnMut() -> anyhow::Result<()> + Send>(
    workers: &mut [W],
    time: Duration,
) -> anyhow::Result<f64> {
    let (barrier, runs) = (Barrier::new(workers.len()), AtomicU64::new(0));
    let spent = std::thread::scope(|scope| {
        let threads: Vec<_> = workers
            .iter_mut()
            .map(|work| {
                scope.spawn(|| {
                    barrier.wait();
                    let start = Instant::now();
                    while start.elapsed() < time {
                        work()?;
                        runs.fetch_add(1, Ordering::Relaxed);
                    }
                    anyhow::Ok(start.elapsed())
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a worker panicked"))))
            .collect::<Result<Vec<_>, _>>()
    })?;
    let longest = spent.into_iter().max().unwrap_or(time);
    Ok(runs.into_inner() as f64 / longest.as_secs_f64())
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}

/// A folder that goes with the measurement.
fn scratch() -> anyhow::Result<(tempfile::TempDir, PathBuf)> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().to_owned();
    Ok((folder, path))
}
