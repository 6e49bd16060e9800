//! The part of a filter that looks into a frame: classes and scores.

use std::sync::Arc;

use crate::detection::{Detection, EventFilter, FrameDetections};

/// Which detections of a frame a subscriber wants.
#[derive(Debug, PartialEq)]
pub(super) struct DetectionFilter {
    /// In order, each once; empty means all.
    classes: Vec<String>,
    min_score: f32,
}

impl DetectionFilter {
    pub(super) fn new(filter: &EventFilter) -> Self {
        let mut classes = filter.classes.clone();
        classes.sort_unstable();
        classes.dedup();
        Self { classes, min_score: filter.min_score }
    }

    /// Whether nothing of the frame is left out.
    pub(super) fn wants_all(&self, frame: &FrameDetections) -> bool {
        frame.detections.iter().all(|detection| self.wants(detection))
    }

    /// The frame with only the wanted detections.
    pub(super) fn apply(&self, frame: &FrameDetections) -> Arc<FrameDetections> {
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
            && (self.classes.is_empty()
                || self.classes.binary_search_by(|class| class.as_str().cmp(&detection.label)).is_ok())
    }
}
