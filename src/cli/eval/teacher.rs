//! A model against a better one: agreement where there are no labels.

use std::path::PathBuf;
use std::time::Instant;

use crate::app::models;
use crate::cli::{UsageError, progress};
use crate::detection::Detection;
use crate::eval::Found;
use crate::eval::agreement::{Agreements, MATCH_IOU};
use crate::eval::classes::{ClassMap, Shared};
use crate::eval::report::{AgreedClass, Outcome, Run, Teacher};
use crate::frame::Picture;

use super::lanes::{self, Detector, Model};
use super::source::{self, Frames, Shot, Shots};
use super::{Args, Evaluated};

/// Settings of this kind of evaluation.
#[derive(Debug, clap::Args)]
pub struct TeacherSettings {
    /// Compare with this model, where there are no labels: what it finds counts as the truth.
    #[arg(long, value_name = "MODEL")]
    teacher: Option<String>,
    /// With --teacher: its detections from this score up are the truth; down to --score it is not sure.
    #[arg(long, default_value_t = 0.4, value_name = "SCORE")]
    teacher_score: f32,
    /// With --teacher: the model's detections from this score up are compared.
    #[arg(long, default_value_t = 0.3, value_name = "SCORE")]
    score: f32,
    /// With --teacher: look at so many frames of each video only.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    frames: Option<u64>,
    /// With --teacher: of each video look at every Nth frame only.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    every: u64,
}

/// Shows every picture to both models and compares what they find.
pub(super) fn evaluate(args: &Args) -> anyhow::Result<Evaluated> {
    let settings = &args.teacher;
    super::check_score("--teacher-score", settings.teacher_score)?;
    super::check_score("--score", settings.score)?;
    let frames = Frames { every: settings.every, most: settings.frames.unwrap_or(u64::MAX) };
    let shots = Shots::open(&args.images, frames)?;

    let runtime = models::load_runtime()?;
    let teacher = settings.teacher.as_deref().unwrap_or_default();
    let teacher = Model::load(&runtime, teacher, args.lanes)?;
    let student = Model::load(&runtime, &args.model, args.lanes)?;
    let shared = Shared::of(&student.info.classes, &teacher.info.classes)
        .map_err(|error| UsageError(format!("{} and {}: {error}", args.model, teacher.info.name)))?;

    let start = Instant::now();
    let most = args.limit.unwrap_or(u64::MAX);
    let count = shots.known_count().map(|count| count.min(most));
    let shots = shots.take(usize::try_from(most).unwrap_or(usize::MAX));
    let comparison = Comparison {
        student: &student,
        teacher: &teacher,
        shared: &shared,
        score: settings.score,
        teacher_score: settings.teacher_score,
    };
    let looked = comparison.look(shots, count, |shot| match shot {
        Shot::Frame(picture) => Ok(Ok(picture)),
        Shot::File(path) => match source::read(&path) {
            Ok(picture) => Ok(Ok(picture)),
            Err(_) if args.skip_unreadable => Ok(Err(path)),
            Err(error) => Err(error),
        },
    })?;
    let seconds = super::seconds_since(start);
    super::refuse_nothing_left(looked.pictures, &args.images[0])?;
    let outcome = comparison.outcome(&looked.agreements);
    let run =
        Run { inputs: args.images.clone(), pictures: looked.pictures, left_out: looked.left_out, seconds };
    Ok(Evaluated { model: student.info, run, outcome: Outcome::Teacher(outcome), notes: Vec::new() })
}

/// A model and its teacher, and from which score up they are believed.
pub struct Comparison<'a> {
    /// The model.
    pub student: &'a Model,
    /// What it is compared with.
    pub teacher: &'a Model,
    /// Their classes.
    pub shared: &'a Shared,
    /// The student's detections from this score up are compared.
    pub score: f32,
    /// The teacher's detections from this score up are the truth.
    pub teacher_score: f32,
}

/// What both found.
pub struct Looked {
    /// How far they agree.
    pub agreements: Agreements,
    /// Pictures looked at.
    pub pictures: usize,
    /// Files that were left out.
    pub left_out: Vec<PathBuf>,
}

impl Comparison<'_> {
    /// Shows both every picture that `read` makes of the shots, of which there are `count`; a path instead of
    /// a picture is left out.
    pub fn look(
        &self,
        shots: impl Iterator<Item = anyhow::Result<Shot>> + Send,
        count: Option<u64>,
        read: impl Fn(Shot) -> Result<Result<Picture, PathBuf>, UsageError> + Sync,
    ) -> anyhow::Result<Looked> {
        let weakest = self.score.min(self.teacher_score);
        let lanes = (0..self.student.lanes())
            .map(|_| Ok((self.student.open(self.score)?, self.teacher.open(weakest)?)))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let work = |(student, teacher): &mut (Detector, Detector), shot: Shot| {
            let picture = match read(shot)? {
                Ok(picture) => picture,
                Err(path) => return Ok(Err(path)),
            };
            let students = mapped(&self.shared.student, &student.look(&picture)?);
            Ok(Ok((students, mapped(&self.shared.teacher, &teacher.look(&picture)?))))
        };
        let progress = progress::bar(count, "pictures");
        let agreements = Agreements::new(self.shared.names.len(), self.teacher_score);
        let mut looked = Looked { agreements, pictures: 0, left_out: Vec::new() };
        for result in lanes::run(lanes, shots, &progress, work)? {
            match result {
                Ok((students, teachers)) => {
                    looked.pictures += 1;
                    looked.agreements.add(students, &teachers);
                }
                Err(path) => looked.left_out.push(path),
            }
        }
        Ok(looked)
    }

    /// What that comes to.
    pub fn outcome(&self, agreements: &Agreements) -> Teacher {
        let classes = self.shared.names.iter().zip(agreements.classes());
        Teacher {
            teacher: (&self.teacher.info).into(),
            teacher_score: self.teacher_score,
            score: self.score,
            iou: MATCH_IOU,
            overall: (&agreements.overall()).into(),
            classes: classes
                .map(|(name, one)| AgreedClass { name: name.clone(), agreed: one.into() })
                .collect(),
            only_in_model: self.shared.student.only_in_model.clone(),
            only_in_teacher: self.shared.teacher.only_in_model.clone(),
        }
    }
}

fn mapped(classes: &ClassMap, detections: &[Detection]) -> Vec<Found> {
    detections.iter().filter_map(|detection| classes.map(detection)).collect()
}
