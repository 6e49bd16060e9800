//! The part of a filter that looks into a frame: classes and scores.

use std::collections::HashSet;
use std::sync::Arc;

use crate::detection::{Detection, EventFilter, FrameDetections};

/// Which detections of a frame a subscriber wants.
#[derive(Debug)]
pub(super) struct DetectionFilter {
    /// Empty means all.
    classes: HashSet<String>,
    min_score: f32,
}

impl DetectionFilter {
    pub(super) fn new(filter: &EventFilter) -> Self {
        Self { classes: filter.classes.iter().cloned().collect(), min_score: filter.min_score }
    }

    /// The frame with only the wanted detections; the very same one if all of them are wanted.
    pub(super) fn apply(&self, frame: Arc<FrameDetections>) -> Arc<FrameDetections> {
        if frame.detections.iter().all(|detection| self.wants(detection)) {
            return frame;
        }
        let wanted = frame.detections.iter().filter(|detection| self.wants(detection)).cloned().collect();
        Arc::new(FrameDetections {
            camera: frame.camera.clone(),
            sequence: frame.sequence,
            capture: frame.capture,
            width: frame.width,
            height: frame.height,
            model: Arc::clone(&frame.model),
            detections: wanted,
        })
    }

    fn wants(&self, detection: &Detection) -> bool {
        detection.score >= self.min_score
            && (self.classes.is_empty() || self.classes.contains(&*detection.label))
    }
}
