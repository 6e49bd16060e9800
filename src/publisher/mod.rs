//! The fan-out hub: detections and camera states to every subscriber, each at its own pace.
//!
//! [`Hub::publish`] runs on an engine's thread, so it only puts a pointer into the ring of each
//! subscriber of the camera. What costs more, such as leaving out classes, happens when a subscriber
//! receives, and once for all with the same filter. A ring that is full is emptied, counted and told
//! ([`Event::Dropped`]): a slow subscriber jumps to the newest and never holds up anybody. One that takes nothing at
//! all for long is ended ([`Event::Stalled`]). What was published lately is kept for subscribers that come back
//! (`replay`).
//!
//! What does not belong here: tracking, the wire format, and which cameras and classes exist.

mod config;
mod entry;
mod filter;
mod metrics;
mod replay;
mod ring;
mod subscription;
mod table;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::camera::{CameraId, CameraStatus};
use crate::detection::{Event, EventFilter, FrameDetections, Published};

pub use config::Config;
pub use metrics::Metrics;
use replay::Replay;
use subscription::Subscriber;
pub use subscription::Subscription;
use table::Table;

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
    replay: Replay,
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
    /// published one after the other. Returns the frame as they receive it.
    pub fn publish(&self, frame: Arc<FrameDetections>) -> Arc<Published> {
        let begun = Instant::now();
        // In one step: who subscribes before it is in the table, who does after it finds the frame kept.
        let (entry, table) = {
            let mut state = self.0.lock();
            let entry = state.replay.enter(Arc::clone(&frame), &self.0.config, begun);
            self.0.metrics.kept(state.replay.size());
            (entry, Arc::clone(&state.table))
        };
        let (mut dropped, mut stalled) = (0, Vec::new());
        for subscriber in table.watching(&frame.camera) {
            let pushed = subscriber.push_frame(&entry, begun);
            dropped += pushed.dropped;
            stalled.extend(pushed.stalled.then_some(subscriber));
        }
        self.0.metrics.published(&frame, dropped, begun);
        for subscriber in stalled {
            self.0.metrics.stalled();
            self.0.take_out(subscriber);
        }
        Arc::clone(entry.whole())
    }

    /// Hands a camera's new state to every subscriber of the camera.
    pub fn camera_state(&self, camera: &CameraId, status: Arc<CameraStatus>) {
        let now = Instant::now();
        for subscriber in self.0.table().watching(camera) {
            subscriber.push_state(camera, &status, now);
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
    /// In this order no change falls between the two: a change that the snapshot misses is in the ring. What is
    /// resumed follows the snapshot.
    pub fn subscribe_with(&self, filter: EventFilter, initial: impl FnOnce() -> Vec<Event>) -> Subscription {
        let (config, now) = (&self.0.config, Instant::now());
        let mut state = self.0.lock();
        let resumed =
            filter.resume.iter().map(|position| state.replay.after(position, config, now)).collect();
        let subscriber = Arc::new(Subscriber::new(config, filter.cameras.clone(), resumed, now));
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

    /// Forgets the metrics of a camera that was removed, and what is kept of it.
    pub fn forget(&self, camera: &CameraId) {
        self.0.lock().replay.forget(camera);
        self.0.metrics.forget(camera);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic leaves nothing half changed that matters: the table is swapped or edited by single calls, and
        // what is kept is a help to subscribers, not a promise.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn table(&self) -> Arc<Table> {
        Arc::clone(&self.lock().table)
    }

    fn remove(&self, subscriber: &Arc<Subscriber>) {
        self.take_out(subscriber);
        self.metrics.subscribers.dec();
    }

    /// Takes a subscriber out of the table, if it is there.
    fn take_out(&self, subscriber: &Arc<Subscriber>) {
        Arc::make_mut(&mut self.lock().table).remove(subscriber);
    }
}

#[cfg(test)]
mod tests;
