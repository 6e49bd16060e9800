//! What an evaluation came to, as JSON.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::SystemTime;

use serde::{Serialize, Serializer};

use super::agreement::Agreement;
use super::metric::ClassScore;
use crate::detection::ModelInfo;

/// A report of either kind.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The centerx that made it.
    pub centerx: &'static str,
    /// When, in UTC, as in RFC 3339.
    #[serde(serialize_with = "rfc3339")]
    pub date: SystemTime,
    /// The model that was evaluated.
    pub model: ReportedModel,
    /// The pictures that were looked at, and how long it took.
    pub run: Run,
    /// What it came to.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// Oddities of the input, each a sentence.
    pub notes: Vec<String>,
}

/// A model in a report.
#[derive(Clone, Debug, Serialize)]
pub struct ReportedModel {
    /// Its name, or the path it was given by.
    pub name: String,
    /// SHA-256 of its file, lower-case hex.
    pub sha256: String,
    /// The engine it ran on.
    pub engine: String,
    /// Input width and height in pixels.
    pub input: [u32; 2],
    /// Number of classes it knows.
    pub classes: usize,
}

impl From<&ModelInfo> for ReportedModel {
    fn from(info: &ModelInfo) -> Self {
        Self {
            name: info.name.to_string(),
            sha256: info.sha256.clone(),
            engine: info.engine.clone(),
            input: [info.input_width, info.input_height],
            classes: info.classes.len(),
        }
    }
}

/// What was looked at.
#[derive(Clone, Debug, Serialize)]
pub struct Run {
    /// Folders and videos, as given.
    pub inputs: Vec<PathBuf>,
    /// Pictures and frames that were looked at.
    pub pictures: usize,
    /// Pictures left out as missing or damaged.
    pub left_out: Vec<PathBuf>,
    /// Seconds, from the first picture to the last.
    pub seconds: f64,
}

/// Kind and numbers.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Outcome {
    /// Against labels.
    Coco(Coco),
    /// Against another model.
    Teacher(Teacher),
}

/// COCO's metric.
#[derive(Clone, Debug, Serialize)]
pub struct Coco {
    /// The file of annotations.
    pub annotations: PathBuf,
    /// Its SHA-256, lower-case hex.
    pub annotations_sha256: String,
    /// Detections under this score were left out.
    pub min_score: f32,
    /// Detections a picture at most.
    pub max_detections: usize,
    /// Instances that count, crowds not among them.
    pub instances: u64,
    /// Crowds.
    pub crowds: u64,
    /// Detections that were compared.
    pub detections: u64,
    /// The twelve numbers by COCO's names; null where no instance counts.
    pub metrics: BTreeMap<&'static str, Option<f64>>,
    /// A category each, in the data set's order.
    pub classes: Vec<CocoClass>,
    /// Classes that only the model has; what it finds of them is left out.
    pub only_in_model: Vec<String>,
    /// Categories that only the data set has; their instances count as missed.
    pub only_in_dataset: Vec<String>,
}

/// One category.
#[derive(Clone, Debug, Serialize)]
pub struct CocoClass {
    /// The category's name.
    pub name: String,
    /// The category's id.
    pub id: u64,
    /// Instances that count.
    pub instances: u64,
    /// Detections that were compared.
    pub detections: u64,
    /// Average precision over overlaps 0.50 to 0.95; null where no instance counts.
    #[serde(rename = "AP")]
    pub ap: Option<f64>,
    /// At overlap 0.50.
    #[serde(rename = "AP50")]
    pub ap50: Option<f64>,
    /// Average recall with 100 detections a picture.
    #[serde(rename = "AR100")]
    pub ar100: Option<f64>,
}

impl CocoClass {
    /// A class's score under the category's name.
    pub fn new(name: &str, score: &ClassScore) -> Self {
        Self {
            name: name.to_owned(),
            id: score.category,
            instances: score.instances,
            detections: score.detections,
            ap: score.ap,
            ap50: score.ap50,
            ar100: score.ar,
        }
    }
}

/// Agreement with a teacher.
#[derive(Clone, Debug, Serialize)]
pub struct Teacher {
    /// The teacher.
    pub teacher: ReportedModel,
    /// The teacher's detections from this score up count as the truth; it is not sure of weaker ones.
    pub teacher_score: f32,
    /// The student's detections from this score up were compared.
    pub score: f32,
    /// Overlap from which two boxes are of one object.
    pub iou: f32,
    /// All shared classes together.
    pub overall: Agreed,
    /// A shared class each, in the teacher's order.
    pub classes: Vec<AgreedClass>,
    /// Classes that only the student has; left out.
    pub only_in_model: Vec<String>,
    /// Classes that only the teacher has; left out.
    pub only_in_teacher: Vec<String>,
}

/// One shared class.
#[derive(Clone, Debug, Serialize)]
pub struct AgreedClass {
    /// Its name.
    pub name: String,
    /// Its numbers.
    #[serde(flatten)]
    pub agreed: Agreed,
}

/// An [`Agreement`] with its ratios; null where there is nothing to divide by.
#[derive(Clone, Copy, Debug, Serialize)]
#[expect(missing_docs)]
pub struct Agreed {
    pub matched: u64,
    pub only_student: u64,
    pub only_teacher: u64,
    pub unsure: u64,
    pub precision: Option<f64>,
    pub recall: Option<f64>,
    pub f1: Option<f64>,
    pub mean_iou: Option<f64>,
    pub score_difference: Option<f64>,
}

impl From<&Agreement> for Agreed {
    fn from(agreement: &Agreement) -> Self {
        Self {
            matched: agreement.matched,
            only_student: agreement.only_student,
            only_teacher: agreement.only_teacher,
            unsure: agreement.unsure,
            precision: agreement.precision(),
            recall: agreement.recall(),
            f1: agreement.f1(),
            mean_iou: agreement.mean_iou(),
            score_difference: agreement.score_difference(),
        }
    }
}

fn rfc3339<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_rfc3339_seconds(*time))
}
