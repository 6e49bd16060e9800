//! A tiny student of one teacher, from a video without labels to a server that runs it.

// A test that fails is to panic.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};

use support::{done, sample, server, text, trainer};

/// People in a courtyard, every 20th frame, as `coco` sees them.
fn recipe(folder: &Path) -> String {
    let path = folder.join("yard.toml");
    let recipe = format!(
        r#"
        name = "yard"
        classes = ["person"]
        input = "128x96"
        output = "run"
        hold-out = 0.2

        [[data]]
        paths = [{:?}]
        every = 20

        [[teacher]]
        model = "coco"

        [network]
        width = 0.125
        neck = "resize"
        head-channels = 8

        [augment]
        variants = 1

        [train]
        steps = 40
        evaluate-every = 20
        batch = 4

        [export]
        caffe = true
        "#,
        sample("vtest.avi")
    );
    std::fs::write(&path, recipe).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A server that is ended with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Serves the model on the video; the server, and where it listens.
fn serve(model: &Path, folder: &Path) -> (Server, String) {
    let camera = format!("yard={}", sample("vtest.avi").display());
    let mut command = server(&["--log", "info", "serve", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
    command.args(["--model", model.to_str().unwrap(), "--camera", &camera, "--min-score", "0.01"]);
    let mut child = command.arg("--data-dir").arg(folder).stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut seen = Vec::new();
    let mut grpc = None;
    // The pipe stays open to the end, so that the server can log on.
    let mut lines = lines.map_while(Result::ok);
    for line in lines.by_ref() {
        if line.contains(" ready ") {
            let field = line.split_whitespace().find_map(|word| word.strip_prefix("grpc="));
            grpc = field.map(|address| format!("http://{address}"));
            break;
        }
        seen.push(line);
    }
    std::thread::spawn(move || lines.for_each(drop));
    let server = Server(child);
    (server, grpc.unwrap_or_else(|| panic!("never ready:\n{}", seen.join("\n"))))
}

#[test]
fn a_student_without_labels_is_trained_exported_and_served() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe(folder.path());
    let said = text(&done(trainer(&["train", &recipe])).stdout);
    assert!(said.starts_with("best at step ") && said.contains("F1 "), "{said}");
    let run = folder.path().join("run");
    for file in ["log.csv", "losses.svg", "yard.onnx", "yard.prototxt", "yard.caffemodel"] {
        assert!(run.join(file).metadata().unwrap().len() > 0, "{file}");
    }
    for picture in ["first-batch.jpg", "000020.jpg", "000040.jpg"] {
        image::open(run.join("previews").join(picture)).unwrap();
    }
    let log = std::fs::read_to_string(run.join("log.csv")).unwrap();
    assert!(log.starts_with("step,epoch,rate,") && log.contains("coco.heat:weight"), "{log}");

    let model = run.join("yard.onnx");
    let path = model.to_str().unwrap();
    let look = ["detect", "--model", path, "--json", "--min-score", "0.01"];
    let mut detect = server(&look);
    detect.arg(sample("messi5.jpg"));
    let found: serde_json::Value = serde_json::from_slice(&done(detect).stdout).unwrap();
    assert_eq!(found["detections"][0]["label"], "person", "{found}");
    done(server(&["model", "verify", path]));
    // Exported again, it is the same.
    let again = folder.path().join("again.onnx");
    done(trainer(&["export", &recipe, "--onnx", again.to_str().unwrap()]));
    assert_eq!(std::fs::read(&again).unwrap(), std::fs::read(&model).unwrap());
    let judged = text(&done(trainer(&["evaluate", &recipe, "--model", path])).stdout);
    assert!(said.contains(judged.trim()), "{said} is not {judged}");

    let data = folder.path().join("data");
    let (_server, grpc) = serve(&model, &data);
    let watched = text(&done(server(&["watch", "--server", &grpc, "--seconds", "1"])).stdout);
    assert!(watched.lines().any(|line| line.contains("yard") && line.contains("person")), "{watched}");
}

#[test]
fn teachers_make_labels_that_can_be_learned_from() {
    let folder = tempfile::tempdir().unwrap();
    let taught = recipe(folder.path());
    let labels = folder.path().join("labels.json");
    let said = text(&done(trainer(&["label", &taught, "--labels", labels.to_str().unwrap()])).stdout);
    assert!(said.contains(" pictures, person "), "{said}");
    let learned = folder.path().join("labels.toml");
    let recipe = r#"
        name = "learned"
        classes = ["person"]
        input = "128x96"
        output = "learned"
        data = [{ kind = "coco", paths = ["/"], annotations = "labels.json" }]
        network = { width = 0.125, neck = "resize", head-channels = 8 }
        train = { steps = 4, batch = 4 }
    "#;
    std::fs::write(&learned, recipe).unwrap();
    let said = text(&done(trainer(&["train", learned.to_str().unwrap()])).stdout);
    assert!(said.contains("AP50 "), "{said}");
}
