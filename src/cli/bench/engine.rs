//! The engine against the bare runtime: same model, same sessions a core, in turns.

use std::time::Duration;

use ort::memory::Allocator;
use ort::value::Tensor;
use prometheus::Registry;

use crate::app::models;
use crate::detection::ModelInfo;
use crate::engine::lane::{LaneModel, Worker};
use crate::engine::onnx::{OnnxRuntime, Threads};
use crate::engine::{self, Lane};
use crate::frame::Picture;
use crate::{config::ModelConfig, model};

use super::{ModelArgs, measure, median, noise};
use crate::cli::output;

/// The engine through centerx's own trait against the bare runtime, in turns.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Sessions side by side, one thread each; 0 means one a core.
    #[arg(long, default_value_t = 0)]
    lanes: usize,
    /// How often each is measured; the medians count.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds a measurement.
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Pictures a second of the three ways.
#[derive(Default)]
struct Rates {
    bare: Vec<f64>,
    lane: Vec<f64>,
    worker: Vec<f64>,
}

impl Args {
    /// Measures and prints.
    pub fn run(self) -> anyhow::Result<()> {
        let runtime = models::load_runtime()?;
        let threads = Threads::throughput(self.lanes);
        let config = ModelConfig { name: self.model.model.clone(), source: None };
        let loaded = models::load(&runtime, &config, threads)?;
        let detector = model::load(&model::zoo::resolve(config.source())?)?;

        let mut bare = bare_workers(&runtime, &detector.bytes, &loaded.info, threads.lanes)?;
        let open = || loaded.engine.open_lane();
        let mut lanes =
            (0..threads.lanes).map(|_| Ok(lane_worker(open()?))).collect::<anyhow::Result<Vec<_>>>()?;
        let mut workers = (0..threads.lanes)
            .map(|_| picture_worker(open()?, &loaded.info))
            .collect::<anyhow::Result<Vec<_>>>()?;

        let time = Duration::from_secs_f64(self.seconds);
        let mut rates = Rates::default();
        for round in 0..self.rounds.max(1) {
            eprintln!("round {} of {}", round + 1, self.rounds.max(1));
            rates.bare.push(measure(&mut bare, time)?.runs_per_second);
            rates.lane.push(measure(&mut lanes, time)?.runs_per_second);
            rates.worker.push(measure(&mut workers, time)?.runs_per_second);
        }
        self.print(rates, &loaded.info, threads.lanes)
    }

    fn print(&self, mut rates: Rates, info: &ModelInfo, lanes: usize) -> anyhow::Result<()> {
        // Ratios round by round: neighbours in time share the machine's mood.
        let ratio =
            |ours: &[f64]| median(&mut ours.iter().zip(&rates.bare).map(|(a, b)| a / b).collect::<Vec<_>>());
        let (lane_ratio, worker_ratio) = (ratio(&rates.lane), ratio(&rates.worker));
        let (bare, lane, worker) =
            (median(&mut rates.bare), median(&mut rates.lane), median(&mut rates.worker));
        if self.json {
            let report = serde_json::json!({
                "model": &*info.name, "engine": info.engine, "lanes": lanes, "rounds": self.rounds,
                "bare_per_second": bare, "engine_per_second": lane, "engine_ratio": lane_ratio,
                "with_letterbox_per_second": worker, "with_letterbox_ratio": worker_ratio,
            });
            output::line(report)?;
        } else {
            output::line(format_args!(
                "{} on {}, {lanes} single-threaded sessions, medians of {} rounds",
                info.name, info.engine, self.rounds
            ))?;
            output::line(format_args!("bare runtime            {bare:7.2} pictures/s"))?;
            output::line(format_args!(
                "Engine trait            {lane:7.2} pictures/s   {lane_ratio:.3} of the bare runtime"
            ))?;
            output::line(format_args!(
                "letterbox, run, read    {worker:7.2} pictures/s   {worker_ratio:.3} of the bare runtime"
            ))?;
        }
        Ok(())
    }
}

type Run = Box<dyn FnMut() -> anyhow::Result<()> + Send>;

/// Nothing but the runtime's own calls on a ready input.
pub fn bare_workers(
    runtime: &OnnxRuntime,
    bytes: &[u8],
    info: &ModelInfo,
    count: usize,
) -> anyhow::Result<Vec<Run>> {
    let (width, height) = (info.input_width as usize, info.input_height as usize);
    (0..count)
        .map(|_| {
            let mut session = runtime.session(bytes, 1)?;
            let mut input = Tensor::<u8>::new(&Allocator::default(), [1usize, height, width, 3])?;
            input.extract_tensor_mut().1.copy_from_slice(&noise(info.input_width, info.input_height));
            session.run(ort::inputs!["images" => &input])?;
            let run = move || -> anyhow::Result<()> {
                session.run(ort::inputs!["images" => &input])?;
                Ok(())
            };
            Ok(Box::new(run) as Run)
        })
        .collect()
}

/// The engine trait on a ready input.
fn lane_worker(mut lane: Box<dyn Lane>) -> Run {
    let len = lane.input().len();
    let side = (len as f64 / 3.0).sqrt() as u32;
    let picture = noise(side, side);
    let used = picture.len().min(len);
    lane.input()[..used].copy_from_slice(&picture[..used]);
    Box::new(move || {
        lane.infer(1)?;
        Ok(())
    })
}

/// A 768x576 picture to detections, as a lane does it.
fn picture_worker(lane: Box<dyn Lane>, info: &ModelInfo) -> anyhow::Result<Run> {
    let metrics = engine::Metrics::register(&Registry::new())?;
    let mut worker = Worker::new(lane, LaneModel::from(info), metrics);
    let picture = Picture::rgb(768, 576, noise(768, 576))?;
    Ok(Box::new(move || {
        worker.look(&picture, |_, score| score >= 0.3)?;
        Ok(())
    }))
}
