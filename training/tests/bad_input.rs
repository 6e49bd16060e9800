//! What cannot be trained on is told: the thing, the cause, the cure, and an exit code that says whose it is.

// A test that fails is to panic.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::{Path, PathBuf};

use support::{done, draw_shapes, server, text, trainer};

/// A recipe that is good but for what is put in its place.
fn recipe(folder: &Path, change: impl Fn(String) -> String) -> PathBuf {
    let pictures = folder.join("pictures");
    if !pictures.exists() {
        std::fs::create_dir(&pictures).unwrap();
        draw_shapes(&pictures, 12, 3);
    }
    let path = folder.join("shapes.toml");
    let recipe = r#"
name = "shapes"
classes = ["disc", "bar"]
input = "64x64"
output = "run"
hold-out = 0.3
data = [{ kind = "coco", paths = ["pictures"], annotations = "pictures/truth.json" }]
network = { width = 0.125, head-channels = 8 }
train = { steps = 4, evaluate-every = 2, batch = 4 }
"#;
    std::fs::write(&path, change(recipe.to_owned())).unwrap();
    path
}

fn said(recipe: &Path) -> (Option<i32>, String) {
    let output = trainer(&["train", recipe.to_str().unwrap()]).output().unwrap();
    (output.status.code(), text(&output.stderr))
}

/// Each is refused with that code, and says all of that.
fn assert_refused(code: i32, change: impl Fn(String) -> String, parts: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let (ended, said) = said(&recipe(folder.path(), change));
    assert_eq!(ended, Some(code), "{said}");
    assert!(parts.iter().all(|part| said.contains(part)), "{parts:?} in {said}");
    assert!(!folder.path().join("run/shapes.onnx").exists());
}

fn replace(from: &'static str, to: &'static str) -> impl Fn(String) -> String {
    move |recipe| {
        assert!(recipe.contains(from));
        recipe.replace(from, to)
    }
}

fn append(more: &'static str) -> impl Fn(String) -> String {
    move |recipe| recipe + more
}

#[test]
fn recipes_that_make_no_sense_are_refused() {
    assert_refused(2, |_| "name = ".into(), &["shapes.toml", "TOML parse error"]);
    assert_refused(2, append("speed = 1"), &["unknown field `speed`"]);
    assert_refused(2, replace("\"64x64\"", "\"64x65\""), &["64x65", "multiples of 32", "64x96"]);
    assert_refused(2, replace("\"disc\", \"bar\"", "\"disc\", \"Disc\""), &["\"Disc\" is there twice"]);
    assert_refused(2, replace("batch = 4", "batch = 1"), &["train.batch: 1", "at least 2"]);
    assert_refused(2, append("optimiser = { precision = \"mixed\" }"), &["precision", "float32"]);
    assert_refused(2, append("optimiser = { rate = -1.0 }"), &["optimiser.rate: -1"]);
    assert_refused(2, append("labels = { heat-weight = -2.0 }"), &["labels.heat-weight: -2"]);
}

#[test]
fn data_that_cannot_be_learned_from_is_refused() {
    let nowhere = replace("\"pictures\"]", "\"nowhere\"]");
    assert_refused(2, nowhere, &["nowhere"]);
    assert_refused(2, replace("pictures/truth.json", "shapes.toml"), &["shapes.toml", "not JSON"]);
    let unlabelled = |recipe: String| {
        recipe.replace("kind = \"coco\", ", "").replace(", annotations = \"pictures/truth.json\"", "")
    };
    assert_refused(2, unlabelled, &["no labels and no teacher", "[[teacher]]"]);
    assert_refused(2, replace("\"disc\", \"bar\"", "\"dog\", \"cat\""), &["dog", "disc"]);
    assert_refused(
        2,
        replace("hold-out = 0.3", "hold-out = 0.0"),
        &["no picture is held out", "raise hold-out"],
    );
}

