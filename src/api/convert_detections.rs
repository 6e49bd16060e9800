//! Detections and what is asked of them, to the wire and back.

use std::collections::HashSet;

use prost::Message as _;
use tonic::Status;

use super::convert_cameras::{camera_status, timestamp};
use super::status::{Violations, stalled};
use super::subscribe::Outgoing;
use super::v1;
use super::v1::subscribe_response::Event as WireEvent;
use crate::camera::CameraId;
use crate::detection::{
    Detection, Event, EventFilter, Gap, Landmark, ModelInfo, PictureDetections, Position, Published,
    ResumeOutcome,
};
use crate::frame::CaptureQuality;

const MAX_CLASSES: usize = 1000;
/// Cameras that one request may name.
pub(super) const MAX_CAMERAS: usize = 10_000;

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
    let cameras: Vec<CameraId> = cameras;
    let resume = positions(&mut bad, &request.resume, &cameras);
    bad.into_result()?;
    Ok(EventFilter { cameras, classes: request.classes, min_score: request.min_score, resume })
}

/// Where to continue: one position a camera, of cameras that are subscribed to.
fn positions(bad: &mut Violations, resume: &[v1::Position], cameras: &[CameraId]) -> Vec<Position> {
    if resume.len() > MAX_CAMERAS {
        bad.add("resume", format!("lists more than {MAX_CAMERAS} cameras"));
    }
    let (watched, mut seen): (HashSet<_>, _) = (cameras.iter().collect(), HashSet::new());
    let mut position = |(at, given): (usize, &v1::Position)| {
        let field = format!("resume[{at}].camera_id");
        let camera = bad.check(field.clone(), CameraId::new(&given.camera_id))?;
        if !watched.is_empty() && !watched.contains(&camera) {
            bad.add(field, format!("{camera} is not among camera_ids"));
            return None;
        }
        if !seen.insert(camera.clone()) {
            bad.add(field, format!("{camera} has a position already"));
            return None;
        }
        Some(Position { camera, epoch: given.epoch, sequence: given.sequence })
    };
    resume.iter().take(MAX_CAMERAS).enumerate().filter_map(&mut position).collect()
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

/// One event for a subscriber; the last of a subscription that is ended is a status.
pub(super) fn outgoing(event: Event) -> Result<Outgoing, Status> {
    let event = match event {
        Event::Detections(frame) => return Ok(Outgoing::Shared(frame)),
        Event::Dropped { frames, gaps } => {
            WireEvent::Dropped(v1::Dropped { frames, gaps: gaps.into_iter().map(gap).collect() })
        }
        Event::CameraState(camera, status) => WireEvent::CameraState(v1::CameraStateChange {
            camera_id: camera.to_string(),
            status: Some(camera_status(&status)),
        }),
        Event::Resumed { camera, outcome, gap: missing } => WireEvent::Resumed(v1::Resumed {
            camera_id: camera.to_string(),
            outcome: resume_outcome(outcome).into(),
            gap: missing.map(gap),
        }),
        Event::Stalled(after) => return Err(stalled(after)),
    };
    Ok(Outgoing::Single(v1::SubscribeResponse { event: Some(event) }))
}

fn gap(gap: Gap) -> v1::Gap {
    v1::Gap {
        camera_id: gap.camera.to_string(),
        epoch: gap.epoch,
        first_sequence: gap.first,
        last_sequence: gap.last,
    }
}

fn resume_outcome(outcome: ResumeOutcome) -> v1::ResumeOutcome {
    match outcome {
        ResumeOutcome::Continued => v1::ResumeOutcome::Continued,
        ResumeOutcome::Gap => v1::ResumeOutcome::Gap,
        ResumeOutcome::Restarted => v1::ResumeOutcome::Restarted,
    }
}

/// The message of a frame's detections.
pub(super) fn encode_detections(published: &Published) -> Vec<u8> {
    let event = Some(WireEvent::Detections(frame_detections(published)));
    v1::SubscribeResponse { event }.encode_to_vec()
}

/// A frame and what was found in it.
pub(super) fn frame_detections(frame: &Published) -> v1::FrameDetections {
    let quality = match frame.capture.quality {
        CaptureQuality::Arrival => v1::CaptureTimeQuality::Arrival,
        CaptureQuality::SenderReport => v1::CaptureTimeQuality::SenderReport,
        CaptureQuality::CameraClockOff => v1::CaptureTimeQuality::CameraClockOff,
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
        epoch: frame.epoch(),
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
