//! `centerx model verify` and `centerx model inspect`, as a user calls them.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use centerx::model::decode;
use centerx::model::graph::Graph;
use centerx::model::onnx::{Dim, ElementType};
use prost::Message as _;
use serde_json::Value;
use tempfile::TempDir;

use super::files::sample;
use super::process::{self, errors, run};
use super::synthetic::{Variant, detector, original};

struct Files {
    _folder: TempDir,
    network: PathBuf,
    good: PathBuf,
    wrong: PathBuf,
}

/// A pose network, the detector made of it, and one whose recipe is of another stride.
fn files() -> Files {
    let folder = tempfile::tempdir().unwrap();
    let variant = Variant::of(&decode::CENTERPOSE);
    let write = |name: &str, bytes: Vec<u8>| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    Files {
        network: write("network.onnx", original(variant).encode_to_vec()),
        good: write("good.onnx", detector(variant, |_| ()).bytes),
        wrong: write("wrong.onnx", detector(variant, |recipe| recipe.heads.stride = 8.0).bytes),
        _folder: folder,
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", errors(output)))
}

#[test]
fn an_equal_detector_is_told_equal_on_a_real_picture_too() {
    let files = files();
    let picture = sample("messi5.jpg");
    let command = ["model", "verify", text(&files.network), text(&files.good), "--picture", text(&picture)];
    let output = run(&command);
    let table = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(output.status.success(), "{table}{}", errors(&output));
    assert!(table.contains("of the original network") && table.contains("equal"), "{table}");
    let report = json(&run(&[&command[..], &["--json"]].concat()));
    assert_eq!((&report["pictures"], &report["against_original"]), (&5.into(), &true.into()));
    assert!(report["single"]["rows"].as_u64().unwrap() > 200, "{report}");
    assert!(report["single"]["worst"]["excess"].as_f64().unwrap() < 1.0, "{report}");
}

#[test]
fn a_wrong_detector_ends_with_1_and_both_rows() {
    let files = files();
    let output = run(&["model", "verify", text(&files.wrong)]);
    let message = errors(&output);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("expected class") && message.contains("detector class"), "{message}");
    let table = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(table.contains("different") && table.contains("taken out of the detector"), "{table}");
}

#[test]
fn a_reader_of_the_table_that_left_is_no_failure() {
    for command in [&["model", "inspect", "coco"][..], &["model", "list"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = process::centerx(command).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        let message = errors(&output);
        assert!(output.status.success() && message.is_empty(), "{command:?}: {message}");
    }
}

#[test]
fn an_import_that_cannot_end_well_is_refused_before_the_work() {
    let files = files();
    let (network, good) = (text(&files.network), text(&files.good));
    let folder = files.network.with_file_name("nowhere");
    let (out, lost) = (files.network.with_file_name("out.onnx"), folder.join("out.onnx"));
    let cases = [
        (vec![good, "-o", text(&out)], "is a detector already"),
        (vec![network, "-o", text(&lost)], "there is no folder"),
        (vec![network, "-o", good], "--force writes over it"),
        (vec![network, "-o", text(&out), "--topk", "10001"], "10001 is not in 1..=10000"),
    ];
    for (arguments, why) in cases {
        let output = run(&[&["model", "import"], &arguments[..]].concat());
        let message = errors(&output);
        assert!(output.status.code() == Some(2) && message.contains(why), "{arguments:?}: {message}");
        assert!(!out.exists());
    }
}

#[test]
fn bad_arguments_are_refused() {
    let files = files();
    for more in [&["--max-px", "0"][..], &["--random", "0"]] {
        let output = run(&[&["model", "verify", text(&files.good)], more].concat());
        assert_eq!(output.status.code(), Some(2), "{}", errors(&output));
    }
}

/// The whole way of the default model, on real pictures.
#[test]
fn the_default_model_is_proven() {
    let output = run(&[
        "model",
        "verify",
        "coco",
        "--json",
        "--random",
        "1",
        "--picture",
        text(&sample("messi5.jpg")),
    ]);
    let report = json(&output);
    assert!(output.status.success(), "{}", errors(&output));
    assert!(report["batched"]["rows"].as_u64().unwrap() >= 150, "{report}");
}

#[test]
fn inspect_tells_what_a_detector_costs_and_how_it_was_made() {
    let files = files();
    let about = json(&run(&["model", "inspect", "--json", text(&files.good)]));
    assert_eq!(about["detector"]["family"], "centerpose");
    assert_eq!(about["detector"]["recipe"]["heads"]["stride"], 4.0);
    // Six heads of 3 + 2 + 2 + 34 + 17 + 2 channels by 3x4x4 kernels at 24 x 32 cells.
    let flops = 2.0 * 60.0 * 48.0 * (24.0 * 32.0);
    assert_eq!((&about["flops"]["total"], &about["flops"]["decode"]), (&flops.into(), &0.0.into()));
    assert!(about["decode_nodes"].as_u64().unwrap() > 30, "{about}");
    let table = String::from_utf8(run(&["model", "inspect", text(&files.good)]).stdout).unwrap();
    for part in ["images uint8 [N,96,128,3]", "detections float32 [N,100,57]", "BGR", "opset 17", "Conv 6"] {
        assert!(table.contains(part), "{part} is not in\n{table}");
    }
}

#[test]
fn inspect_tells_what_other_networks_are() {
    let files = files();
    let output = run(&["model", "inspect", text(&files.network)]);
    let table = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(
        output.status.success() && table.contains("not a detector; centerx model import makes one"),
        "{table}"
    );
    assert!(table.contains("input.1 float32 [1,3,96,128]") && table.contains("4.42 M a picture"), "{table}");

    let mut graph = Graph::new("free");
    let x = graph.input("x", ElementType::Float, &[Dim::Param("N".into()), Dim::Param("L".into())]);
    let y = graph.node("Relu", &[&x], "y", &[]);
    graph.output(&y, ElementType::Float, &[]);
    std::fs::write(&files.network, graph.into_model().encode_to_vec()).unwrap();
    let table = String::from_utf8(run(&["model", "inspect", text(&files.network)]).stdout).unwrap();
    assert!(table.contains("the size of x float32 [N,L] is not fixed"), "{table}");
}

#[test]
fn inspect_without_a_runtime_says_how_to_get_it() {
    let (files, home) = (files(), tempfile::tempdir().unwrap());
    let mut command = process::centerx(&["model", "inspect", text(&files.good)]);
    let output = command.env("CENTERX_HOME", home.path()).output().unwrap();
    let table = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(output.status.success() && table.contains("centerx runtime pull"), "{table}{}", errors(&output));
}
