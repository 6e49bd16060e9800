//! `centerx detect`: pictures and video files, without a server.

use std::path::{Path, PathBuf};

use anyhow::Context;
use prometheus::Registry;

use crate::app::jobs::Interest;
use crate::app::models;
use crate::config::ModelConfig;
use crate::detection::{Detection, ModelInfo};
use crate::engine::lane::{LaneModel, Worker};
use crate::engine::onnx::Threads;
use crate::engine::{self, EngineError};
use crate::frame::Picture;

use super::UsageError;

mod report;
mod still;
mod video;

/// Detect in pictures and video files.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  centerx detect street.jpg --output street-boxes.jpg\n  \
centerx detect yard.mp4 --json > yard.jsonl\n  centerx detect *.jpg --class person --min-score 0.5")]
pub struct Args {
    /// Pictures (JPEG, PNG, WebP) and video files.
    #[arg(required = true, value_name = "FILE")]
    inputs: Vec<PathBuf>,
    /// The model: the name of a pulled one or an ONNX file.
    #[arg(long, default_value = "coco")]
    model: String,
    /// Leave out detections under this score, 0 to 1.
    #[arg(long, default_value_t = 0.3, value_name = "SCORE")]
    min_score: f32,
    /// Report only this class; may be repeated.
    #[arg(long = "class", value_name = "NAME")]
    classes: Vec<String>,
    /// Look at the first frames of a video only.
    #[arg(long, value_name = "COUNT")]
    frames: Option<u64>,
    /// Print JSON, one object a line for each picture or video frame.
    #[arg(long)]
    json: bool,
    /// Write the input with boxes drawn: a .jpg, .png or .webp for a picture, an .mp4 for a video; a folder
    /// for several inputs.
    #[arg(long, short, value_name = "PATH")]
    output: Option<PathBuf>,
}

impl Args {
    /// Looks at every input in turn.
    ///
    /// # Errors
    /// The first input that cannot be read, named; or a missing model or runtime.
    pub fn run(self) -> anyhow::Result<()> {
        if !(0.0..=1.0).contains(&self.min_score) {
            return Err(
                UsageError(format!("--min-score: {} is not a number from 0 to 1", self.min_score)).into()
            );
        }
        for input in &self.inputs {
            anyhow::ensure!(
                input.is_file(),
                UsageError(format!("{}: there is no such file", input.display()))
            );
        }
        let mut detector = Detector::load(&self.model, self.min_score, &self.classes)?;
        for input in &self.inputs {
            let output = self.output_for(input)?;
            let settings = Settings {
                json: self.json,
                output: output.as_deref(),
                many: self.inputs.len() > 1,
                frames: self.frames,
            };
            let done = if still::is_picture(input)? {
                still::detect(&mut detector, input, &settings)
            } else {
                video::detect(&mut detector, input, &settings)
            };
            done.with_context(|| input.display().to_string())?;
        }
        Ok(())
    }

    /// Where the annotated copy of `input` goes; never over the input.
    fn output_for(&self, input: &Path) -> anyhow::Result<Option<PathBuf>> {
        let Some(output) = &self.output else { return Ok(None) };
        if self.inputs.len() > 1 && !output.is_dir() {
            return Err(UsageError(format!(
                "--output: {} must be a folder for several inputs",
                output.display()
            ))
            .into());
        }
        let target = match input.file_name() {
            Some(name) if output.is_dir() => {
                let target = output.join(name);
                if still::is_picture(input)? { target } else { target.with_extension("mp4") }
            }
            _ => output.clone(),
        };
        let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty());
        if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
            return Err(UsageError(format!("--output: there is no folder {}", folder.display())).into());
        }
        if target.canonicalize().is_ok_and(|target| input.canonicalize().is_ok_and(|input| input == target)) {
            return Err(
                UsageError(format!("--output: {} would overwrite the input", target.display())).into()
            );
        }
        Ok(Some(target))
    }
}

/// How to tell what was found.
struct Settings<'a> {
    json: bool,
    output: Option<&'a Path>,
    /// There are several inputs, so each is announced.
    many: bool,
    /// Frames of a video to look at; none means all.
    frames: Option<u64>,
}

/// A model ready to look at pictures.
struct Detector {
    worker: Worker,
    model: ModelInfo,
    interest: Interest,
}

impl Detector {
    fn load(model: &str, min_score: f32, classes: &[String]) -> anyhow::Result<Self> {
        let runtime = models::load_runtime()?;
        let config = ModelConfig { name: model.into(), source: None };
        let loaded = models::load(&runtime, &config, Threads::latency())?;
        let interest = Interest::new(&loaded.info, min_score, classes).map_err(|class| {
            UsageError(format!(
                "--class: model {model} has no class {class:?}; `centerx model inspect {model}` lists them"
            ))
        })?;
        let metrics = engine::Metrics::register(&Registry::new())?;
        let worker = Worker::new(loaded.engine.open_lane()?, LaneModel::from(&loaded.info), metrics);
        Ok(Self { worker, model: loaded.info, interest })
    }

    /// Detections as JSON tells them, with the model's names for their landmarks.
    fn found<'a>(&'a self, detections: &'a [Detection]) -> Vec<report::Found<'a>> {
        detections.iter().map(|found| report::Found::new(found, &self.model.landmarks)).collect()
    }

    fn look(&mut self, picture: &Picture) -> Result<Vec<Detection>, EngineError> {
        self.worker.look(picture, |label, score| self.interest.covers(label, score))
    }
}
