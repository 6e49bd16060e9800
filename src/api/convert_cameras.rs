//! Cameras, to the wire and back.

use std::time::{Duration, SystemTime};

use prost_types::{FieldMask, Timestamp};
use tonic::Status;

use super::backend::Capacity;
use super::status::{Violations, invalid};
use super::v1;
use crate::camera::{
    CameraId, CameraOrigin, CameraPatch, CameraSpec, CameraState, CameraStatus, CameraUrl, CameraView,
    FailureKind, InvalidCamera, Transport,
};
use crate::ledger::{Balance, DropReason};

const PATHS: &str =
    "name, url, enabled, max_fps, max_age, priority, model, min_score, classes, transport, loop";

/// A camera to add. Every field that is wrong is named.
pub(super) fn camera_spec(camera: Option<v1::Camera>) -> Result<CameraSpec, Status> {
    let camera = camera.ok_or_else(|| invalid("camera", "is missing"))?;
    let url = camera_url(&camera.url);
    camera_spec_at(camera, url)
}

/// A camera whose address was looked at already.
pub(super) fn camera_spec_at(
    camera: v1::Camera,
    url: Result<CameraUrl, InvalidCamera>,
) -> Result<CameraSpec, Status> {
    let mut bad = Violations::default();
    let id = bad.check("camera.id", CameraId::new(&camera.id));
    let url = bad.check("camera.url", url);
    let transport = bad.check("camera.transport", transport(camera.transport));
    let max_age = bad.check("camera.max_age", max_age(camera.max_age));
    let (Some(id), Some(url), Some(transport), Some(max_age)) = (id, url, transport, max_age) else {
        return Err(bad.into_status());
    };
    let spec = CameraSpec {
        name: camera.name,
        enabled: camera.enabled.unwrap_or(true),
        max_fps: camera.max_fps,
        max_age,
        priority: camera.priority.unwrap_or(CameraSpec::LOWEST_PRIORITY),
        model: camera.model,
        min_score: camera.min_score,
        classes: camera.classes,
        transport,
        repeat: camera.r#loop,
        ..CameraSpec::new(id, url)
    };
    spec.validate().map_err(|error| invalid(&format!("camera.{}", error.field), error.problem))?;
    Ok(spec)
}

/// A change to a camera. Every field and path that is wrong is named.
pub(super) fn camera_patch(
    camera: Option<v1::Camera>,
    mask: Option<FieldMask>,
) -> Result<(CameraId, CameraPatch), Status> {
    let camera = camera.ok_or_else(|| invalid("camera", "is missing"))?;
    let paths = mask.unwrap_or_default().paths;
    let mut bad = Violations::default();
    let id = bad.check("camera.id", CameraId::new(&camera.id));
    if paths.is_empty() {
        bad.add("update_mask", format!("is empty: name the fields to change: {PATHS}"));
    }
    let mut patch = CameraPatch::default();
    for path in &paths {
        set_path(&mut patch, path, &camera, &mut bad);
    }
    bad.into_result()?;
    Ok((id.ok_or_else(|| invalid("camera.id", "is missing"))?, patch))
}

