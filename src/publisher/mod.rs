//! The fan-out hub: detections and camera states to every subscriber, each at its own pace.
//!
//! [`Hub::publish`] runs on an engine's thread, so it only puts a pointer into the ring of each
//! subscriber of the camera. What costs more, such as leaving out classes, happens when a subscriber
//! receives. A ring that is full is emptied, counted and told ([`Event::Dropped`]): a slow subscriber
//! jumps to the newest and never holds up anybody.
//!
//! What does not belong here: tracking, the wire format, and which cameras and classes exist.

mod filter;
mod metrics;
mod ring;
mod subscription;
mod table;

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde::Deserialize;

use crate::camera::{CameraId, CameraStatus};
use crate::detection::{Event, EventFilter, FrameDetections};

pub use metrics::Metrics;
use subscription::Subscriber;
pub use subscription::Subscription;
use table::Table;

/// The hub's settings.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Frames' detections that wait for one subscriber at most; one more empties its ring.
    pub ring: NonZeroUsize,
}

impl Default for Config {
    fn default() -> Self {
        // Six seconds of a camera at ten frames a second: a hiccup passes unseen, a stall does not.
        Self { ring: NonZeroUsize::MIN.saturating_add(63) }
    }
}

/// Where the stages hand over what subscribers want to know. Clones are the same hub.
#[derive(Clone, Debug)]
pub struct Hub(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    config: Config,
    metrics: Metrics,
    state: Mutex<State>,
}

/// Who listens. Publishers take a snapshot of the table, so the lock is never held while rings fill.
#[derive(Debug, Default)]
struct State {
    table: Arc<Table>,
    closed: bool,
}

impl Hub {
    /// A hub without subscribers.
    pub fn new(config: Config, metrics: Metrics) -> Self {
        Self(Arc::new(Shared { config, metrics, state: Mutex::default() }))
    }

    /// Hands a frame's detections to every subscriber of its camera. Never blocks on a subscriber.
    ///
    /// Subscribers receive a camera's frames in the order of these calls, so one camera's frames are to be
    /// published one after the other.
    pub fn publish(&self, frame: Arc<FrameDetections>) {
        let begun = Instant::now();
        let table = self.0.table();
        let dropped = table.watching(&frame.camera).map(|subscriber| subscriber.push_frame(&frame)).sum();
        self.0.metrics.published(&frame, dropped, begun);
    }

    /// Hands a camera's new state to every subscriber of the camera.
    pub fn camera_state(&self, camera: &CameraId, status: Arc<CameraStatus>) {
        for subscriber in self.0.table().watching(camera) {
            subscriber.push_state(camera, &status);
        }
    }

    /// Begins a subscription with the events `initial`, before anything that is published from now on.
    ///
    /// Where `initial` is a snapshot of something that may change at the same time, use
    /// [`Hub::subscribe_with`].
    pub fn subscribe(&self, filter: EventFilter, initial: Vec<Event>) -> Subscription {
        self.subscribe_with(filter, || initial)
    }

    /// Begins a subscription and only then takes the snapshot `initial`, which is received first.
    ///
    /// In this order no change falls between the two: a change that the snapshot misses is in the ring.
    pub fn subscribe_with(&self, filter: EventFilter, initial: impl FnOnce() -> Vec<Event>) -> Subscription {
        let subscriber = Arc::new(Subscriber::new(self.0.config.ring, filter.cameras.clone()));
        let mut state = self.0.lock();
        if state.closed {
            subscriber.close();
        } else {
            Arc::make_mut(&mut state.table).add(&subscriber);
        }
        drop(state);
        self.0.metrics.subscribers.inc();
        Subscription::new(Arc::clone(&self.0), subscriber, &filter, initial())
    }

    /// Ends every subscription once it has received what it holds. What is published later goes nowhere.
    pub fn close(&self) {
        let table = {
            let mut state = self.0.lock();
            state.closed = true;
            std::mem::take(&mut state.table)
        };
        for subscriber in table.all() {
            subscriber.close();
        }
    }

    /// Forgets the metrics of a camera that was removed.
    pub fn forget(&self, camera: &CameraId) {
        self.0.metrics.forget(camera);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic cannot leave the table half changed: it is swapped or edited by single calls.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn table(&self) -> Arc<Table> {
        Arc::clone(&self.lock().table)
    }

    fn remove(&self, subscriber: &Arc<Subscriber>) {
        Arc::make_mut(&mut self.lock().table).remove(subscriber);
        self.metrics.subscribers.dec();
    }
}

#[cfg(test)]
mod tests;
