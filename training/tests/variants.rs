//! Each way to train that a recipe can choose, through the program: it learns, and what it exports runs. And several
//! data sets at once, of different formats and classes.

// A test that fails is to panic.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use support::{SHAPES, done, draw_shapes, server, text, trainer};

const STEPS: usize = 30;

/// Pictures with labels in COCO's format.
fn pictures(folder: &Path, name: &str, count: usize, seed: u64) -> PathBuf {
    let pictures = folder.join(name);
    std::fs::create_dir(&pictures).unwrap();
    draw_shapes(&pictures, count, seed);
    pictures
}

fn write(folder: &Path, name: &str, settings: &str) -> String {
    let path = folder.join(format!("{name}.toml"));
    let recipe = format!(
        "name = 'shapes'\nclasses = ['disc', 'bar']\ninput = '64x64'\noutput = '{name}'\nhold-out = 0.2\n{settings}\n"
    );
    std::fs::write(&path, recipe).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A column of a run's log.
fn column(run: &Path, name: &str) -> Vec<f64> {
    let log = std::fs::read_to_string(run.join("log.csv")).unwrap();
    let mut lines = log.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let at = lines.next().unwrap().iter().position(|column| *column == name).unwrap();
    lines.map(|fields| fields[at].parse().unwrap()).collect()
}

#[test]
fn every_way_to_train_learns_and_exports() {
    let folder = tempfile::tempdir().unwrap();
    let shapes = pictures(folder.path(), "pictures", 24, 3);
    let picture = shapes.join("0001.png");
    let small = "network = { width = 0.125, head-channels = 8 }";
    let regnet = "network = { backbone = 'regnety-200mf', width = 0.25, head-channels = 8, neck = 'resize' }";
    let mobilenet = "network = { backbone = 'mobilenetv3-small', width = 0.5, head-channels = 8 }";
    // Name, optimiser and its rate, network, other tables, more of [train].
    let ways = [
        ("sgd", ("sgd", 0.02), small, "augment = { mosaic = 0.0 }", ""),
        (
            "adam",
            ("adam", 0.004),
            small,
            "augment = { mosaic = 1.0, flip = 1.0 }\nbalance = 'communism-of-batch'",
            "ema = 0.0,",
        ),
        ("swa", ("adamw", 0.004), small, "balance = 'static'", "ema = 0.0, swa-from = 0.5,"),
        ("regnet", ("adamw", 0.004), regnet, "labels = { heat = 'mse', size = 'normalised' }", ""),
        ("mobilenet", ("adamw", 0.004), mobilenet, "", ""),
    ];
    for (name, (kind, rate), network, more, train) in ways {
        let settings = format!(
            "data = [{{ kind = 'coco', paths = ['pictures'], annotations = 'pictures/truth.json' }}]\n{network}\n{more}\n\
             train = {{ steps = {STEPS}, evaluate-every = {STEPS}, batch = 4, {train} }}\n\
             optimiser = {{ kind = '{kind}', rate = {rate}, warm-up = 0, \
             schedule = {{ kind = 'multi-step', milestones = [0.5, 0.8], factor = 0.1 }} }}"
        );
        let recipe = write(folder.path(), name, &settings);
        let said = text(&done(trainer(&["train", &recipe])).stdout);
        assert!(said.contains("AP50"), "{name}: {said}");
        let run = folder.path().join(name);
        let heat = column(&run, "labels.heat");
        assert!(heat.last().unwrap() < &(0.95 * heat[0]), "{name} does not learn: {heat:?}");
        let rates = column(&run, "rate");
        assert!(rates.windows(2).all(|pair| pair[1] <= pair[0]), "{name}: {rates:?}");
        assert!((rates.last().unwrap() / (0.01 * rate) - 1.0).abs() < 1e-6, "{name} ends at {rates:?}");
        let mut detect = server(&["detect", "--json", "--min-score", "0.0", "--model"]);
        detect.arg(run.join("shapes.onnx")).arg(&picture);
        let found = text(&done(detect).stdout);
        let found: Value = serde_json::from_str(found.lines().next().unwrap()).unwrap();
        assert!(!found["detections"].as_array().unwrap().is_empty(), "{name}: {found}");
    }
}

/// Takes one class out of COCO's labels.
fn without(truth: &Path, class: usize) {
    let mut labels: Value = serde_json::from_slice(&std::fs::read(truth).unwrap()).unwrap();
    for (list, key) in [("categories", "id"), ("annotations", "category_id")] {
        labels[list].as_array_mut().unwrap().retain(|one| one[key] != json!(class + 1));
    }
    std::fs::write(truth, labels.to_string()).unwrap();
}

/// Labels of one class by YOLO's format beside the pictures, from COCO's; a few boxes are outside or of no size.
fn as_yolo(pictures: &Path, class: usize) {
    let labels: Value = serde_json::from_slice(&std::fs::read(pictures.join("truth.json")).unwrap()).unwrap();
    let folder = pictures.parent().unwrap().join("labels");
    std::fs::create_dir(&folder).unwrap();
    for image in labels["images"].as_array().unwrap() {
        let own = |one: &&Value| one["image_id"] == image["id"] && one["category_id"] == json!(class + 1);
        let line = |one: &Value| {
            let [x, y, w, h] = [0, 1, 2, 3].map(|at| one["bbox"][at].as_f64().unwrap() / 128.0);
            format!("0 {} {} {w} {h}\n", x + w / 2.0, y + h / 2.0)
        };
        let mut lines: String =
            labels["annotations"].as_array().unwrap().iter().filter(own).map(line).collect();
        if image["id"] == json!(1) {
            lines += "0 0.5 0.5 0 0.1\n0 1.7 0.5 0.2 0.2\n";
        }
        let name = image["file_name"].as_str().unwrap().replace(".png", ".txt");
        std::fs::write(folder.join(name), lines).unwrap();
    }
    std::fs::remove_file(pictures.join("truth.json")).unwrap();
}

#[test]
fn data_sets_of_different_classes_teach_one_student() {
    let folder = tempfile::tempdir().unwrap();
    let discs = pictures(folder.path(), "discs", 160, 3);
    without(&discs.join("truth.json"), 1);
    let yolo = folder.path().join("bars");
    std::fs::create_dir(&yolo).unwrap();
    as_yolo(&pictures(&yolo, "images", 160, 4), 1);
    let settings = format!(
        "data = [\n\
         {{ kind = 'coco', paths = ['discs'], annotations = 'discs/truth.json' }},\n\
         {{ kind = 'yolo', paths = ['bars'], names = ['beam'], rename = {{ beam = '{}' }} }},\n]\n\
         network = {{ width = 0.25, head-channels = 16, neck = 'resize' }}\n\
         augment = {{ variants = 1, mosaic = 0.0, hue = 180.0 }}\n\
         train = {{ steps = 120, evaluate-every = 120 }}\n\
         labels = {{ size = 'normalised', heat-weight = 3.0 }}\n\
         optimiser = {{ rate = 0.004, warm-up = 10, schedule = {{ kind = 'constant' }} }}",
        SHAPES[1]
    );
    let recipe = write(folder.path(), "mixed", &settings);
    let output = done(trainer(&["train", &recipe]));
    let (said, told) = (text(&output.stdout), text(&output.stderr));
    println!("{said}");
    for part in ["of no or negative size", "outside of their picture"] {
        assert!(told.contains(part), "{part} in {told}");
    }
    for class in SHAPES {
        let value = said.split(&format!("{class} ")).nth(1).unwrap().split_whitespace().next().unwrap();
        assert!(value.parse::<f64>().unwrap() > 0.3, "{class} in {said}");
    }
}
