//! A model against a better one: agreement where there are no labels.

use std::time::Instant;

use crate::app::models;
use crate::cli::{UsageError, progress};
use crate::detection::Detection;
use crate::eval::Found;
use crate::eval::agreement::{Agreements, MATCH_IOU};
use crate::eval::classes::{ClassMap, Shared};
use crate::eval::report::{AgreedClass, Outcome, Run, Teacher};

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
pub fn evaluate(args: &Args) -> anyhow::Result<Evaluated> {
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
    let Looked { agreements, pictures, left_out } = look(args, (&student, &teacher), &shared, shots)?;
    let seconds = super::seconds_since(start);
    super::refuse_nothing_left(pictures, &args.images[0])?;
    let classes = shared.names.iter().zip(agreements.classes());
    let outcome = Teacher {
        teacher: (&teacher.info).into(),
        teacher_score: settings.teacher_score,
        score: settings.score,
        iou: MATCH_IOU,
        overall: (&agreements.overall()).into(),
        classes: classes.map(|(name, one)| AgreedClass { name: name.clone(), agreed: one.into() }).collect(),
        only_in_model: shared.student.only_in_model,
        only_in_teacher: shared.teacher.only_in_model,
    };
    let run = Run { inputs: args.images.clone(), pictures, left_out, seconds };
    Ok(Evaluated { model: student.info, run, outcome: Outcome::Teacher(outcome), notes: Vec::new() })
}

struct Looked {
    agreements: Agreements,
    pictures: usize,
    left_out: Vec<std::path::PathBuf>,
}

fn look(args: &Args, models: (&Model, &Model), shared: &Shared, shots: Shots) -> anyhow::Result<Looked> {
    let (student, teacher) = models;
    let (score, teacher_score) = (args.teacher.score, args.teacher.teacher_score);
    let lanes = (0..student.lanes())
        .map(|_| Ok((student.open(score)?, teacher.open(score.min(teacher_score))?)))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let work = |(student, teacher): &mut (Detector, Detector), shot: Shot| {
        let picture = match shot {
            Shot::Frame(picture) => picture,
            Shot::File(path) => match source::read(&path) {
                Ok(picture) => picture,
                Err(_) if args.skip_unreadable => return Ok(Err(path)),
                Err(error) => return Err(error.into()),
            },
        };
        let students = mapped(&shared.student, &student.look(&picture)?);
        Ok(Ok((students, mapped(&shared.teacher, &teacher.look(&picture)?))))
    };
    let most = args.limit.unwrap_or(u64::MAX);
    let progress = progress::bar(shots.known_count().map(|count| count.min(most)), "pictures");
    let shots = shots.take(usize::try_from(most).unwrap_or(usize::MAX));
    let mut looked = Looked {
        agreements: Agreements::new(shared.names.len(), teacher_score),
        pictures: 0,
        left_out: Vec::new(),
    };
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

fn mapped(classes: &ClassMap, detections: &[Detection]) -> Vec<Found> {
    detections.iter().filter_map(|detection| classes.map(detection)).collect()
}
