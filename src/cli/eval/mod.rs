//! `centerx eval`: how good a model is, against labels or against a better model.

use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use anyhow::Context;

use crate::detection::ModelInfo;
use crate::eval::listed;
use crate::eval::report::{Outcome, Report, Run};

use super::{UsageError, output};

mod labels;
pub mod lanes;
pub(super) mod source;
pub(super) mod table;
pub(super) mod teacher;

/// Score a model against labels (COCO's average precision) or against a better model.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("truth").args(["annotations", "teacher"]).required(true)))]
#[command(after_help = "Examples:\n  \
    centerx eval --model coco --annotations instances_val2017.json --images val2017\n  \
    centerx eval --model ./yard.onnx --annotations yard.json --images yard --json report.json\n  \
    centerx eval --model ./small.onnx --teacher coco --images yard.mp4 --every 10\n\n\
    docs/evaluation.md says what the numbers mean.")]
pub struct Args {
    /// The model: the name of a pulled one or an ONNX file.
    #[arg(long)]
    model: String,
    /// Ground truth in COCO's JSON (instances_*.json).
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["score", "teacher_score", "frames", "every"]
    )]
    annotations: Option<PathBuf>,
    /// The folder of pictures; with --teacher, folders of pictures and video files.
    #[arg(long, required = true, num_args = 1.., value_name = "PATH")]
    images: Vec<PathBuf>,
    /// Look at the first pictures or frames only, so many in all.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Leave out pictures that are missing or damaged, and count them, instead of giving up.
    #[arg(long)]
    skip_unreadable: bool,
    /// Write a report to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Pictures looked at side by side; 0 means one a core.
    #[arg(long, default_value_t = 0, value_name = "COUNT")]
    lanes: usize,
    #[command(flatten)]
    labels: labels::LabelSettings,
    #[command(flatten)]
    teacher: teacher::TeacherSettings,
}

impl Args {
    /// Looks at every picture, prints tables, writes the report.
    ///
    /// # Errors
    /// Input that cannot be used, named; a missing model or runtime.
    pub fn run(self) -> anyhow::Result<()> {
        // Before an hour of work, not after it.
        self.json.as_deref().map_or(Ok(()), |path| self.check_target(path))?;
        let evaluated = match &self.annotations {
            Some(annotations) => labels::evaluate(&self, annotations)?,
            None => teacher::evaluate(&self)?,
        };
        let report = Report {
            centerx: env!("CARGO_PKG_VERSION"),
            date: SystemTime::now(),
            model: (&evaluated.model).into(),
            run: evaluated.run,
            outcome: evaluated.outcome,
            notes: evaluated.notes,
        };
        output::line(table::text(&report))?;
        if let Some(path) = &self.json {
            let text = serde_json::to_string_pretty(&report)? + "\n";
            std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
            eprintln!("wrote {}", path.display());
        }
        Ok(())
    }

    /// Refuses a report that has nowhere to go, or would go over an input.
    fn check_target(&self, path: &Path) -> Result<(), UsageError> {
        let refuse =
            |why: String| Err(UsageError(format!("--json: {} cannot be written: {why}", path.display())));
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let inputs = self.images.iter().chain(&self.annotations);
        let target = path.canonicalize();
        if path.is_dir() {
            refuse("it is a folder; name a file".to_owned())
        } else if !folder.is_dir() {
            refuse(format!("there is no folder {}", folder.display()))
        } else if target.is_ok_and(|target| {
            inputs.map(|input| input.canonicalize()).any(|input| input.is_ok_and(|input| input == target))
        }) {
            refuse("it is one of the inputs; name another file".to_owned())
        } else {
            Ok(())
        }
    }
}

/// What either kind of evaluation gives.
struct Evaluated {
    model: ModelInfo,
    run: Run,
    outcome: Outcome,
    notes: Vec<String>,
}

/// To the millisecond.
pub(super) fn seconds_since(start: Instant) -> f64 {
    (start.elapsed().as_secs_f64() * 1e3).round() / 1e3
}

/// Refuses what is not a score.
fn check_score(option: &str, score: f32) -> Result<(), UsageError> {
    let is_score = (0.0..=1.0).contains(&score);
    is_score.then_some(()).ok_or_else(|| UsageError(format!("{option}: {score} is not a number from 0 to 1")))
}

/// Refuses pictures that are listed but not there: the first few are named.
fn refuse_missing(missing: &[PathBuf]) -> Result<(), UsageError> {
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = missing.iter().map(|path| path.display().to_string()).collect();
    Err(UsageError(format!(
        "pictures of the annotations that are missing: {} ({}); check --images, or leave them out with \
         --skip-unreadable",
        names.len(),
        listed(&names)
    )))
}

fn refuse_nothing_left(pictures: usize, images: &Path) -> Result<(), UsageError> {
    (pictures > 0)
        .then_some(())
        .ok_or_else(|| UsageError(format!("{}: no picture can be read", images.display())))
}
