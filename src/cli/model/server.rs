//! `centerx model load | swap | unload | running`: the models of a running server.

use std::io;
use std::path::Path;

use anyhow::Context;
use clap::Subcommand;
use tonic::Code;
use tonic_types::StatusExt;

use super::table;
use crate::api::v1::model_service_client::ModelServiceClient;
use crate::api::v1::{ListModelsRequest, LoadModelRequest, Model, SwapModelRequest, UnloadModelRequest};
use crate::cli::connect::{Connection, ServerArgs};
use crate::cli::output;
use crate::model::is_called_model;

/// SHA-256 digits that tell files apart.
const SHOWN_DIGITS: usize = 12;

#[derive(Debug, Subcommand)]
pub(super) enum ServerCommand {
    /// Let a running server serve one more model.
    #[command(
        after_help = "It serves the model from now on and after a restart; cameras name it in `model`.\n\n\
        Examples:\n  centerx model load face\n  centerx model load night ./night.onnx"
    )]
    Load {
        /// The name cameras will refer to it by.
        name: String,
        /// A pulled model's name or the path of an .onnx file, on the server's machine [default: NAME].
        source: Option<String>,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Let a running server serve another file under a model's name, without missing a frame.
    #[command(
        after_help = "The new model is loaded, warmed up and tried first. If it is no good, or cameras ask \
        for classes it does not have, the old one serves on.\n\n\
        Examples:\n  centerx model swap coco ./yard-2.onnx\n  centerx model swap coco coco"
    )]
    Swap {
        /// The model's name on the server, see `centerx model running`.
        name: String,
        /// A pulled model's name or the path of an .onnx file, on the server's machine.
        source: String,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Let a running server stop serving a model that no camera uses.
    #[command(after_help = "Example:\n  centerx model unload night")]
    Unload {
        /// The model's name on the server, see `centerx model running`.
        name: String,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// List the models of a running server.
    #[command(after_help = "Example:\n  centerx model running --server http://10.0.0.5:50051")]
    Running {
        #[command(flatten)]
        server: ServerArgs,
    },
}

impl ServerCommand {
    /// Asks the server and prints what it serves.
    ///
    /// # Errors
    /// A server that cannot be reached or refuses, with its reason.
    pub(super) fn run(self) -> anyhow::Result<()> {
        tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(self.ask())
    }

    async fn ask(self) -> anyhow::Result<()> {
        match self {
            Self::Load { name, source, server } => {
                let source = absolute(source.as_deref().unwrap_or(&name))?;
                let answer = connect(&server).await?.load_model(LoadModelRequest { name, source }).await;
                print(answer.map_err(|status| Refusal::new(&server, status))?.into_inner().model)?;
            }
            Self::Swap { name, source, server } => {
                let source = absolute(&source)?;
                let answer = connect(&server).await?.swap_model(SwapModelRequest { name, source }).await;
                print(answer.map_err(|status| Refusal::new(&server, status))?.into_inner().model)?;
            }
            Self::Unload { name, server } => {
                let request = UnloadModelRequest { name };
                connect(&server)
                    .await?
                    .unload_model(request)
                    .await
                    .map_err(|status| Refusal::new(&server, status))?;
            }
            Self::Running { server } => {
                let answer = connect(&server).await?.list_models(ListModelsRequest {}).await;
                print(answer.map_err(|status| Refusal::new(&server, status))?.into_inner().models)?;
            }
        }
        Ok(())
    }
}

async fn connect(server: &ServerArgs) -> anyhow::Result<ModelServiceClient<Connection>> {
    Ok(ModelServiceClient::new(server.connect().await?))
}

/// A path as the server, which runs in another folder, can use it; the name of a model as it is.
fn absolute(source: &str) -> anyhow::Result<String> {
    let path = Path::new(source);
    if !source.contains('/') && !is_called_model(path) && !path.is_file() {
        return Ok(source.to_owned());
    }
    let path = std::path::absolute(path).with_context(|| format!("cannot tell where {source} is"))?;
    path.into_os_string().into_string().map_err(|path| {
        anyhow::anyhow!("the path {} is not UTF-8, and cannot be sent; rename it", path.display())
    })
}

/// The server said no, or could not be talked to.
#[derive(Debug, thiserror::Error)]
#[error("{words}")]
pub(in crate::cli) struct Refusal {
    words: String,
    status: tonic::Status,
}

impl Refusal {
    fn new(server: &ServerArgs, status: tonic::Status) -> Self {
        Self { words: server.refusal(&status), status }
    }

    /// Whether it said so because the file is no model that runs.
    pub(in crate::cli) fn is_of_source(&self) -> bool {
        let details = self.status.get_details_bad_request();
        let mut violations = details.iter().flat_map(|bad| &bad.field_violations);
        self.status.code() == Code::InvalidArgument && violations.any(|violation| violation.field == "source")
    }

    /// Whether it said so because the arguments make no sense.
    pub(in crate::cli) fn is_of_arguments(&self) -> bool {
        self.status.code() == Code::InvalidArgument && !self.is_of_source()
    }
}

fn print(models: impl IntoIterator<Item = Model>) -> io::Result<()> {
    let mut table = table();
    table.set_header(["name", "cameras", "classes", "input", "engine", "sha256", "loaded from"]);
    for model in models {
        let name = if model.is_default { format!("{} (default)", model.name) } else { model.name };
        table.add_row([
            name,
            model.cameras.to_string(),
            model.classes.len().to_string(),
            format!("{}x{}", model.input_width, model.input_height),
            model.engine,
            model.sha256.chars().take(SHOWN_DIGITS).collect(),
            model.loaded_from,
        ]);
    }
    output::line(table)
}

#[cfg(test)]
mod tests {
    use super::absolute;

    #[test]
    fn paths_are_made_absolute_and_names_are_not() {
        let here = std::env::current_dir().unwrap();
        for path in ["yard.onnx", "yard.plan", "models/yard.ONNX", "models/yard"] {
            assert_eq!(absolute(path).unwrap(), here.join(path).display().to_string());
        }
        assert_eq!(absolute("/models/yard.onnx").unwrap(), "/models/yard.onnx");
        assert_eq!(absolute("coco@512x384").unwrap(), "coco@512x384");
    }
}
