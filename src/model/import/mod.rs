//! Any CenterNet becomes a detector by the engine contract: its input is put behind `images`, its heads are
//! recognised, the decode is appended, and the result says in its metadata what was done.
//!
//! Shapes are found by running the network: a [`Probe`] does, so that nothing here knows a runtime. What
//! comes in is foreign: nothing in it is believed before it is checked.

mod batch;
mod error;
mod fold;
mod heads;
mod heat;
mod input;
mod labels;
mod opset;
mod options;
mod probing;
mod simplify;
mod views;

use std::path::Path;

use prost::Message as _;

use super::decode::{self, Choice, Family, Head, Heads, Heat};
use super::graph::Graph;
use super::metadata::ModelMetadata;
use super::onnx::{ElementType, ModelProto};
use super::precision::{Precision, half, is_quantized};
use super::recipe::Recipe;
use super::{ModelError, OUTPUT, decode_onnx};
pub use error::ImportError;
use heads::Recognized;
pub use labels::parse as parse_labels;
pub use options::{Normalize, Options, Size};
pub use probing::{Probe, Probed};
pub use simplify::Simplified;

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
/// The greatest stride inside most networks.
const USUAL_STRIDE: usize = 32;

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
        simplify::constants(&mut graph);
        fold::fold(&mut graph);
        batch::free_batch(&mut graph, found.batch);
        let mut named: Vec<_> = self.options.heads.iter().map(|(_, value)| value.clone()).collect();
        heat::undo_peak_tests(&mut graph, &named);
        named.push(entry.clone());
        let simplified = simplify::simplify(&mut graph, &named);
        self.free_sizes(&mut graph, found.size, size)?;
        let probed = self.probe_heads(&graph, found.size, size)?;
        let recognized = heads::recognize(&probed, self.options)?;
        let family = recognized.family;
        let mut heads = self.heads(&graph, recognized, &probed, size)?;
        let mut values: Vec<String> = heads.all().map(|head| head.value.clone()).collect();
        values.sort_unstable();
        values.dedup();
        // What came after the heads is dead now; what the decode adds declares the output there will be.
        graph.set_outputs(&values);
        graph.remove_dead();
        graph.set_outputs(&[]);
        self.choose_precision(&mut graph, &entry, &values, &probed)?;
        make_room(&mut graph, &mut heads);
        let top_k = self.top_k(&heads);
        decode::append(&mut graph, family, &heads, Choice { top_k, nms: self.options.nms })?;
        graph.remove_dead();
        graph.check()?;
        let classes = labels::names(self.options.labels.as_deref(), family, heads.heatmap.channels)?;
        let recipe = Recipe { input, heads, nms: self.options.nms, float16: self.options.float16 };
        let mut metadata = self.metadata(family, classes, top_k, size, recipe);
        if is_quantized(graph.proto()) {
            metadata.precision = Precision::Int8;
        }
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

    /// Sizes inside the network were written for the size it was saved with; that they are worked out anew
    /// takes a run at that size.
    fn free_sizes(&self, graph: &mut Graph, saved: Option<Size>, size: Size) -> Result<(), ImportError> {
        let Some(saved) = saved else { return Ok(()) };
        let mut read = batch::fixed_resizes(graph);
        if saved != size {
            read.extend(views::fixed_reshapes(graph));
        }
        read.sort_unstable();
        read.dedup();
        if read.is_empty() {
            return Ok(());
        }
        let shapes = self.run_at(graph, &read, 1, saved).map_err(|cause| ImportError::Run {
            at: format!("at the size it was saved with, {saved}"),
            cause,
            cure: "export it again with dynamic height and width".to_owned(),
        })?;
        if saved != size {
            views::free_reshapes(graph, &shapes);
        }
        batch::free_resizes(graph, &shapes)
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
        let heat = self.heat(graph, [Some(&mut heatmap), joints].into_iter().flatten(), probed)?;
        Ok(Heads { heatmap, heat, regressions, stride: stride as f32 })
    }

    /// What the heatmaps hold, which become what they were before what the decode does itself.
    fn heat<'a>(
        &self,
        graph: &Graph,
        maps: impl Iterator<Item = &'a mut Head>,
        probed: &[Probed],
    ) -> Result<Heat, ImportError> {
        let scores =
            |name: &str| probed.iter().any(|p| p.name == name && p.least >= 0.0 && p.greatest <= 1.0);
        let mut found = self.options.heat;
        for map in maps.filter(|_| self.options.heat.is_none()) {
            let (value, heat) = heat::source(graph, &map.value, scores(&map.value));
            if *found.get_or_insert(heat) != heat {
                let problem = format!(
                    "the heatmap of centres and {}, that of joints, hold scores and logits, one each; export both alike",
                    map.value
                );
                return Err(ImportError::Heat { problem });
            }
            map.value = value;
        }
        Ok(found.unwrap_or(Heat::Logits))
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
        let next = |side: usize| side.next_multiple_of(USUAL_STRIDE);
        let cure = match self.options.stride {
            Some(_) => "leave --stride out, or see that it is the network's".to_owned(),
            None => format!(
                "both sides of the input must be multiples of the network's greatest stride, often \
                 {USUAL_STRIDE}: try --size {}x{}",
                next(size.width),
                next(size.height)
            ),
        };
        let problem = format!(
            "the heatmap is {}x{} at an input of {size}, which is no stride of {stride}; {cure}",
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
            (true, false) => Ok(half::to_half(graph, entry, heads)?),
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
            precision: if recipe.float16 { Precision::Float16 } else { Precision::Float32 },
            recipe: Some(recipe),
        }
    }
}

/// Frees the name of the output there will be. Heads keep theirs until here, as users name them.
fn make_room(graph: &mut Graph, heads: &mut Heads) {
    let other = graph.free_name(OUTPUT);
    let regressions = heads.regressions.iter_mut().flatten();
    let taken = [&mut heads.heatmap].into_iter().chain(regressions).filter(|head| head.value == OUTPUT);
    taken.for_each(|head| head.value.clone_from(&other));
}

#[cfg(test)]
mod tests;
