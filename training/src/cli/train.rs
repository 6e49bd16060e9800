//! `centerx-train train`.

use super::RecipeArgs;
use crate::run::{self, Begin};

/// Train a student by a recipe, and export the best one.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  centerx-train train yard.toml\n  centerx-train train yard.toml --resume\n\n\
In the run's folder are then: the best student as NAME.onnx, log.csv, losses.svg, a picture of predictions beside \
targets for each evaluation, and checkpoints."
)]
pub struct Args {
    #[command(flatten)]
    recipe: RecipeArgs,
    /// Go on from the run's last checkpoint.
    #[arg(long, conflicts_with = "force")]
    resume: bool,
    /// Begin anew in a folder that holds a run; its files are removed.
    #[arg(long)]
    force: bool,
}

impl Args {
    /// Trains.
    ///
    /// # Errors
    /// Input that cannot be used, named; a loss that is no number; a full disk.
    pub fn run(self) -> anyhow::Result<()> {
        let begin = match (self.resume, self.force) {
            (true, _) => Begin::Resume,
            (false, true) => Begin::Anew,
            (false, false) => Begin::Fresh,
        };
        let outcome = run::train(&self.recipe.read()?, begin)?;
        super::print(outcome)
    }
}