fn set_path(patch: &mut CameraPatch, path: &str, camera: &v1::Camera, bad: &mut Violations) {
    match path {
        "name" => patch.name = Some(camera.name.clone()),
        "url" => patch.url = bad.check("camera.url", camera_url(&camera.url)),
        "enabled" => patch.enabled = Some(camera.enabled.unwrap_or(true)),
        "max_fps" => patch.max_fps = Some(camera.max_fps),
        "max_age" => patch.max_age = bad.check("camera.max_age", max_age(camera.max_age)),
        "priority" => patch.priority = Some(camera.priority.unwrap_or(CameraSpec::LOWEST_PRIORITY)),
        "model" => patch.model = Some(camera.model.clone()),
        "min_score" => patch.min_score = Some(camera.min_score),
        "classes" => patch.classes = Some(camera.classes.clone()),
        "transport" => patch.transport = bad.check("camera.transport", transport(camera.transport)),
        "loop" => patch.repeat = Some(camera.r#loop),
        "id" => bad.add("update_mask", "names id, which cannot be changed: add a camera with the new id"),
        other => bad.add("update_mask", format!("names the unknown field {other:?}; there are {PATHS}")),
    }
}

/// Whether an address was read from an answer of ours, without its secrets.
pub(super) fn is_shown(url: &str) -> bool {
    url.contains("***")
}

/// An address, but not one that was read from an answer of ours.
pub(super) fn camera_url(text: &str) -> Result<CameraUrl, InvalidCamera> {
    if is_shown(text) {
        let problem = "holds ***, which stands for a secret in the server's answers: give the full URL, or \
                       leave url out of update_mask to keep it (an asterisk that is meant is %2A)";
        return Err(InvalidCamera { field: "url", problem: problem.into() });
    }
    CameraUrl::parse(text)
}

/// A time; negative ones have no place in ours.
fn max_age(wire: Option<prost_types::Duration>) -> Result<Option<Duration>, InvalidCamera> {
    let problem = |_| InvalidCamera {
        field: "max_age",
        problem: "is negative or no time at all: give 1 ms to 1 h".into(),
    };
    wire.map(Duration::try_from).transpose().map_err(problem)
}

fn transport(number: i32) -> Result<Transport, InvalidCamera> {
    match v1::Transport::try_from(number) {
        Ok(v1::Transport::Unspecified | v1::Transport::Tcp) => Ok(Transport::Tcp),
        Ok(v1::Transport::Udp) => Ok(Transport::Udp),
        Err(_) => Err(InvalidCamera {
            field: "transport",
            problem: format!(
                "{number} is no Transport this server knows: use TRANSPORT_TCP or TRANSPORT_UDP"
            ),
        }),
    }
}

/// A camera and all there is to tell about it. The URL has lost its secrets.
pub(super) fn camera_info(view: CameraView) -> v1::CameraInfo {
    let origin = match view.origin {
        CameraOrigin::Config => v1::CameraOrigin::Config,
        CameraOrigin::Api => v1::CameraOrigin::Api,
    };
    v1::CameraInfo {
        camera: Some(camera(view.spec)),
        origin: origin.into(),
        status: Some(camera_status(&view.status)),
        accounts: Some(frame_accounts(&view.balance)),
        reconnects: view.reconnects,
    }
}

fn camera(spec: CameraSpec) -> v1::Camera {
    let transport = match spec.transport {
        Transport::Tcp => v1::Transport::Tcp,
        Transport::Udp => v1::Transport::Udp,
    };
    v1::Camera {
        id: spec.id.to_string(),
        name: spec.name,
        url: spec.url.to_string(),
        enabled: Some(spec.enabled),
        max_fps: spec.max_fps,
        // An hour at most.
        max_age: spec.max_age.and_then(|age| age.try_into().ok()),
        priority: Some(spec.priority),
        model: spec.model,
        min_score: spec.min_score,
        classes: spec.classes,
        transport: transport.into(),
        r#loop: spec.repeat,
    }
}

/// A camera's state.
pub(super) fn camera_status(status: &CameraStatus) -> v1::CameraStatus {
    let (frame_width, frame_height) = status.frame_size.unwrap_or_default();
    v1::CameraStatus {
        state: camera_state(status.state).into(),
        reason: status.reason.clone(),
        failure: status.failure.map_or(v1::CameraFailure::Unspecified, camera_failure).into(),
        since: Some(timestamp(status.since)),
        retry_at: status.retry_at.map(timestamp),
        frame_width,
        frame_height,
    }
}

fn camera_state(state: CameraState) -> v1::CameraState {
    match state {
        CameraState::Connecting => v1::CameraState::Connecting,
        CameraState::Live => v1::CameraState::Live,
        CameraState::Stalled => v1::CameraState::Stalled,
        CameraState::Backoff => v1::CameraState::Backoff,
        CameraState::Failed => v1::CameraState::Failed,
        CameraState::Disabled => v1::CameraState::Disabled,
        CameraState::Ended => v1::CameraState::Ended,
    }
}

pub(super) fn camera_failure(kind: FailureKind) -> v1::CameraFailure {
    match kind {
        FailureKind::Auth => v1::CameraFailure::Auth,
        FailureKind::NotFound => v1::CameraFailure::NotFound,
        FailureKind::Codec => v1::CameraFailure::Codec,
        FailureKind::NoVideo => v1::CameraFailure::NoVideo,
        FailureKind::Network => v1::CameraFailure::Network,
        FailureKind::Forbidden => v1::CameraFailure::Forbidden,
        FailureKind::Stalled => v1::CameraFailure::Stalled,
        FailureKind::Ended => v1::CameraFailure::Ended,
        FailureKind::Other => v1::CameraFailure::Other,
    }
}

fn frame_accounts(balance: &Balance) -> v1::FrameAccounts {
    let dropped = DropReason::ALL.iter().map(|reason| (reason.to_string(), balance.dropped(*reason)));
    v1::FrameAccounts {
        received: balance.received,
        published: balance.published,
        in_flight: balance.in_flight,
        dropped: dropped.collect(),
    }
}

/// What a model can do and is asked for.
pub(super) fn model_capacity(capacity: Capacity) -> v1::ModelCapacity {
    v1::ModelCapacity {
        capacity_fps: capacity.frames_per_second,
        load_fps: capacity.load,
        left_fps: capacity.frames_per_second.map(|frames| (frames - capacity.load).max(0.0)),
        model: capacity.model,
    }
}

/// A wall-clock time.
pub(super) fn timestamp(time: SystemTime) -> Timestamp {
    time.into()
}
