//! What an engine finds in a frame, in pixels of that frame.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::camera::{CameraId, CameraStatus};
use crate::frame::CaptureTime;

/// An axis-aligned box in pixels of the source frame, corners included: `x1 <= x2`, `y1 <= y2`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[expect(missing_docs)]
pub struct BoundingBox {
    pub x1: f32,
    pub y1: f32,
    pub x2: f32,
    pub y2: f32,
}

impl BoundingBox {
    /// Area in square pixels.
    pub fn area(&self) -> f32 {
        (self.x2 - self.x1).max(0.0) * (self.y2 - self.y1).max(0.0)
    }

    /// Intersection over union, 0 for boxes without area.
    pub fn iou(&self, other: &Self) -> f32 {
        let overlap = Self {
            x1: self.x1.max(other.x1),
            y1: self.y1.max(other.y1),
            x2: self.x2.min(other.x2),
            y2: self.y2.min(other.y2),
        }
        .area();
        let union = self.area() + other.area() - overlap;
        if union > 0.0 { overlap / union } else { 0.0 }
    }

    /// The part of the box inside a `width` x `height` frame.
    pub fn clip(&self, width: f32, height: f32) -> Self {
        Self {
            x1: self.x1.clamp(0.0, width),
            y1: self.y1.clamp(0.0, height),
            x2: self.x2.clamp(0.0, width),
            y2: self.y2.clamp(0.0, height),
        }
    }
}

/// A point of an object, such as a joint, in pixels of the source frame. It may lie outside of it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[expect(missing_docs)]
pub struct Landmark {
    pub x: f32,
    pub y: f32,
    /// The model's confidence, 0..=1.
    pub score: f32,
}

impl Landmark {
    /// The score from which on a landmark is drawn and counted as seen; below it, it is a guess.
    pub const SEEN: f32 = 0.2;

    /// Whether the model is sure enough of it to show it.
    pub fn is_seen(&self) -> bool {
        self.score >= Self::SEEN
    }
}

/// One object found in a frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Detection {
    /// Where it is.
    pub bbox: BoundingBox,
    /// The model's confidence, 0..=1.
    pub score: f32,
    /// Index into the model's class names.
    pub class_id: u32,
    /// The class name.
    pub label: Arc<str>,
    /// Its landmarks in the order of the model's names for them; most models have none.
    pub landmarks: Vec<Landmark>,
}

/// All that was found in one frame; an empty list says the frame was looked at and nothing was found.
#[derive(Clone, Debug)]
pub struct FrameDetections {
    /// The camera the frame came from.
    pub camera: CameraId,
    /// The frame's sequence number.
    pub sequence: u64,
    /// When the frame was captured.
    pub capture: CaptureTime,
    /// The frame's width in pixels.
    pub width: u32,
    /// The frame's height in pixels.
    pub height: u32,
    /// Name of the model that looked.
    pub model: Arc<str>,
    /// Best score first.
    pub detections: Vec<Detection>,
}

/// All that was found in one picture sent by a client.
#[derive(Clone, Debug)]
pub struct PictureDetections {
    /// The picture's width in pixels.
    pub width: u32,
    /// The picture's height in pixels.
    pub height: u32,
    /// Name of the model that looked.
    pub model: Arc<str>,
    /// Best score first.
    pub detections: Vec<Detection>,
}

/// A frame's detections as subscribers receive them: one for all that want to see the same of it.
#[derive(Debug)]
pub struct Published {
    frame: Arc<FrameDetections>,
    epoch: u64,
    wire: OnceLock<Box<[u8]>>,
}

impl Published {
    /// A frame whose sequence belongs to the count `epoch`.
    pub fn new(frame: Arc<FrameDetections>, epoch: u64) -> Self {
        Self { frame, epoch, wire: OnceLock::new() }
    }

    /// The frame.
    pub fn frame(&self) -> &Arc<FrameDetections> {
        &self.frame
    }

    /// Which count the frame's sequence belongs to: another one after a restart, and after its camera was
    /// removed and added again.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The message that tells of it, as `encode` makes it for the first who asks.
    pub fn wire(&self, encode: impl FnOnce(&Self) -> Vec<u8>) -> &[u8] {
        self.wire.get_or_init(|| encode(self).into_boxed_slice())
    }
}

impl Deref for Published {
    type Target = FrameDetections;

    fn deref(&self) -> &FrameDetections {
        &self.frame
    }
}

