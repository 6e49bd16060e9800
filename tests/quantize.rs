//! `centerx model quantize` by the real binary on real frames: what it makes runs, agrees with the float32 model as
//! far as its precision allows, and says what it is; what it refuses, with which words and which exit code.

// A test that fails is to panic.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use centerx::ingest::clip::ClipReader;
use centerx::letterbox::Preprocessor;
use centerx::model::precision::Precision;
use centerx::model::{self, DetectorModel};
use prost::Message as _;
use serde_json::Value;
use tempfile::TempDir;

#[path = "support/files.rs"]
mod files;
#[path = "support/process.rs"]
mod process;
#[path = "support/tiny_model.rs"]
mod tiny_model;

use files::{python, sample};
use process::{centerx, errors, run};

const VIDEOS: [&str; 2] = ["vtest.avi", "bikes.mp4"];

/// A folder `frames` with the two videos in it, and room for models beside it.
struct Case {
    folder: TempDir,
}

impl Case {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        std::fs::create_dir(folder.path().join("frames")).unwrap();
        Self { folder }
    }

    fn with_videos() -> Self {
        let case = Self::new();
        for video in VIDEOS {
            std::os::unix::fs::symlink(sample(video), case.path("frames").join(video)).unwrap();
        }
        case
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// Quantises `model` into `out.onnx`.
    fn quantize(&self, model: &str, more: &[&str]) -> Output {
        run(&[&["model", "quantize", model, "-o", &self.text("out.onnx")], more].concat())
    }

    /// What is said on standard error when it is refused with this exit code.
    fn refused(&self, model: &str, more: &[&str], code: i32) -> String {
        let output = self.quantize(model, more);
        let message = errors(&output);
        assert_eq!(output.status.code(), Some(code), "{message}");
        assert!(!self.path("out.onnx").exists() && !message.contains("panicked"), "{message}");
        message
    }

    /// So many frames of each video as PNG files, none of them the middle of a share as those to calibrate on are.
    fn pictures(&self, count: usize) -> Vec<String> {
        let mut pictures = Vec::new();
        for video in VIDEOS {
            let mut reader = ClipReader::open(&sample(video)).unwrap();
            for number in 0..count * 35 {
                let frame = reader.next_frame().unwrap().unwrap().picture;
                if number % 35 != 3 {
                    continue;
                }
                let size = (frame.width, frame.height);
                let mut rgb = vec![0; size.0 as usize * size.1 as usize * 3];
                Preprocessor::default().letterbox(&frame, size, &mut rgb).unwrap();
                let path = self.text(&format!("{video}-{number}.png"));
                image::save_buffer(&path, &rgb, size.0, size.1, image::ColorType::Rgb8).unwrap();
                pictures.push(path);
            }
        }
        pictures
    }

    fn made(&self) -> DetectorModel {
        model::load(&self.path("out.onnx")).unwrap()
    }
}

fn assert_says(message: &str, words: &[&str]) {
    for word in words {
        assert!(message.contains(word), "{word:?} is missing in: {message}");
    }
}

