//! COCO's detection metric over a data set, computed by hotcoco as pycocotools does.
//!
//! Lin et al., Microsoft COCO: Common Objects in Context, 2014, and the evaluation code that goes with it:
//! average precision at 101 recall thresholds, over 10 overlaps from 0.50 to 0.95, three sizes of object,
//! and 1, 10 or 100 detections a picture and class. Crowds are ignored, not missed.

use std::collections::BTreeMap;

use hotcoco::{Annotation, COCO, COCOeval, Category, Dataset, Image, IouType};

use super::annotations::Annotations;
use super::{EvalError, Found};

/// Positions in hotcoco's axes: all sizes, and 100 detections a picture.
const ALL_SIZES: usize = 0;
const MOST_DETECTIONS: usize = 2;

/// One class's numbers; none where the class has no instance that counts.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassScore {
    /// The data set's category.
    pub category: u64,
    /// Instances in the ground truth, crowds not counted.
    pub instances: u64,
    /// Detections that went in.
    pub detections: u64,
    /// Average precision over overlaps 0.50 to 0.95.
    pub ap: Option<f64>,
    /// Average precision at overlap 0.50.
    pub ap50: Option<f64>,
    /// Average recall with 100 detections.
    pub ar: Option<f64>,
}

/// The metric of a whole data set.
#[derive(Clone, Debug, PartialEq)]
pub struct Scores {
    /// COCO's twelve numbers by name, in its order: AP, AP50, AP75, APs, APm, APl, AR1, AR10, AR100, ARs,
    /// ARm, ARl; none where no instance counts.
    pub summary: Vec<(&'static str, Option<f64>)>,
    /// A class each, by rising category id.
    pub classes: Vec<ClassScore>,
}

/// Computes the metric.
///
/// `found` are the pictures that were looked at, by image id, each with what the model found there, classes
/// being category ids. Images of the data set that are not among them count neither as seen nor as missed.
///
/// # Errors
/// What hotcoco refuses, such as a score that is not a number.
pub fn score(annotations: &Annotations, found: &BTreeMap<u64, Vec<Found>>) -> Result<Scores, EvalError> {
    let refused = |error: hotcoco::Error| EvalError::Metric(error.to_string());
    let truth = COCO::from_dataset(ground_truth(annotations, found));
    let results = truth.load_res_anns(results(found)).map_err(refused)?;
    let mut evaluation = COCOeval::new(truth, results, IouType::Bbox);
    evaluation.evaluate().map_err(refused)?;
    evaluation.accumulate();
    // Named so, but it prints nothing: it computes the twelve numbers.
    evaluation.summarize_lines();
    let stats = evaluation.stats().unwrap_or_default().iter().map(|value| computed(*value));
    let summary = evaluation.metric_keys().into_iter().zip(stats).collect();
    Ok(Scores { summary, classes: class_scores(&evaluation) })
}

fn computed(value: f64) -> Option<f64> {
    (value >= 0.0).then_some(value)
}

/// The data set, limited to the pictures that were looked at.
fn ground_truth(annotations: &Annotations, found: &BTreeMap<u64, Vec<Found>>) -> Dataset {
    let images = found.keys().map(|id| Image { id: *id, ..Image::default() });
    let seen = annotations.instances.iter().filter(|instance| found.contains_key(&instance.image));
    let instances = seen.zip(1..).map(|(instance, id)| Annotation {
        // Numbered anew: ids that occur twice would make hotcoco and pycocotools count one of them twice.
        id,
        image_id: instance.image,
        category_id: instance.category,
        bbox: Some(instance.bbox),
        area: Some(instance.area),
        iscrowd: instance.crowd,
        ..Annotation::default()
    });
    let categories = annotations.categories.iter().map(|(id, name)| Category {
        id: *id,
        name: name.clone(),
        ..Category::default()
    });
    Dataset {
        images: images.collect(),
        annotations: instances.collect(),
        categories: categories.collect(),
        ..Dataset::default()
    }
}

fn results(found: &BTreeMap<u64, Vec<Found>>) -> Vec<Annotation> {
    let all = found.iter().flat_map(|(image, found)| found.iter().map(move |found| (*image, found)));
    let annotation = |(image_id, found): (u64, &Found)| {
        let [x1, y1, x2, y2] = [found.bbox.x1, found.bbox.y1, found.bbox.x2, found.bbox.y2].map(f64::from);
        Annotation {
            image_id,
            category_id: found.class,
            bbox: Some([x1, y1, x2 - x1, y2 - y1]),
            score: Some(f64::from(found.score)),
            ..Annotation::default()
        }
    };
    all.map(annotation).collect()
}

fn class_scores(evaluation: &COCOeval) -> Vec<ClassScore> {
    let Some(curves) = evaluation.accumulated() else { return Vec::new() };
    let shape = curves.shape;
    let mean = |values: &mut dyn Iterator<Item = f64>| {
        let (mut sum, mut count) = (0.0, 0u32);
        values.filter(|value| *value >= 0.0).for_each(|value| (sum, count) = (sum + value, count + 1));
        (count > 0).then(|| sum / f64::from(count))
    };
    let precision = |overlaps: std::ops::Range<usize>, class| {
        let cells = overlaps.flat_map(|t| (0..shape.r).map(move |r| (t, r)));
        let index = |(t, r)| curves.precision_idx(t, r, class, ALL_SIZES, MOST_DETECTIONS);
        mean(&mut cells.map(|cell| curves.precision[index(cell)]))
    };
    let recall = |class| {
        let index = |t| curves.recall_idx(t, class, ALL_SIZES, MOST_DETECTIONS);
        mean(&mut (0..shape.t).map(|t| curves.recall[index(t)]))
    };
    let count = |annotations: &[Annotation], id| {
        annotations.iter().filter(|found| found.category_id == id && !found.iscrowd).count() as u64
    };
    let (truth, results) = (evaluation.coco_gt(), evaluation.coco_dt());
    let class = |(index, id): (usize, &u64)| ClassScore {
        category: *id,
        instances: count(&truth.dataset.annotations, *id),
        detections: count(&results.dataset.annotations, *id),
        ap: precision(0..shape.t, index),
        ap50: precision(0..1, index),
        ar: recall(index),
    };
    curves.cat_ids.iter().enumerate().map(class).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detection::BoundingBox;

    fn annotations() -> Annotations {
        let text = r#"{"images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b.jpg"}],
            "categories": [{"id": 5, "name": "person"}, {"id": 9, "name": "car"}],
            "annotations": [
                {"id": 1, "image_id": 1, "category_id": 5, "bbox": [0, 0, 50, 50]},
                {"id": 2, "image_id": 1, "category_id": 5, "bbox": [100, 0, 50, 50], "iscrowd": 1},
                {"id": 3, "image_id": 2, "category_id": 5, "bbox": [0, 0, 50, 50]}]}"#;
        Annotations::parse(text.as_bytes()).unwrap()
    }

