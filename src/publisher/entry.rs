//! A published frame, and what subscribers with a filter see of it, each made once.

use std::sync::{Arc, Mutex, PoisonError};

use super::filter::DetectionFilter;
use crate::detection::{Detection, FrameDetections, Landmark, Published};

/// Different views of one frame that are shared. Whoever comes with yet another filter makes its own.
const MAX_VIEWS: usize = 32;
/// What an object takes as a message of protobuf, about, and a landmark.
const WIRE: (usize, usize) = (48, 17);

/// A frame on its way to all subscribers.
#[derive(Debug)]
pub(super) struct Entry {
    whole: Arc<Published>,
    views: Mutex<Vec<(Arc<DetectionFilter>, Arc<Published>)>>,
}

impl Entry {
    pub(super) fn new(frame: Arc<FrameDetections>, epoch: u64) -> Self {
        Self { whole: Arc::new(Published::new(frame, epoch)), views: Mutex::default() }
    }

    /// All of it.
    pub(super) fn whole(&self) -> &Arc<Published> {
        &self.whole
    }

    /// What a subscriber with this filter sees of it.
    pub(super) fn seen_through(&self, filter: &Arc<DetectionFilter>) -> Arc<Published> {
        if filter.wants_all(&self.whole) {
            return Arc::clone(&self.whole);
        }
        // Only lists are pushed to under this lock.
        let mut views = self.views.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, view)) = views.iter().find(|(other, _)| Arc::ptr_eq(other, filter) || other == filter)
        {
            return Arc::clone(view);
        }
        let view = Arc::new(Published::new(filter.apply(&self.whole), self.whole.epoch()));
        if views.len() < MAX_VIEWS {
            views.push((Arc::clone(filter), Arc::clone(&view)));
        }
        view
    }

    /// Bytes of memory that it takes, about: as it is, and as a message.
    pub(super) fn cost(&self) -> usize {
        let landmarks: usize = self.whole.detections.iter().map(|found| found.landmarks.len()).sum();
        size_of::<Self>()
            + size_of::<Published>()
            + size_of::<FrameDetections>()
            + self.whole.detections.len() * (size_of::<Detection>() + WIRE.0)
            + landmarks * (size_of::<Landmark>() + WIRE.1)
    }
}
