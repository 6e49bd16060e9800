//! Random data sets, scored here and by pycocotools: the numbers are the same.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use centerx::detection::BoundingBox;
use centerx::eval::Found;
use centerx::eval::annotations::Annotations;
use centerx::eval::metric::{Scores, score};
use serde_json::{Value, json};

use crate::files::python;

/// The issue asks for 1e-3; the same arithmetic gives the same numbers but for the order of sums.
const TOLERANCE: f64 = 1e-9;
const IMAGES: u64 = 60;
const CROWDED: u64 = 7;
const CATEGORIES: [(u64, &str); 7] = [
    (3, "person"),
    (1, "car"),
    (44, "bottle"),
    (90, "cup"),
    (17, "only crowds"),
    (18, "never there"),
    (21, "never found"),
];

/// Marsaglia's xorshift64: the same numbers everywhere, for ever.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// x, y, width, height on a coarse grid, so that overlaps fall on COCO's thresholds exactly, and areas
    /// on its limits of size.
    fn bbox(&mut self) -> [f64; 4] {
        let side = [8, 16, 32, 40, 96, 100, 200][self.below(7) as usize] as f64;
        let tall = [side, side / 2.0, side * 1.5][self.below(3) as usize];
        [4.0 * self.below(100) as f64, 4.0 * self.below(80) as f64, side, tall]
    }
}

struct DataSet {
    truth: Value,
    found: BTreeMap<u64, Vec<Found>>,
}

fn found(random: &mut Random, class: u64, bbox: [f64; 4]) -> Found {
    let [x, y, width, height] = bbox;
    let [x1, y1, x2, y2] = [x, y, x + width, y + height].map(|value| value as f32);
    // Scores in steps, so that many are the same.
    Found { class, score: random.below(40) as f32 / 40.0, bbox: BoundingBox { x1, y1, x2, y2 } }
}

/// The same box, or one that lies a little beside it.
fn near(random: &mut Random, [x, y, width, height]: [f64; 4]) -> [f64; 4] {
    let shift = |random: &mut Random, size: f64| size / 20.0 * (random.below(9) as f64 - 4.0);
    let (dx, dy) = (shift(random, width), shift(random, height));
    if random.chance(30) { [x, y, width, height] } else { [x + dx, y + dy, width, height] }
}

fn data_set(seed: u64) -> DataSet {
    let mut random = Random(seed);
    let (mut instances, mut all) = (Vec::new(), BTreeMap::new());
    for image in 0..IMAGES {
        let mut here = Vec::new();
        // Every fifth picture has nothing in it, one has a crowd of single people.
        let objects = if image % 5 == 0 { 0 } else { random.below(15) };
        for _ in 0..if image == CROWDED { 40 } else { objects } {
            let class = [3, 3, 3, 1, 1, 44, 90, 17, 21][random.below(9) as usize];
            let class = if image == CROWDED { 3 } else { class };
            let (bbox, crowd) = (random.bbox(), class == 17 || random.chance(10));
            // A mask's area is less than its box's, now and then.
            let area = if random.chance(50) { bbox[2] * bbox[3] } else { bbox[2] * bbox[3] * 0.7 };
            instances.push(json!({"id": instances.len() + 1, "image_id": image, "category_id": class,
                "bbox": bbox, "area": area, "iscrowd": u8::from(crowd)}));
            let times = if class == 21 { 0 } else { random.below(if crowd { 6 } else { 3 }) };
            here.extend((0..times).map(|_| {
                let bbox = near(&mut random, bbox);
                found(&mut random, class, bbox)
            }));
        }
        // What is not there; on one picture more than COCO looks at.
        for _ in 0..if image == CROWDED { 300 } else { random.below(8) } {
            let (class, bbox) = (CATEGORIES[random.below(6) as usize].0, random.bbox());
            here.push(found(&mut random, if image == CROWDED { 3 } else { class }, bbox));
        }
        here.sort_by(|a, b| b.score.total_cmp(&a.score));
        all.insert(image, here);
    }
    let images: Vec<_> = (0..IMAGES).map(|id| json!({"id": id, "file_name": format!("{id}.png")})).collect();
    let categories: Vec<_> = CATEGORIES.map(|(id, name)| json!({"id": id, "name": name})).to_vec();
    DataSet {
        truth: json!({"images": images, "annotations": instances, "categories": categories, "info": {}}),
        found: all,
    }
}

