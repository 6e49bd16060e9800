//! A model made for pictures of another shape finds the same.

use centerx::model::coco;

use super::*;

fn model(size: Option<[usize; 2]>) -> DetectorModel {
    let [description, weights] = ["centernet.json", "centernet.bin"].map(source);
    loaded(coco::build(&description, &weights, "test", size).unwrap())
}

/// Boxes of people over `least`, in pixels of the picture, each with its score.
fn people(model: &DetectorModel, picture: &Picture, least: f32) -> Vec<[f32; 5]> {
    let (rows, scale) = rows(model, picture);
    let person = |row: &Vec<f32>| row[4] > least && row[5] == 0.0;
    let boxed = |row: &Vec<f32>| [row[0] / scale, row[1] / scale, row[2] / scale, row[3] / scale, row[4]];
    rows.iter().filter(|row| person(row)).map(boxed).collect()
}

#[test]
fn coco_at_512x384_finds_the_people_that_it_finds_in_a_square() {
    let (square, wide) = (model(None), model(Some([384, 512])));
    assert_eq!((square.metadata.name.as_str(), wide.metadata.name.as_str()), ("coco", "coco@512x384"));
    assert_eq!((wide.metadata.input_width, wide.metadata.input_height), (512, 384));
    let mut compared = 0;
    for name in ["vtest.avi#0", "vtest.avi#60", "vtest.avi#300"] {
        let picture = picture(name);
        for (a, b) in [(&square, &wide), (&wide, &square)] {
            let found = people(b, &picture, 0.2);
            for person in people(a, &picture, 0.5) {
                let best = found.iter().max_by(|a, b| iou(*a, &person).total_cmp(&iou(*b, &person))).unwrap();
                let same = iou(best, &person) > 0.8 && (best[4] - person[4]).abs() < 0.1;
                assert!(same, "{name}: {person:?} becomes {best:?}");
                compared += 1;
            }
        }
    }
    assert!(compared >= 12, "only {compared} people compared");
}

#[test]
fn sizes_that_the_network_cannot_take_are_refused_with_the_nearest() {
    let [description, weights] = ["centernet.json", "centernet.bin"].map(source);
    let error = coco::build(&description, &weights, "test", Some([360, 640])).unwrap_err().to_string();
    assert!(error.contains("640x360") && error.contains("multiples of 32"), "{error}");
    assert!(error.contains("the nearest is 640x352"), "{error}");
}
