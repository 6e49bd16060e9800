//! What waits for one subscriber. Pure: no clock, no lock, no waking.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::Arc;

use super::entry::Entry;
use super::replay::Resumption;
use crate::camera::{CameraId, CameraStatus};
use crate::detection::{Event, Gap, ResumeOutcome};

/// Camera states that wait for one subscriber at most. Only ids that came and went while it slept can
/// reach this: for each camera no more than the latest state is kept once the ring's size is reached.
const MAX_STATES: usize = 10_000;

/// A bounded queue in order of arrival. Overflowing detections are dropped all at once, counted and named;
/// camera states stay.
#[derive(Debug)]
pub(super) struct Ring {
    capacity: usize,
    /// What a subscriber that comes back gets before all else: no more than is kept of its cameras anyway.
    replay: VecDeque<Next>,
    queue: VecDeque<Waiting>,
    frames: usize,
    dropped: u64,
    gaps: Vec<Gap>,
}

#[derive(Debug)]
enum Waiting {
    Frame(Arc<Entry>),
    State(CameraId, Arc<CameraStatus>),
}

/// What a subscriber takes out of its ring.
#[derive(Debug)]
pub(super) enum Next {
    /// A frame, yet to be filtered.
    Frame(Arc<Entry>),
    Dropped {
        frames: u64,
        gaps: Vec<Gap>,
    },
    State(CameraId, Arc<CameraStatus>),
    Resumed {
        camera: CameraId,
        outcome: ResumeOutcome,
        gap: Option<Gap>,
    },
}

impl Ring {
    /// A ring for `capacity` frames that begins with what is resumed.
    pub(super) fn new(capacity: NonZeroUsize, resumed: Vec<Resumption>) -> Self {
        let mut replay = VecDeque::new();
        for Resumption { camera, outcome, gap, frames } in resumed {
            replay.push_back(Next::Resumed { camera, outcome, gap });
            replay.extend(frames.into_iter().map(Next::Frame));
        }
        let capacity = capacity.get();
        Self { capacity, replay, queue: VecDeque::new(), frames: 0, dropped: 0, gaps: Vec::new() }
    }

    /// Frames that wait.
    pub(super) fn frames(&self) -> usize {
        self.frames
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.replay.is_empty() && self.queue.is_empty() && self.dropped == 0
    }

    /// Adds a frame; returns how many had to go for it.
    pub(super) fn push_frame(&mut self, frame: Arc<Entry>) -> u64 {
        let gone = if self.frames == self.capacity { self.clear_frames() } else { 0 };
        self.queue.push_back(Waiting::Frame(frame));
        self.frames += 1;
        gone
    }

    fn clear_frames(&mut self) -> u64 {
        let gone = self.frames as u64;
        for waiting in std::mem::take(&mut self.queue) {
            match waiting {
                Waiting::Frame(frame) => self.note(&frame),
                state @ Waiting::State(..) => self.queue.push_back(state),
            }
        }
        self.frames = 0;
        self.dropped += gone;
        gone
    }

    /// Enters a dropped frame into the gaps.
    fn note(&mut self, frame: &Entry) {
        let (camera, epoch, sequence) =
            (&frame.whole().camera, frame.whole().epoch(), frame.whole().sequence);
        match self.gaps.iter_mut().find(|gap| gap.camera == *camera && gap.epoch == epoch) {
            Some(gap) => gap.last = sequence,
            None => self.gaps.push(Gap { camera: camera.clone(), epoch, first: sequence, last: sequence }),
        }
    }

    /// Lets go all that waits. Frames count as dropped; of those to be replayed none does.
    pub(super) fn clear(&mut self) -> u64 {
        let gone = self.clear_frames();
        self.replay = VecDeque::new();
        self.queue = VecDeque::new();
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

    /// What comes next. A gap is told before what comes after it.
    pub(super) fn pop(&mut self) -> Option<Next> {
        if let Some(next) = self.replay.pop_front() {
            return Some(next);
        }
        if self.dropped > 0 {
            let (frames, gaps) = (std::mem::take(&mut self.dropped), std::mem::take(&mut self.gaps));
            return Some(Next::Dropped { frames, gaps });
        }
        Some(match self.queue.pop_front()? {
            Waiting::Frame(frame) => {
                self.frames -= 1;
                Next::Frame(frame)
            }
            Waiting::State(camera, status) => Next::State(camera, status),
        })
    }
}

impl Next {
    /// The event that a subscriber receives, whose frame is seen as `see` says.
    pub(super) fn into_event(self, see: impl FnOnce(&Entry) -> Arc<crate::detection::Published>) -> Event {
        match self {
            Self::Frame(entry) => Event::Detections(see(&entry)),
            Self::Dropped { frames, gaps } => Event::Dropped { frames, gaps },
            Self::State(camera, status) => Event::CameraState(camera, status),
            Self::Resumed { camera, outcome, gap } => Event::Resumed { camera, outcome, gap },
        }
    }
}
