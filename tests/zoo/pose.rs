//! `pose` against the original's own decode, and on people whose joints must lie where people have them.

use centerx::model::decode::COCO_JOINTS as JOINTS;
use centerx::model::pose;
use ort::value::Tensor;
use serde_json::Value;

use super::*;

fn model(size: Option<[usize; 2]>) -> DetectorModel {
    let [description, weights] = ["movenet-multipose.json", "movenet-multipose.bin"].map(source);
    loaded(pose::build(&description, &weights, "test", size).unwrap())
}

/// A row's joint: x, y, score.
fn joint<'a>(row: &'a [f32], name: &str) -> &'a [f32] {
    let at = JOINTS.iter().position(|joint| *joint == name).unwrap();
    &row[6 + 3 * at..9 + 3 * at]
}

fn numbers(value: &Value) -> Vec<f32> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap() as f32).collect()
}

#[test]
fn people_come_out_as_the_originals_own_decode_has_them() {
    let reference: Value = serde_json::from_str(include_str!("../fixtures/pose_reference.json")).unwrap();
    let model = model(Some([256, 256]));
    let mut compared = 0;
    for (name, people) in reference["pictures"].as_object().unwrap() {
        let (rows, _) = rows(&model, &picture(name));
        for person in people.as_array().unwrap() {
            let expected = numbers(person);
            let found = rows.iter().max_by(|a, b| iou(a, &expected).total_cmp(&iou(b, &expected))).unwrap();
            let near = |at: usize, by: f32| (found[at] - expected[at]).abs() <= by;
            assert!((0..4).all(|at| near(at, 1.0)) && near(4, 0.01), "{name}: {found:?} is not {expected:?}");
            for at in (6..57).step_by(3) {
                // Where there is next to no heat, one cell is as good as another.
                let lies_there = expected[at + 2] < 0.1 || (near(at, 1.0) && near(at + 1, 1.0));
                assert!(lies_there && near(at + 2, 0.01), "{name}: {} of {found:?}", JOINTS[at / 3 - 2]);
            }
            compared += 1;
        }
    }
    assert!(compared >= 8, "only {compared} people compared");
}

#[test]
fn people_who_stand_have_their_ankles_below_their_hips_below_their_shoulders() {
    let model = model(None);
    let (rows, scale) = rows(&model, &picture("vtest.avi#60"));
    assert!(rows.windows(2).all(|pair| pair[0][4] >= pair[1][4]), "best first");
    let people: Vec<_> = rows.iter().filter(|row| row[4] > 0.2).collect();
    assert!((3..=8).contains(&people.len()), "{} people", people.len());
    for person in people {
        let &[x1, y1, x2, y2, ..] = &person[..] else { panic!("{person:?}") };
        let (width, height) = (x2 - x1, y2 - y1);
        assert!(
            height > 1.5 * width && (60.0..150.0).contains(&(height / scale)),
            "a person stands: {person:?}"
        );
        assert_eq!(person[5], 0.0, "the class");
        for side in ["left", "right"] {
            let [shoulder, hip, ankle] =
                ["shoulder", "hip", "ankle"].map(|name| joint(person, &format!("{side}_{name}")));
            assert!(
                shoulder[1] + 0.1 * height < hip[1] && hip[1] + 0.2 * height < ankle[1],
                "{side}: {person:?}"
            );
        }
        for name in JOINTS {
            let &[x, y, score] = joint(person, name) else { panic!("{name}") };
            let inside = x > x1 - 4.0 && x < x2 + 4.0 && y > y1 - 4.0 && y < y2 + 4.0;
            assert!(inside && (0.0..=1.0).contains(&score), "{name} lies in its box: {person:?}");
        }
    }
}

#[test]
fn pictures_of_a_batch_do_not_touch_each_other() {
    let model = model(Some([192, 256]));
    let pictures = ["messi5.jpg", "vtest.avi#60", "bikes.mp4#120"].map(picture);
    let batch: Vec<u8> = pictures.iter().flat_map(|picture| letterboxed(&model, picture).0).collect();
    let mut session = runtime().session(&model.bytes, 2).unwrap();
    let batch = Tensor::from_array(([3usize, 192, 256, 3], batch)).unwrap();
    let outputs = session.run(ort::inputs!["images" => batch]).unwrap();
    let (shape, values) = outputs["detections"].try_extract_tensor::<f32>().unwrap();
    assert_eq!(shape[..], [3, 20, 57]);
    for (picture, found) in pictures.iter().zip(values.chunks(20 * 57)) {
        let (alone, _) = rows(&model, picture);
        for (row, found) in alone.iter().zip(found.chunks(57)).filter(|(row, _)| row[4] > 0.05) {
            let furthest = row.iter().zip(found).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(furthest < 0.05, "{row:?} is not {found:?}");
        }
    }
}

#[test]
fn sizes_that_the_network_cannot_take_are_refused_with_the_nearest() {
    let [description, weights] = ["movenet-multipose.json", "movenet-multipose.bin"].map(source);
    let error = pose::build(&description, &weights, "test", Some([250, 500])).unwrap_err().to_string();
    assert!(error.contains("multiples of 32") && error.contains("the nearest is 512x256"), "{error}");
}
