//! The cameras' history, to the wire.

use std::time::SystemTime;

use prost_types::Timestamp;
use tonic::Status;

use super::backend::Backend;
use super::convert_cameras::timestamp;
use super::status::{Violations, invalid, of_camera};
use super::v1;
use crate::camera::CameraId;
use crate::history::{CameraHistory, Point};

/// Answers what was asked for.
pub(super) fn told(
    backend: &dyn Backend,
    request: v1::GetHistoryRequest,
) -> Result<v1::GetHistoryResponse, Status> {
    let mut bad = Violations::default();
    let check = |(index, id): (usize, &String)| bad.check(format!("camera_ids[{index}]"), CameraId::new(id));
    let cameras: Vec<_> = request.camera_ids.iter().enumerate().filter_map(check).collect();
    bad.into_result()?;
    let after = request.after.map(time).transpose()?;
    let history = backend.history(&cameras, after).map_err(|error| of_camera("camera_ids", error))?;
    Ok(v1::GetHistoryResponse { cameras: history.into_iter().map(camera_history).collect() })
}

/// A time in the years 1 to 9999, as a `Timestamp` is to be.
fn time(wire: Timestamp) -> Result<SystemTime, Status> {
    let is_time = (-62_135_596_800..=253_402_300_799).contains(&wire.seconds)
        && (0..1_000_000_000).contains(&wire.nanos);
    let time = if is_time { SystemTime::try_from(wire).ok() } else { None };
    time.ok_or_else(|| invalid("after", "is no time: give one that an answer told"))
}

fn camera_history(history: CameraHistory) -> v1::CameraHistory {
    v1::CameraHistory {
        camera_id: history.camera.to_string(),
        points: history.points.into_iter().map(point).collect(),
    }
}

fn point(point: Point) -> v1::HistoryPoint {
    v1::HistoryPoint {
        time: Some(timestamp(point.time)),
        received: point.received,
        published: point.published,
        dropped: point.dropped,
        detections: point.objects,
        mean_age: point.mean_age.and_then(|age| age.try_into().ok()),
        max_age: point.max_age.and_then(|age| age.try_into().ok()),
    }
}
