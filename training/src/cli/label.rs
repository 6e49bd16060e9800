//! `centerx-train label`: what teachers find, as labels.

use std::path::PathBuf;

use super::RecipeArgs;
use crate::run;

/// Write what a recipe's teachers find in its pictures as labels, in COCO's JSON.
#[derive(Debug, clap::Args)]
#[command(after_help = "Such labels can be looked through, corrected, and learned from:\n  \
centerx-train label yard.toml --labels yard.json\n\nPictures are named by their full path, so that the folder to give \
beside them is /.")]
pub struct Args {
    #[command(flatten)]
    recipe: RecipeArgs,
    /// The file to write.
    #[arg(long, value_name = "FILE.json")]
    labels: PathBuf,
}

impl Args {
    /// Looks at all pictures and writes the file.
    ///
    /// # Errors
    /// Input that cannot be used, named; a file that cannot be written.
    pub fn run(self) -> anyhow::Result<()> {
        super::print(run::label::label(&self.recipe.read()?, &self.labels)?)
    }
}
