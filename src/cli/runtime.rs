//! `centerx runtime`: fetch and find ONNX Runtime's library.

use clap::{Args, Subcommand};

use super::output;
use super::progress::Progress;
use crate::model::runtime;

/// Fetch or find ONNX Runtime's library, which runs models on the CPU.
#[derive(Debug, Args)]
#[command(after_help = "The library is looked for in ORT_DYLIB_PATH, then under CENTERX_HOME (default: \
    ~/.cache/centerx), then among the system's libraries.\n\n\
    Examples:\n  centerx runtime pull\n  centerx runtime path")]
pub struct RuntimeArgs {
    #[command(subcommand)]
    command: RuntimeCommand,
}

#[derive(Debug, Subcommand)]
enum RuntimeCommand {
    /// Fetch the library; nothing happens if it is there already.
    #[command(after_help = "The package comes through pip, with the proxy and index pip is set up for, \
        and is checked against a built-in SHA-256.\n\nExample:\n  centerx runtime pull")]
    Pull {
        /// Fetch it again even if it is there.
        #[arg(long)]
        force: bool,
    },
    /// Print the path of the library that would be used.
    Path,
}

impl RuntimeArgs {
    /// Does what the arguments say and prints the library's path on standard output.
    ///
    /// # Errors
    /// What kept it from being done, for the user to read.
    pub fn run(self) -> anyhow::Result<()> {
        let path = match self.command {
            RuntimeCommand::Pull { force } => {
                let progress = Progress::start();
                let path = runtime::pull(force, &|step| progress.step(step));
                progress.end();
                path?
            }
            RuntimeCommand::Path => runtime::locate()?,
        };
        output::line(path.display())?;
        Ok(())
    }
}
