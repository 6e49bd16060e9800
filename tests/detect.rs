//! `centerx detect` on real pictures and video, and on what only pretends to be.

// A test that fails is to panic.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::Value;

#[path = "support/files.rs"]
mod files;
#[path = "support/process.rs"]
mod process;

use files::sample;
use process::{errors, run};

fn records(output: &Output) -> Vec<Value> {
    assert!(output.status.success(), "{}", errors(output));
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn corners(value: &Value) -> [f64; 4] {
    std::array::from_fn(|i| value[i].as_f64().unwrap())
}

fn iou(a: [f64; 4], b: [f64; 4]) -> f64 {
    let area = |b: [f64; 4]| (b[2] - b[0]).max(0.0) * (b[3] - b[1]).max(0.0);
    let overlap = area([a[0].max(b[0]), a[1].max(b[1]), a[2].min(b[2]), a[3].min(b[3])]);
    overlap / (area(a) + area(b) - overlap)
}

/// Every reference box over 0.3 is matched by a box of its class, IoU >= 0.9, score within 0.05.
fn assert_matches_reference(name: &str, record: &Value) {
    let text = std::fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/coco_reference.json"),
    );
    let reference: Value = serde_json::from_str(&text.unwrap()).unwrap();
    let (width, height) = (record["width"].as_f64().unwrap(), record["height"].as_f64().unwrap());
    let mut checked = 0;
    for expected in reference[name].as_array().unwrap().iter().filter(|e| e["score"].as_f64().unwrap() > 0.3)
    {
        // Served boxes are clipped to the picture, the reference's are not.
        let [x1, y1, x2, y2] = corners(&expected["box"]);
        let clipped = [x1.max(0.0), y1.max(0.0), x2.min(width), y2.min(height)];
        let matched = record["detections"].as_array().unwrap().iter().any(|found| {
            found["class_id"] == expected["cls"]
                && iou(corners(&found["box"]), clipped) >= 0.9
                && (found["score"].as_f64().unwrap() - expected["score"].as_f64().unwrap()).abs() <= 0.05
        });
        assert!(matched, "{name}: nothing matches {expected} in {record}");
        checked += 1;
    }
    assert!(checked >= 10, "{name}: only {checked} boxes compared");
}

#[test]
fn the_reference_picture_comes_out_as_expected() {
    let output = run(&["detect", "--json", "--min-score", "0.2", sample("messi5.jpg").to_str().unwrap()]);
    assert_matches_reference("messi5.jpg", &records(&output)[0]);
}

#[test]
fn the_reference_video_frame_comes_out_as_expected() {
    let video = sample("vtest.avi");
    let output = run(&["detect", "--json", "--min-score", "0.2", "--frames", "61", video.to_str().unwrap()]);
    let frames = records(&output);
    assert_eq!(frames.len(), 61);
    assert_eq!(frames[60]["frame"], 60);
    assert!((frames[60]["time"].as_f64().unwrap() - 6.0).abs() < 0.05, "10 frames a second");
    assert_matches_reference("vtest.avi#60", &frames[60]);
}

#[test]
fn a_picture_gives_a_table_and_an_annotated_copy() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("boxes.png");
    let output = run(&["detect", sample("messi5.jpg").to_str().unwrap(), "--output", copy.to_str().unwrap()]);
    let table = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(output.status.success() && table.contains("person") && table.contains("sports ball"), "{table}");
    let drawn = image::open(&copy).unwrap().into_rgb8();
    let original = image::open(sample("messi5.jpg")).unwrap().into_rgb8();
    assert_eq!(drawn.dimensions(), original.dimensions());
    let changed = drawn.pixels().zip(original.pixels()).filter(|(a, b)| a != b).count();
    assert!(changed > 1000, "boxes are drawn: {changed} pixels differ");
}

#[test]
fn a_video_gives_a_summary_and_an_annotated_copy_that_can_be_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("boxes.mp4");
    let video = sample("vtest.avi");
    let output =
        run(&["detect", video.to_str().unwrap(), "--frames", "12", "--output", copy.to_str().unwrap()]);
    let summary = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(output.status.success(), "{}", errors(&output));
    assert!(summary.contains("12 frames") && summary.contains("person"), "{summary}");
    let again = records(&run(&["detect", "--json", copy.to_str().unwrap()]));
    assert_eq!(again.len(), 12);
    assert_eq!((again[0]["width"].as_u64(), again[0]["height"].as_u64()), (Some(768), Some(576)));
}

#[test]
fn a_copy_that_was_cut_short_does_not_pass_for_a_whole_one() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("boxes.mp4");
    let video = sample("vtest.avi");
    let arguments = ["detect", "--json", video.to_str().unwrap(), "--output", copy.to_str().unwrap()];
    let mut child = process::centerx(&arguments).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.by_ref().take(3).all(|line| line.is_ok()));
    child.kill().unwrap();
    child.wait().unwrap();
    let left: Vec<_> = folder.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["boxes.mp4.part"]);
    // The next one is in nobody's way.
    let output = run(&[&arguments[..], &["--frames", "2"]].concat());
    assert!(output.status.success() && copy.is_file(), "{}", errors(&output));
    assert!(!folder.path().join("boxes.mp4.part").exists());
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let video = sample("vtest.avi");
    let mut command = process::centerx(&["detect", "--json", "--frames", "500", video.to_str().unwrap()]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let output = child.wait_with_output().unwrap();
    let message = errors(&output);
    assert!(output.status.success() && !message.contains("panicked"), "{message}");
    assert!(line.starts_with('{'), "{line}");
}

