//! Detectors that take no time: what they find is in their weights. And files that are none, each in its way.

// Each test uses its own part of this.
#![allow(dead_code)]

use std::path::{Path, PathBuf};

use centerx::model::graph::{Attr, Graph};
use centerx::model::onnx::{Dim, ElementType, ModelProto};
use centerx::model::precision::Precision;
use centerx::model::{INPUT, ModelMetadata, OUTPUT};
use prost::Message as _;

/// Side of the input in pixels.
const SIDE: usize = 64;
/// Weights enough for one that is left behind to show.
const BALLAST: usize = 256 * 1024;

/// A detector that finds one object of each class, with these scores, in every picture.
#[derive(Clone)]
pub struct Tiny {
    pub name: &'static str,
    pub classes: Vec<&'static str>,
    pub score: f32,
    /// The operator that the pixels pass first.
    pub operator: &'static str,
}

impl Tiny {
    pub fn new(name: &'static str, classes: &[&'static str]) -> Self {
        Self { name, classes: classes.to_vec(), score: 0.9, operator: "Identity" }
    }

    /// Writes the model into `folder` and returns its path.
    pub fn write(&self, folder: &Path) -> PathBuf {
        let path = folder.join(format!("{}.onnx", self.name));
        std::fs::write(&path, self.bytes()).unwrap();
        path
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut model = self.graph().into_model();
        self.metadata().write_to(&mut model);
        model.encode_to_vec()
    }

    fn graph(&self) -> Graph {
        let mut graph = Graph::new(self.name);
        let [n, side, three] = [Dim::Param("N".into()), Dim::Value(SIDE as i64), Dim::Value(3)];
        let images = graph.input(INPUT, ElementType::Uint8, &[n.clone(), side.clone(), side, three]);
        let to_float = Attr::Int(ElementType::Float as i64);
        let pixels = graph.node("Cast", &[&images], "pixels", &[("to", to_float)]);
        let pixels = graph.node(self.operator, &[&pixels], "passed", &[]);
        let axes = [("axes", Attr::Ints(&[1, 2, 3])), ("keepdims", Attr::Int(1))];
        let mean = graph.node("ReduceMean", &[&pixels], "mean", &axes);
        let line = graph.int64s("line", &[2], &[0, 1]);
        let mean = graph.node("Reshape", &[&mean, &line], "mean_line", &[]);
        let weights: Vec<f32> = (0..BALLAST).map(|n| (n % 7) as f32 - 3.0).collect();
        let ballast = graph.floats("ballast", &[1, BALLAST], &weights);
        let spread = graph.node("MatMul", &[&mean, &ballast], "spread", &[]);
        let axes = [("axes", Attr::Ints(&[1])), ("keepdims", Attr::Int(1))];
        let most = graph.node("ReduceMax", &[&spread], "most", &axes);
        let zero = graph.float("zero", 0.0);
        let nothing = graph.node("Mul", &[&most, &zero], "nothing", &[]);
        let cell = graph.int64s("cell", &[3], &[0, 1, 1]);
        let nothing = graph.node("Reshape", &[&nothing, &cell], "nothing_cell", &[]);
        let rows: Vec<f32> = (0..self.classes.len())
            .flat_map(|class| [8.0, 8.0, 40.0, 40.0, self.score, class as f32])
            .collect();
        let rows = graph.floats("rows", &[1, self.classes.len(), 6], &rows);
        let detections = graph.node("Add", &[&rows, &nothing], OUTPUT, &[]);
        let dims = [n, Dim::Value(self.classes.len() as i64), Dim::Value(6)];
        graph.output(&detections, ElementType::Float, &dims);
        graph
    }

    fn metadata(&self) -> ModelMetadata {
        ModelMetadata {
            name: self.name.into(),
            version: "1".into(),
            family: "ttf".into(),
            classes: self.classes.iter().map(|&class| class.into()).collect(),
            landmarks: Vec::new(),
            skeleton: Vec::new(),
            precision: Precision::Float32,
            recipe: None,
            top_k: self.classes.len() as u32,
            input_width: SIDE as u32,
            input_height: SIDE as u32,
            source: "made by a test".into(),
            license: "MIT".into(),
        }
    }
}

/// Files that are no detector, with a part of what is said of them.
pub fn broken(folder: &Path) -> Vec<(PathBuf, &'static str)> {
    let good = Tiny::new("good", &["person"]);
    let bytes = good.bytes();
    let mut no_detector = ModelProto::decode(&*bytes).unwrap();
    no_detector.graph.as_mut().unwrap().output[0].name = Some("boxes".into());
    let file = |name: &str, content: &[u8], why: &'static str| {
        let path = folder.join(format!("{name}.onnx"));
        std::fs::write(&path, content).unwrap();
        (path, why)
    };
    vec![
        file("cut", &bytes[..bytes.len() / 2], "damaged or cut short"),
        file("picture", b"\xff\xd8\xff\xe0 a picture", "is not an ONNX file"),
        file("classifier", &no_detector.encode_to_vec(), "`centerx model import` makes a detector"),
        file("nan", &Tiny { score: f32::NAN, ..good.clone() }.bytes(), "a score is NaN"),
        file("alien", &Tiny { operator: "Teleport", ..good }.bytes(), "Teleport"),
        (folder.join("missing.onnx"), "No such file"),
    ]
}
