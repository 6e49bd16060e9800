//! `centerx model quantize`: the same detector in less precision, and what that costs.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use prost::Message as _;

use super::frames::{self, Frames, Part};
use super::target;
use crate::app::calibrate::Calibration;
use crate::app::{models, probe};
use crate::cli::eval::lanes::Model;
use crate::cli::eval::table;
use crate::cli::eval::teacher::{Comparison, Looked};
use crate::cli::{UsageError, output, progress};
use crate::engine::onnx::OnnxRuntime;
use crate::eval::classes::Shared;
use crate::model::import::Size;
use crate::model::onnx::ModelProto;
use crate::model::precision::calibrate::Calibrator;
use crate::model::precision::quantize::Plan;
use crate::model::precision::{self, Precision, PrecisionError};
use crate::model::{self, DetectorModel, ModelError, zoo};

/// What the new model finds from this score up is compared.
const SCORE: f32 = 0.3;
/// What the float32 model finds from this score up is the truth.
const TEACHER_SCORE: f32 = 0.4;
/// Fewer frames than this to calibrate on rarely show all that a camera does.
const FEW: usize = 32;

/// Make a detector of less precision: int8, calibrated on your own frames, or float16.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Engines on GPUs take the precision from the file (docs/models.md). int8 is fitted to frames like those that the \
cameras will send: some hundred, by day and by night. Every fifth frame is held out, and at the end it is told what \
the new model finds in those and what the float32 model does. The numbers of `centerx eval` with labels of your own \
say more.\n\nExamples:\n  centerx model quantize coco --calibrate frames -o coco-int8.onnx\n  \
centerx model quantize yard.onnx --precision fp16 -o yard-fp16.onnx")]
pub struct Args {
    /// A pulled model's name or the path of a detector in float32.
    model: String,
    /// Folders of pictures (JPEG, PNG, WebP) and videos, or such files. float16 needs none; with some it is seen
    /// whether a value leaves its range, and told what the precision costs.
    #[arg(long, num_args = 1.., value_name = "PATH")]
    calibrate: Vec<PathBuf>,
    /// The detector to write.
    #[arg(long, short, value_name = "OUT.onnx")]
    output: PathBuf,
    /// int8 or fp16.
    #[arg(long, default_value = "int8", value_name = "PRECISION", value_parser = precision)]
    precision: Precision,
    /// Frames to calibrate on at most, evenly spread over the files; a quarter as many again is held out.
    #[arg(long, default_value_t = 128, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    frames: u32,
    /// A node, or the value it makes, that stays in float32; may be repeated. The last convolutions of the heads and
    /// depthwise ones do in any case.
    #[arg(long, value_name = "NAME")]
    keep: Vec<String>,
    /// Write over the output if it is there.
    #[arg(long)]
    force: bool,
}

/// The model as it came.
struct Original {
    path: PathBuf,
    detector: DetectorModel,
    proto: ModelProto,
}

impl Args {
    /// Converts, checks, writes, compares.
    ///
    /// # Errors
    /// Frames that cannot be read, a model that is no detector in float32, a file that cannot be written.
    pub fn run(self) -> anyhow::Result<()> {
        self.check()?;
        let begin = Instant::now();
        let original = self.original()?;
        let most = frames::with_held_out(self.frames as usize);
        let frames = (!self.calibrate.is_empty()).then(|| Frames::choose(&self.calibrate, most));
        let frames = frames.transpose()?;
        let runtime = models::load_runtime()?;
        let made = match self.precision {
            Precision::Int8 => self.int8(&runtime, &original, frames.as_ref())?,
            _ => float16(&runtime, &original, frames.as_ref())?,
        };
        let detector = model::parse(made.encode_to_vec(), &self.output)?;
        try_out(&runtime, &detector)?;
        target::write(&self.output, &detector.bytes)?;
        output::line(format_args!(
            "wrote {}: {}, {:.1} MB instead of {:.1} MB, in {:.1} s",
            self.output.display(),
            self.precision,
            detector.bytes.len() as f64 / 1e6,
            original.detector.bytes.len() as f64 / 1e6,
            begin.elapsed().as_secs_f64()
        ))?;
        match &frames {
            Some(frames) => self.compare(&runtime, &original, frames),
            None => {
                eprintln!(
                    "note: with --calibrate and some frames it would be told what {} costs",
                    self.precision
                );
                Ok(())
            }
        }
    }

    fn check(&self) -> Result<(), UsageError> {
        target::check(&self.output, self.force)?;
        let problem = match self.precision {
            Precision::Int8 if self.calibrate.is_empty() => {
                "int8 is calibrated on frames: pass --calibrate and a folder of pictures or videos of your cameras"
            }
            Precision::Float16 if !self.keep.is_empty() => {
                "--keep is for int8; float16 takes the whole network"
            }
            _ => return Ok(()),
        };
        Err(UsageError(problem.to_owned()))
    }

    fn original(&self) -> anyhow::Result<Original> {
        let path = zoo::resolve(&self.model)?;
        let detector = model::load(&path)?;
        let proto = model::parse_onnx(&detector.bytes, &path)?;
        let same =
            |other: &Path| other.canonicalize().is_ok_and(|other| Some(other) == path.canonicalize().ok());
        if same(&self.output) {
            let problem = "--output: it is the model itself; name another file".to_owned();
            return Err(UsageError(problem).into());
        }
        Ok(Original { path, detector, proto })
    }

