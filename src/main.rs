//! The `centerx` command: arguments in, exit code out.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    centerx::cli::run(centerx::cli::Cli::parse())
}
