//! `centerx model import` by the real binary and the real ONNX Runtime: networks that become detectors, and
//! what is refused, with which words and which exit code.

// A test that fails is to panic.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::Output;

use centerx::model::graph::{Attr, Graph};
use centerx::model::onnx::{Dim, ElementType, ModelProto};
use prost::Message as _;
use serde_json::Value;
use tempfile::TempDir;

#[path = "support/files.rs"]
mod files;
#[path = "support/process.rs"]
mod process;

use files::sample;
use process::{errors, run};

const CLASSES: usize = 3;

/// Sixteen numbers as a kernel `[out, input, 3, 3]` repeats them.
fn kernel(graph: &mut Graph, out: usize, input: usize) -> String {
    let data: Vec<f32> = (0..out * input * 9).map(|at| ((at * 7) % 16) as f32 * 0.02 - 0.14).collect();
    graph.floats("kernel", &[out, input, 3, 3], &data)
}

fn convolve(graph: &mut Graph, x: &str, out: usize, input: usize, stride: i64, name: &str) -> String {
    let weight = kernel(graph, out, input);
    let window = [("strides", Attr::Ints(&[stride, stride])), ("pads", Attr::Ints(&[1; 4]))];
    graph.node("Conv", &[x, &weight], name, &window)
}

/// A CenterNet of stride 4 as an exporter writes it for one picture of 256x128; `middle` may add something
/// between its body (`[1, 8, 32, 64]`) and its heads.
fn network(middle: impl FnOnce(&mut Graph, String) -> String, heads: &[(&str, usize)]) -> ModelProto {
    let mut graph = Graph::new("network");
    let pixels = graph.input("input", ElementType::Float, &[1, 3, 128, 256].map(Dim::Value));
    let scaled = graph.with_number("Mul", &pixels, 1.0 / 255.0);
    let half = convolve(&mut graph, &scaled, 8, 3, 2, "half");
    let quarter = convolve(&mut graph, &half, 8, 8, 2, "quarter");
    let body = graph.node("Relu", &[&quarter], "body", &[]);
    let body = middle(&mut graph, body);
    for &(head, channels) in heads {
        let value = convolve(&mut graph, &body, channels, 8, 1, head);
        graph.output(&value, ElementType::Float, &[]);
    }
    graph.into_model()
}

const HEADS: [(&str, usize); 3] = [("hm", CLASSES), ("wh", 2), ("reg", 2)];

fn plain() -> ModelProto {
    network(|_, body| body, &HEADS)
}

/// A folder with a network in it.
struct Case {
    folder: TempDir,
}

impl Case {
    fn of(bytes: &[u8]) -> Self {
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("net.onnx"), bytes).unwrap();
        Self { folder }
    }

    fn network(model: &ModelProto) -> Self {
        Self::of(&model.encode_to_vec())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn import(&self, more: &[&str]) -> Output {
        let (input, output) = (self.text("net.onnx"), self.text("out.onnx"));
        run(&[&["model", "import", &input, "-o", &output], more].concat())
    }

    /// What is said on standard error when it is refused with this exit code.
    fn refused(&self, more: &[&str], code: i32) -> String {
        let output = self.import(more);
        let message = errors(&output);
        assert_eq!(output.status.code(), Some(code), "{message}");
        assert!(!self.path("out.onnx").exists(), "nothing is written: {message}");
        message
    }
}

fn assert_says(message: &str, words: &[&str]) {
    for word in words {
        assert!(message.contains(word), "{word:?} is missing in: {message}");
    }
}

