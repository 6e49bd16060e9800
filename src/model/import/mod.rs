//! Any CenterNet becomes a detector by the engine contract: its input is put behind `images`, its heads are
//! recognised, the decode is appended, and the result says in its metadata what was done.
//!
//! Shapes are found by running the network: a [`Probe`] does, so that nothing here knows a runtime. What
//! comes in is foreign: nothing in it is believed before it is checked.

mod batch;
mod error;
mod half;
mod heads;
mod heat;
mod input;
mod labels;
mod opset;
mod simplify;

use std::collections::HashSet;
use std::path::Path;

use prost::Message as _;

use super::decode::{self, Choice, Family, Head, Heads, Heat};
use super::graph::Graph;
use super::metadata::ModelMetadata;
use super::onnx::{ElementType, ModelProto, element_name};
use super::recipe::{Layout, Recipe};
use super::{ModelError, decode_onnx};
pub use error::ImportError;
use heads::Recognized;
pub use labels::parse as parse_labels;
pub use simplify::Simplified;

/// A picture's size in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs)]
pub struct Size {
    pub width: usize,
    pub height: usize,
}

impl Size {
    /// Sides from 1 to 8192, the engine contract's range; none for others.
    pub fn new(width: i64, height: i64) -> Option<Self> {
        let side = |side: i64| usize::try_from(side).ok().filter(|side| (1..=8192).contains(side));
        Some(Self { width: side(width)?, height: side(height)? })
    }
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

/// What the network wants of its pixels: `(pixel * scale - mean) / std`, a channel at a time in the
/// network's own order. Pixels are 0 to 255.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs)]
pub struct Normalize {
    pub mean: [f32; 3],
    pub std: [f32; 3],
    pub scale: f32,
    /// Blue comes first.
    pub bgr: bool,
}

impl Default for Normalize {
    fn default() -> Self {
        Self { mean: [0.0; 3], std: [1.0; 3], scale: 1.0, bgr: false }
    }
}

/// What the user says of a network, and wants of the detector.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The detector's name.
    pub name: String,
    /// Its edition; `1` if empty.
    pub version: String,
    /// The family; found by itself if none.
    pub family: Option<&'static Family>,
    /// Heads by name, each with the value in the network that holds it; inner values are allowed.
    pub heads: Vec<(String, String)>,
    /// What the heatmap holds; found by itself if none.
    pub heat: Option<Heat>,
    /// Class names in order; made up if none.
    pub labels: Option<Vec<String>>,
    /// Where the channels are; found by itself if none.
    pub layout: Option<Layout>,
    /// What the network wants of its pixels.
    pub normalize: Normalize,
    /// Input size; that of the network if none.
    pub size: Option<Size>,
    /// Input pixels a cell; worked out from the sizes if none, and checked against them.
    pub stride: Option<usize>,
    /// Detections a picture; 100 if none.
    pub top_k: Option<usize>,
    /// Overlap from which a worse object of the same class is left out; none keeps all.
    pub nms: Option<f32>,
    /// Compute in float16, the decode excepted.
    pub float16: bool,
    /// Where the weights come from.
    pub source: String,
    /// Their licence, as an SPDX expression.
    pub license: String,
}

/// A value of a network after a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Probed {
    /// Its name.
    pub name: String,
    /// Its element type's number in the ONNX format.
    pub element: i32,
    /// Its shape.
    pub shape: Vec<i64>,
    /// The least of its elements; NaN if any is, or if they are no floats.
    pub least: f32,
    /// The greatest.
    pub greatest: f32,
}

impl std::fmt::Display for Probed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let dims: Vec<_> = self.shape.iter().map(i64::to_string).collect();
        write!(f, "{} {} [{}]", self.name, element_name(self.element), dims.join(","))
    }
}

/// Runs a model, the bytes of an ONNX file with the one input `images` (uint8 `[N, H, W, 3]`), over a batch of
/// so many pictures of noise of that size, and tells its outputs; or why it cannot be run.
pub type Probe<'a> = &'a dyn Fn(&[u8], usize, Size) -> Result<Vec<Probed>, String>;

/// A detector that was made.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The ONNX file.
    pub bytes: Vec<u8>,
    /// What it says of itself.
    pub metadata: ModelMetadata,
    /// What was assumed, for the user to check.
    pub notes: Vec<String>,
    /// What was cleaned up.
    pub simplified: Simplified,
}

/// The size of networks that were saved without one, or for a toy's.
const DEFAULT_SIZE: Size = Size { width: 512, height: 512 };
/// A fixed size under this is that of an example given to the exporter.
const LEAST_SIZE: usize = 128;
const DEFAULT_TOP_K: usize = 100;