/// Frames of a camera that a subscriber will not receive, by their sequences, both ends included. Those that were
/// never published are among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The camera.
    pub camera: CameraId,
    /// Which count the sequences belong to.
    pub epoch: u64,
    /// The first that is missing.
    pub first: u64,
    /// The last that is missing.
    pub last: u64,
}

/// The last frame of a camera that a subscriber has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The camera.
    pub camera: CameraId,
    /// The frame's epoch.
    pub epoch: u64,
    /// The frame's sequence.
    pub sequence: u64,
}

/// How resuming a camera went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResumeOutcome {
    /// Every frame after the position follows.
    Continued,
    /// Some of them are gone; the others follow.
    Gap,
    /// The camera's count is another one now. What is kept of that follows.
    Restarted,
}

/// What a subscriber receives.
#[derive(Clone, Debug)]
pub enum Event {
    /// A frame's detections.
    Detections(Arc<Published>),
    /// This subscriber was too slow and missed so many frames' detections; what follows is newest.
    Dropped {
        /// Frames missed since the last message of either kind.
        frames: u64,
        /// Where they are missing.
        gaps: Vec<Gap>,
    },
    /// A camera changed state.
    CameraState(CameraId, Arc<CameraStatus>),
    /// A camera was resumed; what is kept of its frames follows.
    Resumed {
        /// The camera.
        camera: CameraId,
        /// How it went.
        outcome: ResumeOutcome,
        /// What is gone, if anything.
        gap: Option<Gap>,
    },
    /// This subscriber took nothing for so long while events waited that its subscription was ended. The last.
    Stalled(Duration),
}

/// What a subscriber wants to see. Empty lists mean all.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// Only these cameras.
    pub cameras: Vec<CameraId>,
    /// Only detections of these classes; a frame with none of them is still sent, empty.
    pub classes: Vec<String>,
    /// Only detections with at least this score.
    pub min_score: f32,
    /// Where to continue, one position a camera; other cameras begin with what is published next.
    pub resume: Vec<Position>,
}

/// What is known of a served model.
#[derive(Clone, Debug, Default)]
pub struct ModelInfo {
    /// The name cameras refer to it by.
    pub name: Arc<str>,
    /// The family, such as `ttf`.
    pub family: String,
    /// Class names; a detection's `class_id` indexes them.
    pub classes: Vec<Arc<str>>,
    /// Names of each detection's landmarks, in order; most models have none.
    pub landmarks: Vec<Arc<str>>,
    /// Pairs of landmarks, by index, between which a drawing of the object has a line.
    pub skeleton: Vec<[u32; 2]>,
    /// Input width in pixels.
    pub input_width: u32,
    /// Input height in pixels.
    pub input_height: u32,
    /// Detections a frame at most.
    pub top_k: u32,
    /// Engine it runs on, such as `onnxruntime 1.32.0`.
    pub engine: String,
    /// Where it comes from.
    pub source: String,
    /// Its licence, as an SPDX expression.
    pub license: String,
    /// SHA-256 of the model file, lower-case hex.
    pub sha256: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_box() -> impl Strategy<Value = BoundingBox> {
        (-50f32..700.0, -50f32..700.0, 0f32..300.0, 0f32..300.0).prop_map(|(x, y, w, h)| BoundingBox {
            x1: x,
            y1: y,
            x2: x + w,
            y2: y + h,
        })
    }

    proptest! {
        #[test]
        fn iou_is_symmetric_and_bounded(a in any_box(), b in any_box()) {
            let iou = a.iou(&b);
            prop_assert!((0.0..=1.0 + 1e-5).contains(&iou));
            prop_assert_eq!(iou, b.iou(&a));
        }

        #[test]
        fn a_clipped_box_lies_in_the_frame(a in any_box()) {
            let c = a.clip(640.0, 480.0);
            prop_assert!(0.0 <= c.x1 && c.x1 <= c.x2 && c.x2 <= 640.0);
            prop_assert!(0.0 <= c.y1 && c.y1 <= c.y2 && c.y2 <= 480.0);
        }
    }

    #[test]
    fn iou_of_a_box_with_itself_is_one_and_of_strangers_zero() {
        let a = BoundingBox { x1: 0.0, y1: 0.0, x2: 10.0, y2: 10.0 };
        let b = BoundingBox { x1: 20.0, y1: 0.0, x2: 30.0, y2: 10.0 };
        assert_eq!(a.iou(&a), 1.0);
        assert_eq!(a.iou(&b), 0.0);
    }
}