fn detected(model: &Path, picture: &Path) -> Value {
    let arguments = [
        "detect",
        "--model",
        model.to_str().unwrap(),
        "--json",
        "--min-score",
        "0.01",
        picture.to_str().unwrap(),
    ];
    let output = run(&arguments);
    assert!(output.status.success(), "{}", errors(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_network_is_imported_and_detects() {
    let case = Case::network(&plain());
    std::fs::write(case.path("names.txt"), "cat\ndog\nbird\n").unwrap();
    let names = case.text("names.txt");
    let output = case.import(&["--labels", &names, "--size", "320x192", "--name", "yard", "--nms", "0.6"]);
    assert!(output.status.success(), "{}", errors(&output));
    let shown = String::from_utf8(output.stdout).unwrap();
    assert_says(&shown, &["yard 1", "centernet", "[N,192,320,3]", "[N,100,6]", "3: cat, dog, bird"]);
    let found = detected(&case.path("out.onnx"), &sample("messi5.jpg"));
    let all = found["detections"].as_array().unwrap();
    assert!(!all.is_empty(), "{found}");
    let known = |name: &Value| ["cat", "dog", "bird"].contains(&name.as_str().unwrap_or(""));
    assert!(all.iter().all(|one| known(&one["label"])), "{found}");
}

#[test]
fn sizes_and_a_batch_that_were_written_down_are_freed() {
    let shuffle = |graph: &mut Graph, body: String| {
        let pairs = graph.reshape(&body, &[1, 2, 4, 32, 64]);
        let turned = graph.transpose(&pairs, &[0, 2, 1, 3, 4]);
        let back = graph.reshape(&turned, &[1, 8, 32, 64]);
        let half = convolve(graph, &back, 8, 8, 2, "eighth");
        let sizes = graph.int64s("sizes", &[4], &[1, 8, 32, 64]);
        graph.node("Resize", &[&half, "", "", &sizes], "resized", &[])
    };
    let case = Case::network(&network(shuffle, &HEADS));
    for size in ["256x128", "320x192"] {
        let output = case.import(&["--size", size, "--force"]);
        assert!(output.status.success(), "{size}: {}", errors(&output));
    }
}

#[test]
fn an_output_that_is_there_is_left_alone_without_force() {
    let case = Case::network(&plain());
    std::fs::write(case.path("out.onnx"), "mine").unwrap();
    let output = case.import(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert_says(&errors(&output), &["out.onnx is there already", "--force"]);
    assert_eq!(std::fs::read(case.path("out.onnx")).unwrap(), b"mine");
    assert!(case.import(&["--force"]).status.success());
    assert!(std::fs::metadata(case.path("out.onnx")).unwrap().len() > 1000);
}

#[test]
fn arguments_that_make_no_sense_are_usage_errors() {
    let case = Case::network(&plain());
    for (arguments, words) in [
        (&["--size", "640"][..], &["WIDTHxHEIGHT"][..]),
        (&["--nms", "1.5"], &["--nms", "0 to 1"]),
        (&["--family", "yolo"], &["centernet, ttf, centerface"]),
        (&["--head", "wh"], &["HEAD=VALUE"]),
        (&["--mean", "1,2"], &["three numbers"]),
        (&["--labels", "/nowhere/names.txt"], &["--labels", "/nowhere/names.txt", "No such file"]),
    ] {
        assert_says(&case.refused(arguments, 2), words);
    }
}

#[test]
fn a_file_that_is_no_network_is_refused_with_its_name() {
    let missing = Case { folder: TempDir::new().unwrap() };
    assert_says(&missing.refused(&[], 3), &["net.onnx", "No such file"]);
    assert_says(&Case::of(b"").refused(&[], 3), &["net.onnx"]);
    assert_says(&Case::of(b"<html>not found</html>").refused(&[], 3), &["net.onnx", "ONNX"]);
    let whole = plain().encode_to_vec();
    for share in [1, 5, 9] {
        let cut = &whole[..whole.len() * share / 10];
        assert_says(&Case::of(cut).refused(&[], 3), &["net.onnx"]);
    }
}

#[test]
fn an_operator_that_the_runtime_does_not_know_is_named() {
    let odd = |graph: &mut Graph, body: String| graph.node("DeformConv9", &[&body], "odd", &[]);
    let message = Case::network(&network(odd, &HEADS)).refused(&[], 3);
    assert_says(&message, &["does not run at 256x128", "DeformConv9", "export the network without it"]);
}

#[test]
fn a_size_that_the_network_cannot_take_is_refused_with_one_it_can() {
    let message = Case::network(&plain()).refused(&["--size", "322x190"], 3);
    assert_says(&message, &["at an input of 322x190", "multiples", "try --size 352x192"]);
    // Holds a feature map of the size it was saved with, which nothing can free.
    let place = |graph: &mut Graph, body: String| {
        let places = graph.floats("places", &[1, 8, 32, 64], &vec![0.5; 8 * 32 * 64]);
        graph.binary("Add", &body, &places)
    };
    let case = Case::network(&network(place, &HEADS));
    let message = case.refused(&["--size", "320x192"], 3);
    assert_says(
        &message,
        &["does not run at 320x192", "saved for 256x128", "--size 256x128", "dynamic height"],
    );
    assert!(case.import(&[]).status.success(), "at its own size it can");
}

#[test]
fn class_names_must_be_as_many_as_the_classes() {
    let case = Case::network(&plain());
    std::fs::write(case.path("names.txt"), "cat\ndog\n").unwrap();
    let message = case.refused(&["--labels", &case.text("names.txt")], 3);
    assert_says(&message, &["names 2 classes", "heatmap has 3", "one name a line"]);
}

#[test]
fn weights_that_are_no_numbers_are_named() {
    let mut model = plain();
    let weight = model.graph.as_mut().unwrap().initializer.iter_mut().find(|w| w.dims.len() == 4).unwrap();
    let name = weight.name.clone().unwrap();
    weight.raw_data.as_mut().unwrap()[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    let message = Case::network(&model).refused(&[], 3);
    assert_says(&message, &["net.onnx", &format!("weight {name:?}"), "NaN", "earlier checkpoint"]);
}

#[test]
fn a_batch_that_cannot_be_freed_is_refused_with_what_to_do() {
    let one = |graph: &mut Graph, body: String| {
        let places = graph.floats("places", &[1, 8, 32, 64], &vec![0.5; 8 * 32 * 64]);
        let both = graph.concat(&[&body, &places], 1);
        graph.pick(&both, 1, &[0, 1, 2, 3, 4, 5, 6, 7])
    };
    let message = Case::network(&network(one, &HEADS)).refused(&[], 3);
    assert_says(&message, &["on two pictures at once", "export it again with a dynamic batch axis"]);
}

#[test]
fn outputs_that_fit_no_family_are_listed_with_what_to_pass() {
    let strange = Case::network(&network(|_, body| body, &[("boxes", 7), ("scores", 9)]));
    let words = [
        "boxes float32 [1,7,32,64]",
        "scores float32 [1,9,32,64]",
        "centernet (hm, wh 2",
        "--head hm=OUTPUT",
    ];
    assert_says(&strange.refused(&[], 3), &words);
    let unclear = Case::network(&network(|_, body| body, &[("a", 2), ("b", 4)]));
    assert_says(&unclear.refused(&[], 3), &["fit the families", "--family"]);
    let output = unclear.import(&["--family", "ttf"]);
    assert!(output.status.success(), "{}", errors(&output));
    assert_says(&errors(&output), &["note: took a for the heatmap"]);
}