/// Makes a detector of the network in `bytes`; `path` is for messages.
///
/// # Errors
/// A file that is not sound, a network that fits no family or cannot run at the size asked for; each with
/// what was found and what to pass.
pub fn import(
    bytes: &[u8],
    path: &Path,
    options: &Options,
    probe: Probe<'_>,
) -> Result<Imported, ModelError> {
    let model = decode_onnx(bytes, path)?;
    error::check_weights(&model, path)?;
    Ok(Import { options, probe, notes: Vec::new() }.run(model)?)
}

struct Import<'a> {
    options: &'a Options,
    probe: Probe<'a>,
    notes: Vec<String>,
}

impl Import<'_> {
    fn run(mut self, model: ModelProto) -> Result<Imported, ImportError> {
        let mut graph = Graph::from_model(model);
        graph.check()?;
        let found = input::Found::of(graph.proto(), self.options.layout)?;
        opset::raise(&mut graph)?;
        let size = self.size(&found);
        let (input, entry) = input::replace(&mut graph, &found, size, &self.options.normalize)?;
        batch::free_batch(&mut graph, found.batch);
        let named = self.options.heads.iter().map(|(_, value)| value.clone());
        let simplified = simplify::simplify(&mut graph, &named.chain([entry.clone()]).collect::<Vec<_>>());
        self.free_resizes(&mut graph, found.size)?;
        let probed = self.probe_heads(&graph, size)?;
        let recognized = heads::recognize(&probed, self.options)?;
        let family = recognized.family;
        let heads = self.heads(&graph, recognized, &probed, size)?;
        let mut values: Vec<String> = heads.all().map(|head| head.value.clone()).collect();
        values.sort_unstable();
        values.dedup();
        // What came after the heads is dead now; what the decode adds declares the output there will be.
        graph.set_outputs(&values);
        graph.remove_dead();
        graph.set_outputs(&[]);
        self.choose_precision(&mut graph, &entry, &values, &probed)?;
        let top_k = self.top_k(&heads);
        decode::append(&mut graph, family, &heads, Choice { top_k, nms: self.options.nms })?;
        graph.remove_dead();
        graph.check()?;
        let classes = labels::names(self.options.labels.as_deref(), family, heads.heatmap.channels)?;
        let recipe = Recipe { input, heads, nms: self.options.nms, float16: self.options.float16 };
        let metadata = self.metadata(family, classes, top_k, size, recipe);
        let mut model = graph.into_model();
        metadata.write_to(&mut model);
        Ok(Imported { bytes: model.encode_to_vec(), metadata, notes: self.notes, simplified })
    }

    fn size(&mut self, found: &input::Found) -> Size {
        if let Some(size) = self.options.size {
            return size;
        }
        match found.size.filter(|size| size.width.min(size.height) >= LEAST_SIZE) {
            Some(size) => size,
            None => {
                self.notes.push(format!(
                    "took {DEFAULT_SIZE} for the input, as the network does not say (--size WxH to change)"
                ));
                DEFAULT_SIZE
            }
        }
    }

    fn top_k(&self, heads: &Heads) -> usize {
        let cells = heads.heatmap.height * heads.heatmap.width;
        self.options.top_k.unwrap_or(DEFAULT_TOP_K.min(cells))
    }

    /// Runs the graph with `outputs` as its outputs.
    fn run_at(
        &self,
        graph: &Graph,
        outputs: &[String],
        batch: usize,
        size: Size,
    ) -> Result<Vec<Probed>, String> {
        let mut copy =
            Graph::from_model(ModelProto { graph: Some(graph.proto().clone()), ..graph.frame().clone() });
        copy.set_outputs(outputs);
        copy.resize_input(size.height, size.width);
        copy.remove_dead();
        (self.probe)(&copy.into_model().encode_to_vec(), batch, size)
    }

    /// Target sizes inside the network were written for the size it was saved with; that they are turned into
    /// factors takes a run at that size.
    fn free_resizes(&self, graph: &mut Graph, saved: Option<Size>) -> Result<(), ImportError> {
        let read = batch::fixed_resizes(graph);
        let Some(saved) = saved.filter(|_| !read.is_empty()) else { return Ok(()) };
        let shapes = self.run_at(graph, &read, 1, saved).map_err(|cause| ImportError::Run {
            at: format!("at the size it was saved with, {saved}"),
            cause,
            cure: "export it again with dynamic height and width",
        })?;
        batch::free_resizes(graph, &shapes)
    }

    /// What may be heads, after a run at batch 1; a run at batch 2 shows that any will do.
    fn probe_heads(&self, graph: &Graph, size: Size) -> Result<Vec<Probed>, ImportError> {
        let made: HashSet<&String> = graph.proto().node.iter().flat_map(|node| &node.output).collect();
        let outputs = graph.proto().output.iter().filter_map(|value| value.name.clone());
        let named = self.options.heads.iter().map(|(_, value)| value.clone());
        let mut names: Vec<String> = Vec::new();
        for name in outputs.chain(named.filter(|name| made.contains(name))) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let one = self.run_at(graph, &names, 1, size).map_err(|cause| ImportError::Run {
            at: format!("at {size}"),
            cause,
            cure: "its sides must be multiples of what its strides multiply to, often 32: try --size 512x512; if \
                   the message names an operator that is not known, export the network without it",
        })?;
        if let Some(bad) = one.iter().find(|probed| batch::is_float(probed) && probed.least.is_nan()) {
            return Err(ImportError::Run {
                at: format!("at {size}"),
                cause: format!("{bad} holds NaN, which is no number"),
                cure: "look at its weights; the training may have gone wrong",
            });
        }
        let free = |two: &[Probed]| {
            one.iter()
                .zip(two)
                .all(|(a, b)| a.shape.first() == Some(&1) && b.shape == [&[2], &a.shape[1..]].concat())
        };
        match self.run_at(graph, &names, 2, size) {
            Ok(two) if free(&two) => Ok(one),
            Ok(_) => Err(fixed_batch("its outputs stay at the size for one".to_owned())),
            Err(cause) => Err(fixed_batch(cause)),
        }
    }

    fn heads(
        &mut self,
        graph: &Graph,
        found: Recognized,
        probed: &[Probed],
        size: Size,
    ) -> Result<Heads, ImportError> {
        self.notes.extend(found.notes);
        let Recognized { family, mut heatmap, mut regressions, .. } = found;
        let stride = self.stride(&heatmap, size)?;
        let joints =
            family.heads.iter().position(|spec| spec.name == "hm_hp").and_then(|at| regressions[at].as_mut());
        let mut maps: Vec<&mut Head> = [&mut heatmap].into_iter().chain(joints).collect();
        let scores =
            |name: &str| probed.iter().any(|p| p.name == name && p.least >= 0.0 && p.greatest <= 1.0);
        let heat = match self.options.heat {
            Some(heat) => heat,
            None => {
                let sources: Vec<_> =
                    maps.iter().map(|map| heat::source(graph, &map.value, scores(&map.value))).collect();
                let kinds: Vec<Heat> = sources.iter().map(|&(_, heat)| heat).collect();
                if kinds.iter().all(|&heat| heat == kinds[0]) {
                    maps.iter_mut().zip(sources).for_each(|(map, (value, _))| map.value = value);
                    kinds[0]
                } else {
                    Heat::Scores
                }
            }
        };
        Ok(Heads { heatmap, heat, regressions, stride: stride as f32 })
    }

    fn stride(&self, heatmap: &Head, size: Size) -> Result<usize, ImportError> {
        let (wide, high) = (size.width / heatmap.width, size.height / heatmap.height);
        let stride = self.options.stride.unwrap_or(wide);
        if stride > 0
            && [wide, high] == [stride; 2]
            && [heatmap.width * stride, heatmap.height * stride] == [size.width, size.height]
        {
            return Ok(stride);
        }
        let problem = format!(
            "the heatmap is {}x{} at an input of {size}, which is no stride of {stride}; both sides of the input \
             must be multiples of the network's greatest stride, often 32 (--size WxH)",
            heatmap.width, heatmap.height
        );
        Err(ImportError::Stride { problem })
    }

    /// float16 as asked; heads are float32 in any case.
    fn choose_precision(
        &self,
        graph: &mut Graph,
        entry: &str,
        heads: &[String],
        probed: &[Probed],
    ) -> Result<(), ImportError> {
        let is_half = probed.iter().any(|p| p.element == ElementType::Float16 as i32);
        match (self.options.float16, is_half) {
            (true, false) => half::to_half(graph, entry, heads),
            (_, true) => {
                half::heads_to_float(graph, heads);
                Ok(())
            }
            (false, false) => Ok(()),
        }
    }

    fn metadata(
        &self,
        family: &Family,
        classes: Vec<String>,
        top_k: usize,
        size: Size,
        recipe: Recipe,
    ) -> ModelMetadata {
        let options = self.options;
        let or = |text: &str, other: &str| if text.is_empty() { other.to_owned() } else { text.to_owned() };
        ModelMetadata {
            name: or(&options.name, "model"),
            version: or(&options.version, "1"),
            family: family.name.to_owned(),
            classes,
            landmarks: family.landmarks.iter().map(|&name| name.to_owned()).collect(),
            skeleton: family.skeleton.to_vec(),
            top_k: top_k as u32,
            input_width: size.width as u32,
            input_height: size.height as u32,
            source: or(&options.source, "not told"),
            license: or(&options.license, "not told"),
            recipe: Some(recipe),
        }
    }
}

fn fixed_batch(cause: String) -> ImportError {
    ImportError::Run {
        at: "on two pictures at once".to_owned(),
        cause,
        cure: "a batch of one is written down somewhere inside it: export it again with a dynamic batch axis",
    }
}

#[cfg(test)]
mod tests;
