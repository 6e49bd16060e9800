//! The command line: one file a subcommand.

// It panics where `output::line` ends quietly.
#![deny(clippy::print_stdout)]

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::ConfigError;
use crate::data_dir::DataDirError;
use crate::engine::EngineError;
use crate::listen::ListenError;
use crate::model::ModelError;
use crate::model::runtime::RuntimeError;
use crate::telemetry::{self, LogFormat};

pub mod bench;
mod connect;
mod credentials;
pub mod detect;
pub mod environment;
pub mod eval;
pub mod healthcheck;
pub mod model;
mod open_files;
pub mod output;
mod progress;
pub mod runtime;
pub mod serve;
mod systemd;
pub mod token;
pub mod watch;

/// Streaming video detection server: many cameras in, one fused CenterNet, detections out over gRPC.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, after_help = EXIT_CODES)]
pub struct Cli {
    /// What to log, in the syntax of RUST_LOG: error, warn, info, debug, or module=level lists.
    #[arg(
        long,
        global = true,
        env = "CENTERX_LOG",
        default_value = "info",
        value_name = "FILTER",
        help_heading = "Logging"
    )]
    log: String,
    /// How log lines look.
    #[arg(
        long,
        global = true,
        env = "CENTERX_LOG_FORMAT",
        value_enum,
        default_value_t,
        value_name = "FORMAT",
        help_heading = "Logging"
    )]
    log_format: LogFormat,
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done; 1 failed at work; 2 bad arguments or settings; \
3 a model or the ONNX Runtime library is missing or unusable; 4 an address cannot be listened on; \
5 the data directory is used by another server or cannot be made; 130 ended at once by a second Ctrl-C or SIGTERM.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Watch cameras and push detections over gRPC.
    Serve(serve::Args),
    /// Subscribe to a server and print detections as they come.
    Watch(watch::Args),
    /// Detect in pictures and video files.
    Detect(detect::Args),
    /// Score a model against labels or against a better model.
    Eval(eval::Args),
    /// Fetch, make and inspect models, and change those of a running server.
    Model(model::ModelArgs),
    /// Fetch and find the ONNX Runtime library.
    Runtime(runtime::RuntimeArgs),
    /// Make tokens for the server's clients.
    Token(token::Args),
    /// Measure this machine.
    Bench(bench::Args),
    /// Ask a server whether it can do its work, for containers.
    Healthcheck(healthcheck::Args),
}

/// Runs the command and tells how it ended.
pub fn run(cli: Cli) -> ExitCode {
    environment::settle(matches!(cli.command, Command::Serve(_)));
    if let Err(problem) = telemetry::init_logging(&cli.log, cli.log_format) {
        eprintln!("error: {problem}");
        return ExitCode::from(2);
    }
    let done = match cli.command {
        Command::Serve(args) => args.run(),
        Command::Watch(args) => args.run(),
        Command::Detect(args) => args.run(),
        Command::Eval(args) => args.run(),
        Command::Model(args) => args.run(),
        Command::Runtime(args) => args.run(),
        Command::Token(args) => args.run(),
        Command::Bench(args) => args.run(),
        Command::Healthcheck(args) => args.run(),
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
    let is_setup = |cause: &(dyn std::error::Error + 'static)| {
        cause.is::<ModelError>()
            || cause.is::<RuntimeError>()
            || matches!(
                cause.downcast_ref::<EngineError>(),
                Some(
                    EngineError::Runtime { .. }
                        | EngineError::Load { .. }
                        | EngineError::Output { .. }
                        | EngineError::Broken { .. }
                )
            )
    };
    let refusal = error.downcast_ref::<model::server::Refusal>();
    if refusal.is_some_and(|refusal| refusal.is_of_arguments()) {
        return ExitCode::from(2);
    } else if refusal.is_some_and(|refusal| refusal.is_of_source()) {
        return ExitCode::from(3);
    }
    for cause in error.chain() {
        if cause.is::<ConfigError>() || cause.is::<UsageError>() {
            return ExitCode::from(2);
        } else if is_setup(cause) {
            return ExitCode::from(3);
        } else if let Some(error) = cause.downcast_ref::<ListenError>() {
            return ExitCode::from(if error.is_of_settings() { 2 } else { 4 });
        } else if cause.is::<DataDirError>() {
            return ExitCode::from(5);
        }
    }
    ExitCode::FAILURE
}

/// Arguments that parse but make no sense together.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);
