//! `centerx model inspect`: what a model finds, takes, gives and costs.

use std::path::{Path, PathBuf};

use clap::Args;
use comfy_table::Table;
use serde::Serialize;

use super::table;
use crate::app::{inspect::measure, models::load_runtime};
use crate::cli::output;
use crate::engine::onnx::OnnxRuntime;
use crate::model::inspect::{Facts, Flops, facts};
use crate::model::precision::Precision;
use crate::model::recipe::{Input, Recipe};
use crate::model::{self, DetectorModel, ModelError, zoo};

/// Class names and operators that are shown before it is said how many more there are.
const SHOWN: usize = 12;

/// Show what a model finds, takes, gives and costs.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  centerx model inspect coco\n  centerx model inspect ./yard.onnx --json")]
pub struct InspectArgs {
    /// A pulled model's name or the path of an .onnx file, detector or not.
    model: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl InspectArgs {
    /// Looks and prints.
    ///
    /// # Errors
    /// A file that is no ONNX model.
    pub fn run(self) -> anyhow::Result<()> {
        let seen = Seen::look(&zoo::resolve(&self.model)?, load_runtime)?;
        match self.json {
            true => output::line(serde_json::to_string(&seen)?)?,
            false => output::line(seen.rendered())?,
        }
        Ok(())
    }
}

/// What there is to tell of the model at `path`. A process loads one runtime, so who has one passes it.
pub(super) fn description(path: &Path, runtime: &OnnxRuntime) -> anyhow::Result<Table> {
    Ok(Seen::look(path, || Ok(runtime.clone()))?.rendered())
}

/// What was seen.
#[derive(Debug, Serialize)]
struct Seen {
    file: PathBuf,
    /// In bytes.
    size: u64,
    detector: Option<Detector>,
    /// Why it is no detector.
    problem: Option<String>,
    #[serde(flatten)]
    facts: Facts,
    flops: Option<Flops>,
    /// Why they were not counted.
    flops_problem: Option<String>,
}

/// What a detector tells of itself.
#[derive(Debug, Serialize)]
struct Detector {
    name: String,
    version: String,
    family: String,
    classes: Vec<String>,
    landmarks: Vec<String>,
    top_k: u32,
    input_width: u32,
    input_height: u32,
    source: String,
    license: String,
    precision: Precision,
    sha256: String,
    recipe: Option<Recipe>,
}

impl From<DetectorModel> for Detector {
    fn from(DetectorModel { metadata, sha256, .. }: DetectorModel) -> Self {
        Self {
            name: metadata.name,
            version: metadata.version,
            family: metadata.family,
            classes: metadata.classes,
            landmarks: metadata.landmarks,
            top_k: metadata.top_k,
            input_width: metadata.input_width,
            input_height: metadata.input_height,
            source: metadata.source,
            license: metadata.license,
            precision: metadata.precision,
            sha256,
            recipe: metadata.recipe,
        }
    }
}

impl Seen {
    fn look(path: &Path, runtime: impl FnOnce() -> anyhow::Result<OnnxRuntime>) -> anyhow::Result<Self> {
        let model = model::read_onnx(path)?;
        let (detector, problem) = match model::load(path) {
            Ok(detector) => (Some(Detector::from(detector)), None),
            Err(ModelError::NotDetector { problem, .. }) => (None, Some(problem)),
            Err(ModelError::Metadata { cause, .. }) => (None, Some(cause.to_string())),
            Err(error) => return Err(error.into()),
        };
        let recipe = detector.as_ref().and_then(|detector| detector.recipe.as_ref());
        let counted = runtime().and_then(|runtime| measure(&runtime, &model, recipe));
        let (flops, flops_problem) = match counted {
            Ok(flops) => (Some(flops), None),
            Err(error) => (None, Some(format!("{error:#}"))),
        };
        let facts = facts(&model, recipe);
        let size = std::fs::metadata(path)?.len();
        Ok(Self { file: path.to_owned(), size, detector, problem, facts, flops, flops_problem })
    }

