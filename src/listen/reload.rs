//! Certificates that are renewed while the server runs.
//!
//! The files' contents are compared every second. Watching for the system's events instead would miss what
//! matters most: Kubernetes swaps a link three folders up, and network file systems tell nothing.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tokio_rustls::rustls::ServerConfig;

use super::metrics::TlsMetrics;
use super::tls::{Config, Files, Made, TlsError, unix_seconds};

/// Between two looks at the files.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A certificate in use, and the files that the next one will be in.
pub(super) struct Certificates {
    what: &'static str,
    files: Config,
    alpn: Vec<Vec<u8>>,
    metrics: TlsMetrics,
    current: watch::Sender<Arc<ServerConfig>>,
    /// What was last used or refused; none: files that could not be read.
    settled: Option<[u8; 32]>,
}

impl Certificates {
    /// Reads the files for the first time.
    pub(super) fn load(
        what: &'static str,
        files: Config,
        alpn: Vec<Vec<u8>>,
        metrics: TlsMetrics,
    ) -> Result<Self, TlsError> {
        let content = Files::read(&files)?;
        let made = content.make(alpn.clone())?;
        tell(what, &made, &metrics);
        let (current, _) = watch::channel(made.server);
        Ok(Self { what, files, alpn, metrics, current, settled: Some(content.fingerprint()) })
    }

    /// What new connections are to use, now and later.
    pub(super) fn current(&self) -> watch::Receiver<Arc<ServerConfig>> {
        self.current.subscribe()
    }

    /// Takes every new certificate into use; does not end.
    pub(super) async fn keep_fresh(mut self) {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last = self.settled;
        loop {
            looks.tick().await;
            let files = self.files.clone();
            let Ok(content) = tokio::task::spawn_blocking(move || Files::read(&files)).await else {
                continue;
            };
            let seen = content.as_ref().ok().map(Files::fingerprint);
            // Certificate and key are rarely written in one moment: only what stays for a second counts.
            if seen != self.settled && seen == last {
                self.settled = seen;
                self.take(content);
            }
            last = seen;
        }
    }

    fn take(&self, content: Result<Files, TlsError>) {
        match content.and_then(|content| content.make(self.alpn.clone())) {
            Ok(made) => {
                tell(self.what, &made, &self.metrics);
                tracing::info!(
                    "{}: new connections get the new certificate of {}",
                    self.what,
                    self.files.certificate.display()
                );
                self.current.send_replace(made.server);
            }
            Err(cause) => {
                self.metrics.reload_failures.inc();
                tracing::error!("{} goes on with the old certificate: {cause}", self.what);
            }
        }
    }
}

fn tell(what: &str, made: &Made, metrics: &TlsMetrics) {
    metrics.expiry.set(unix_seconds(made.expiry));
    for warning in &made.warnings {
        tracing::warn!("{what}: {warning}");
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").field("files", &self.files).finish_non_exhaustive()
    }
}
