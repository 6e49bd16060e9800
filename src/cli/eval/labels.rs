//! A model against labels: COCO's average precision.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::Instant;

use sha2::{Digest as _, Sha256};

use crate::app::models;
use crate::cli::{UsageError, progress};
use crate::eval::Found;
use crate::eval::annotations::{Annotations, Image};
use crate::eval::classes::ClassMap;
use crate::eval::metric::{self, Scores};
use crate::eval::report::{Coco, CocoClass, Outcome, Run};

use super::lanes::{self, Detector, Model};
use super::{Args, Evaluated, source};

/// Settings of this kind of evaluation.
#[derive(Debug, clap::Args)]
pub struct LabelSettings {
    /// With --annotations: leave out detections under this score, 0 to 1. Weak ones count too, so keep it low.
    #[arg(long, default_value_t = 0.001, value_name = "SCORE", conflicts_with = "teacher")]
    min_score: f32,
    /// With --annotations: detections a picture at most, best first.
    #[arg(long, default_value_t = 100, value_name = "COUNT", conflicts_with = "teacher")]
    max_detections: usize,
}

/// Looks at every picture of the annotations and scores what was found.
pub fn evaluate(args: &Args, path: &Path) -> anyhow::Result<Evaluated> {
    super::check_score("--min-score", args.labels.min_score)?;
    let folder = folder(&args.images)?;
    let (annotations, sha256) = read(path, args.limit)?;
    let (present, missing): (Vec<_>, Vec<_>) =
        annotations.images.iter().partition(|image| folder.join(&image.file_name).is_file());
    let missing: Vec<PathBuf> = missing.iter().map(|image| folder.join(&image.file_name)).collect();
    if !args.skip_unreadable {
        super::refuse_missing(&missing)?;
    }
    super::refuse_nothing_left(present.len(), folder)?;

    let model = Model::load(&models::load_runtime()?, &args.model, args.lanes)?;
    let classes = ClassMap::new(&model.info.classes, &annotations.categories, "the data set")
        .map_err(|error| UsageError(format!("model {} on {}: {error}", args.model, path.display())))?;
    let start = Instant::now();
    let (looked, damaged): (Vec<Looked>, Vec<PathBuf>) = look(args, &model, &classes, folder, &present)?;
    let seconds = super::seconds_since(start);
    super::refuse_nothing_left(looked.len(), folder)?;

    let mut notes = annotations.notes.clone();
    notes.extend(size_note(&annotations, &looked));
    let found = looked.into_iter().map(|looked| (looked.image, looked.found)).collect();
    let scores = metric::score(&annotations, &found)?;
    let outcome = outcome(args, path, sha256, &annotations, classes, &found, scores);
    let left_out = [missing, damaged].concat();
    let run = Run { inputs: args.images.clone(), pictures: found.len(), left_out, seconds };
    Ok(Evaluated { model: model.info, run, outcome: Outcome::Coco(outcome), notes })
}

fn folder(images: &[PathBuf]) -> Result<&Path, UsageError> {
    match images {
        [folder] if folder.is_dir() => Ok(folder),
        [other] => Err(UsageError(format!("--images: {} is not a folder", other.display()))),
        _ => {
            Err(UsageError("--images: with --annotations, give the one folder that has the pictures".into()))
        }
    }
}

/// The annotations and the SHA-256 of their file.
fn read(path: &Path, limit: Option<u64>) -> Result<(Annotations, String), UsageError> {
    let refuse = |problem: String| UsageError(format!("--annotations: {}: {problem}", path.display()));
    let bytes = std::fs::read(path).map_err(|error| refuse(error.to_string()))?;
    let mut annotations = Annotations::parse(&bytes).map_err(|error| refuse(error.to_string()))?;
    if let Some(limit) = limit {
        annotations.limit(usize::try_from(limit).unwrap_or(usize::MAX));
    }
    let sha256 = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    Ok((annotations, sha256))
}

/// One picture, looked at.
struct Looked {
    image: u64,
    /// Width and height in pixels, as decoded.
    size: (u32, u32),
    found: Vec<Found>,
}

/// Looks at `images`; gives what was found, and the files that are damaged where those are left out.
fn look(
    args: &Args,
    model: &Model,
    classes: &ClassMap,
    folder: &Path,
    images: &[&Image],
) -> anyhow::Result<(Vec<Looked>, Vec<PathBuf>)> {
    let settings = &args.labels;
    let work = |detector: &mut Detector, image: &Image| {
        let path = folder.join(&image.file_name);
        let picture = match source::read(&path) {
            Ok(picture) => picture,
            Err(_) if args.skip_unreadable => return Ok(Err(path)),
            Err(error) => return Err(error.into()),
        };
        let detections = detector.look(&picture)?;
        let known = detections.iter().filter_map(|detection| classes.map(detection));
        let found = known.take(settings.max_detections).collect();
        Ok(Ok(Looked { image: image.id, size: (picture.width, picture.height), found }))
    };
    let lanes = (0..model.lanes().min(images.len()))
        .map(|_| model.open(settings.min_score))
        .collect::<Result<Vec<_>, _>>()?;
    let progress = progress::bar(Some(images.len() as u64), "pictures");
    let results = lanes::run(lanes, images.iter().map(|image| Ok(*image)), &progress, work)?;
    let (mut looked, mut damaged) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok(one) => looked.push(one),
            Err(path) => damaged.push(path),
        }
    }
    Ok((looked, damaged))
}

/// Pictures of another size than the annotations say: their boxes are likely to be elsewhere.
fn size_note(annotations: &Annotations, looked: &[Looked]) -> Option<String> {
    let sizes: HashMap<u64, (u32, u32)> = looked.iter().map(|looked| (looked.image, looked.size)).collect();
    let mut other = annotations.images.iter().filter_map(|image| {
        let (width, height) = *sizes.get(&image.id)?;
        let said = (image.width?, image.height?);
        let differs = said != (f64::from(width), f64::from(height));
        differs.then(|| format!("{} is {width}x{height}, not {}x{}", image.file_name, said.0, said.1))
    });
    let first = other.next()?;
    Some(format!(
        "pictures of another size than the annotations say: {} ({first}); their boxes may lie elsewhere",
        other.count() + 1
    ))
}

fn outcome(
    args: &Args,
    path: &Path,
    annotations_sha256: String,
    annotations: &Annotations,
    classes: ClassMap,
    found: &BTreeMap<u64, Vec<Found>>,
    scores: Scores,
) -> Coco {
    let by_id: HashMap<u64, _> = scores.classes.iter().map(|class| (class.category, class)).collect();
    let named = annotations.categories.iter();
    let crowds = annotations.instances.iter().filter(|one| one.crowd && found.contains_key(&one.image));
    Coco {
        annotations: path.to_owned(),
        annotations_sha256,
        min_score: args.labels.min_score,
        max_detections: args.labels.max_detections,
        instances: scores.classes.iter().map(|class| class.instances).sum(),
        crowds: crowds.count() as u64,
        detections: scores.classes.iter().map(|class| class.detections).sum(),
        metrics: scores.summary.into_iter().collect(),
        classes: named.filter_map(|(id, name)| Some(CocoClass::new(name, by_id.get(id)?))).collect(),
        only_in_model: classes.only_in_model,
        only_in_dataset: classes.only_in_other,
    }
}
