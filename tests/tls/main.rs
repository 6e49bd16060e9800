//! TLS and mutual TLS on both listeners, with foreign clients, and certificates renewed while the server runs.

// A test that fails is to panic.
#![allow(clippy::unwrap_used)]

mod clients;
#[path = "../support/files.rs"]
mod files;
mod mutual;
mod one_way;
mod pki;
#[path = "../support/process.rs"]
mod process;
mod renewal;
mod start;
#[path = "../support/tiny_model.rs"]
mod tiny_model;

use std::path::{Path, PathBuf};
use std::time::Duration;

use pki::{Authority, Pair};
use process::ServerProcess;
use tempfile::TempDir;
use tiny_model::Tiny;

const PATIENCE: Duration = Duration::from_secs(30);

/// A server's folder, with its certificate in `server.crt` and `server.key`.
struct Bench {
    folder: TempDir,
    authority: Authority,
    client_ca: Option<PathBuf>,
}

impl Bench {
    fn new() -> Self {
        let authority = Authority::new("the tests' CA");
        let folder = tempfile::tempdir().unwrap();
        authority.server(&["localhost", "127.0.0.1"]).write(folder.path(), "server");
        std::fs::write(folder.path().join("ca.crt"), &authority.pem).unwrap();
        Self { folder, authority, client_ca: None }
    }

    /// Clients must show a certificate of the same authority.
    fn mutual() -> Self {
        let bench = Self::new();
        let client_ca = Some(bench.path("ca.crt"));
        bench.authority.client().write(bench.folder.path(), "client");
        Self { client_ca, ..bench }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Both listeners with the certificate in `folder`.
    fn settings(&self, folder: &Path) -> PathBuf {
        let (certificate, key) = (folder.join("server.crt"), folder.join("server.key"));
        let mut tls = format!("certificate = {certificate:?}\nkey = {key:?}\n");
        if let Some(ca) = &self.client_ca {
            tls += &format!("client_ca = {ca:?}\n");
        }
        let camera = "[[camera]]\nid = \"ball\"\nurl = \"test://ball?width=64&height=64&fps=10\"\n";
        let path = self.path("centerx.toml");
        std::fs::write(&path, format!("[grpc.tls]\n{tls}[http.tls]\n{tls}{camera}")).unwrap();
        path
    }

    fn start(&self) -> ServerProcess {
        self.start_with(self.folder.path())
    }

    fn start_with(&self, certificates: &Path) -> ServerProcess {
        let config = self.settings(certificates);
        let model = Tiny::new("tiny", &["person"]).write(self.folder.path());
        let arguments = ["--config", config.to_str().unwrap(), "--model", model.to_str().unwrap()];
        ServerProcess::start(&self.path("data"), &arguments)
    }

    /// The client's own certificate.
    fn client(&self) -> Option<Pair> {
        self.client_ca.as_ref()?;
        let read = |name: &str| std::fs::read_to_string(self.path(name)).unwrap();
        Some(Pair { certificate: read("client.crt"), key: read("client.key") })
    }
}