fn succeeded(output: &Output) -> String {
    assert!(output.status.success(), "{}", errors(output));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[derive(Debug)]
struct Found {
    class: u64,
    score: f64,
    bbox: [f64; 4],
}

impl Found {
    fn iou(&self, other: &Self) -> f64 {
        let area = |b: [f64; 4]| (b[2] - b[0]).max(0.0) * (b[3] - b[1]).max(0.0);
        let (a, b) = (self.bbox, other.bbox);
        let overlap = area([a[0].max(b[0]), a[1].max(b[1]), a[2].min(b[2]), a[3].min(b[3])]);
        overlap / (area(a) + area(b) - overlap)
    }
}

/// What a model finds in each picture.
fn found(model: &str, pictures: &[String]) -> Vec<Vec<Found>> {
    let pictures: Vec<&str> = pictures.iter().map(String::as_str).collect();
    let text =
        succeeded(&run(
            &[&["detect", "--model", model, "--json", "--min-score", "0.1"], &pictures[..]].concat()
        ));
    let one = |found: &Value| Found {
        class: found["class_id"].as_u64().unwrap(),
        score: found["score"].as_f64().unwrap(),
        bbox: std::array::from_fn(|side| found["box"][side].as_f64().unwrap()),
    };
    let records = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    records.map(|record| record["detections"].as_array().unwrap().iter().map(one).collect()).collect()
}

/// For each box of the default model over a score of 0.4 the best overlap with one of the class that the made model
/// finds, and the difference of their scores.
fn matches(case: &Case, pictures: &[String]) -> Vec<(f64, f64)> {
    let (new, old) = (found(&case.text("out.onnx"), pictures), found("coco", pictures));
    let mut matches = Vec::new();
    for (new, old) in new.iter().zip(&old) {
        for one in old.iter().filter(|one| one.score > 0.4) {
            let same = new.iter().filter(|other| other.class == one.class);
            let best = same.max_by(|a, b| one.iou(a).total_cmp(&one.iou(b)));
            matches.push(best.map_or((0.0, 1.0), |best| (one.iou(best), (one.score - best.score).abs())));
        }
    }
    assert!(matches.len() >= 20, "there are people, bicycles and cars: {matches:?}");
    matches
}

/// ONNX's own checker, which infers all types and shapes, takes the file.
fn assert_checked(path: &Path) {
    let output = Command::new(python()).arg("tests/support/python/check_onnx.py").arg(path).output().unwrap();
    assert!(output.status.success(), "{}", errors(&output));
}

fn precision_shown(path: &str) -> String {
    let seen: Value = serde_json::from_str(&succeeded(&run(&["model", "inspect", "--json", path]))).unwrap();
    seen["detector"]["precision"].as_str().unwrap().to_owned()
}

#[test]
fn int8_finds_what_float32_finds() {
    let case = Case::with_videos();
    let frames = case.text("frames");
    let told = succeeded(&case.quantize("coco", &["--calibrate", &frames, "--frames", "24"]));
    assert_says(&told, &["calibrated on 24 frames", "61 operators are int8", "on 6 frames", "F1", "person"]);

    let made = case.made();
    let original = model::load(&model::zoo::resolve(&original()).unwrap()).unwrap();
    assert_eq!(made.metadata.precision, Precision::Int8);
    assert_eq!(
        (&made.metadata.classes, made.metadata.top_k),
        (&original.metadata.classes, original.metadata.top_k)
    );
    assert!(made.bytes.len() * 5 < original.bytes.len() * 2, "{} bytes", made.bytes.len());
    assert_checked(&case.path("out.onnx"));
    assert_eq!(precision_shown(&case.text("out.onnx")), "int8");

    let matches = matches(&case, &case.pictures(4));
    let near = matches.iter().filter(|(iou, _)| *iou >= 0.7).count();
    assert!(near * 10 >= matches.len() * 9, "{near} of {}: {matches:?}", matches.len());
    let difference = matches.iter().map(|(_, score)| score).sum::<f64>() / matches.len() as f64;
    assert!(difference < 0.05, "scores differ by {difference} on average: {matches:?}");

    let again = run(&[
        "model",
        "quantize",
        &case.text("out.onnx"),
        "--calibrate",
        &frames,
        "-o",
        &case.text("b.onnx"),
    ]);
    assert_eq!(again.status.code(), Some(3), "{}", errors(&again));
    assert_says(&errors(&again), &["out.onnx", "it is in int8 already", "float32 model"]);
}

/// The default model's file.
fn original() -> String {
    let listed = succeeded(&run(&["model", "list"]));
    let line = listed.lines().find(|line| line.trim_start().starts_with("coco ")).unwrap();
    line.split_whitespace().last().unwrap().to_owned()
}

#[test]
fn float16_differs_by_hairs() {
    let case = Case::new();
    let output = case.quantize("coco", &["--precision", "fp16"]);
    assert_says(&succeeded(&output), &["out.onnx: fp16, 4."]);
    assert_says(&errors(&output), &["note:", "--calibrate"]);
    assert_eq!(case.made().metadata.precision, Precision::Float16);
    assert_checked(&case.path("out.onnx"));
    assert_eq!(
        (precision_shown(&case.text("out.onnx")), precision_shown("coco")),
        ("fp16".into(), "fp32".into())
    );

    for (iou, score) in matches(&case, &case.pictures(3)) {
        assert!(iou >= 0.99 && score <= 0.01, "overlap {iou}, score off by {score}");
    }
    let verified = run(&["model", "verify", &case.text("out.onnx")]);
    assert!(verified.status.success(), "its decode is that of its heads: {}", errors(&verified));

    let message = errors(&case.quantize("coco", &["--precision", "fp16"]));
    assert_says(&message, &["out.onnx is there already", "--force"]);
    std::fs::copy(sample("messi5.jpg"), case.path("frames/a.jpg")).unwrap();
    let told = succeeded(
        &case
            .quantize("coco", &["--precision", "fp16", "--force", "--calibrate", &case.text("frames/a.jpg")]),
    );
    assert_says(&told, &["fp16 against float32 on 1 frames", "F1 1.000"]);
}

#[test]
fn a_network_whose_values_float16_cannot_hold_is_refused() {
    let case = Case::new();
    let mut network = model::read_onnx(Path::new(&original())).unwrap();
    let weights = &mut network.graph.as_mut().unwrap().initializer;
    let first = weights.iter_mut().find(|weight| weight.dims.len() == 4 && weight.dims[1] == 3).unwrap();
    let large = first.floats().unwrap().into_iter().map(|weight| weight * 1e4);
    first.raw_data = Some(large.flat_map(f32::to_le_bytes).collect());
    std::fs::write(case.path("large.onnx"), network.encode_to_vec()).unwrap();
    let frame = sample("messi5.jpg");
    let arguments = ["--precision", "fp16", "--calibrate", frame.to_str().unwrap()];
    let message = case.refused(&case.text("large.onnx"), &arguments, 3);
    assert_says(&message, &["large.onnx", "float16 ends at 65504", "infinite"]);
}

#[test]
fn frames_that_cannot_be_used_are_named() {
    let case = Case::new();
    let frames = case.text("frames");
    std::fs::write(case.path("frames/labels.json"), "{}").unwrap();
    assert_says(&case.refused("coco", &["--calibrate", &frames], 2), &["no picture or video", &frames]);
    assert_says(
        &case.refused("coco", &["--calibrate", "/nowhere"], 2),
        &["no such file or folder: /nowhere"],
    );
    std::fs::write(case.path("frames/a.mp4"), "no video").unwrap();
    assert_says(&case.refused("coco", &["--calibrate", &frames], 2), &["a.mp4", "cannot be read as a video"]);
    std::fs::remove_file(case.path("frames/a.mp4")).unwrap();
    std::fs::write(case.path("frames/b.png"), "no picture").unwrap();
    assert_says(&case.refused("coco", &["--calibrate", &frames], 2), &["b.png", "take it away"]);
}

#[test]
fn arguments_that_make_no_sense_are_usage_errors() {
    let case = Case::new();
    std::fs::copy(sample("messi5.jpg"), case.path("frames/a.jpg")).unwrap();
    let frames = case.text("frames");
    let with = |more: &[&str]| case.refused("coco", &[&["--calibrate", &frames], more].concat(), 2);
    assert_says(&case.refused("coco", &[], 2), &["--calibrate", "folder of pictures or videos"]);
    assert_says(&with(&["--precision", "fp32"]), &["fp16 and int8"]);
    assert_says(&with(&["--precision", "int4"]), &["no precision", "fp16 and int8"]);
    assert_says(&with(&["--precision", "fp16", "--keep", "x"]), &["--keep is for int8"]);
    assert_says(&with(&["--keep", "stern"]), &["no node \"stern\"", "there are:", "and 49 more"]);
    assert_says(&with(&["--frames", "0"]), &["--frames"]);
    let nowhere = run(&["model", "quantize", "coco", "--calibrate", &frames, "-o", "/nowhere/out.onnx"]);
    assert_eq!(nowhere.status.code(), Some(2));
    assert_says(&errors(&nowhere), &["no folder /nowhere"]);
}

#[test]
fn models_that_cannot_be_quantised_are_named() {
    let case = Case::new();
    std::fs::copy(sample("messi5.jpg"), case.path("frames/a.jpg")).unwrap();
    let frames = case.text("frames");
    let refused = |model: &str| case.refused(model, &["--calibrate", &frames], 3);
    assert_says(&refused("cocoa"), &["cocoa", "coco"]);
    let tiny = tiny_model::Tiny::new("tiny", &["person"]).write(case.folder.path());
    assert_says(&refused(tiny.to_str().unwrap()), &["tiny.onnx", "no convolution"]);
    for (path, why) in tiny_model::broken(case.folder.path()).into_iter().take(3) {
        assert_says(&refused(path.to_str().unwrap()), &[why]);
    }
}

#[test]
fn a_signal_leaves_nothing_behind() {
    let case = Case::with_videos();
    let out = case.path("out");
    std::fs::create_dir(&out).unwrap();
    let target = out.join("out.onnx");
    let arguments =
        ["model", "quantize", "coco", "--frames", "31", "-o", target.to_str().unwrap(), "--calibrate"];
    let mut command = centerx(&arguments);
    let mut child = command.arg(case.path("frames")).stderr(Stdio::piped()).spawn().unwrap();
    // It is told before the first frame.
    let mut line = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("31 frames are few"), "{line}");
    let id = rustix::process::Pid::from_child(&child);
    // Not an interrupt: shells have programs in the background ignore those.
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    let ended = child.wait().unwrap();
    assert!(!ended.success(), "{ended}");
    assert_eq!(std::fs::read_dir(&out).unwrap().count(), 0);
}
