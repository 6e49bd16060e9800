//! The command line: one file a subcommand.

use std::path::PathBuf;
use std::process::ExitCode;

use centerx::cli::{UsageError, environment, output};
use centerx::engine::EngineError;
use centerx::model::ModelError;
use centerx::model::runtime::RuntimeError;
use centerx::telemetry::{self, LogFormat};
use clap::{Parser, Subcommand};

use crate::data::DataError;
use crate::run::recipe::{Recipe, RecipeError};
use crate::teacher::TeacherError;

mod bench;
mod evaluate;
mod export;
mod label;
mod train;

/// Train and distil the CenterNets that centerx serves.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, after_help = EXIT_CODES)]
pub struct Cli {
    /// What to log, in the syntax of RUST_LOG.
    #[arg(long, global = true, env = "CENTERX_LOG", default_value = "warn", value_name = "FILTER")]
    log: String,
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done; 1 failed at work; 2 bad arguments, recipe or data; 3 a model or the \
ONNX Runtime library is missing or unusable.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Train a student by a recipe, and export the best one.
    Train(train::Args),
    /// Write what a recipe's teachers find in its pictures as labels, in COCO's JSON.
    Label(label::Args),
    /// Hold any detector against the pictures that a recipe holds out.
    Evaluate(evaluate::Args),
    /// Make a detector of a run's checkpoint.
    Export(export::Args),
    /// Measure training steps on random pictures.
    Bench(bench::Args),
}

/// Runs the command and tells how it ended.
pub fn run(cli: Cli) -> ExitCode {
    environment::settle(false);
    if let Err(problem) = telemetry::init_logging(&cli.log, LogFormat::default()) {
        eprintln!("error: {problem}");
        return ExitCode::from(2);
    }
    let done = match cli.command {
        Command::Train(args) => args.run(),
        Command::Label(args) => args.run(),
        Command::Evaluate(args) => args.run(),
        Command::Export(args) => args.run(),
        Command::Bench(args) => args.run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if output::is_closed(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            exit_code(&error)
        }
    }
}

fn exit_code(error: &anyhow::Error) -> ExitCode {
    for cause in error.chain() {
        if let Some(TeacherError::Model { .. }) = cause.downcast_ref() {
            return ExitCode::from(3);
        }
        if cause.is::<RecipeError>()
            || cause.is::<UsageError>()
            || cause.is::<DataError>()
            || cause.is::<TeacherError>()
        {
            return ExitCode::from(2);
        } else if cause.is::<ModelError>() || cause.is::<RuntimeError>() || cause.is::<EngineError>() {
            return ExitCode::from(3);
        }
    }
    ExitCode::FAILURE
}

/// The recipe that a command works by.
#[derive(Debug, clap::Args)]
struct RecipeArgs {
    /// The recipe, a TOML file; docs/training.md tells what stands in it.
    #[arg(value_name = "RECIPE.toml")]
    recipe: PathBuf,
    /// Put the run's files here instead of where the recipe says.
    #[arg(long, short, value_name = "FOLDER")]
    output: Option<PathBuf>,
}

impl RecipeArgs {
    fn read(&self) -> Result<Recipe, RecipeError> {
        let mut recipe = Recipe::read(&self.recipe)?;
        if let Some(output) = &self.output {
            recipe.output.clone_from(output);
        }
        Ok(recipe)
    }
}

fn print(text: impl std::fmt::Display) -> anyhow::Result<()> {
    Ok(output::line(text)?)
}