    fn rendered(&self) -> Table {
        let mut table = table();
        let mut row = |name: &str, text: String| _ = table.add_row([name.to_owned(), text]);
        let facts = &self.facts;
        if let Some(detector) = &self.detector {
            row("model", format!("{} {}", detector.name, detector.version));
            row("family", detector.family.clone());
        } else {
            let problem = self.problem.as_deref().unwrap_or("");
            row("model", format!("not a detector; centerx model import makes one ({problem})"));
        }
        facts.inputs.iter().for_each(|input| row("input", input.clone()));
        facts.outputs.iter().for_each(|output| row("output", output.clone()));
        if let Some(detector) = &self.detector {
            detector_rows(detector, &mut row);
        }
        let operators =
            facts.operators.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>();
        let decode =
            facts.decode_nodes.map_or(String::new(), |nodes| format!(", {nodes} of them the decode"));
        row("nodes", format!("{}{decode}", facts.nodes));
        row("operators", shown(&operators));
        row(
            "parameters",
            format!("{} ({:.1} MB)", short(facts.parameters as f64), facts.parameter_bytes as f64 / 1e6),
        );
        row("FLOPs", self.work());
        let opset = facts.opset.map_or("none".to_owned(), |opset| opset.to_string());
        let producer = if facts.producer.is_empty() { "nobody named" } else { &facts.producer };
        row("format", format!("opset {opset}, IR {}, by {producer}", facts.ir_version));
        row("file", format!("{} ({:.1} MB)", self.file.display(), self.size as f64 / 1e6));
        if let Some(detector) = &self.detector {
            row("sha256", detector.sha256.clone());
        }
        table
    }

    fn work(&self) -> String {
        match (&self.flops, &self.flops_problem) {
            (Some(Flops { total, .. }), _) if self.facts.decode_nodes.is_none() => {
                format!("{} a picture", short(*total))
            }
            (Some(Flops { total, decode }), _) => {
                let share = 100.0 * decode / total.max(1.0);
                let decode = match share {
                    0.0 => String::new(),
                    _ => format!(", {share:.2} % of them in the decode"),
                };
                format!("{} a picture{decode}", short(*total))
            }
            (None, problem) => format!("unknown: {}", problem.as_deref().unwrap_or("not counted")),
        }
    }
}

fn detector_rows(detector: &Detector, row: &mut dyn FnMut(&str, String)) {
    let landmarks = if detector.landmarks.is_empty() { "" } else { ", then x y score of each landmark" };
    row("rows", format!("x1 y1 x2 y2 score class{landmarks}; best first"));
    row("classes", shown(&detector.classes));
    if !detector.landmarks.is_empty() {
        row("landmarks", shown(&detector.landmarks));
    }
    row("source", detector.source.clone());
    row("license", detector.license.clone());
    row("precision", precision(detector.precision).to_owned());
    let Some(recipe) = &detector.recipe else {
        return row(
            "recipe",
            "none: its decode is one of a kind, or it is an older file, to be pulled or imported again"
                .to_owned(),
        );
    };
    let heads = std::iter::once(&recipe.heads.heatmap).chain(recipe.heads.regressions.iter().flatten());
    let heads =
        heads.map(|head| format!("{} [N,{},{},{}]", head.value, head.channels, head.height, head.width));
    row("heads", heads.collect::<Vec<_>>().join(", "));
    row("stride", recipe.heads.stride.to_string());
    let input = &recipe.input;
    row("network takes", format!("{} as {}", pixels(input), input.name));
    row("nms", recipe.nms.map_or("none".to_owned(), |iou| format!("over an overlap of {iou}")));
}

fn precision(precision: Precision) -> &'static str {
    match precision {
        Precision::Float32 => "fp32",
        Precision::Float16 => "fp16, the decode fp32",
        Precision::Int8 => "int8 where it multiplies matrices, the rest fp32",
    }
}

/// What becomes of pixels from 0 to 255 before the network sees them.
fn pixels(input: &Input) -> String {
    let order = if input.bgr { "BGR" } else { "RGB" };
    if input.multiply == [1.0; 3] && input.add == [0.0; 3] {
        format!("{order}, 0 to 255,")
    } else {
        format!("{order} * {:?} + {:?}", input.multiply, input.add)
    }
}

fn shown(names: &[String]) -> String {
    let (first, rest) = names.split_at(names.len().min(SHOWN));
    let more = if rest.is_empty() { String::new() } else { format!(", and {} more", rest.len()) };
    format!("{}: {}{more}", names.len(), first.join(", "))
}

/// As `1.8 M`.
fn short(number: f64) -> String {
    match number {
        n if n >= 1e9 => format!("{:.2} G", n / 1e9),
        n if n >= 1e6 => format!("{:.2} M", n / 1e6),
        n if n >= 1e3 => format!("{:.1} k", n / 1e3),
        n => format!("{n:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{short, shown};

    #[test]
    fn long_lists_of_names_are_cut() {
        let names: Vec<_> = (0..14).map(|n| format!("c{n}")).collect();
        assert_eq!(shown(&names[..2]), "2: c0, c1");
        assert!(shown(&names).starts_with("14: c0, ") && shown(&names).ends_with("c11, and 2 more"));
    }

    #[test]
    fn great_numbers_are_short() {
        assert_eq!([12.0, 1234.0, 1.5e6, 2.345e9].map(short), ["12", "1.2 k", "1.50 M", "2.35 G"]);
    }
}