#[test]
fn teachers_that_do_not_fit_are_refused() {
    let teacher = append("[[teacher]]\nmodel = \"coco\"\n");
    assert_refused(2, teacher, &["coco", "disc", "person"]);
    let unknown = append("[[teacher]]\nmodel = \"./nowhere.onnx\"\n");
    assert_refused(3, unknown, &["nowhere.onnx"]);
    let not_pulled = append("[[teacher]]\nmodel = \"coco@64x64\"\n");
    assert_refused(3, not_pulled, &["coco@64x64", "centerx model pull coco@64x64"]);
    let both = |recipe: String| {
        let recipe = recipe.replace("\"disc\", \"bar\"", "\"disc\", \"bar\", \"person\"");
        recipe + "[[teacher]]\nmodel = \"coco\"\n[[teacher]]\nmodel = \"coco\"\n"
    };
    assert_refused(2, both, &["person", "coco"]);
}

#[test]
fn a_damaged_picture_is_named_or_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let refused = recipe(folder.path(), |recipe| recipe);
    let picture = folder.path().join("pictures/0002.png");
    std::fs::write(&picture, b"not a picture").unwrap();
    let (code, told) = said(&refused);
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("0002.png") && told.contains("skip-unreadable = true"), "{told}");
    let skipped = recipe(folder.path(), |recipe| recipe.replace("kind =", "skip-unreadable = true, kind ="));
    let (code, told) = said(&skipped);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("note: ") && told.contains("0002.png"), "{told}");
}

/// A student whose weights leap beyond all numbers in its first step after a checkpoint. It is judged after every
/// `evaluate_every` steps. The trainer has to stop, say which losses it had, and keep what was good.
fn assert_stops_at_weights_that_leap(evaluate_every: usize, said: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let good = recipe(folder.path(), |recipe| recipe);
    done(trainer(&["train", good.to_str().unwrap()]));
    let wild = recipe(folder.path(), |recipe| {
        let judged = format!("evaluate-every = {evaluate_every}");
        let longer = recipe.replace("steps = 4", "steps = 400").replace("evaluate-every = 2", &judged);
        // So far beyond that processors which round otherwise come to the same.
        longer
            + "balance = \"static\"\noptimiser = { kind = \"sgd\", rate = 1e38, clip = inf, schedule = { kind = \"constant\" } }\n"
    });
    let output = trainer(&["train", wild.to_str().unwrap(), "--resume"]).output().unwrap();
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    let error = told.lines().find(|line| line.starts_with("error: ")).unwrap();
    let always = ["training stops here", "labels.", "last good checkpoint", "optimiser.rate"];
    assert!(always.iter().chain(said).all(|part| error.contains(part)), "{said:?} in {told}");
    let model = folder.path().join("run/shapes.onnx");
    let picture = folder.path().join("pictures/0001.png");
    done(server(&["detect", "--model", model.to_str().unwrap(), picture.to_str().unwrap()]));
    let calm = recipe(folder.path(), |recipe| recipe.replace("steps = 4", "steps = 6"));
    done(trainer(&["train", calm.to_str().unwrap(), "--resume"]));
}

#[test]
fn a_loss_that_is_no_number_ends_the_run_and_keeps_what_was_good() {
    assert_stops_at_weights_that_leap(400, &["at step 6"]);
}

#[test]
fn a_student_that_computes_no_numbers_ends_the_run_and_keeps_what_was_good() {
    assert_stops_at_weights_that_leap(1, &["after step 5", "no detector comes of the student"]);
}

#[test]
fn a_full_disk_leaves_the_last_checkpoint_whole() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe(folder.path(), |recipe| recipe);
    let path = recipe.to_str().unwrap();
    done(trainer(&["train", path]));
    let longer = std::fs::read_to_string(&recipe).unwrap().replace("steps = 4", "steps = 8");
    std::fs::write(&recipe, longer).unwrap();
    // Files of more than 64 kB cannot be written, which stands for a disk without room.
    let limited = "trap '' XFSZ; ulimit -f 128; exec \"$@\"";
    let mut command = std::process::Command::new("sh");
    command.args(["-c", limited, "sh", env!("CARGO_BIN_EXE_centerx-train"), "train", path, "--resume"]);
    let home =
        trainer(&[]).get_envs().find(|(name, _)| *name == "CENTERX_HOME").unwrap().1.unwrap().to_owned();
    let output = command.env("CENTERX_HOME", home).output().unwrap();
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("cannot") && told.contains("run/"), "{told}");
    done(trainer(&["train", path, "--resume"]));
}
