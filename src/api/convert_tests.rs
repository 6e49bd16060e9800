//! Tests of cameras, to the wire and back.

use tonic::Status;

use super::backend::{CameraTest, FirstPicture};
use super::convert_cameras::{camera_failure, camera_spec_at, camera_url, is_shown};
use super::status::{invalid, of_camera};
use super::v1;
use crate::camera::{CameraError, CameraId, CameraOrigin, CameraSpec, CameraUrl, CameraView, InvalidCamera};

/// The id of a camera that has none yet, in the log.
const NAMELESS: &str = "test";

/// A camera to test, and whose word its address is. `stored` looks up the one there is, whose address is meant by an
/// address without its secrets.
pub(super) fn camera_to_test(
    camera: Option<v1::Camera>,
    stored: impl FnOnce(&CameraId) -> Result<CameraView, CameraError>,
) -> Result<(CameraSpec, CameraOrigin), Status> {
    let mut camera = camera.ok_or_else(|| invalid("camera", "is missing"))?;
    if is_shown(&camera.url) {
        if camera.id.is_empty() {
            return Err(invalid("camera.id", "is empty: a url with *** is that of the camera of this id"));
        }
        let id = CameraId::new(&camera.id).map_err(|error| invalid("camera.id", error.problem))?;
        let view = stored(&id).map_err(|error| of_camera("camera.id", error))?;
        let url = same(&camera.url, view.spec.url);
        return Ok((camera_spec_at(camera, url)?, view.origin));
    }
    if camera.id.is_empty() {
        camera.id = NAMELESS.into();
    }
    let url = camera_url(&camera.url);
    Ok((camera_spec_at(camera, url)?, CameraOrigin::Api))
}

/// The address that is shown as `shown`. The secrets of one are not sent to another place.
fn same(shown: &str, stored: CameraUrl) -> Result<CameraUrl, InvalidCamera> {
    let is_same = CameraUrl::parse(shown).is_ok_and(|url| url.expose().as_str() == stored.to_string());
    if is_same {
        return Ok(stored);
    }
    let problem = "holds ***, which stands for a secret of the camera of this id, and is not that camera's url apart \
                   from it: give the full URL";
    Err(InvalidCamera { field: "url", problem: problem.into() })
}

/// How the test of a camera went.
pub(super) fn camera_test(test: CameraTest) -> v1::TestCameraResponse {
    // Minutes at most.
    let took = test.took.try_into().ok();
    match test.outcome {
        Ok(FirstPicture { width, height, jpeg }) => v1::TestCameraResponse {
            took,
            frame_width: width,
            frame_height: height,
            jpeg,
            ..Default::default()
        },
        Err((kind, reason)) => v1::TestCameraResponse {
            took,
            failure: camera_failure(kind).into(),
            reason,
            ..Default::default()
        },
    }
}
