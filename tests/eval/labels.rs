//! The real model on real pictures, against labels that are known.

use serde_json::{Value, json};

use crate::process::{errors, run};
use crate::scene::Scene;

fn metric(report: &Value, name: &str) -> f64 {
    report["metrics"][name].as_f64().unwrap()
}

#[test]
fn the_model_scores_one_on_its_own_labels_and_less_on_shifted_ones() {
    let scene = Scene::of_frames(4);
    let exact = scene.write("exact.json", &scene.annotations(0.0).to_string());
    let report = scene.report(&["--annotations", &exact, "--images", scene.images()]);
    assert!(metric(&report, "AP") > 0.98, "{report}");
    assert!(metric(&report, "AP50") > 0.999, "{report}");
    assert_eq!(report["kind"], "coco");
    assert_eq!(report["model"]["name"], "coco");
    assert_eq!(report["model"]["sha256"].as_str().unwrap().len(), 64);
    assert_eq!((report["run"]["pictures"].as_u64(), &report["run"]["left_out"]), (Some(4), &json!([])));
    assert!(report["date"].as_str().unwrap().ends_with('Z'), "{report}");
    let person = report["classes"].as_array().unwrap().iter().find(|class| class["name"] == "PERSON");
    let person = person.unwrap();
    assert!(person["instances"].as_u64().unwrap() > 8 && person["AP"].as_f64().unwrap() > 0.98, "{person}");
    assert!(report["only_in_model"].as_array().unwrap().contains(&json!("zebra")), "{report}");

    let beside = scene.write("beside.json", &scene.annotations(0.2).to_string());
    let shifted = scene.report(&["--annotations", &beside, "--images", scene.images()]);
    // A fifth of the width beside: overlap 0.8 / 1.2, enough for 0.50 to 0.65.
    assert!(metric(&shifted, "AP") < 0.6 && metric(&shifted, "AP") > 0.1, "{shifted}");
    assert!(metric(&shifted, "AP75") < 0.3, "{shifted}");

    let few = scene.report(&[
        "--annotations",
        &exact,
        "--images",
        scene.images(),
        "--limit",
        "2",
        "--min-score",
        "0.5",
        "--lanes",
        "1",
    ]);
    assert_eq!(few["run"]["pictures"], 2);
    assert!(few["detections"].as_u64() < report["detections"].as_u64(), "{few}");
    assert!(metric(&few, "AR100") < 0.98, "objects between 0.3 and 0.5 are missed now: {few}");
}

#[test]
fn the_table_tells_the_numbers_and_the_classes_that_one_side_has() {
    let scene = Scene::of_frames(1);
    let mut annotations = scene.annotations(0.0);
    annotations["categories"].as_array_mut().unwrap().push(json!({"id": 1, "name": "wheelbarrow"}));
    let path = scene.write("labels.json", &annotations.to_string());
    let output = run(&["eval", "--model", "coco", "--annotations", &path, "--images", scene.images()]);
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(output.status.success(), "{}", errors(&output));
    for part in ["AP50", "AR100", "PERSON", "wheelbarrow", "1 picture ", "so left out (7"] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
}

#[test]
fn pictures_that_cannot_be_read_are_left_out_on_request_only() {
    let scene = Scene::of_frames(3);
    let path = scene.write("labels.json", &scene.annotations(0.0).to_string());
    let arguments = ["--annotations", &path, "--images", scene.images()];
    let evaluate = || run(&[&["eval", "--model", "coco"], &arguments[..]].concat());

    let whole = std::fs::read(&scene.pictures[1]).unwrap();
    std::fs::write(&scene.pictures[1], &whole[..whole.len() / 2]).unwrap();
    let (output, message) = (evaluate(), errors(&evaluate()));
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(message.contains("0060.png") && message.contains("--skip-unreadable"), "{message}");

    std::fs::remove_file(&scene.pictures[0]).unwrap();
    let message = errors(&evaluate());
    assert!(message.contains("pictures of the annotations that are missing: 1 ("), "{message}");
    assert!(message.contains("0000.png"), "{message}");

    let report = scene.report(&[&arguments[..], &["--skip-unreadable"]].concat());
    assert_eq!(report["run"]["pictures"], 1);
    assert_eq!(report["run"]["left_out"].as_array().unwrap().len(), 2, "{report}");
    assert!(metric(&report, "AP") > 0.98, "what was left out does not count as missed: {report}");
}

#[test]
fn a_picture_of_another_size_is_noted() {
    let scene = Scene::of_frames(1);
    let mut annotations = scene.annotations(0.0);
    annotations["images"][0]["width"] = json!(1536);
    let path = scene.write("labels.json", &annotations.to_string());
    let report = scene.report(&["--annotations", &path, "--images", scene.images()]);
    let note = report["notes"][0].as_str().unwrap();
    assert!(note.contains("0000.png is 768x576, not 1536x576"), "{note}");
}
