//! `centerx model import`: any CenterNet becomes a detector.

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::ValueEnum;

use super::target;
use crate::app::verify::verify;
use crate::app::{models, probe};
use crate::cli::progress::Progress;
use crate::cli::{UsageError, output};
use crate::engine::onnx::OnnxRuntime;
use crate::model::decode::{FAMILIES, Family, Heat};
use crate::model::import::{self, Imported, Normalize, Options, Size};
use crate::model::recipe::Layout;
use crate::model::verify::Disagreement;
use crate::model::verify::pictures::random;
use crate::model::{self, DetectorModel, ModelError};

/// Make a detector of a CenterNet in an ONNX file: its decode becomes part of the graph.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Heads are found by their names, channels and order; what was assumed is printed. The families and their heads:\n\
  centernet   hm (classes), wh (2, or 2 a class), [reg (2)]      Objects as Points, centerX, CenterNet-better\n\
  ttf         hm, ltrb (4)                                       TTFNet: distances in input pixels\n\
  centerface  hm (1), scale (2), offset (2), landmarks (10)      CenterFace\n\
  centerpose  hm (1), wh (2), [reg (2)], hps (34), hm_hp (17), [hp_offset (2)]\n\
  quad        hm, corners (8), [reg (2)]                         four corners as offsets from the centre\n\
