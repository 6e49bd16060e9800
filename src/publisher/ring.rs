//! What waits for one subscriber. Pure: no clock, no lock, no waking.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::Arc;

use crate::camera::{CameraId, CameraStatus};
use crate::detection::{Event, FrameDetections};

/// Camera states that wait for one subscriber at most. Only ids that came and went while it slept can
/// reach this: for each camera no more than the latest state is kept once the ring's size is reached.
const MAX_STATES: usize = 10_000;

/// A bounded queue in order of arrival. Overflowing detections are dropped all at once and counted;
/// camera states stay.
#[derive(Debug)]
pub(super) struct Ring {
    capacity: usize,
    queue: VecDeque<Waiting>,
    frames: usize,
    dropped: u64,
}

#[derive(Debug)]
enum Waiting {
    Frame(Arc<FrameDetections>),
    State(CameraId, Arc<CameraStatus>),
}

impl Ring {
    /// An empty ring for `capacity` frames.
    pub(super) fn new(capacity: NonZeroUsize) -> Self {
        Self { capacity: capacity.get(), queue: VecDeque::new(), frames: 0, dropped: 0 }
    }

    /// Frames that wait.
    pub(super) fn frames(&self) -> usize {
        self.frames
    }

    /// Adds a frame; returns how many had to go for it.
    pub(super) fn push_frame(&mut self, frame: Arc<FrameDetections>) -> u64 {
        let gone = if self.frames == self.capacity { self.clear_frames() } else { 0 };
        self.queue.push_back(Waiting::Frame(frame));
        self.frames += 1;
        gone
    }

    fn clear_frames(&mut self) -> u64 {
        let gone = self.frames as u64;
        self.queue.retain(|waiting| matches!(waiting, Waiting::State(..)));
        self.frames = 0;
        self.dropped += gone;
        gone
    }

    /// Adds a camera's state. Once states pile up it takes the place of the camera's older one.
    pub(super) fn push_state(&mut self, camera: CameraId, status: Arc<CameraStatus>) {
        let states = self.queue.len() - self.frames;
        if states >= self.capacity {
            let older = |waiting: &Waiting| matches!(waiting, Waiting::State(id, _) if *id == camera);
            self.remove_first(older);
        }
        if states >= MAX_STATES {
            self.remove_first(|waiting| matches!(waiting, Waiting::State(..)));
        }
        self.queue.push_back(Waiting::State(camera, status));
    }

    fn remove_first(&mut self, unwanted: impl Fn(&Waiting) -> bool) {
        if let Some(at) = self.queue.iter().position(unwanted) {
            self.queue.remove(at);
        }
    }

    /// The next event. A gap is told before what comes after it.
    pub(super) fn pop(&mut self) -> Option<Event> {
        if self.dropped > 0 {
            return Some(Event::Dropped { frames: std::mem::take(&mut self.dropped) });
        }
        Some(match self.queue.pop_front()? {
            Waiting::Frame(frame) => {
                self.frames -= 1;
                Event::Detections(frame)
            }
            Waiting::State(camera, status) => Event::CameraState(camera, status),
        })
    }
}
