//! Clients that mean harm, against the real server over real sockets, while a healthy client goes on working.

// A test that fails is to panic.
#![allow(clippy::unwrap_used)]

mod bombs;
mod descriptors;
#[path = "../support/files.rs"]
mod files;
mod heads;
mod healthy;
#[path = "../support/process.rs"]
mod process;
mod resets;
mod silence;
mod slow;
#[path = "../support/tiny_model.rs"]
mod tiny_model;
mod wire;

use std::net::SocketAddr;
use std::time::Duration;

use process::ServerProcess;
use tempfile::TempDir;
use tiny_model::Tiny;
use tokio::net::{TcpSocket, TcpStream};

/// For anything that is to happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server with one camera and a model that takes no time, and its folder.
struct Target {
    server: ServerProcess,
    folder: TempDir,
}

impl Target {
    /// `settings` come before everything else, as TOML.
    fn start(settings: &str) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), settings)
    }

    fn start_in(folder: TempDir, settings: &str) -> Self {
        let model = Tiny::new("tiny", &["person"]).write(folder.path());
        let config = folder.path().join("centerx.toml");
        let camera = "\n[[camera]]\nid = \"ball\"\nurl = \"test://ball?width=64&height=64&fps=10\"\n";
        std::fs::write(&config, format!("{settings}{camera}")).unwrap();
        let arguments = ["--config", config.to_str().unwrap(), "--model", model.to_str().unwrap()];
        let server = ServerProcess::start(&folder.path().join("data"), &arguments);
        Self { server, folder }
    }

    fn metric(&self, series: &str) -> f64 {
        metric(&self.server.get("/metrics"), series)
    }

    fn memory(&self) -> f64 {
        self.metric("process_resident_memory_bytes") / 1e6
    }
}

/// The value of a series in the text of /metrics.
fn metric(text: &str, series: &str) -> f64 {
    let found = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok());
    found.unwrap_or_else(|| panic!("no {series} in\n{text}"))
}

fn refused(listener: &str, reason: &str) -> String {
    format!("centerx_connections_refused_total{{listener=\"{listener}\",reason=\"{reason}\"}}")
}

/// A connection from one of this machine's own addresses.
async fn connect_from(source: u8, target: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from(([127, 0, 0, source], 0)))?;
    socket.connect(target).await
}

/// Sockets enough for an attack, or as many as the system lets this process have.
fn allowed_sockets() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    maximum.map_or(usize::MAX, |most| most as usize).saturating_sub(500)
}

/// Waits until something is so.
async fn until(what: &str, is_so: impl Fn() -> bool) {
    let mut looks = tokio::time::interval(Duration::from_millis(20));
    let waiting = async {
        while !is_so() {
            looks.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .unwrap_or_else(|_| panic!("not within {PATIENCE:?}: {what}"));
}
