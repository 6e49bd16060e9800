//! Drawn shapes, whose truth is exact: training reaches it, goes on where it was stopped, and what is exported says
//! what the trainer says.

// A test that fails is to panic.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;

use support::{done, draw_shapes, server, text, trainer};

fn recipe(folder: &Path, name: &str, more: &str) -> String {
    let path = folder.join(format!("{name}.toml"));
    let recipe = format!(
        r#"
        name = "shapes"
        classes = ["disc", "bar"]
        input = "128x128"
        output = "{name}"
        hold-out = 0.2

        [[data]]
        kind = "coco"
        paths = ["pictures"]
        annotations = "pictures/truth.json"

        [network]
        backbone = "resnet18"
        width = 0.25
        head-channels = 32
        {more}
        "#
    );
    std::fs::write(&path, recipe).unwrap();
    path.to_str().unwrap().to_owned()
}

/// The number behind `AP50` in what the trainer prints.
fn ap50(said: &str) -> f64 {
    let rest = said.split("AP50 ").nth(1).unwrap_or_else(|| panic!("no AP50 in {said}"));
    rest.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn exact_truth_is_learned_and_exported() {
    let folder = tempfile::tempdir().unwrap();
    let pictures = folder.path().join("pictures");
    std::fs::create_dir(&pictures).unwrap();
    draw_shapes(&pictures, 600, 7);
    let settings = "
        neck = 'resize'
        [augment]
        variants = 1
        mosaic = 0.0
        hue = 180.0
        [labels]
        size = 'normalised'
        heat-weight = 3.0
        [train]
        steps = 260
        evaluate-every = 260
        [optimiser]
        rate = 0.003
        warm-up = 40
        schedule = { kind = 'constant' }";
    let recipe = recipe(folder.path(), "run", settings);
    let said = text(&done(trainer(&["train", &recipe])).stdout);
    println!("{said}");
    assert!(ap50(&said) >= 0.9, "{said}");
    let run = folder.path().join("run");
    for file in ["log.csv", "losses.svg", "shapes.onnx"] {
        assert!(run.join(file).is_file(), "{file} is missing");
    }
    // The project's own evaluation, on all pictures, those it learned from included.
    let report = folder.path().join("report.json");
    let truth = pictures.join("truth.json");
    let model = run.join("shapes.onnx");
    let paths = [&model, &truth, &pictures, &report].map(|path| path.to_str().unwrap());
    done(server(&[
        "eval",
        "--model",
        paths[0],
        "--annotations",
        paths[1],
        "--images",
        paths[2],
        "--json",
        paths[3],
    ]));
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(&report).unwrap()).unwrap();
    assert!(report["metrics"]["AP50"].as_f64().unwrap() >= 0.9, "{report}");
}
