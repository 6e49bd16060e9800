//! `centerx bench`: what this machine can do, as ratios to something else measured in the same run.

use std::sync::Barrier;
use std::time::{Duration, Instant};

mod cpu;
mod decode;
mod engine;
mod fanout;
#[cfg(feature = "tensorrt")]
mod gpu;
mod live;
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
    /// The fused decode against none, and against one in Rust, in turns.
    Decode(decode::Args),
    /// Real cameras end to end: what they cost, what is served, how old it is.
    Pipeline(pipeline::Args),
    /// Many subscribers over real gRPC, and some among them that never read.
    Fanout(fanout::Args),
    /// What those who look at live pictures cost.
    Live(live::Args),
    /// A model on a GPU: parity with the CPU, speed by batch size against the network alone, reloads.
    #[cfg(feature = "tensorrt")]
    Gpu(Box<gpu::Args>),
}

impl Args {
    /// Measures and prints.
    ///
    /// # Errors
    /// A missing model or runtime, a camera that does not come.
    pub fn run(self) -> anyhow::Result<()> {
        match self.what {
            What::Engine(args) => args.run(),
            What::Decode(args) => args.run(),
            What::Pipeline(args) => args.run(),
            What::Fanout(args) => args.run(),
            What::Live(args) => args.run(),
            #[cfg(feature = "tensorrt")]
            What::Gpu(args) => args.run(),
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
    let mut pixels = vec![0; width as usize * height as usize * 3];
    fastrand::Rng::with_seed(1).fill(&mut pixels);
    pixels
}

/// What running something over and over came to.
#[derive(Clone, Copy, Debug)]
struct Rate {
    runs_per_second: f64,
    /// Processor seconds a run, as the system accounts them.
    cpu_seconds_per_run: f64,
}

/// Runs each of `workers` on a thread of its own, again and again for `time`.
fn measure<W: FnMut() -> anyhow::Result<()> + Send>(
    workers: &mut [W],
    time: Duration,
) -> anyhow::Result<Rate> {
    let barrier = Barrier::new(workers.len());
    let run = |work: &mut W| {
        barrier.wait();
        let (start, cpu, mut runs) = (Instant::now(), cpu::of_this_thread(), 0u32);
        while start.elapsed() < time {
            work()?;
            runs += 1;
        }
        anyhow::Ok((f64::from(runs), start.elapsed(), cpu::of_this_thread() - cpu))
    };
    let done = std::thread::scope(|scope| {
        let threads: Vec<_> = workers.iter_mut().map(|work| scope.spawn(|| run(work))).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a worker panicked")))
        };
        threads.into_iter().map(join).collect::<anyhow::Result<Vec<_>>>()
    })?;
    let runs: f64 = done.iter().map(|(runs, ..)| runs).sum();
    let cpu: Duration = done.iter().map(|(_, _, cpu)| *cpu).sum();
    Ok(Rate {
        runs_per_second: done.iter().map(|(runs, wall, _)| runs / wall.as_secs_f64()).sum(),
        cpu_seconds_per_run: cpu.as_secs_f64() / runs,
    })
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}
