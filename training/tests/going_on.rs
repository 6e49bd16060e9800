//! Runs that are stopped go on as if nothing had happened; the same seed makes the same run.

// A test that fails is to panic.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::{Path, PathBuf};

use support::{done, draw_shapes, text, trainer};

const STEPS: usize = 12;

fn recipe(folder: &Path, name: &str, seed: u64) -> String {
    let path = folder.join(format!("{name}.toml"));
    let recipe = format!(
        r#"
        name = "shapes"
        classes = ["disc", "bar"]
        input = "64x64"
        output = "{name}"
        seed = {seed}
        hold-out = 0.2
        data = [{{ kind = "coco", paths = ["pictures"], annotations = "pictures/truth.json" }}]
        network = {{ width = 0.125, head-channels = 8 }}
        train = {{ steps = {STEPS}, evaluate-every = 4, batch = 4, swa-from = 0.5 }}
        "#
    );
    std::fs::write(&path, recipe).unwrap();
    path.to_str().unwrap().to_owned()
}

fn pictures() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let pictures = folder.path().join("pictures");
    std::fs::create_dir(&pictures).unwrap();
    draw_shapes(&pictures, 30, 3);
    folder
}

/// What a run's log tells of the losses, without the times.
fn losses(run: &Path) -> Vec<String> {
    let log = std::fs::read_to_string(run.join("log.csv")).unwrap();
    let timeless = |line: &str| {
        let fields = line.split(',').enumerate().filter(|(at, _)| *at != 4);
        fields.map(|(_, field)| field).collect::<Vec<_>>().join(",")
    };
    log.lines().map(timeless).collect()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in from.read_dir().unwrap() {
        let (from, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if from.is_dir() { copy(&from, &to) } else { std::fs::copy(&from, &to).map(drop).unwrap() }
    }
}

/// Kills a run as soon as its first checkpoint is there, by looking at each line that it says.
fn stopped_at_first_checkpoint(recipe: &str, run: &Path) {
    use std::io::{BufRead as _, BufReader};
    let mut child =
        trainer(&["train", recipe, "--force"]).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let evaluated = lines.map_while(Result::ok).any(|line| line.starts_with("step 4: "));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(evaluated && run.join("checkpoints/last").is_dir());
}

#[test]
fn a_run_that_was_killed_goes_on_to_the_same_losses() {
    let folder = pictures();
    let whole = recipe(folder.path(), "whole", 1);
    done(trainer(&["train", &whole]));
    let again = recipe(folder.path(), "again", 1);
    done(trainer(&["train", &again]));
    let whole = losses(&folder.path().join("whole"));
    assert_eq!(whole, losses(&folder.path().join("again")), "the same seed makes the same run");
    let elsewhere = pictures();
    done(trainer(&["train", &recipe(elsewhere.path(), "moved", 1)]));
    assert_eq!(whole, losses(&elsewhere.path().join("moved")), "wherever the pictures lie");
    let other = recipe(folder.path(), "other", 2);
    done(trainer(&["train", &other]));
    assert_ne!(whole, losses(&folder.path().join("other")), "another seed another one");

    let run: PathBuf = folder.path().join("again");
    stopped_at_first_checkpoint(&again, &run);
    let kept = folder.path().join("kept");
    copy(&run, &kept);
    done(trainer(&["train", &again, "--resume"]));
    let resumed = losses(&run);
    assert_eq!(resumed.last(), whole.last(), "{resumed:#?} {whole:#?}");

    // Killed between two renames, the checkpoint lies under its old name.
    std::fs::rename(kept.join("checkpoints/last"), kept.join("checkpoints/last.old")).unwrap();
    let output = kept.to_str().unwrap();
    done(trainer(&["train", &again, "--resume", "--output", output]));
    assert_eq!(losses(&kept).last(), whole.last());
}

#[test]
fn what_keeps_a_run_from_beginning_costs_nothing() {
    let folder = pictures();
    let recipe = recipe(folder.path(), "run", 1);
    done(trainer(&["train", &recipe]));
    let whole = losses(&folder.path().join("run"));
    let good = std::fs::read_to_string(&recipe).unwrap();
    let refused = |change: &str, arguments: &[&str], part: &str| {
        std::fs::write(&recipe, change).unwrap();
        let output = trainer(&[&["train", recipe.as_str()], arguments].concat()).output().unwrap();
        let said = text(&output.stderr);
        assert!(output.status.code() == Some(2) && said.contains(part), "{said}");
    };
    refused(&good.replace("[\"pictures\"]", "[\"nowhere\"]"), &["--force"], "nowhere");
    let swapped = good.replace("\"disc\", \"bar\"", "\"bar\", \"disc\"");
    refused(&swapped, &["--resume"], "is of the classes disc, bar, the recipe has bar, disc");
    assert_eq!(losses(&folder.path().join("run")), whole);
    assert!(folder.path().join("run/checkpoints/last").is_dir());
    assert!(!folder.path().join("run/candidate.onnx").exists());
    // What a kill leaves of an unfinished checkpoint goes with the next run.
    let unfinished = folder.path().join("run/checkpoints/.unfinished-x");
    std::fs::create_dir(&unfinished).unwrap();
    std::fs::write(&recipe, good.replace(&format!("steps = {STEPS}"), "steps = 14")).unwrap();
    done(trainer(&["train", &recipe, "--resume"]));
    assert!(!unfinished.exists());
}

#[test]
fn runs_are_neither_overwritten_nor_made_up() {
    let folder = pictures();
    let recipe = recipe(folder.path(), "run", 1);
    let refused = trainer(&["train", &recipe, "--resume"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("holds no checkpoint to go on from"), "{}", text(&refused.stderr));
    done(trainer(&["train", &recipe]));
    let refused = trainer(&["train", &recipe]).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        text(&refused.stderr).contains("--resume, begin it anew by --force"),
        "{}",
        text(&refused.stderr)
    );
}
