//! Requests out of arbitrary bytes, as far as they come before anything else of the server is asked. For the fuzz
//! targets: compiled with `cfg(fuzzing)` only, which cargo-fuzz sets.

use prost::Message;
use tonic::Status;

use super::convert_cameras::{camera_patch, camera_spec};
use super::convert_detections::event_filter;
use super::convert_frames::{choice, raw_picture};
use super::v1::client_frame::Picture as WirePicture;
use super::v1::detect_stream_request::Message as StreamMessage;
use super::{detections, models, v1};
use crate::camera::CameraSpec;
use crate::frame::Picture;

/// Headers that clients accept.
const MAX_STATUS: usize = 12_000;

/// Decodes and converts a request; `kind` chooses which.
///
/// # Panics
/// What was accepted breaks its own rules, or what was refused makes a status too large to travel.
pub fn request(kind: u8, bytes: &[u8]) {
    let refused = match kind % 8 {
        0 => {
            with(bytes, |request: v1::AddCameraRequest| camera_spec(request.camera).map(|spec| keeps(&spec)))
        }
        1 => with(bytes, |request: v1::UpdateCameraRequest| {
            let (id, patch) = camera_patch(request.camera, request.update_mask)?;
            let url = "rtsp://admin:secret@10.0.0.9/live".to_owned();
            let camera = v1::Camera { id: id.to_string(), url, ..Default::default() };
            let spec = patch.apply(camera_spec(Some(camera))?);
            if spec.validate().is_ok() {
                keeps(&spec);
            }
            Ok(())
        }),
        2 => with(bytes, |request: v1::SubscribeRequest| event_filter(request).map(drop)),
        3 => with(bytes, |request: v1::DetectRequest| {
            detections::check(&request, super::Config::default().max_picture())?;
            let _ = crate::picture_file::decode(&request.image);
            Ok(())
        }),
        4 => with(bytes, |request: v1::DetectStreamRequest| match request.message {
            Some(StreamMessage::Options(options)) => choice(options).map(drop),
            Some(StreamMessage::Frame(frame)) => match frame.picture {
                Some(WirePicture::Raw(raw)) => raw_picture(raw).map(|picture| all_there(&picture)),
                _ => Ok(()),
            },
            None => Ok(()),
        }),
        5 => with(bytes, |request: v1::LoadModelRequest| {
            models::required(&[("name", &request.name), ("source", &request.source)])?;
            let _ = crate::app::models::check_name(&request.name);
            Ok(())
        }),
        6 => with(bytes, |request: v1::RemoveCameraRequest| super::cameras::camera_id(&request.id).map(drop)),
        _ => with(bytes, |raw: v1::RawPicture| frame(raw).map(drop)),
    };
    if let Err(status) = refused {
        assert!(status.message().len() + status.details().len() < MAX_STATUS, "{}", status.message().len());
    }
}

/// A client's raw picture, every row of which can be read.
///
/// # Errors
/// A picture that is refused.
///
/// # Panics
/// A row that is not there.
pub fn frame(raw: v1::RawPicture) -> Result<Picture, Status> {
    let picture = raw_picture(raw)?;
    all_there(&picture);
    Ok(picture)
}

fn with<T: Message + Default>(
    bytes: &[u8],
    convert: impl FnOnce(T) -> Result<(), Status>,
) -> Result<(), Status> {
    // What does not decode is refused by tonic.
    T::decode(bytes).map_or(Ok(()), convert)
}

/// A camera that was accepted is the same after a restart.
fn keeps(spec: &CameraSpec) {
    let text = serde_json::to_string(spec).expect("it can be written");
    let again: CameraSpec = serde_json::from_str(&text).expect("and read again");
    again.validate().expect("and is as good");
    // The parser may be wrong about a number's last bit.
    let near = |a: f64, b: f64| (a - b).abs() <= a.abs() * 1e-12;
    assert!(
        spec.max_fps.unwrap_or(1.0) == again.max_fps.unwrap_or(1.0)
            || near(spec.max_fps.unwrap_or(1.0), again.max_fps.unwrap_or(1.0))
    );
    let same = CameraSpec { max_fps: spec.max_fps, ..again };
    assert_eq!(same, *spec);
}

fn all_there(picture: &Picture) {
    for (index, (row, rows)) in picture.plane_sizes().into_iter().enumerate() {
        let last = picture.strides[index] * (rows - 1);
        assert_eq!(picture.plane(index)[last..last + row].len(), row);
    }
}
