//! What was published lately, for subscribers that come back. Takes no clock.
//!
//! For each camera a window: every frame that was published after `floor` in the camera's present count. Windows are
//! bounded by number and age, and all of them together by memory, for which the oldest frame of all has to go.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use super::Config;
use super::entry::Entry;
use crate::camera::CameraId;
use crate::detection::{FrameDetections, Gap, Position, ResumeOutcome};

/// The windows of all cameras.
#[derive(Debug, Default)]
pub(super) struct Replay {
    windows: HashMap<CameraId, Window>,
    /// The camera of each frame kept, by its number in the order of publication.
    order: BTreeMap<u64, CameraId>,
    published: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Window {
    epoch: u64,
    /// The last sequence that is gone; 0 while all are here.
    floor: u64,
    /// The last sequence published.
    last: u64,
    kept: VecDeque<Kept>,
}

#[derive(Debug)]
struct Kept {
    number: u64,
    at: Instant,
    cost: usize,
    entry: Arc<Entry>,
}

/// How a camera is resumed.
#[derive(Debug)]
pub(super) struct Resumption {
    pub(super) camera: CameraId,
    pub(super) outcome: ResumeOutcome,
    pub(super) gap: Option<Gap>,
    pub(super) frames: Vec<Arc<Entry>>,
}

impl Window {
    fn new() -> Self {
        Self { epoch: fastrand::u64(1..), floor: 0, last: 0, kept: VecDeque::new() }
    }

    fn gap(&self, camera: &CameraId, after: u64) -> Option<Gap> {
        let missing = after < self.floor;
        missing.then(|| Gap { camera: camera.clone(), epoch: self.epoch, first: after + 1, last: self.floor })
    }
}

impl Replay {
    /// Enters a frame that is published now, and keeps it as the settings say.
    pub(super) fn enter(&mut self, frame: Arc<FrameDetections>, config: &Config, now: Instant) -> Arc<Entry> {
        if self.windows.get(&frame.camera).is_some_and(|window| frame.sequence <= window.last) {
            // The camera was removed and added again.
            self.forget(&frame.camera);
        }
        let camera = frame.camera.clone();
        let window = self.windows.entry(camera.clone()).or_insert_with(Window::new);
        window.last = frame.sequence;
        let entry = Arc::new(Entry::new(frame, window.epoch));
        let (number, cost) = (self.published, entry.cost());
        window.kept.push_back(Kept { number, at: now, cost, entry: Arc::clone(&entry) });
        let too_many = window.kept.len() > config.replay_frames;
        self.order.insert(number, camera.clone());
        self.published += 1;
        self.bytes += cost;
        if too_many {
            self.drop_oldest(&camera);
        }
        self.trim(config, now);
        entry
    }

    /// Lets go what is too old or too much.
    fn trim(&mut self, config: &Config, now: Instant) {
        while let Some(camera) = self.order.first_key_value().map(|(_, camera)| camera.clone()) {
            let oldest = self.windows.get(&camera).and_then(|window| window.kept.front());
            let age = oldest.map(|kept| now.saturating_duration_since(kept.at)).unwrap_or_default();
            if self.bytes <= config.replay_bytes && age <= config.replay_age {
                return;
            }
            self.drop_oldest(&camera);
        }
    }

    fn drop_oldest(&mut self, camera: &CameraId) {
        let Some(window) = self.windows.get_mut(camera) else { return };
        let Some(gone) = window.kept.pop_front() else { return };
        window.floor = gone.entry.whole().sequence;
        self.order.remove(&gone.number);
        self.bytes -= gone.cost;
    }

    /// What there is of a camera after a position.
    pub(super) fn after(&mut self, position: &Position, config: &Config, now: Instant) -> Resumption {
        self.trim(config, now);
        let camera = position.camera.clone();
        let Some(window) = self.windows.get(&camera) else {
            return Resumption { camera, outcome: ResumeOutcome::Restarted, gap: None, frames: Vec::new() };
        };
        let same = window.epoch == position.epoch;
        let after = if same { position.sequence } else { 0 };
        let gap = window.gap(&camera, after);
        let outcome = match (same, &gap) {
            (false, _) => ResumeOutcome::Restarted,
            (true, Some(_)) => ResumeOutcome::Gap,
            (true, None) => ResumeOutcome::Continued,
        };
        let newer = window.kept.iter().filter(|kept| kept.entry.whole().sequence > after);
        let frames = newer.map(|kept| Arc::clone(&kept.entry)).collect();
        Resumption { camera, outcome, gap, frames }
    }

    /// Forgets a camera; should it come again, with a count of its own.
    pub(super) fn forget(&mut self, camera: &CameraId) {
        for kept in self.windows.remove(camera).into_iter().flat_map(|window| window.kept) {
            self.order.remove(&kept.number);
            self.bytes -= kept.cost;
        }
    }

    /// Frames kept, and their memory in bytes, about.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.order.len(), self.bytes)
    }

    /// Whether exactly the frames of these cameras are kept, in this order.
    #[cfg(test)]
    pub(super) fn order_is(&self, cameras: &[&str]) -> bool {
        self.order.values().map(CameraId::as_str).eq(cameras.iter().copied())
    }
}
