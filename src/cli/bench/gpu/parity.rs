//! The same frames on the GPU and on the CPU: every detection of one is to be found by the other.

use std::path::Path;

use prometheus::Registry;
use serde_json::json;

use super::{engine, tell};
use crate::app::gpu::OnGpu;
use crate::app::models;
use crate::config::ModelConfig;
use crate::detection::Detection;
use crate::engine::lane::{LaneModel, Worker};
use crate::engine::onnx::Threads;
use crate::engine::{self, Engine};
use crate::ingest::clip::ClipReader;

/// Frames of the video that are compared at most, from its beginning.
const FRAMES: usize = 100;
/// Detections from this score up are compared; the other side may have them a little below it.
const SCORE: f32 = 0.3;

/// What came out.
#[derive(Default)]
struct Tally {
    frames: usize,
    detections: usize,
    missing: usize,
    worst_iou: f32,
    worst_score: f32,
}

/// Looks at frames of `video` on both sides.
///
/// # Errors
/// A video that cannot be read, or detections that differ by more than is allowed.
pub fn compare(model: &OnGpu, video: &Path, min_iou: f32, max_score: f32, json: bool) -> anyhow::Result<()> {
    let config = ModelConfig { name: model.info.name.to_string(), source: Some(model.source.clone()) };
    let on_cpu = models::load(&models::load_runtime()?, &config, Threads::latency())?;
    let worker = |engine: &dyn Engine| {
        let metrics = engine::Metrics::register(&Registry::new())?;
        anyhow::Ok(Worker::new(engine.open_lane()?, LaneModel::from(&model.info), metrics))
    };
    let (mut cpu, mut gpu) = (worker(&*on_cpu.engine)?, worker(&engine(model, true)?)?);
    let mut reader = ClipReader::open(video)?;
    let mut tally = Tally { worst_iou: 1.0, ..Tally::default() };
    while let Some(frame) = reader.next_frame()?.filter(|_| tally.frames < FRAMES) {
        let low = |_: &str, score: f32| score >= SCORE - max_score;
        let (ours, theirs) = (gpu.look(&frame.picture, low)?, cpu.look(&frame.picture, low)?);
        tally.frames += 1;
        tally.count(&theirs, &ours, min_iou);
        tally.count(&ours, &theirs, min_iou);
    }
    let Tally { frames, detections, missing, worst_iou, worst_score } = tally;
    tell(
        json,
        json!({ "frames": frames, "detections": detections, "missing": missing, "worst_iou": worst_iou,
                "worst_score": worst_score }),
        format!(
            "parity with the CPU on {frames} frames: {detections} detections from {SCORE} up, {missing} without their \
             like (IoU from {min_iou}), worst IoU {worst_iou:.4}, scores within {worst_score:.4}"
        ),
    )?;
    anyhow::ensure!(detections > 0, "nothing was found in {}, so nothing was compared", video.display());
    anyhow::ensure!(missing == 0 && worst_score <= max_score, "the GPU does not find what the CPU finds");
    Ok(())
}

impl Tally {
    /// Looks for the like of each of `these` among `those`.
    fn count(&mut self, these: &[Detection], those: &[Detection], min_iou: f32) {
        for one in these.iter().filter(|one| one.score >= SCORE) {
            self.detections += 1;
            let same = those.iter().filter(|other| other.class_id == one.class_id);
            let like = same.max_by(|a, b| one.bbox.iou(&a.bbox).total_cmp(&one.bbox.iou(&b.bbox)));
            match like.map(|like| (one.bbox.iou(&like.bbox), (like.score - one.score).abs())) {
                Some((iou, score)) if iou >= min_iou => {
                    self.worst_iou = self.worst_iou.min(iou);
                    self.worst_score = self.worst_score.max(score);
                }
                _ => self.missing += 1,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detection::BoundingBox;

    fn detection(x1: f32, score: f32, class_id: u32) -> Detection {
        let bbox = BoundingBox { x1, y1: 0.0, x2: x1 + 100.0, y2: 100.0 };
        Detection { bbox, score, class_id, label: "person".into(), landmarks: Vec::new() }
    }

    #[test]
    fn a_detection_without_its_like_is_missing() {
        let mut tally = Tally { worst_iou: 1.0, ..Tally::default() };
        tally.count(&[detection(0.0, 0.9, 0)], &[detection(0.2, 0.895, 0)], 0.99);
        assert_eq!((tally.detections, tally.missing), (1, 0));
        assert!((tally.worst_score - 0.005).abs() < 1e-6 && tally.worst_iou < 1.0);
        tally.count(&[detection(0.0, 0.9, 0)], &[detection(0.0, 0.9, 1)], 0.99);
        tally.count(&[detection(0.0, 0.9, 0)], &[detection(2.0, 0.9, 0)], 0.99);
        tally.count(&[detection(0.0, 0.9, 0), detection(0.0, 0.295, 0)], &[], 0.99);
        assert_eq!((tally.detections, tally.missing), (4, 3), "those under the score are not asked for");
    }
}