    /// Quantises the network by what the float32 one makes of the frames.
    fn int8(
        &self,
        runtime: &OnnxRuntime,
        original: &Original,
        frames: Option<&Frames>,
    ) -> anyhow::Result<ModelProto> {
        let frames = frames.context("there are no frames to calibrate on")?;
        let plan = Plan::of(original.proto.clone(), &self.keep).map_err(|e| refused(e, &original.path))?;
        let count = frames.count(Part::Calibration);
        if count < FEW {
            eprintln!(
                "note: {count} frames are few to calibrate on; {FEW} or more, by day and by night, are better"
            );
        }
        let seen = watch(runtime, original, &plan.activations(), frames, Part::Calibration)?;
        let nodes = plan.nodes();
        let made = plan.apply(&seen.ranges()).map_err(|e| refused(e, &original.path))?;
        output::line(format_args!("calibrated on {count} frames; {nodes} operators are int8"))?;
        Ok(made)
    }

    /// Tells what the new model finds in frames that it was not fitted to, next to the one it was made of.
    fn compare(&self, runtime: &OnnxRuntime, original: &Original, frames: &Frames) -> anyhow::Result<()> {
        // float16 is not fitted to any.
        let part = if self.precision == Precision::Int8 { Part::HeldOut } else { Part::All };
        let count = frames.count(part);
        if count == 0 {
            eprintln!(
                "note: there are too few frames to hold some out, so what the precision costs is not told"
            );
            return Ok(());
        }
        let load = |path: &Path| Model::load(runtime, path.to_str().context("its path is no text")?, 0);
        let (student, teacher) = (load(&self.output)?, load(&original.path)?);
        let shared = Shared::of(&student.info.classes, &teacher.info.classes)?;
        let comparison = Comparison {
            student: &student,
            teacher: &teacher,
            shared: &shared,
            score: SCORE,
            teacher_score: TEACHER_SCORE,
        };
        let looked =
            comparison.look(frames.of(part), Some(count as u64), |shot| frames::picture(shot).map(Ok))?;
        output::line(told(self.precision, &looked, &comparison))?;
        Ok(())
    }
}

/// Converts the network. A processor may compute float16 in float32 and never show that a value leaves its range, so
/// that is looked for in the float32 network where there are frames.
fn float16(
    runtime: &OnnxRuntime,
    original: &Original,
    frames: Option<&Frames>,
) -> anyhow::Result<ModelProto> {
    let refused = |error| refused(error, &original.path);
    let made = precision::to_float16(original.proto.clone()).map_err(refused)?;
    if let Some(frames) = frames {
        let values = precision::convolved(&original.proto).map_err(refused)?;
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        let seen = watch(runtime, original, &values, frames, Part::All)?;
        precision::check_float16(&seen).map_err(refused)?;
    }
    Ok(made)
}

/// Runs the float32 network over frames and watches some of its values.
fn watch(
    runtime: &OnnxRuntime,
    original: &Original,
    values: &[&str],
    frames: &Frames,
    part: Part,
) -> anyhow::Result<Calibrator> {
    let about = &original.detector.metadata;
    let mut calibration = Calibration::open(runtime, &original.proto, about, values)?;
    let bar = progress::bar(Some(frames.count(part) as u64), "frames seen");
    for shot in frames.of(part) {
        calibration.look(&frames::picture(shot?)?)?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(calibration.seen())
}

/// The agreement as a table and a sentence.
fn told(precision: Precision, looked: &Looked, comparison: &Comparison<'_>) -> String {
    let outcome = comparison.outcome(&looked.agreements);
    let shown = |ratio: Option<f64>| ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.3}"));
    let all = &outcome.overall;
    let mut lines = table::teacher_text(&outcome);
    lines.push(format!(
        "{precision} against float32 on {} frames it was not fitted to: F1 {}, boxes {} alike (mean IoU), scores {} on \
         average",
        looked.pictures,
        shown(all.f1),
        shown(all.mean_iou),
        all.score_difference.map_or_else(|| "-".to_owned(), |difference| format!("{difference:+.3}"))
    ));
    if all.matched + all.only_teacher == 0 {
        lines.push("the float32 model finds nothing in them, so that says nothing".to_owned());
    }
    lines.join("\n")
}

/// Sees that the runtime takes the detector and that it runs.
fn try_out(runtime: &OnnxRuntime, detector: &DetectorModel) -> anyhow::Result<()> {
    let about = &detector.metadata;
    let size = Size { width: about.input_width as usize, height: about.input_height as usize };
    let ran = probe::probe(runtime, &detector.bytes, 1, size);
    ran.map_err(|cause| anyhow::anyhow!("the detector that was made does not run: {cause}"))?;
    Ok(())
}

/// The error, with the model it is about. A name that is not there is the user's.
fn refused(error: PrecisionError, path: &Path) -> anyhow::Error {
    match error {
        PrecisionError::Keep { .. } => UsageError(error.to_string()).into(),
        error => anyhow::Error::from(ModelError::Precision(error)).context(path.display().to_string()),
    }
}

fn precision(text: &str) -> Result<Precision, String> {
    match text.parse()? {
        Precision::Float32 => Err("fp32 is what the model has; there are fp16 and int8".to_owned()),
        less => Ok(less),
    }
}
