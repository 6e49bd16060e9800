//! Live pictures: what cameras see, for people who look, at no cost while nobody does.
//!
//! [`Live::offer`] runs on an engine's thread when a frame's detections are published, and hands over a pointer if
//! somebody looks at that camera. A few threads of low priority scale the newest frames and make JPEGs of them, each
//! once for all viewers that ask for the same size, and only if one of them is due for a picture (`board`). A viewer
//! ([`Live::watch`]) takes the newest and is told how many frames it missed.
//!
//! What does not belong here: which cameras exist, the wire formats, and detections without a picture (`publisher`).

mod board;
mod config;
mod encode;
mod encoders;
mod metrics;
mod pace;
mod viewer;

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, stream};

use crate::camera::CameraId;
use crate::detection::Published;
use crate::frame::Picture;
use crate::view::{LiveStream, View, ViewError};

use board::Board;
pub use config::Config;
pub use encode::{EncodeError, Encoder, Jpeg, Marks};
pub use metrics::Metrics;
use viewer::Viewer;

/// A frame whose detections were published.
#[derive(Debug)]
pub struct Offer {
    /// Its pixels, where the decoder left them.
    pub picture: Arc<Picture>,
    /// Its detections, as subscribers receive them.
    pub found: Arc<Published>,
    /// Pairs of landmarks, by index, between which a drawing of an object has a line.
    pub skeleton: Arc<[[u32; 2]]>,
    /// How old it was when they were published.
    pub age: Duration,
}

/// Where frames are handed over and watched. Clones are the same.
#[derive(Clone, Debug)]
pub struct Live(Arc<Owner>);

/// Ends the encoders with the last of those who could give them work.
#[derive(Debug)]
struct Owner(Arc<Shared>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.close();
    }
}

#[derive(Debug)]
struct Shared {
    board: Mutex<Board>,
    /// Told when there is work, and at the end.
    work: Condvar,
    /// Viewers, for a look without the lock.
    viewers: AtomicUsize,
    metrics: Metrics,
    told: AtomicBool,
}

impl Live {
    /// Starts the encoders.
    ///
    /// # Errors
    /// The system has no thread or memory to give.
    pub fn start(config: &Config, metrics: Metrics) -> io::Result<Self> {
        let live = Self::idle(metrics);
        encoders::start(config, &live.0.0)?;
        Ok(live)
    }

    /// Without encoders.
    fn idle(metrics: Metrics) -> Self {
        Self(Arc::new(Owner(Arc::new(Shared {
            board: Mutex::default(),
            work: Condvar::new(),
            viewers: AtomicUsize::new(0),
            metrics,
            told: AtomicBool::new(false),
        }))))
    }

    /// Whether anybody looks at the camera: where not, there is nothing to hand over. Costs the reading of a number
    /// while nobody looks at any.
    pub fn is_watched(&self, camera: &CameraId) -> bool {
        let shared = &self.0.0;
        shared.viewers.load(Ordering::Relaxed) > 0 && shared.lock().is_watched(camera)
    }

    /// Hands over a frame whose detections have just been published. Never waits for an encoder or a viewer.
    pub fn offer(&self, offer: Offer) {
        let shared = &self.0.0;
        let now = Instant::now();
        if shared.lock().offer(offer, now) {
            shared.work.notify_all();
        }
    }

    /// Pictures of what is published from now on, of each view those of its own rate.
    ///
    /// A camera that is removed ends its view; when none is left, the stream ends with [`ViewError::Removed`].
    pub fn watch(&self, views: &[View]) -> LiveStream {
        let viewer = |view| stream::unfold(Viewer::begin(&self.0.0, view), Viewer::into_next).boxed();
        let pictures = stream::select_all(views.iter().map(viewer));
        let shared = Arc::clone(&self.0.0);
        let end = async move {
            Err(if shared.lock().is_closed() { ViewError::ShuttingDown } else { ViewError::Removed })
        };
        pictures.map(Ok).chain(stream::once(end)).boxed()
    }

    /// Ends the views of a camera that was removed.
    pub fn forget(&self, camera: &CameraId) {
        self.0.0.lock().forget(camera);
    }

    /// Ends all views and the encoders.
    pub fn close(&self) {
        self.0.0.close();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Board> {
        // A panic under it leaves a picture unmade at worst.
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        self.lock().close();
        self.work.notify_all();
    }
}

#[cfg(test)]
mod tests;
