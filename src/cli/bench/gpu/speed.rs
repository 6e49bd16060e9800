//! Pictures a second and the time of one run, by batch size, from host memory and with the pictures there already.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::json;

use super::{engine, tell};
use crate::app::gpu::OnGpu;
use crate::cli::bench::{measure, noise};
use crate::engine::tensorrt::device::alone::Alone;
use crate::engine::{Engine as _, Lane};

/// Runs that the network alone does between two looks at the clock.
const BURST: usize = 20;

/// Measures every batch size, with CUDA graphs and without.
///
/// # Errors
/// A run that fails.
pub fn measure_all(model: &OnGpu, batches: &[usize], time: Duration, json: bool) -> anyhow::Result<()> {
    for &batch in batches {
        let alone = alone(model, batch, time)?;
        tell(
            json,
            json!({ "batch": batch, "network_alone_per_second": alone }),
            format!("batch {batch:3}: network alone    {alone:9.1} pictures/s"),
        )?;
        for graphs in [true, false] {
            let served = served(model, batch, graphs, time)?;
            let ratio = served.per_second / alone;
            let way = if graphs { "CUDA graphs   " } else { "no CUDA graphs" };
            tell(
                json,
                json!({
                    "batch": batch, "graphs": graphs, "per_second": served.per_second, "ratio": ratio,
                    "p50_ms": served.p50 * 1e3, "p99_ms": served.p99 * 1e3,
                }),
                format!(
                    "           {way}    {:9.1} pictures/s   {ratio:.3} of the network alone; one lane: p50 {:.2} ms, p99 \
                     {:.2} ms a run",
                    served.per_second,
                    served.p50 * 1e3,
                    served.p99 * 1e3
                ),
            )?;
        }
    }
    Ok(())
}

/// Pictures a second if nothing is copied.
fn alone(model: &OnGpu, batch: usize, time: Duration) -> anyhow::Result<f64> {
    let mut alone = Alone::open(model.gpu(), model.plan(), batch)?;
    let (begin, mut runs, mut seconds) = (Instant::now(), 0, 0.0);
    while begin.elapsed() < time {
        seconds += alone.run(BURST)?;
        runs += BURST;
    }
    Ok((runs * batch) as f64 / seconds)
}

struct Served {
    per_second: f64,
    p50: f64,
    p99: f64,
}

/// All lanes at once for throughput, one by itself for latency; from pictures in host memory to rows there.
fn served(model: &OnGpu, batch: usize, graphs: bool, time: Duration) -> anyhow::Result<Served> {
    let engine = engine(model, graphs)?;
    let open = || {
        let mut lane = engine.open_lane()?;
        let picture = noise(model.info.input_width, model.info.input_height);
        lane.input().chunks_exact_mut(picture.len()).for_each(|place| place.copy_from_slice(&picture));
        anyhow::Ok(lane)
    };
    let mut lanes = (0..engine.limits().lanes).map(|_| open()).collect::<anyhow::Result<Vec<_>>>()?;
    let mut workers: Vec<_> = lanes
        .iter_mut()
        .map(|lane| {
            move || {
                lane.infer(batch)?;
                Ok(())
            }
        })
        .collect();
    let rate = measure(&mut workers, time)?;
    drop(workers);
    let mut times = latencies(&mut **lanes.first_mut().context("the engine has no lanes")?, batch, time)?;
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    Ok(Served { per_second: rate.runs_per_second * batch as f64, p50: at(0.5), p99: at(0.99) })
}

fn latencies(lane: &mut dyn Lane, batch: usize, time: Duration) -> anyhow::Result<Vec<f64>> {
    let (begin, mut times) = (Instant::now(), Vec::new());
    while begin.elapsed() < time || times.is_empty() {
        let start = Instant::now();
        lane.infer(batch)?;
        times.push(start.elapsed().as_secs_f64());
    }
    Ok(times)
}