    fn person(score: f32, x: f32) -> Found {
        Found { class: 5, score, bbox: BoundingBox { x1: x, y1: 0.0, x2: x + 50.0, y2: 50.0 } }
    }

    fn value(scores: &Scores, name: &str) -> Option<f64> {
        scores.summary.iter().find(|(key, _)| *key == name).unwrap().1
    }

    #[test]
    fn perfect_detections_score_one_and_crowds_do_not_count() {
        let found =
            BTreeMap::from([(1, vec![person(0.9, 0.0), person(0.8, 100.0)]), (2, vec![person(0.7, 0.0)])]);
        let scores = score(&annotations(), &found).unwrap();
        assert!((value(&scores, "AP").unwrap() - 1.0).abs() < 1e-9);
        assert_eq!(
            (value(&scores, "APs"), value(&scores, "AR1")),
            (None, Some(1.0)),
            "2500 pixels are medium"
        );
        let [person, car] = &scores.classes[..] else { panic!("{scores:?}") };
        assert_eq!((person.category, person.instances, person.detections), (5, 2, 3));
        assert_eq!((car.category, car.instances, car.ap), (9, 0, None));
    }

    #[test]
    fn only_pictures_that_were_looked_at_count() {
        let scores = score(&annotations(), &BTreeMap::from([(1, vec![person(0.9, 0.0)])])).unwrap();
        assert!((value(&scores, "AP").unwrap() - 1.0).abs() < 1e-9);
        let both = BTreeMap::from([(1, vec![person(0.9, 0.0)]), (2, Vec::new())]);
        let scores = score(&annotations(), &both).unwrap();
        assert!((value(&scores, "AR100").unwrap() - 0.5).abs() < 1e-9, "an empty look is a miss");
    }

    #[test]
    fn nothing_found_scores_zero() {
        let scores = score(&annotations(), &BTreeMap::from([(1, Vec::new()), (2, Vec::new())])).unwrap();
        assert_eq!((value(&scores, "AP"), value(&scores, "AR100")), (Some(0.0), Some(0.0)));
    }
}
