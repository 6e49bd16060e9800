//! One view: takes pictures at its own pace.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::Shared;
use super::board::{Look, Made, Pictures};
use crate::view::{LivePicture, View};

/// One view of a camera.
pub(super) struct Viewer {
    shared: Arc<Shared>,
    look: Look,
    id: u64,
    pictures: Pictures,
}

impl Viewer {
    pub(super) fn begin(shared: &Arc<Shared>, view: &View) -> Self {
        // Before it is on the board, so that no frame is missed that it could get.
        shared.viewers.fetch_add(1, Ordering::Relaxed);
        shared.metrics.viewers.inc();
        let (id, pictures) = shared.lock().begin(view, Instant::now());
        Self { shared: Arc::clone(shared), look: Look::from(view), id, pictures }
    }

    /// The next picture, and the viewer for the one after it. None when the camera was removed or the server shuts
    /// down.
    pub(super) async fn into_next(mut self) -> Option<(LivePicture, Self)> {
        loop {
            if self.pictures.has_changed().ok()? {
                let made = self.pictures.borrow_and_update().clone();
                if let Some(picture) = made.and_then(|made| self.take(&made)) {
                    return Some((picture, self));
                }
            }
            self.ask();
            // Seen by the next look.
            self.pictures.changed().await.ok()?;
            self.pictures.mark_changed();
        }
    }

    fn ask(&self) {
        if self.shared.lock().ask(&self.look, self.id, Instant::now()) {
            self.shared.work.notify_one();
        }
    }

    fn take(&self, made: &Made) -> Option<LivePicture> {
        let skipped = self.shared.lock().take(&self.look, self.id, made, Instant::now())?;
        self.shared.metrics.taken(made.picture.jpeg.len());
        Some(LivePicture { skipped, ..made.picture.clone() })
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.shared.lock().leave(&self.look, self.id);
        self.shared.viewers.fetch_sub(1, Ordering::Relaxed);
        self.shared.metrics.viewers.dec();
    }
}