\nPixels go in as (value * SCALE - MEAN) / STD with values from 0 to 255, a channel at a time in the network's \
own order (blue first with --bgr).\n\nExamples:\n  centerx model import yard.onnx -o yard-fused.onnx --labels yard.txt\n  \
centerx model import ctdet_coco.onnx -o ctdet.onnx --labels coco.txt --bgr --scale 0.00392157 \\\n      \
--mean 0.408,0.447,0.470 --std 0.289,0.274,0.278\n  \
centerx model import centerface.onnx -o face.onnx --size 640x384 --name face")]
pub struct Args {
    /// The network.
    #[arg(value_name = "IN.onnx")]
    input: PathBuf,
    /// The detector to write.
    #[arg(long, short, value_name = "OUT.onnx")]
    output: PathBuf,
    /// The family, if it is not to be found out.
    #[arg(long, value_name = "NAME", value_parser = family)]
    family: Option<&'static Family>,
    /// The value that is a head, such as hm=538; inner values of the network are allowed; may be repeated.
    #[arg(long = "head", value_name = "HEAD=VALUE", value_parser = pair)]
    heads: Vec<(String, String)>,
    /// What the heatmap holds, if it is not to be found out.
    #[arg(long, value_enum)]
    heat: Option<HeatChoice>,
    /// Class names, one a line, in the network's order.
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// Subtracted from each channel.
    #[arg(long, value_name = "A,B,C", value_parser = three, allow_hyphen_values = true)]
    mean: Option<Three>,
    /// Each channel is divided by this.
    #[arg(long, value_name = "A,B,C", value_parser = three)]
    std: Option<Three>,
    /// All values are multiplied by this first.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    scale: f32,
    /// The network wants blue first.
    #[arg(long)]
    bgr: bool,
    /// Where the network's channels are, if it is not to be found out.
    #[arg(long, value_enum)]
    layout: Option<LayoutChoice>,
    /// Input size of the detector, such as 640x384 [default: the network's own, or 512x512].
    #[arg(long, value_name = "WxH", value_parser = size)]
    size: Option<Size>,
    /// Input pixels a cell of the heatmap, to have it checked.
    #[arg(long, value_name = "PIXELS")]
    stride: Option<usize>,
    /// Detections a picture, up to 10000 [default: 100].
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    topk: Option<u64>,
    /// Leave out an object that overlaps a better one of its class by more than this, 0 to 1.
    #[arg(long, value_name = "IOU")]
    nms: Option<f32>,
    /// Let the network compute in float16; its decode stays in float32.
    #[arg(long)]
    fp16: bool,
    /// The detector's name [default: the output's].
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The detector's edition.
    #[arg(long, value_name = "TEXT", default_value = "1")]
    model_version: String,
    /// Where the weights come from, for the metadata.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    source: String,
    /// The weights' licence, as an SPDX expression, for the metadata.
    #[arg(long, value_name = "SPDX", default_value = "", hide_default_value = true)]
    license: String,
    /// Do not compare the detector with the network, by an independent decode, before it is written.
    #[arg(long)]
    no_verify: bool,
    /// Write over the output if it is there.
    #[arg(long)]
    force: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum HeatChoice {
    /// Any numbers; the sigmoid of them is the score.
    Logits,
    /// 0 to 1.
    Scores,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LayoutChoice {
    /// Channels before rows.
    Nchw,
    /// Channels last.
    Nhwc,
}

type Three = [f32; 3];

/// Random pictures that the detector is compared on with its network.
const PICTURES: usize = 2;

impl Args {
    /// Imports, checks and writes.
    ///
    /// # Errors
    /// What keeps the network from becoming a detector, or the file from being written.
    pub fn run(self) -> anyhow::Result<()> {
        let options = self.options()?;
        target::check(&self.output, self.force)?;
        let bytes = model::read(&self.input)?;
        if let Ok(detector) = model::parse(bytes.clone(), &self.input) {
            return Err(UsageError(format!(
                "{} is a detector already ({} {}); it can be used as it is",
                self.input.display(),
                detector.metadata.name,
                detector.metadata.version
            ))
            .into());
        }
        let runtime = models::load_runtime()?;
        let progress = Progress::start();
        progress.step("importing");
        let begin = Instant::now();
        let imported = import(&runtime, &bytes, &self.input, &options);
        progress.end();
        let (imported, detector) = imported?;
        let verified = if self.no_verify { None } else { self.verify(&runtime, &bytes, &detector)? };
        target::write(&self.output, &imported.bytes)?;
        for note in &imported.notes {
            eprintln!("note: {note}");
        }
        if let Some(verified) = verified {
            output::line(verified)?;
        }
        output::line(super::inspect::description(&self.output, &runtime)?)?;
        let simplified = imported.simplified;
        output::line(format_args!(
            "batch normalisations folded: {}, hard-swishes: {}; nodes and weights removed: {}; {:.1} s",
            simplified.batch_norms,
            simplified.hard_swishes,
            simplified.removed,
            begin.elapsed().as_secs_f64()
        ))?;
        Ok(())
    }

    /// Sees that the detector finds in random pictures what the network's heads say; how near it came, if that
    /// could be seen.
    fn verify(
        &self,
        runtime: &OnnxRuntime,
        network: &[u8],
        detector: &DetectorModel,
    ) -> anyhow::Result<Option<String>> {
        let original = model::parse_onnx(network, &self.input)?;
        let about = &detector.metadata;
        let size = [about.input_width, about.input_height].map(|side| side as usize);
        let report = match verify(runtime, Some(&original), detector, &random(PICTURES, size, 1), None) {
            Ok(report) => report,
            Err(error) => {
                eprintln!(
                    "note: it could not be compared with the network, which does not run by itself: {error:#}"
                );
                return Ok(None);
            }
        };
        match report.verdict() {
            Ok(()) => Ok(Some(format!(
                "verified: {} rows of {PICTURES} random pictures, scores within {:.0e}, boxes within {:.0e} px",
                report.single.rows,
                report.single.score,
                report.single.bbox.into_iter().fold(0.0, f64::max)
            ))),
            Err(nothing @ Disagreement::Nothing(_)) => {
                eprintln!("note: {nothing}");
                Ok(None)
            }
            Err(different) => {
                let cure = "nothing was written; --no-verify writes it all the same";
                Err(anyhow::Error::from(different).context(cure))
            }
        }
    }

    fn options(&self) -> anyhow::Result<Options> {
        let usage = |problem: String| Err(UsageError(problem).into());
        if let Some(nms) = self.nms.filter(|nms| !(0.0..=1.0).contains(nms)) {
            return usage(format!("--nms: {nms} is not a number from 0 to 1"));
        }
        let labels = match &self.labels {
            Some(path) => {
                let text = std::fs::read_to_string(path);
                let text =
                    text.map_err(|error| UsageError(format!("--labels: {}: {error}", path.display())))?;
                Some(import::parse_labels(&text))
            }
            None => None,
        };
        let stem = self.output.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let plain = Normalize::default();
        Ok(Options {
            name: self.name.clone().or(stem).unwrap_or_default(),
            version: self.model_version.clone(),
            family: self.family,
            heads: self.heads.clone(),
            heat: self.heat.map(|heat| match heat {
                HeatChoice::Logits => Heat::Logits,
                HeatChoice::Scores => Heat::Scores,
            }),
            labels,
            layout: self.layout.map(|layout| match layout {
                LayoutChoice::Nchw => Layout::Nchw,
                LayoutChoice::Nhwc => Layout::Nhwc,
            }),
            normalize: Normalize {
                mean: self.mean.unwrap_or(plain.mean),
                std: self.std.unwrap_or(plain.std),
                scale: self.scale,
                bgr: self.bgr,
            },
            size: self.size,
            stride: self.stride,
            top_k: self.topk.map(|k| k as usize),
            nms: self.nms,
            float16: self.fp16,
            source: self.source.clone(),
            license: self.license.clone(),
        })
    }
}

/// Imports the network and sees that what comes out loads as a detector and runs.
fn import(
    runtime: &OnnxRuntime,
    bytes: &[u8],
    path: &Path,
    options: &Options,
) -> anyhow::Result<(Imported, DetectorModel)> {
    let probe = |model: &[u8], batch, size| probe::probe(runtime, model, batch, size);
    let imported = import::import(bytes, path, options, &probe).map_err(|error| match error {
        // Those of the file itself name it.
        ModelError::Network(problem) => {
            anyhow::Error::from(ModelError::Network(problem)).context(path.display().to_string())
        }
        other => other.into(),
    })?;
    let detector = model::parse(imported.bytes.clone(), path)?;
    let size = Size {
        width: imported.metadata.input_width as usize,
        height: imported.metadata.input_height as usize,
    };
    probe(&imported.bytes, 1, size)
        .map_err(|cause| anyhow::anyhow!("the detector that was made does not run: {cause}"))?;
    Ok((imported, detector))
}

fn family(text: &str) -> Result<&'static Family, String> {
    let names = || FAMILIES.map(|family| family.name).join(", ");
    Family::by_name(text).ok_or_else(|| format!("the families are {}", names()))
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (head, value) = text.split_once('=').ok_or("expected HEAD=VALUE, such as hm=538")?;
    let known =
        |head: &str| head == "hm" || FAMILIES.iter().any(|f| f.heads.iter().any(|spec| spec.name == head));
    if !known(head) {
        return Err(format!("{head:?} is no head of any family; see --help"));
    }
    Ok((head.to_owned(), value.to_owned()))
}

fn three(text: &str) -> Result<Three, String> {
    let numbers = text.split(',').map(|number| number.trim().parse::<f32>());
    let numbers = numbers.collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
    match numbers[..] {
        [all] => Ok([all; 3]),
        [a, b, c] => Ok([a, b, c]),
        _ => Err("expected three numbers with commas between, or one for all".to_owned()),
    }
}

fn size(text: &str) -> Result<Size, String> {
    let sides = text.split_once(['x', 'X']).and_then(|(w, h)| Size::new(w.parse().ok()?, h.parse().ok()?));
    sides.ok_or_else(|| "expected WIDTHxHEIGHT in pixels, up to 8192 each, such as 640x384".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_read_or_refused_with_what_is_expected() {
        assert_eq!(size("640x384"), Ok(Size { width: 640, height: 384 }));
        assert!(size("640").unwrap_err().contains("WIDTHxHEIGHT"));
        assert!(size("0x9000").is_err());
        assert_eq!(three("0.5, -1,2"), Ok([0.5, -1.0, 2.0]));
        assert_eq!(three("0.5"), Ok([0.5; 3]));
        assert!(three("1,2").unwrap_err().contains("three numbers"));
        assert_eq!(pair("wh=/head/wh=1"), Ok(("wh".into(), "/head/wh=1".into())));
        assert!(pair("whh=1").unwrap_err().contains("no head"));
        assert!(family("yolo").unwrap_err().contains("centernet, ttf"));
    }
}