#[test]
fn only_the_classes_asked_for_are_reported() {
    let output = run(&["detect", "--json", "--class", "sports ball", sample("messi5.jpg").to_str().unwrap()]);
    let records = records(&output);
    let found = records[0]["detections"].as_array().unwrap();
    assert!(!found.is_empty() && found.iter().all(|d| d["label"] == "sports ball"), "{found:?}");
}

/// Runs `detect` on bytes in a file of this name, expects failure, and returns the message.
fn refused(name: &str, bytes: &[u8], more: &[&str]) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(name);
    std::fs::write(&file, bytes).unwrap();
    let output = run(&[&["detect", file.to_str().unwrap()], more].concat());
    let message = errors(&output);
    assert!(!message.contains("panicked"), "{message}");
    (output.status.code(), message)
}

#[test]
fn bad_pictures_and_videos_are_refused_by_name() {
    let (code, message) = refused("empty.jpg", b"", &[]);
    assert!(code == Some(1) && message.contains("empty.jpg") && message.contains("0 bytes"), "{message}");

    let (code, message) = refused("notes.jpg", b"not a picture at all", &[]);
    assert!(code == Some(1) && message.contains("notes.jpg"), "{message}");

    let whole = std::fs::read(sample("messi5.jpg")).unwrap();
    let (code, message) = refused("half.jpg", &whole[..300], &[]);
    assert!(code == Some(1) && message.contains("half.jpg"), "{message}");

    let mut huge = std::io::Cursor::new(Vec::new());
    image::DynamicImage::new_luma8(10_000, 10_000).write_to(&mut huge, image::ImageFormat::Png).unwrap();
    let (code, message) = refused("huge.png", huge.get_ref(), &[]);
    assert!(code == Some(1) && message.contains("10000x10000"), "{message}");
}

#[test]
fn bad_arguments_are_refused_with_the_cure() {
    let output = run(&["detect", "no-such-file.jpg"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(errors(&output).contains("no-such-file.jpg: there is no such file"), "{}", errors(&output));

    let (code, message) = refused("a.jpg", b"x", &["--class", "tractor"]);
    assert!(code == Some(2) && message.contains("tractor") && message.contains("model inspect"), "{message}");

    let (code, message) = refused("a.jpg", b"x", &["--min-score", "7"]);
    assert!(code == Some(2) && message.contains("--min-score"), "{message}");
}

#[test]
fn bad_models_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let picture = sample("messi5.jpg");
    let text = folder.path().join("text.onnx");
    std::fs::write(&text, "this is not a model").unwrap();
    let output = run(&["detect", "--model", text.to_str().unwrap(), picture.to_str().unwrap()]);
    let message = errors(&output);
    assert!(
        output.status.code() == Some(3) && message.contains("text.onnx") && message.contains("ONNX"),
        "{message}"
    );

    let output = run(&["detect", "--model", "no-such-model", picture.to_str().unwrap()]);
    let message = errors(&output);
    assert!(output.status.code() == Some(3) && message.contains("no-such-model"), "{message}");
}

#[test]
fn a_missing_runtime_or_model_says_what_to_run() {
    let home = tempfile::tempdir().unwrap();
    let picture = sample("messi5.jpg");
    let mut command = process::centerx(&["detect", picture.to_str().unwrap()]);
    let output = command.env("CENTERX_HOME", home.path()).output().unwrap();
    let message = errors(&output);
    assert!(output.status.code() == Some(3) && message.contains("centerx runtime pull"), "{message}");

    std::os::unix::fs::symlink(files::centerx_home().join("runtime"), home.path().join("runtime")).unwrap();
    let output = command.output().unwrap();
    let message = errors(&output);
    assert!(output.status.code() == Some(3) && message.contains("centerx model pull coco"), "{message}");

    let output = command.env("ORT_DYLIB_PATH", picture.as_os_str()).output().unwrap();
    let message = errors(&output);
    assert!(output.status.code() == Some(3) && message.contains("centerx runtime pull"), "{message}");
}

#[test]
fn an_output_that_has_nowhere_to_go_is_refused_before_the_work() {
    let picture = sample("messi5.jpg");
    let output = run(&["detect", picture.to_str().unwrap(), "--output", "/no-such-folder/boxes.jpg"]);
    let message = errors(&output);
    assert!(output.status.code() == Some(2) && message.contains("no folder /no-such-folder"), "{message}");
    assert!(output.stdout.is_empty());
}

/// ONNX Runtime 1.29 and later gather what they run, for their maker, unless they are told not to before they begin.
#[test]
fn nothing_is_gathered_about_its_use() {
    let home = tempfile::tempdir().unwrap();
    let picture = sample("messi5.jpg");
    let mut command = process::centerx(&["detect", picture.to_str().unwrap()]);
    for variable in ["XDG_CACHE_HOME", "ORT_DISABLE_TELEMETRY", "ORT_RUNNING_UNIT_TESTS", "CI"] {
        command.env_remove(variable);
    }
    let output = command.env("HOME", home.path()).output().unwrap();
    assert!(output.status.success(), "{}", errors(&output));
    assert!(!errors(&output).contains("may report"), "{}", errors(&output));
    let kept: Vec<_> = std::fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(kept.is_empty(), "{kept:?}");
}
