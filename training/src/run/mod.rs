//! A training from recipe to detector: the only place that knows all parts.

mod batch;
pub mod decode;
mod diverged;
pub mod folder;
pub mod label;
mod log;
mod materials;
mod plot;
mod preview;
mod progress;
pub mod recipe;
mod records;
pub mod referee;
mod show;
pub mod student;
mod trainer;

use std::fmt;
use std::path::PathBuf;

use centerx::app::models;
use recipe::Recipe;
use referee::{Referee, Scores, Verdict};

/// How a run begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// In a folder without one.
    Fresh,
    /// Where its last checkpoint is.
    Resume,
    /// From nothing, whatever is there.
    Anew,
}

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The best detector.
    pub detector: PathBuf,
    /// How good it is.
    pub best: Verdict,
    /// The step it is of.
    pub step: u64,
    /// Parameters of the student.
    pub parameters: usize,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { detector, best, step, parameters } = self;
        write!(f, "best at step {step}: {best}\n{} ({parameters} parameters)", detector.display())
    }
}

/// Trains by a recipe.
///
/// # Errors
/// Input that cannot be used, named; a loss that is no number; a folder that cannot be written to.
pub fn train(recipe: &Recipe, begin: Begin) -> anyhow::Result<Outcome> {
    let folder = folder::Folder::open(&recipe.output, begin)?;
    let materials = materials::Materials::gather(recipe)?;
    folder.make_ready(begin)?;
    trainer::Trainer::new(recipe, folder, materials, begin)?.train()
}

/// Holds any detector, a file or a pulled one by its name, against the pictures that a recipe holds out.
///
/// # Errors
/// Input that cannot be used, named.
pub fn evaluate(recipe: &Recipe, detector: &str) -> anyhow::Result<Verdict> {
    let runtime = models::load_runtime()?;
    let (_, held_out) = materials::pictures(recipe)?;
    let teachers = materials::teachers(&runtime, recipe)?;
    Referee::new(&runtime, &held_out, &teachers, Scores::of(recipe))?.judge(&runtime, detector)
}
