//! The `centerx-train` command: arguments in, exit code out.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    centerx_train::cli::run(centerx_train::cli::Cli::parse())
}
