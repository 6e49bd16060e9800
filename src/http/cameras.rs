//! What cameras see, for browsers and other plain clients: one picture, or pictures without end.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, future, stream};
use url::form_urlencoded;

use crate::camera::{CameraError, CameraId, CameraView};
use crate::view::{LiveStream, Side, View, ViewError, check_max_fps};

/// A snapshot waits so long for a frame.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two pictures of a stream (RFC 2046, section 5.1.1).
const BOUNDARY: &str = "centerx-picture";

/// What the pages need of the server's cameras.
pub trait Cameras: Send + Sync + 'static {
    /// One camera.
    ///
    /// # Errors
    /// There is no such camera.
    fn camera(&self, id: &CameraId) -> Result<CameraView, CameraError>;
    /// Pictures of what is published from now on.
    ///
    /// # Errors
    /// There is no such camera, or the server is shutting down.
    fn watch(&self, view: View) -> Result<LiveStream, ViewError>;
}

/// Of the Fetch standard, section 3.7.
const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

type Shared = State<Arc<dyn Cameras>>;

/// The pages of single cameras.
pub(super) fn routes<S: Clone + Send + Sync + 'static>(cameras: Arc<dyn Cameras>) -> Router<S> {
    Router::new()
        .route("/cameras/{id}/snapshot.jpg", get(snapshot))
        .route("/cameras/{id}/live.mjpg", get(live))
        .with_state(cameras)
}

/// Why there is no picture, in words.
struct Refusal(StatusCode, String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self(status, text) = self;
        (status, format!("{text}\n")).into_response()
    }
}

impl From<ViewError> for Refusal {
    fn from(error: ViewError) -> Self {
        let status = match error {
            ViewError::Unknown(_) | ViewError::Removed => StatusCode::NOT_FOUND,
            ViewError::ShuttingDown => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self(status, error.to_string())
    }
}

fn not_found(error: &impl ToString) -> Refusal {
    Refusal(StatusCode::NOT_FOUND, error.to_string())
}

/// What a query asks for; `boxes` where it does not say.
fn view(camera: CameraId, query: &str, boxes: bool) -> Result<View, Refusal> {
    let mut view = View { camera, side: Side::DEFAULT, boxes, max_fps: None };
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let bad = |what: &str| Refusal(StatusCode::BAD_REQUEST, format!("{name}={value}: {what}"));
        match &*name {
            "boxes" => {
                view.boxes = match &*value {
                    "1" | "true" => true,
                    "0" | "false" => false,
                    _ => return Err(bad("give 1 or 0")),
                };
            }
            "max_side" => {
                let pixels = value.parse().map_err(|_| bad("give the longer side in pixels, such as 640"))?;
                view.side = Side::at_least(pixels);
            }
            "max_fps" => {
                let fps = value.parse().map_err(|_| bad("give pictures a second, such as 5"))?;
                check_max_fps(fps).map_err(|problem| bad(&problem))?;
                view.max_fps = Some(fps);
            }
            _ => return Err(bad("is not known; there are boxes, max_side and max_fps")),
        }
    }
    Ok(view)
}

/// Begins to watch the camera of a request.
fn watch(
    cameras: &Arc<dyn Cameras>,
    id: &str,
    query: Option<String>,
    boxes: bool,
) -> Result<(CameraId, LiveStream), Refusal> {
    let id = CameraId::new(id).map_err(|error| not_found(&error))?;
    let view = view(id.clone(), &query.unwrap_or_default(), boxes)?;
    let camera = cameras.camera(&id).map_err(|error| not_found(&error))?;
    if !camera.spec.enabled {
        return Err(Refusal(StatusCode::CONFLICT, format!("camera {id} is disabled; enable it first")));
    }
    Ok((id, cameras.watch(view)?))
}

/// What holds for every picture: it is not to be kept, nor to be shown by pages of others, which need no token where
/// the server asks for none.
fn headers(kind: &str) -> [(HeaderName, String); 3] {
    [
        (header::CONTENT_TYPE, kind.to_owned()),
        (header::CACHE_CONTROL, "no-store".to_owned()),
        (CROSS_ORIGIN_RESOURCE_POLICY, "same-origin".to_owned()),
    ]
}

async fn snapshot(
    State(cameras): Shared,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let (id, mut pictures) = watch(&cameras, &id, query, false)?;
    match tokio::time::timeout(PATIENCE, pictures.next()).await {
        Ok(Some(Ok(picture))) => Ok((headers("image/jpeg"), picture.jpeg).into_response()),
        Ok(Some(Err(error))) => Err(error.into()),
        Ok(None) => Err(ViewError::Removed.into()),
        Err(_) => Err(nothing_came(&cameras.camera(&id).map_err(|error| not_found(&error))?)),
    }
}

/// No frame was published in time: what is known of the camera.
fn nothing_came(camera: &CameraView) -> Refusal {
    let (id, status) = (&camera.spec.id, &camera.status);
    let text = format!(
        "no frame of camera {id} was published within {} s; it is {}: {}",
        PATIENCE.as_secs(),
        status.state.as_str(),
        status.reason
    );
    Refusal(StatusCode::SERVICE_UNAVAILABLE, text)
}

async fn live(
    State(cameras): Shared,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let (_, pictures) = watch(&cameras, &id, query, true)?;
    let kind = format!("multipart/x-mixed-replace; boundary={BOUNDARY}");
    Ok((headers(&kind), Body::from_stream(parts(pictures))).into_response())
}

/// The bytes of a body of many pictures. Each is followed by the boundary at once: browsers show a picture when they
/// have seen that.
fn parts(pictures: LiveStream) -> impl Stream<Item = Result<Bytes, Infallible>> {
    let boundary = || Bytes::from(format!("--{BOUNDARY}\r\n"));
    let part = move |jpeg: Bytes| {
        let head = format!("Content-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n", jpeg.len());
        stream::iter([head.into(), jpeg, Bytes::from_static(b"\r\n"), boundary()])
    };
    let pictures = pictures.take_while(|next| future::ready(next.is_ok()));
    let pictures = pictures.filter_map(|next| future::ready(next.ok())).map(|picture| picture.jpeg);
    stream::iter([boundary()]).chain(pictures.flat_map(part)).map(Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<View, String> {
        view(CameraId::new("yard").unwrap(), query, true).map_err(|Refusal(_, text)| text)
    }

    #[test]
    fn a_query_tells_what_to_show() {
        let asked = read("boxes=0&max_side=1000&max_fps=2.5").unwrap();
        assert_eq!((asked.boxes, asked.side.pixels(), asked.max_fps), (false, 1280, Some(2.5)));
        let plain = read("").unwrap();
        assert_eq!((plain.boxes, plain.side, plain.max_fps), (true, Side::DEFAULT, None));
    }

    #[test]
    fn what_cannot_be_is_named() {
        for (query, word) in [
            ("boxes=yes", "boxes=yes: give 1 or 0"),
            ("max_side=-1", "pixels"),
            ("max_fps=0", "from 0.01 to 1000"),
            ("max_fps=NaN", "from 0.01"),
            ("size=3", "size=3: is not known"),
        ] {
            let problem = read(query).unwrap_err();
            assert!(problem.contains(word), "{query}: {problem}");
        }
    }
}
