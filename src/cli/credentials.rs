//! The token that a client shows to a server.

use std::path::PathBuf;

use anyhow::Context;
use tonic::metadata::AsciiMetadataValue;
use tonic::service::Interceptor;
use tonic::{Request, Status};

use super::UsageError;
use crate::secret::Secret;

/// Where a token may be. There is no argument for the token itself: other users of a machine can read those.
const VARIABLE: &str = "CENTERX_TOKEN";

/// The client's token.
#[derive(Debug, clap::Args)]
pub(super) struct TokenArgs {
    /// File with the token, if the server asks for one; the variable CENTERX_TOKEN may hold the token instead.
    #[arg(long, env = "CENTERX_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl TokenArgs {
    /// What adds the token to each call; nothing is added if there is none.
    ///
    /// # Errors
    /// A file that cannot be read, or text that is no token.
    pub(super) fn bearer(&self) -> anyhow::Result<Bearer> {
        let token = match &self.token_file {
            Some(path) => Some(Secret::read_file(path).context("--token-file")?),
            None => std::env::var(VARIABLE).ok().filter(|token| !token.is_empty()),
        };
        let Some(token) = token else { return Ok(Bearer(None)) };
        // The error would repeat it.
        let mut value: AsciiMetadataValue = format!("Bearer {}", token.trim())
            .parse()
            .map_err(|_| UsageError("the token has characters that no token has".into()))?;
        value.set_sensitive(true);
        Ok(Bearer(Some(value)))
    }
}

/// Adds a token to each call.
#[derive(Clone, Debug)]
pub(super) struct Bearer(Option<AsciiMetadataValue>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}
