//! How good the student is, on pictures that it never learns from: by the project's own evaluation.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use centerx::cli::UsageError;
use centerx::cli::eval::lanes::{self, Detector, Model};
use centerx::detection::Detection;
use centerx::engine::onnx::OnnxRuntime;
use centerx::eval::Found;
use centerx::eval::agreement::Agreements;
use centerx::eval::annotations::{Annotations, Image, Instance};
use centerx::eval::metric;
use centerx::frame::Picture;
use indicatif::ProgressBar;

use super::recipe::Recipe;
use crate::data::{self, DataSet, Item};
use crate::maps::Labels;
use crate::teacher::Teacher;

/// Detections from this score up go into the average precision.
const LEAST_SCORE: f32 = 0.01;

/// What the student is held against.
pub struct Referee {
    classes: Vec<String>,
    pictures: Vec<PathBuf>,
    truth: Truth,
    score: f32,
}

enum Truth {
    /// Labels: pictures are numbered from 1, classes by their index.
    Labels { annotations: Annotations, known: Vec<Labels> },
    /// What teachers find, a picture each.
    Teachers { found: Vec<Vec<Found>>, sure_from: f32 },
}

/// From which scores on detections count where teachers are the truth.
#[derive(Clone, Copy, Debug)]
pub struct Scores {
    /// The teachers'.
    pub teacher: f32,
    /// The student's.
    pub student: f32,
}

impl Scores {
    /// A recipe's.
    pub fn of(recipe: &Recipe) -> Self {
        Self { teacher: recipe.train.teacher_score, student: recipe.train.score }
    }
}

/// How good a student is.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Verdict {
    /// `AP50` against labels, `F1` against teachers.
    pub measure: &'static str,
    /// The measure over all classes, 0 to 1; 0 where there is nothing to find.
    pub value: f64,
    /// The measure for each class; none where there is nothing to find.
    pub classes: Vec<(String, Option<f64>)>,
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:.3}", self.measure, self.value)?;
        for (class, value) in &self.classes {
            match value {
                Some(value) => write!(f, "  {class} {value:.3}")?,
                None => write!(f, "  {class} -")?,
            }
        }
        Ok(())
    }
}

impl Referee {
    /// Takes the labels of the pictures for the truth where all have some, and else what the teachers find there.
    ///
    /// # Errors
    /// Pictures without labels while there is no teacher; a picture or a teacher that cannot be used.
    pub fn new(
        runtime: &OnnxRuntime,
        held_out: &DataSet,
        teachers: &[Teacher],
        scores: Scores,
    ) -> anyhow::Result<Self> {
        let pictures: Vec<PathBuf> = held_out.items.iter().map(|item| item.file.clone()).collect();
        let known: Option<Vec<Labels>> = held_out.items.iter().map(|item| item.labels.clone()).collect();
        let truth = match known {
            Some(known) => Truth::Labels { annotations: annotations(held_out, &known), known },
            None if teachers.is_empty() => {
                let cure = "add a [[teacher]], or labels for all";
                let problem =
                    "some held-out pictures have no labels, and there is no teacher to compare with";
                return Err(UsageError(format!("{problem}; {cure}")).into());
            }
            None => {
                let weakest = scores.teacher.min(scores.student);
                let found = ask_teachers(runtime, &pictures, teachers, weakest)?;
                Truth::Teachers { found, sure_from: scores.teacher }
            }
        };
        Ok(Self { classes: held_out.classes.clone(), pictures, truth, score: scores.student })
    }

    /// Looks at all pictures with a detector, a file or a pulled one by its name.
    ///
    /// # Errors
    /// A detector that does not run.
    pub fn judge(&self, runtime: &OnnxRuntime, detector: &str) -> anyhow::Result<Verdict> {
        let least = match self.truth {
            Truth::Labels { .. } => LEAST_SCORE,
            Truth::Teachers { .. } => self.score,
        };
        // By name: another detector than the run's own may have other classes, or another order.
        let found = look(runtime, detector, &self.pictures, least, |found| {
            let class = self.classes.iter().position(|class| class.eq_ignore_ascii_case(&found.label))?;
            Some(Found { class: class as u64, score: found.score, bbox: found.bbox })
        })?;
        match &self.truth {
            Truth::Labels { annotations, known } => self.precision(annotations, known, found),
            Truth::Teachers { found: truth, sure_from } => Ok(self.agreement(truth, *sure_from, found)),
        }
    }

