//! Runs a detector and the network it was made of on the same pictures.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use ort::session::Session;
use ort::value::Tensor;
use prost::Message as _;

use crate::engine::onnx::OnnxRuntime;
use crate::model::decode::{Choice, Family, Head};
use crate::model::onnx::{ElementType, ModelProto};
use crate::model::recipe::{Input, Layout, Recipe};
use crate::model::reference::{self, Decoded, Values};
use crate::model::verify::compare::{Agreement, rows};
use crate::model::verify::pictures::{RgbPicture, feed};
use crate::model::verify::tap::{Tapped, tap};
use crate::model::verify::{Limits, Report};
use crate::model::{DetectorModel, INPUT, ModelError, OUTPUT};

/// Pictures that the detector gets at a time in the second run.
const BATCH: usize = 3;

/// Compares what `detector` finds in `pictures` with an independent decode of the heads of `original`, or of
/// the detector's own heads if there is none: that proves its decode only. Limits are those of its element
/// type unless given.
///
/// # Errors
/// A detector without recipe, networks that do not run or do not fit together, numbers that are none. That
/// the two differ is no error here: see [`Report::verdict`].
pub fn verify(
    runtime: &OnnxRuntime,
    original: Option<&ModelProto>,
    detector: &DetectorModel,
    pictures: &[RgbPicture],
    limits: Option<Limits>,
) -> anyhow::Result<Report> {
    let about = &detector.metadata;
    let recipe = about.recipe.as_ref().ok_or_else(|| ModelError::NoRecipe { name: about.name.clone() })?;
    let limits = limits.unwrap_or_else(|| Limits::of(recipe.float16));
    let size = [about.input_height as usize, about.input_width as usize];
    for picture in pictures {
        ensure!(
            picture.rgb.len() == size[0] * size[1] * 3,
            "{} is not {}x{}",
            picture.name,
            size[1],
            size[0]
        );
    }
    let family = Family::by_name(&about.family);
    let family = family.with_context(|| format!("there is no family {}", about.family))?;
    let mut network = Network::open(runtime, original, detector, recipe, size)?;
    let mut fused = Fused { session: runtime.session(&detector.bytes, 1)?, size };
    let choice = Choice { top_k: about.top_k as usize, nms: recipe.nms };
    let (mut times, mut single, mut expected) = (Times::default(), Agreement::default(), Vec::new());
    for picture in pictures {
        let heads = times.network.measure(|| network.heads(&picture.rgb))?;
        let values = heads.values();
        let decode = || reference::decode(family, &recipe.heads, &values, choice, limits.slack());
        let decoded = times.decode.measure(decode).with_context(|| picture.name.clone())?;
        let found = times.detector.measure(|| fused.run(&[picture]))?;
        single.add(&picture.name, &decoded, &rows(&found.values, found.columns, &picture.name)?, limits);
        expected.push(decoded);
    }
    Ok(Report {
        against_original: original.is_some(),
        pictures: pictures.len(),
        limits,
        single,
        batched: batched(&mut fused, pictures, &expected, limits)?,
        network_ms: times.network.median(),
        decode_ms: times.decode.median(),
        detector_ms: times.detector.median(),
    })
}

/// All pictures again, three different ones at a time.
fn batched(
    fused: &mut Fused,
    pictures: &[RgbPicture],
    expected: &[Decoded],
    limits: Limits,
) -> anyhow::Result<Agreement> {
    let mut agreement = Agreement::default();
    for first in (0..pictures.len()).step_by(BATCH) {
        let members: Vec<usize> = (first..first + BATCH).map(|at| at % pictures.len()).collect();
        let batch: Vec<&RgbPicture> = members.iter().map(|&at| &pictures[at]).collect();
        let found = fused.run(&batch)?;
        let each = found.values.chunks_exact(found.values.len() / BATCH);
        for (&at, values) in members.iter().zip(each) {
            let name = &pictures[at].name;
            agreement.add(name, &expected[at], &rows(values, found.columns, name)?, limits);
        }
    }
    Ok(agreement)
}

/// The network that gives the heads.
struct Network<'a> {
    session: Session,
    tapped: Tapped,
    input: Input,
    recipe: &'a Recipe,
    size: [usize; 2],
}

