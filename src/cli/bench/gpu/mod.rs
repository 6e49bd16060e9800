//! A model on a GPU: the same detections as on the CPU, and how much of the GPU is left of it end to end.

mod parity;
mod reload;
mod speed;

use std::path::PathBuf;
use std::time::Duration;

use crate::app::gpu::{self, OnGpu};
use crate::cli::output;
use crate::engine::flavour::Flavour;
use crate::engine::gpu::{Preprocess, Settings};

use super::ModelArgs;

/// A model on this machine's GPU against the network alone, and against the CPU.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Which TensorRT: enterprise or rtx [default: the first that loads].
    #[arg(long, value_name = "LIBRARY")]
    library: Option<Flavour>,
    /// Folder of its libraries.
    #[arg(long, env = "TENSORRT_LIBRARY_DIR", value_name = "FOLDER")]
    library_dir: Option<PathBuf>,
    /// Pictures a run at most.
    #[arg(long, default_value_t = Settings::default().max_batch)]
    max_batch: usize,
    /// Where pictures are scaled and converted for the comparison with the CPU: cpu or gpu.
    #[arg(long, value_name = "WHERE", default_value = "cpu")]
    preprocess: Preprocess,
    /// Batch sizes to measure [default: 1, 2, 4 and so on, up to the greatest].
    #[arg(long, value_name = "N,...", value_delimiter = ',')]
    batches: Vec<usize>,
    /// Seconds a measurement.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// A video whose frames are looked at on both, and the detections compared.
    #[arg(long, value_name = "VIDEO")]
    parity: Option<PathBuf>,
    /// Least overlap of two detections that count as the same.
    #[arg(long, default_value_t = 0.99)]
    min_iou: f32,
    /// How far their scores may differ.
    #[arg(long, default_value_t = 0.01)]
    max_score: f32,
    /// Load the model anew so often, and see that the GPU's memory comes back.
    #[arg(long, default_value_t = 0, value_name = "TIMES")]
    reloads: usize,
    /// Print JSON, a line a measurement.
    #[arg(long)]
    json: bool,
}

impl Args {
    /// Measures and prints.
    pub fn run(self) -> anyhow::Result<()> {
        let best = self.max_batch.min(8);
        let settings = Settings {
            library: self.library,
            library_dir: self.library_dir.clone(),
            devices: vec![0],
            max_batch: self.max_batch,
            best_batches: vec![1, best],
            preprocess: self.preprocess,
            ..Settings::default()
        };
        settings.validate().map_err(|problem| crate::cli::UsageError(format!("--max-batch: {problem}")))?;
        let gpus = gpu::start(&settings).map_err(|reason| anyhow::anyhow!("{}", reason.why))?;
        let model = gpus.detector(&self.model.model)?;
        output::line(format_args!("{} on {}", model.info.name, model.info.engine))?;
        if let Some(video) = &self.parity {
            parity::compare(&model, video, self.min_iou, self.max_score, self.json)?;
        }
        let time = Duration::from_secs_f64(self.seconds);
        speed::measure_all(&model, &self.sizes(), time, self.json)?;
        if self.reloads > 0 {
            reload::reload(&model, self.reloads, self.json)?;
        }
        Ok(())
    }

    fn sizes(&self) -> Vec<usize> {
        if !self.batches.is_empty() {
            return self.batches.clone();
        }
        let powers = std::iter::successors(Some(1), |size| Some(size * 2));
        powers.take_while(|&size| size <= self.max_batch).collect()
    }
}

/// Prints a measurement: as JSON, or as words.
fn tell(json: bool, value: serde_json::Value, words: String) -> anyhow::Result<()> {
    if json {
        output::line(value)?
    } else {
        output::line(words)?
    }
    Ok(())
}

/// A warm engine of the model, with or without CUDA graphs.
fn engine(model: &OnGpu, graphs: bool) -> anyhow::Result<crate::engine::tensorrt::device::TensorRtEngine> {
    Ok(model.engine(graphs)?)
}
