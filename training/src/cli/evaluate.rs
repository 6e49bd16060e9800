//! `centerx-train evaluate`.

use super::RecipeArgs;
use crate::run;

/// Hold any detector against the pictures that a recipe holds out.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "So students of different recipes can be compared: by the labels of the pictures if all have \
some, by what the recipe's teachers find in them otherwise.\n\nExample:\n  \
centerx-train evaluate yard.toml --model ./other.onnx"
)]
pub struct Args {
    #[command(flatten)]
    recipe: RecipeArgs,
    /// The detector: an ONNX file, or the name of a pulled model.
    #[arg(long, value_name = "MODEL")]
    model: String,
}

impl Args {
    /// Looks at the pictures and prints the measure.
    ///
    /// # Errors
    /// Input that cannot be used, named.
    pub fn run(self) -> anyhow::Result<()> {
        super::print(run::evaluate(&self.recipe.read()?, &self.model)?)
    }
}