/// Detections as COCO's results file.
fn results(found: &BTreeMap<u64, Vec<Found>>) -> Value {
    let all = found.iter().flat_map(|(image, found)| found.iter().map(move |one| (*image, one)));
    let result = |(image, one): (u64, &Found)| {
        let [x1, y1, x2, y2] = [one.bbox.x1, one.bbox.y1, one.bbox.x2, one.bbox.y2].map(f64::from);
        json!({"image_id": image, "category_id": one.class, "bbox": [x1, y1, x2 - x1, y2 - y1],
            "score": f64::from(one.score)})
    };
    all.map(result).collect()
}

fn pycocotools(truth: &Value, results: &Value) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let (truth_path, found_path) = (folder.path().join("truth.json"), folder.path().join("found.json"));
    std::fs::write(&truth_path, truth.to_string()).unwrap();
    std::fs::write(&found_path, results.to_string()).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/python/coco_ap.py");
    let output = Command::new(python()).args([&script, &truth_path, &found_path]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn assert_same(what: &str, ours: Option<f64>, theirs: &Value) {
    let (ours, theirs) = (ours.unwrap_or(-1.0), theirs.as_f64().unwrap());
    assert!((ours - theirs).abs() <= TOLERANCE, "{what}: {ours} here, {theirs} by pycocotools");
}

fn assert_agrees(scores: &Scores, theirs: &Value) {
    for (index, (name, value)) in scores.summary.iter().enumerate() {
        assert_same(name, *value, &theirs["summary"][index]);
    }
    assert_eq!(scores.summary.len(), theirs["summary"].as_array().unwrap().len());
    for class in &scores.classes {
        let theirs = &theirs["classes"][class.category.to_string()];
        for (index, value) in [class.ap, class.ap50, class.ar].into_iter().enumerate() {
            assert_same(&format!("class {}, number {index}", class.category), value, &theirs[index]);
        }
    }
}

#[test]
fn random_data_sets_score_as_by_pycocotools() {
    for seed in [1, 20_260, 0xC0C0] {
        let data = data_set(seed);
        let annotations = Annotations::parse(data.truth.to_string().as_bytes()).unwrap();
        let scores = score(&annotations, &data.found).unwrap();
        assert_agrees(&scores, &pycocotools(&data.truth, &results(&data.found)));

        // The data sets are hard enough to tell a wrong metric from a right one.
        let known = scores.summary.iter().filter(|(_, value)| value.is_some_and(|v| v > 0.01 && v < 0.99));
        assert_eq!(known.count(), 12, "{scores:?}");
        let of = |id| scores.classes.iter().find(|class| class.category == id).unwrap();
        assert_eq!((of(17).ap, of(18).ap, of(21).ap), (None, None, Some(0.0)), "{scores:?}");
        assert_ne!(scores.summary[7].1, scores.summary[8].1, "10 and 100 detections a picture");
        assert!(of(3).detections > 300 && of(3).ap50 > of(3).ap);
    }
}

/// pycocotools takes an annotation with the id 0 for never found, and counts the last of those that share an
/// id for each of them. Here an id is a name and nothing else.
#[test]
fn the_ids_of_annotations_do_not_matter() {
    let data = data_set(9);
    let with_ids = |id: fn(usize) -> usize| {
        let mut truth = data.truth.clone();
        let instances = truth["annotations"].as_array_mut().unwrap();
        instances.iter_mut().enumerate().for_each(|(index, one)| one["id"] = json!(id(index)));
        score(&Annotations::parse(truth.to_string().as_bytes()).unwrap(), &data.found).unwrap()
    };
    let plain = with_ids(|index| index + 1);
    assert_eq!(with_ids(|index| index), plain);
    assert_eq!(with_ids(|index| index / 2), plain);
}

#[test]
fn a_model_that_finds_nothing_of_one_class_scores_as_by_pycocotools() {
    let mut data = data_set(5);
    data.found.values_mut().for_each(|found| found.retain(|one| one.class == 3));
    let annotations = Annotations::parse(data.truth.to_string().as_bytes()).unwrap();
    let scores = score(&annotations, &data.found).unwrap();
    assert_agrees(&scores, &pycocotools(&data.truth, &results(&data.found)));
}