impl<'a> Network<'a> {
    fn open(
        runtime: &OnnxRuntime,
        original: Option<&ModelProto>,
        detector: &DetectorModel,
        recipe: &'a Recipe,
        size: [usize; 2],
    ) -> anyhow::Result<Self> {
        let input = match original {
            Some(_) => recipe.input.clone(),
            None => Input { layout: Layout::Nhwc, element: ElementType::Uint8 as i32, ..Input::plain(INPUT) },
        };
        let own;
        let (model, whose) = match original {
            Some(model) => (model, "the original"),
            None => {
                own = ModelProto::decode(detector.bytes.as_slice())?;
                (&own, "the detector")
            }
        };
        let heads = recipe.heads.all().map(|head| head.value.as_str());
        let tapped = tap(model, &input, &heads.collect::<Vec<_>>()).with_context(|| whose.to_owned())?;
        let session = runtime.session(&tapped.model.encode_to_vec(), 1);
        let session = session.with_context(|| format!("{whose} does not load with its heads as outputs"))?;
        Ok(Self { session, tapped, input, recipe, size })
    }

    fn heads(&mut self, rgb: &[u8]) -> anyhow::Result<HeadValues> {
        let [height, width] = self.size;
        let shape = match self.input.layout {
            Layout::Nchw => [1, 3, height, width],
            Layout::Nhwc => [1, height, width, 3],
        };
        let pixels = Tensor::from_array((shape, feed(rgb, &self.input)))?;
        let outputs = self.session.run(ort::inputs![self.tapped.input.as_str() => pixels]);
        let outputs = outputs.with_context(|| format!("the network does not run at {width}x{height}"))?;
        let mut names = self.tapped.outputs.iter();
        let mut value_of = |head: &Head| {
            let name = names.next().map_or("", String::as_str);
            let (shape, values) = outputs[name].try_extract_tensor::<f32>()?;
            let expected = [1, head.channels, head.height, head.width].map(|size| size as i64);
            ensure!(
                shape[..] == expected,
                "the head {} is {:?} at {width}x{height}, the recipe says {expected:?}",
                head.value,
                &shape[..]
            );
            Ok(values.to_vec())
        };
        let heatmap = value_of(&self.recipe.heads.heatmap)?;
        let regressions = self.recipe.heads.regressions.iter();
        let regressions = regressions.map(|head| head.as_ref().map(&mut value_of).transpose());
        Ok(HeadValues { heatmap, regressions: regressions.collect::<anyhow::Result<_>>()? })
    }
}

struct HeadValues {
    heatmap: Vec<f32>,
    regressions: Vec<Option<Vec<f32>>>,
}

impl HeadValues {
    fn values(&self) -> Values<'_> {
        let regressions = self.regressions.iter().map(Option::as_deref).collect();
        Values { heatmap: &self.heatmap, regressions }
    }
}

/// The detector as it is served.
struct Fused {
    session: Session,
    size: [usize; 2],
}

struct Found {
    values: Vec<f32>,
    columns: usize,
}

impl Fused {
    fn run(&mut self, pictures: &[&RgbPicture]) -> anyhow::Result<Found> {
        let [height, width] = self.size;
        let pixels = pictures.iter().flat_map(|picture| picture.rgb.iter().copied()).collect::<Vec<u8>>();
        let pixels = Tensor::from_array(([pictures.len(), height, width, 3], pixels))?;
        let outputs = self.session.run(ort::inputs![INPUT => pixels]).context("the detector does not run")?;
        let (shape, values) = outputs[OUTPUT].try_extract_tensor::<f32>()?;
        let columns = shape.last().copied().unwrap_or(0).max(0) as usize;
        ensure!(
            shape.len() == 3 && shape[0] == pictures.len() as i64 && columns >= 6,
            "the detector gives {:?} for {} pictures",
            &shape[..],
            pictures.len()
        );
        Ok(Found { values: values.to_vec(), columns })
    }
}

#[derive(Default)]
struct Times {
    network: Stopwatch,
    decode: Stopwatch,
    detector: Stopwatch,
}

#[derive(Default)]
struct Stopwatch(Vec<Duration>);

impl Stopwatch {
    fn measure<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let done = work();
        self.0.push(start.elapsed());
        done
    }

    /// In milliseconds.
    fn median(&mut self) -> f64 {
        self.0.sort_unstable();
        self.0.get(self.0.len() / 2).map_or(0.0, |time| time.as_secs_f64() * 1e3)
    }
}
