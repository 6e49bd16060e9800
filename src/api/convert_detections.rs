//! Detections and what is asked of them, to the wire and back.

use std::sync::Arc;

use tonic::Status;

use super::convert_cameras::{camera_status, timestamp};
use super::status::Violations;
use super::v1;
use super::v1::subscribe_response::Event as WireEvent;
use crate::camera::CameraId;
use crate::detection::{
    Detection, Event, EventFilter, FrameDetections, Landmark, ModelInfo, PictureDetections,
};
use crate::frame::CaptureQuality;

const MAX_CLASSES: usize = 1000;
const MAX_CAMERAS: usize = 10_000;

/// What a subscriber wants. Every field that is wrong is named.
pub(super) fn event_filter(request: v1::SubscribeRequest) -> Result<EventFilter, Status> {
    let mut bad = Violations::default();
    if request.camera_ids.len() > MAX_CAMERAS {
        bad.add("camera_ids", format!("lists more than {MAX_CAMERAS} cameras; leave it empty for all"));
    }
    let ids = request.camera_ids.iter().take(MAX_CAMERAS).enumerate();
    let cameras =
        ids.filter_map(|(at, id)| bad.check(format!("camera_ids[{at}]"), CameraId::new(id))).collect();
    check_choice(&mut bad, &request.classes, Some(request.min_score));
    bad.into_result()?;
    Ok(EventFilter { cameras, classes: request.classes, min_score: request.min_score })
}

/// Notes what is wrong with a choice of classes and scores.
pub(super) fn check_choice(bad: &mut Violations, classes: &[String], min_score: Option<f32>) {
    if classes.len() > MAX_CLASSES {
        bad.add("classes", format!("lists more than {MAX_CLASSES} classes; leave it empty for all"));
    }
    if let Some(score) = min_score.filter(|score| !(0.0..=1.0).contains(score)) {
        bad.add("min_score", format!("{score} is not a number from 0 to 1"));
    }
}

/// One event for a subscriber.
pub(super) fn subscribe_response(event: Event) -> v1::SubscribeResponse {
    let event = match event {
        Event::Detections(frame) => WireEvent::Detections(frame_detections(&frame)),
        Event::Dropped { frames } => WireEvent::Dropped(v1::Dropped { frames }),
        Event::CameraState(camera, status) => WireEvent::CameraState(v1::CameraStateChange {
            camera_id: camera.to_string(),
            status: Some(camera_status(&status)),
        }),
    };
    v1::SubscribeResponse { event: Some(event) }
}

fn frame_detections(frame: &Arc<FrameDetections>) -> v1::FrameDetections {
    let quality = match frame.capture.quality {
        CaptureQuality::Arrival => v1::CaptureTimeQuality::Arrival,
    };
    v1::FrameDetections {
        camera_id: frame.camera.to_string(),
        sequence: frame.sequence,
        capture_time: Some(timestamp(frame.capture.wall)),
        capture_time_quality: quality.into(),
        frame_width: frame.width,
        frame_height: frame.height,
        model: frame.model.to_string(),
        detections: frame.detections.iter().map(detection).collect(),
    }
}

/// What was found in one picture.
pub(super) fn detect_response(found: &PictureDetections) -> v1::DetectResponse {
    v1::DetectResponse {
        detections: found.detections.iter().map(detection).collect(),
        frame_width: found.width,
        frame_height: found.height,
        model: found.model.to_string(),
    }
}

fn detection(detection: &Detection) -> v1::Detection {
    let b = detection.bbox;
    v1::Detection {
        r#box: Some(v1::BoundingBox { x1: b.x1, y1: b.y1, x2: b.x2, y2: b.y2 }),
        score: detection.score,
        label: detection.label.to_string(),
        class_id: detection.class_id,
        landmarks: detection.landmarks.iter().map(landmark).collect(),
    }
}

fn landmark(&Landmark { x, y, score }: &Landmark) -> v1::Landmark {
    v1::Landmark { x, y, score }
}

/// A model.
pub(super) fn model(info: ModelInfo) -> v1::Model {
    v1::Model {
        name: info.name.to_string(),
        family: info.family,
        classes: info.classes.iter().map(ToString::to_string).collect(),
        landmarks: info.landmarks.iter().map(ToString::to_string).collect(),
        skeleton: info.skeleton.iter().map(|&[from, to]| v1::Bone { from, to }).collect(),
        input_width: info.input_width,
        input_height: info.input_height,
        top_k: info.top_k,
        engine: info.engine,
        source: info.source,
        license: info.license,
        sha256: info.sha256,
        // How it is used is told by whoever serves it.
        ..Default::default()
    }
}
