//! Live pictures and what is asked of them, to the wire and back.

use std::collections::HashSet;

use tonic::Status;

use super::convert_detections::{MAX_CAMERAS, frame_detections};
use super::status::{Violations, invalid};
use super::v1;
use crate::camera::CameraId;
use crate::view::{LivePicture, Side, View, check_max_fps};

/// What a viewer wants to see. Every field that is wrong is named.
pub(super) fn views(request: &v1::WatchRequest) -> Result<Vec<View>, Status> {
    if request.views.is_empty() {
        return Err(invalid("views", "is empty: name the cameras to look at"));
    }
    if request.views.len() > MAX_CAMERAS {
        return Err(invalid("views", format!("are more than {MAX_CAMERAS}")));
    }
    let (mut bad, mut seen) = (Violations::default(), HashSet::new());
    let views = request.views.iter().enumerate();
    let views: Vec<_> = views.filter_map(|(at, view)| read(&mut bad, &mut seen, at, view)).collect();
    bad.into_result()?;
    Ok(views)
}

fn read<'a>(
    bad: &mut Violations,
    seen: &mut HashSet<&'a str>,
    at: usize,
    view: &'a v1::View,
) -> Option<View> {
    let field = |name: &str| format!("views[{at}].{name}");
    if let Some(Err(problem)) = view.max_fps.map(check_max_fps) {
        bad.add(field("max_fps"), problem);
    }
    if !seen.insert(&view.camera_id) {
        bad.add(field("camera_id"), "has a view already");
    }
    let camera = bad.check(field("camera_id"), CameraId::new(&view.camera_id))?;
    Some(View { camera, side: Side::at_least(view.max_side), boxes: false, max_fps: view.max_fps })
}

/// A picture and what was found in it.
pub(super) fn picture(picture: LivePicture) -> v1::WatchResponse {
    v1::WatchResponse {
        detections: Some(frame_detections(&picture.found)),
        jpeg: picture.jpeg,
        width: picture.width,
        height: picture.height,
        age: picture.age.try_into().ok(),
        skipped: picture.skipped,
    }
}
