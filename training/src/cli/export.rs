//! `centerx-train export`.

use std::path::PathBuf;

use centerx::app::models;

use super::RecipeArgs;
use crate::run;

/// Make a detector of a run's checkpoint.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  centerx-train export yard.toml --onnx yard.onnx\n  \
centerx-train export yard.toml --caffe yard")]
pub struct Args {
    #[command(flatten)]
    recipe: RecipeArgs,
    /// The detector to write, by the engine contract.
    #[arg(long, value_name = "FILE.onnx", required_unless_present = "caffe")]
    onnx: Option<PathBuf>,
    /// Write a Caffe model, NAME.prototxt and NAME.caffemodel, that gives the raw heads.
    #[arg(long, value_name = "NAME")]
    caffe: Option<PathBuf>,
    /// Take the last checkpoint instead of the best.
    #[arg(long)]
    last: bool,
}

impl Args {
    /// Exports, and checks what was exported.
    ///
    /// # Errors
    /// A run without a checkpoint; an export that computes something else than the network.
    pub fn run(self) -> anyhow::Result<()> {
        let recipe = self.recipe.read()?;
        let student = run::student::load(&recipe, self.last)?;
        if let Some(path) = &self.onnx {
            let runtime = models::load_runtime()?;
            super::print(run::student::write_detector(&recipe, &student, &runtime, path)?)?;
        }
        if let Some(path) = &self.caffe {
            super::print(run::student::write_caffe(&recipe, &student, path)?)?;
        }
        Ok(())
    }
}
