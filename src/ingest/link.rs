//! Where a connection hands over what it has, and where the camera's task reads how it fares.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use crate::camera::FailureKind;

use super::source::{Decoded, Failure};

/// Who takes a connection's pictures. All methods are quick enough for a streaming thread.
pub(super) trait Receiver: std::fmt::Debug + Send + Sync {
    /// Takes a picture that came by the connection of this number.
    fn enter(&self, connection: u64, decoded: Decoded);
    /// A coded frame was not decoded.
    fn count_skipped(&self);
}

/// One connection's way to its camera. All methods are quick enough for a streaming thread.
#[derive(Debug)]
pub struct Link {
    camera: Arc<dyn Receiver>,
    connection: u64,
    progress: Mutex<Progress>,
    news: Notify,
}

/// How a connection fares.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    /// When the first coded frame reached a decoder.
    pub(super) coded: Option<Instant>,
    /// When the last picture was handed over.
    pub(super) last_picture: Option<Instant>,
    /// Size of the pictures.
    pub(super) size: Option<(u32, u32)>,
    /// How the connection ended: at its end, or by a failure.
    pub(super) outcome: Option<Result<(), Failure>>,
}

impl Link {
    pub(super) fn new(camera: Arc<dyn Receiver>, connection: u64) -> Arc<Self> {
        Arc::new(Self { camera, connection, progress: Mutex::default(), news: Notify::new() })
    }

    /// Hands over a picture.
    pub fn deliver(&self, decoded: Decoded) {
        let size = (decoded.picture.width, decoded.picture.height);
        let mut progress = self.progress();
        progress.last_picture = Some(Instant::now());
        let news = progress.size.replace(size) != Some(size);
        drop(progress);
        // Whoever called may be no Rust that a panic could pass through.
        let entering = AssertUnwindSafe(|| self.camera.enter(self.connection, decoded));
        if catch_unwind(entering).is_err() {
            let message =
                "a frame of it led to a panic, which is a fault in centerx; please report it with the log";
            return self.end(Err(Failure::new(FailureKind::Other, message)));
        }
        if news {
            self.news.notify_one();
        }
    }

    /// A coded frame reached the decoder.
    pub fn coded(&self) {
        let mut progress = self.progress();
        if progress.coded.is_none() {
            progress.coded = Some(Instant::now());
            self.news.notify_one();
        }
    }

    /// A coded frame came too late to be decoded.
    pub fn skip(&self) {
        let mut progress = self.progress();
        // It is we who are too slow: the camera has not stalled.
        progress.last_picture = progress.last_picture.map(|_| Instant::now());
        drop(progress);
        self.camera.count_skipped();
    }

    /// The connection is over: at the end of the stream, or by a failure. The first word counts.
    pub fn end(&self, outcome: Result<(), Failure>) {
        self.progress().outcome.get_or_insert(outcome);
        self.news.notify_one();
    }

    /// How the connection fares now.
    pub(super) fn snapshot(&self) -> Progress {
        self.progress().clone()
    }

    /// Waits for the first coded frame, another picture size, or the end.
    pub(super) async fn news(&self) {
        self.news.notified().await;
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
