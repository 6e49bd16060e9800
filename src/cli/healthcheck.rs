//! `centerx healthcheck`: whether a server can do its work, for what looks after containers.

use anyhow::{Context, bail};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::connect::ServerArgs;
use super::output;

/// Ask a server whether it can do its work; ends with 0 if it can.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "It asks gRPC's health service, which needs no token and says what /readyz says. Give --server \
and, with TLS, --ca where the server does not listen on its default address.\n\n\
Examples:\n  centerx healthcheck\n  centerx healthcheck --server https://cameras.example:50051 --ca ca.crt"
)]
pub struct Args {
    #[command(flatten)]
    server: ServerArgs,
}

impl Args {
    /// Asks, and prints `ready`.
    ///
    /// # Errors
    /// A server that cannot be reached, or that says that it is not ready.
    pub fn run(self) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.context("cannot start the I/O thread")?.block_on(self.ask())?;
        output::line("ready")?;
        Ok(())
    }

    async fn ask(&self) -> anyhow::Result<()> {
        let mut client = HealthClient::new(self.server.connect().await?);
        let answer = client.check(HealthCheckRequest::default()).await;
        let answer = answer.map_err(|status| anyhow::anyhow!(self.server.refusal(&status)))?;
        if answer.into_inner().status() != ServingStatus::Serving {
            bail!("the server is not ready; /readyz and its log say why");
        }
        Ok(())
    }
}
