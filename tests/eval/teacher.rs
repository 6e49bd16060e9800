//! One model as the teacher of another, on pictures and on video.

use serde_json::{Value, json};

use crate::files::sample;
use crate::process::{errors, run};
use crate::scene::Scene;

fn f1(report: &Value) -> f64 {
    report["overall"]["f1"].as_f64().unwrap()
}

#[test]
fn a_model_agrees_with_itself_and_less_with_a_surer_or_weaker_self() {
    let scene = Scene::of_frames(3);
    let report = |scores: &[&str]| {
        scene.report(&[&["--teacher", "coco", "--images", scene.images()], scores].concat())
    };
    let same = report(&[]);
    assert_eq!((f1(&same), &same["kind"]), (1.0, &json!("teacher")), "{same}");
    let overall = &same["overall"];
    assert!(overall["matched"].as_u64().unwrap() > 6 && overall["unsure"].as_u64().unwrap() > 0, "{same}");
    assert!(overall["mean_iou"].as_f64().unwrap() > 0.999, "{same}");
    assert!(overall["score_difference"].as_f64().unwrap().abs() < 1e-3, "{same}");
    let classes = same["classes"].as_array().unwrap();
    assert_eq!(classes.len(), 80);
    let person = classes.iter().find(|class| class["name"] == "person").unwrap();
    assert_eq!((&person["precision"], &person["only_teacher"]), (&json!(1.0), &json!(0)), "{person}");

    let sure = report(&["--teacher-score", "0.6"]);
    assert!(sure["overall"]["matched"].as_u64() < overall["matched"].as_u64(), "{sure}");
    assert!(sure["overall"]["unsure"].as_u64() > overall["unsure"].as_u64(), "{sure}");
    assert_eq!((f1(&sure), sure["run"]["pictures"].as_u64()), (1.0, Some(3)), "{sure}");

    let weak = report(&["--score", "0.6"]);
    assert_eq!(weak["overall"]["precision"], 1.0, "{weak}");
    assert!(weak["overall"]["recall"].as_f64().unwrap() < 1.0 && f1(&weak) < 1.0, "{weak}");
}

#[test]
fn frames_of_a_video_are_compared() {
    let scene = Scene::of_frames(1);
    let video = sample("vtest.avi");
    let teacher = ["--teacher", "coco", "--images", video.to_str().unwrap()];
    let report = scene.report(&[&teacher[..], &["--every", "20", "--frames", "4"]].concat());
    assert_eq!((report["run"]["pictures"].as_u64(), f1(&report)), (Some(4), 1.0), "{report}");
    let both = scene.report(&[&teacher[..], &[scene.images(), "--frames", "2", "--limit", "5"]].concat());
    assert_eq!(both["run"]["pictures"], 3, "two frames and a picture: {both}");

    let output = run(&[&["eval", "--model", "coco"], &teacher[..], &["--limit", "2"]].concat());
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(output.status.success(), "{}", errors(&output));
    for part in ["2 pictures", "person", "all", "F1", "1.000"] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
}
