//! What an operator should know of the data directory: its room, and files in it that could not be read.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use prometheus::{IntGauge, Registry};
use tokio::task::JoinHandle;

use crate::data_dir::{DataDir, LOW_WATER, Room, room};
use crate::{http, json_file};

/// Between two looks. A disk that fills up does so over minutes.
const INTERVAL: Duration = Duration::from_secs(10);

/// The data directory of a running server, held and watched for as long as this lives.
pub struct WatchedDir {
    _held: DataDir,
    seen: Arc<Seen>,
    task: JoinHandle<()>,
}

/// What was seen at the last look.
struct Seen {
    path: PathBuf,
    free: IntGauge,
    size: IntGauge,
    unread: IntGauge,
}

impl WatchedDir {
    /// Takes a first look and goes on looking, on the current tokio runtime.
    ///
    /// # Errors
    /// A metric registered twice.
    pub async fn new(held: DataDir, registry: &Registry) -> prometheus::Result<Self> {
        let free = IntGauge::new(
            "centerx_data_dir_free_bytes",
            "Room on the disk of the data directory; -1 if unknown.",
        )?;
        let size = IntGauge::new(
            "centerx_data_dir_size_bytes",
            "Size of the disk of the data directory; -1 if unknown.",
        )?;
        let unread = IntGauge::new(
            "centerx_data_dir_unread_files",
            "Files of the data directory that were set aside because they could not be read whole.",
        )?;
        // Until it is known.
        free.set(-1);
        size.set(-1);
        registry.register(Box::new(free.clone()))?;
        registry.register(Box::new(size.clone()))?;
        registry.register(Box::new(unread.clone()))?;
        let seen = Arc::new(Seen { path: held.path().to_owned(), free, size, unread });
        Seen::look(&seen).await;
        let task = tokio::spawn(Arc::clone(&seen).keep_looking());
        Ok(Self { _held: held, seen, task })
    }

    /// What does not keep the server from its work, but should not stay so.
    pub fn warnings(&self) -> http::Warnings {
        let seen = Arc::clone(&self.seen);
        Arc::new(move || seen.warnings())
    }
}

impl Drop for WatchedDir {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Seen {
    fn warnings(&self) -> Vec<String> {
        let path = self.path.display();
        let mut warnings = Vec::new();
        if self.is_low() {
            warnings.push(format!(
                "the disk of {path} has {} bytes left: free some space, or changes of cameras and models will fail",
                self.free.get()
            ));
        }
        if self.unread.get() > 0 {
            warnings.push(format!(
                "{path} has {} file(s) *.unread-* that could not be read whole: add again what is missing, then remove \
                 them",
                self.unread.get()
            ));
        }
        warnings
    }

    fn is_low(&self) -> bool {
        u64::try_from(self.free.get()).is_ok_and(|free| free < LOW_WATER)
    }

    async fn look(this: &Arc<Self>) {
        let seen = Arc::clone(this);
        // A network's disk may take its time.
        let looked = tokio::task::spawn_blocking(move || {
            match room(&seen.path) {
                Ok(Room { free, size }) => {
                    seen.free.set(free.try_into().unwrap_or(i64::MAX));
                    seen.size.set(size.try_into().unwrap_or(i64::MAX));
                }
                Err(error) => tracing::debug!("the room of {} is unknown: {error}", seen.path.display()),
            }
            seen.unread.set(json_file::set_aside_in(&seen.path).len() as i64);
        });
        // A look that panics is as good as none.
        let _ = looked.await;
    }

    async fn keep_looking(self: Arc<Self>) {
        let mut told = (false, false);
        loop {
            let now = (self.is_low(), self.unread.get() > 0);
            if now != told {
                self.warnings().iter().for_each(|warning| tracing::warn!("{warning}"));
                told = now;
            }
            tokio::time::sleep(INTERVAL).await;
            Self::look(&self).await;
        }
    }
}
