//! `centerx model verify`: proves a detector equal to the network it was made of.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use comfy_table::Table;

use super::table;
use crate::app::models::load_runtime;
use crate::app::verify::verify;
use crate::cli::{UsageError, output};
use crate::letterbox::Preprocessor;
use crate::model::verify::compare::{Agreement, LEAST_SCORE};
use crate::model::verify::pictures::{RgbPicture, random};
use crate::model::verify::{Limits, Report};
use crate::model::{self, zoo};
use crate::picture_file;

/// Prove a detector equal to the network it was made of.
///
/// Both run on random and on given pictures; the heads of the network are decoded by an independent decode and
/// compared with what the detector finds, one picture and three pictures at a time. Without IN the heads are
/// taken out of OUT itself, which proves its decode but not its network. Ends with 1 if they differ.
#[derive(Debug, Args)]
#[command(
    allow_missing_positional = true,
    after_help = "Examples:\n  centerx model verify net.onnx yard.onnx --picture yard.jpg\n  \
    centerx model verify coco --json"
)]
pub struct VerifyArgs {
    /// The original network, an .onnx file; the heads are taken out of OUT if it is not given.
    #[arg(value_name = "IN")]
    original: Option<PathBuf>,
    /// The detector: a pulled model's name or an .onnx file.
    #[arg(value_name = "OUT")]
    detector: String,
    /// Compare on these pictures (JPEG, PNG, WebP) too.
    #[arg(long = "picture", num_args = 1.., value_name = "FILE")]
    pictures: Vec<PathBuf>,
    /// How many random pictures to compare on, smooth blobs and noise in turns.
    #[arg(long, default_value_t = 4, value_name = "COUNT")]
    random: usize,
    /// Which random pictures: the same for the same number.
    #[arg(long, default_value_t = 1, value_name = "NUMBER")]
    seed: u64,
    /// The greatest difference allowed in a coordinate, in input pixels [default: 0.01; 1 for float16].
    #[arg(long, value_name = "PIXELS")]
    max_px: Option<f64>,
    /// The greatest difference allowed in a score [default: 0.00001; 0.02 for float16].
    #[arg(long, value_name = "SCORE")]
    max_score: Option<f64>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl VerifyArgs {
    /// Compares and prints.
    ///
    /// # Errors
    /// Models that do not run or do not fit together, or that differ.
    pub fn run(self) -> anyhow::Result<()> {
        let original = self.original.as_deref().map(model::read_onnx).transpose()?;
        let detector = model::load(&zoo::resolve(&self.detector)?)?;
        let about = &detector.metadata;
        let pictures = self.pictures((about.input_width, about.input_height))?;
        let limits = self.limits(about.recipe.as_ref().is_some_and(|recipe| recipe.float16))?;
        let report = verify(&load_runtime()?, original.as_ref(), &detector, &pictures, Some(limits))?;
        if self.json {
            output::line(serde_json::to_string(&report)?)?;
        } else {
            output::line(rendered(&report))?;
        }
        Ok(report.verdict()?)
    }

    fn limits(&self, float16: bool) -> anyhow::Result<Limits> {
        let usual = Limits::of(float16);
        let limits = Limits {
            max_px: self.max_px.unwrap_or(usual.max_px),
            max_score: self.max_score.unwrap_or(usual.max_score),
        };
        if limits.max_px > 0.0 && limits.max_score > 0.0 {
            return Ok(limits);
        }
        Err(UsageError("--max-px and --max-score must be more than 0".to_owned()).into())
    }

    fn pictures(&self, size: (u32, u32)) -> anyhow::Result<Vec<RgbPicture>> {
        if self.random == 0 && self.pictures.is_empty() {
            return Err(
                UsageError("--random 0 leaves nothing to compare on; pass --picture".to_owned()).into()
            );
        }
        let mut pictures = random(self.random, [size.0, size.1].map(|side| side as usize), self.seed);
        for path in &self.pictures {
            pictures.push(prepared(path, size).with_context(|| path.display().to_string())?);
        }
        Ok(pictures)
    }
}

/// The picture as an engine gets it.
fn prepared(path: &Path, size: (u32, u32)) -> anyhow::Result<RgbPicture> {
    let picture = picture_file::decode(&std::fs::read(path)?)?;
    let mut rgb = vec![0; size.0 as usize * size.1 as usize * 3];
    Preprocessor::default().letterbox(&picture, size, &mut rgb)?;
    Ok(RgbPicture { name: path.display().to_string(), rgb })
}

fn rendered(report: &Report) -> Table {
    let mut table = table();
    let heads = match report.against_original {
        true => "of the original network",
        false => "taken out of the detector",
    };
    table.add_row(["heads", heads, ""]);
    if !report.against_original {
        table.add_row(["", "(proves its decode; to prove its", "network as well, pass IN)"]);
    }
    table.add_row(["pictures", &report.pictures.to_string(), ""]);
    table.add_row(["", "one at a time", "three at a time"]);
    let mut row = |name: &str, text: &dyn Fn(&Agreement) -> String| {
        table.add_row([name, &text(&report.single), &text(&report.batched)]);
    };
    row("rows compared", &|a| a.rows.to_string());
    row("greatest difference in score", &|a| format!("{:.1e}", a.score));
    row("in a box, x1 y1 x2 y2 (px)", &|a| a.bbox.map(|px| format!("{px:.1e}")).join(" "));
    if report.single.landmarks > 0 {
        row("landmarks compared", &|a| a.landmarks.to_string());
        row("in a landmark, x y (px)", &|a| a.landmark.map(|px| format!("{px:.1e}")).join(" "));
        row("in a landmark's score", &|a| format!("{:.1e}", a.landmark_score));
    }
    row(&format!("missing, too many (score over {LEAST_SCORE})"), &|a| format!("{}, {}", a.missing, a.extra));
    row("near-ties that fell the other way", &|a| (a.near_ties + a.landmark_near_ties).to_string());
    let allowed = format!("{} px, {:.0e} of score", report.limits.max_px, report.limits.max_score);
    table.add_row(["allowed", &allowed, ""]);
    let ms = |time: f64| format!("{time:.1} ms a picture");
    table.add_row(["time of the detector", &ms(report.detector_ms), ""]);
    let apart = [ms(report.network_ms), format!("+ {:.1} ms", report.decode_ms)];
    table.add_row(["of network + independent decode", &apart[0], &apart[1]]);
    table.add_row(["outcome", if report.verdict().is_ok() { "equal" } else { "different" }, ""]);
    table
}
