//! Small networks of every family: one strided convolution with seeded weights to each head.

// Each test uses its own part of this.
#![allow(dead_code)]

use std::path::Path;

use centerx::model::decode::{self, Choice, Family, Head, Heads, Heat};
use centerx::model::graph::{Attr, Graph};
use centerx::model::onnx::{Dim, ElementType, ModelProto};
use centerx::model::precision::Precision;
use centerx::model::recipe::{Input, Layout, Recipe};
use centerx::model::{self, DetectorModel, ModelMetadata};
use prost::Message as _;

pub const HEIGHT: usize = 96;
pub const WIDTH: usize = 128;
const STRIDE: usize = 4;
const CLASSES: usize = 3;

/// What of a network varies within its family.
#[derive(Clone, Copy, Debug)]
pub struct Variant {
    pub family: &'static Family,
    pub heat: Heat,
    pub nms: Option<f32>,
    /// A size for each class.
    pub per_class: bool,
    /// Optional heads that are left out.
    pub without: &'static [&'static str],
    pub top_k: usize,
    pub seed: u64,
}

impl Variant {
    pub fn of(family: &'static Family) -> Self {
        Self { family, heat: Heat::Logits, nms: None, per_class: false, without: &[], top_k: 100, seed: 1 }
    }

    /// Every family, and what can vary in it.
    pub fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for family in decode::FAMILIES {
            let plain = Self::of(family);
            all.push(plain);
            all.push(Self { heat: Heat::Scores, seed: 2, ..plain });
            all.push(Self { nms: Some(0.5), seed: 3, ..plain });
            // Few enough rows for the plain search, and suppression that bites.
            all.push(Self { top_k: 290, nms: Some(0.2), seed: 4, ..plain });
            let optional = family.heads.iter().any(|head| head.optional);
            if optional {
                all.push(Self { without: &["reg"], seed: 5, ..plain });
            }
        }
        all.push(Self { per_class: true, seed: 6, ..Self::of(&decode::CENTERNET) });
        all.push(Self { per_class: true, nms: Some(0.3), ..Self::of(&decode::CENTERNET) });
        all.push(Self { without: &["reg", "hp_offset"], seed: 7, ..Self::of(&decode::CENTERPOSE) });
        all
    }
}

/// How the original wants its picture; all of it, so that all of it is proven.
pub fn input() -> Input {
    Input {
        name: "input.1".to_owned(),
        layout: Layout::Nchw,
        element: ElementType::Float as i32,
        bgr: true,
        multiply: [1.0 / 64.0, 1.0 / 60.0, 1.0 / 70.0],
        add: [-2.0, -1.9, -1.8],
    }
}

/// The network as its maker has it: float32, a fixed batch and size.
pub fn original(variant: Variant) -> ModelProto {
    let mut graph = Graph::new("original");
    let dims = [1, 3, HEIGHT, WIDTH].map(|size| Dim::Value(size as i64));
    let pixels = graph.input(&input().name, ElementType::Float, &dims);
    let heads = network(&mut graph, &pixels, variant);
    for head in std::iter::once(&heads.heatmap).chain(heads.regressions.iter().flatten()) {
        let dims = [1, head.channels, head.height, head.width].map(|size| Dim::Value(size as i64));
        graph.output(&head.value, ElementType::Float, &dims);
    }
    graph.check().unwrap();
    graph.into_model()
}

/// The detector made of it. What the recipe says is `told` changes.
pub fn detector(variant: Variant, told: impl FnOnce(&mut Recipe)) -> DetectorModel {
    let mut graph = Graph::new("detector");
    let pixels = decode::images(&mut graph, HEIGHT, WIDTH);
    let Input { multiply, add, .. } = input();
    let pixels = graph.pick(&pixels, 1, &[2, 1, 0]);
    let multiply = graph.floats("multiply", &[1, 3, 1, 1], &multiply);
    let add = graph.floats("add", &[1, 3, 1, 1], &add);
    let pixels = graph.binary("Mul", &pixels, &multiply);
    let pixels = graph.binary("Add", &pixels, &add);
    let heads = network(&mut graph, &pixels, variant);
    let choice = Choice { top_k: variant.top_k, nms: variant.nms };
    decode::append(&mut graph, variant.family, &heads, choice).unwrap();
    graph.check().unwrap();
    let mut model = graph.into_model();
    let mut recipe = Recipe { input: input(), heads, nms: variant.nms, float16: false };
    told(&mut recipe);
    metadata(variant, recipe).write_to(&mut model);
    model::parse(model.encode_to_vec(), Path::new("synthetic.onnx")).unwrap()
}

fn metadata(variant: Variant, recipe: Recipe) -> ModelMetadata {
    let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    ModelMetadata {
        name: "synthetic".to_owned(),
        version: "1".to_owned(),
        family: variant.family.name.to_owned(),
        classes: owned(&["car", "bus", "person"]),
        landmarks: owned(variant.family.landmarks),
        skeleton: variant.family.skeleton.to_vec(),
        top_k: variant.top_k as u32,
        input_width: WIDTH as u32,
        input_height: HEIGHT as u32,
        source: "made for a test".to_owned(),
        license: "Apache-2.0".to_owned(),
        precision: Precision::Float32,
        recipe: Some(recipe),
    }
}

/// Mean and spread of what a head holds, for objects of a sensible size.
fn spread(head: &str) -> (f32, f32) {
    match head {
        "hm" | "hm_hp" => (-1.0, 1.5),
        "wh" => (7.0, 2.0),
        "ltrb" => (14.0, 4.0),
        "scale" => (1.8, 0.4),
        "landmarks" => (0.5, 0.3),
        "corners" | "hps" => (0.0, 4.0),
        _ => (0.5, 0.3),
    }
}

fn network(graph: &mut Graph, pixels: &str, variant: Variant) -> Heads {
    let mut rng = fastrand::Rng::with_seed(variant.seed);
    let mut head = |name: &str, channels: usize, squash: bool| {
        let (mean, spread) = spread(name);
        let count = channels * 3 * STRIDE * STRIDE;
        let weights: Vec<f32> = (0..count).map(|_| (rng.f32() - 0.5) * spread * 0.7).collect();
        let weights = graph.floats("weight", &[channels, 3, STRIDE, STRIDE], &weights);
        let bias: Vec<f32> = (0..channels).map(|_| mean + (rng.f32() - 0.5) * spread).collect();
        let bias = graph.floats("bias", &[channels], &bias);
        let size = [STRIDE as i64; 2];
        let attributes = [("kernel_shape", Attr::Ints(&size)), ("strides", Attr::Ints(&size))];
        let mut value = graph.node("Conv", &[pixels, &weights, &bias], name, &attributes);
        if squash {
            value = graph.node("Sigmoid", &[&value], "squashed", &[]);
        }
        Head { value, channels, height: HEIGHT / STRIDE, width: WIDTH / STRIDE }
    };
    let squash = variant.heat == Heat::Scores;
    let heatmap = head("hm", CLASSES, squash);
    let regressions = variant.family.heads.iter().map(|spec| {
        let channels =
            if variant.per_class && spec.per_class { spec.channels * CLASSES } else { spec.channels };
        let there = !variant.without.contains(&spec.name);
        there.then(|| head(spec.name, channels, squash && spec.name == "hm_hp"))
    });
    let regressions = regressions.collect();
    Heads { heatmap, heat: variant.heat, regressions, stride: STRIDE as f32 }
}
