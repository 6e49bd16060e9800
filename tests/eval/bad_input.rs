//! Input that cannot be used: each message names it, and the exit code tells whose fault it is.

use serde_json::{Value, json};

use crate::files::sample;
use crate::process::{errors, run};
use crate::scene::Scene;

/// One empty picture file, for input that is refused before anything is looked at.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.png"), b"").unwrap();
        Self(folder)
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    /// Evaluates on annotations that read `text`; gives the message, the exit code being 2.
    fn refused(&self, text: &str) -> String {
        let path = self.path("labels.json");
        std::fs::write(&path, text).unwrap();
        refused(&["--annotations", &path, "--images", &self.path("")])
    }
}

/// Runs `eval`, expects exit code 2 and no panic, and gives the message.
fn refused(arguments: &[&str]) -> String {
    let output = run(&[&["eval", "--model", "coco"], arguments].concat());
    let message = errors(&output);
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(!message.contains("panicked"), "{message}");
    message
}

fn good() -> Value {
    json!({
        "images": [{"id": 1, "file_name": "a.png"}],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 5, 5]}],
    })
}

fn with(pointer: &str, value: Value) -> String {
    let mut file = good();
    *file.pointer_mut(pointer).unwrap() = value;
    file.to_string()
}

#[test]
fn annotations_that_are_no_annotations_are_refused() {
    let folder = Folder::new();
    let whole = good().to_string();
    let cases = [
        ("", "cut short"),
        ("a,b,c", "not JSON"),
        ("[1, 2]", "not COCO annotations"),
        (&whole[..whole.len() - 20], "cut short"),
        (&with("/categories", json!([{"id": 1}])), "category 1 has no name"),
        (&with("/annotations/0/bbox", json!([0, 0, -5, 5])), "annotation 1 in a.png has the box"),
        (&whole.replace("[0,0,5,5]", "[0,0,NaN,5]"), "NaN"),
        (&with("/annotations/0/image_id", json!(2)), "image 2, which is not listed"),
        (&with("/images", json!([])), "no images"),
        (&with("/categories/0/name", json!("wheelbarrow")), "no class name in common"),
    ];
    for (text, expected) in cases {
        let message = folder.refused(text);
        assert!(message.contains(expected) && message.contains("labels.json"), "{text}: {message}");
    }
    let message = folder.refused(&with("/categories/0/name", json!("wheelbarrow")));
    assert!(message.contains("person, bicycle") && message.contains("wheelbarrow"), "{message}");
}

#[test]
fn pictures_that_are_not_there_are_named() {
    let folder = Folder::new();
    let message = folder.refused(&with("/images/0/file_name", json!("b.png")));
    assert!(message.contains("b.png") && message.contains("--skip-unreadable"), "{message}");
    let message = folder.refused(&good().to_string());
    assert!(message.contains("a.png: the picture is empty") && message.contains("0 bytes"), "{message}");
    let labels = folder.path("labels.json");
    let message = refused(&["--annotations", &labels, "--images", &folder.path("no-such")]);
    assert!(message.contains("no-such is not a folder"), "{message}");
    let message = refused(&["--annotations", &labels, "--images", &folder.path(""), "--skip-unreadable"]);
    assert!(message.contains("no picture can be read"), "{message}");
    let message = refused(&["--annotations", &folder.path("none.json"), "--images", &folder.path("")]);
    assert!(message.contains("none.json"), "{message}");
}

#[test]
fn arguments_that_make_no_sense_are_refused() {
    let folder = Folder::new();
    let (labels, images) = (folder.path("labels.json"), folder.path(""));
    std::fs::write(&labels, good().to_string()).unwrap();
    let message = refused(&["--images", &images]);
    assert!(message.contains("<--annotations <FILE>|--teacher <MODEL>>"), "{message}");
    let both = refused(&["--images", &images, "--annotations", &labels, "--teacher", "coco"]);
    assert!(both.contains("cannot be used with"), "{both}");
    let arguments = ["--images", &images, "--annotations", &labels];
    for (more, expected) in [
        (["--min-score", "7"], "--min-score: 7"),
        (["--min-score", "NaN"], "--min-score: NaN"),
        (["--json", "/no-such-folder/report.json"], "--json: /no-such-folder"),
        (["--json", &labels], "it is one of the inputs"),
        (["--limit", "0"], "--limit"),
        (["--every", "2"], "cannot be used with"),
    ] {
        let message = refused(&[&arguments[..], &more].concat());
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn teachers_need_something_to_look_at() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let teacher = |images: &str| refused(&["--teacher", "coco", "--images", images]);
    let message = teacher(&path(""));
    assert!(message.contains("there is no picture (jpg, jpeg, png, webp)"), "{message}");
    let message = teacher(&path("none.mp4"));
    assert!(message.contains("none.mp4"), "{message}");
    std::fs::write(path("notes.mp4"), "not a video").unwrap();
    let message = teacher(&path("notes.mp4"));
    assert!(message.contains("notes.mp4") && message.contains("cannot be read as a video"), "{message}");
    std::fs::write(path("half.jpg"), &std::fs::read(sample("messi5.jpg")).unwrap()[..400]).unwrap();
    let message = teacher(&path(""));
    assert!(message.contains("half.jpg") && message.contains("--skip-unreadable"), "{message}");
}

#[test]
fn a_missing_model_is_another_matter_than_bad_input() {
    let scene = Scene::of_frames(1);
    let labels = scene.write("labels.json", &with("/images/0/file_name", json!("0000.png")));
    let output = run(&["eval", "--model", "no-such", "--annotations", &labels, "--images", scene.images()]);
    let message = errors(&output);
    assert!(output.status.code() == Some(3) && message.contains("no-such"), "{message}");
}