    fn precision(
        &self,
        annotations: &Annotations,
        known: &[Labels],
        found: Vec<Vec<Found>>,
    ) -> anyhow::Result<Verdict> {
        // What is not labelled in a picture can be neither right nor wrong there.
        let judged = |labels: &Labels, found: Vec<Found>| -> Vec<Found> {
            found.into_iter().filter(|one| labels.known.get(one.class as usize) == Some(&true)).collect()
        };
        let found: BTreeMap<u64, Vec<Found>> =
            (1..).zip(found.into_iter().zip(known).map(|(found, labels)| judged(labels, found))).collect();
        let scores = metric::score(annotations, &found)?;
        let value = scores.summary.iter().find(|(name, _)| *name == "AP50").and_then(|(_, value)| *value);
        let of = |class: u64| scores.classes.iter().find(|score| score.category == class)?.ap50;
        Ok(self.verdict("AP50", value, of))
    }

    fn agreement(&self, truth: &[Vec<Found>], sure_from: f32, found: Vec<Vec<Found>>) -> Verdict {
        let mut agreements = Agreements::new(self.classes.len(), sure_from);
        found.into_iter().zip(truth).for_each(|(found, truth)| agreements.add(found, truth));
        self.verdict("F1", agreements.overall().f1(), |class| agreements.classes()[class as usize].f1())
    }

    fn verdict(&self, measure: &'static str, value: Option<f64>, of: impl Fn(u64) -> Option<f64>) -> Verdict {
        let classes = (0..).zip(&self.classes).map(|(class, name)| (name.clone(), of(class))).collect();
        Verdict { measure, value: value.unwrap_or(0.0), classes }
    }
}

/// The labels as the metric wants them.
fn annotations(held_out: &DataSet, known: &[Labels]) -> Annotations {
    let image = |(id, item): (u64, &Item)| Image {
        id,
        file_name: item.id.clone(),
        width: Some(f64::from(item.size.0)),
        height: Some(f64::from(item.size.1)),
    };
    let instance = |image: u64, object: &crate::maps::Object| {
        let [x, y, x2, y2] = [object.bbox.x1, object.bbox.y1, object.bbox.x2, object.bbox.y2].map(f64::from);
        let bbox = [x, y, x2 - x, y2 - y];
        Instance { image, category: object.class as u64, bbox, area: bbox[2] * bbox[3], crowd: object.ignore }
    };
    Annotations {
        images: (1..).zip(&held_out.items).map(image).collect(),
        categories: (0..).zip(&held_out.classes).map(|(id, name)| (id, name.clone())).collect(),
        instances: (1..)
            .zip(known)
            .flat_map(|(image, labels)| labels.objects.iter().map(move |object| instance(image, object)))
            .collect(),
        notes: Vec::new(),
    }
}

/// What each teacher finds of the classes it owns, a picture each.
pub fn ask_teachers(
    runtime: &OnnxRuntime,
    pictures: &[PathBuf],
    teachers: &[Teacher],
    least: f32,
) -> anyhow::Result<Vec<Vec<Found>>> {
    let mut all = vec![Vec::new(); pictures.len()];
    for teacher in teachers {
        let found = look(runtime, teacher.name(), pictures, least, |found| {
            let at = teacher.classes().iter().position(|class| *class == found.class_id as usize)?;
            Some(Found { class: teacher.owns()[at] as u64, score: found.score, bbox: found.bbox })
        })?;
        all.iter_mut().zip(found).for_each(|(all, found)| all.extend(found));
    }
    Ok(all)
}

/// Shows all pictures to a detector, as many side by side as there are cores.
fn look(
    runtime: &OnnxRuntime,
    detector: &str,
    pictures: &[PathBuf],
    least: f32,
    found: impl Fn(&Detection) -> Option<Found> + Sync,
) -> anyhow::Result<Vec<Vec<Found>>> {
    let model = Model::load(runtime, detector, 0)?;
    let open = |_| model.open(least);
    let open = (0..model.lanes()).map(open).collect::<Result<Vec<Detector>, _>>()?;
    let jobs = pictures.iter().map(anyhow::Ok);
    lanes::run(open, jobs, &ProgressBar::hidden(), |lane, path| {
        let detections = lane.look(&read(path)?)?;
        Ok(detections.iter().filter_map(&found).collect())
    })
}

/// Reads and decodes a picture.
pub fn read(path: &Path) -> anyhow::Result<Picture> {
    data::read(path).map_err(|cause| anyhow::anyhow!("the picture {}: {cause}", path.display()))
}
