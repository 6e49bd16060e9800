//! `centerx runtime`: fetch and find ONNX Runtime's library.

use std::io::{self, IsTerminal};
use std::time::Duration;

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};

use super::output;
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

/// What is going on, on standard error: a spinner with the time on a terminal, a line a step elsewhere.
pub(super) struct Progress {
    spinner: Option<ProgressBar>,
}

impl Progress {
    pub fn start() -> Self {
        let spinner = io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{spinner} {msg} {elapsed}");
            ProgressBar::new_spinner().with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
        });
        Self { spinner }
    }

    pub fn step(&self, step: &str) {
        match &self.spinner {
            Some(spinner) => {
                spinner.set_message(step.to_owned());
                spinner.enable_steady_tick(Duration::from_millis(100));
            }
            None => eprintln!("{step}"),
        }
    }

    pub fn end(&self) {
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
    }
}
