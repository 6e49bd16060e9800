//! What the services need of the rest of the server. `app` implements it; tests script it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::Stream;

use crate::camera::{CameraError, CameraId, CameraPatch, CameraSpec, CameraView};
use crate::detection::{Event, EventFilter, ModelInfo, PictureDetections};
use crate::frame::Picture;

/// Events for one subscriber, ending when the server shuts down. Dropping it ends the subscription.
pub type EventStream = Pin<Box<dyn Stream<Item = Event> + Send>>;

/// What was found in a picture, once it was looked at. Letting it go takes the picture back.
pub type Pending = Pin<Box<dyn Future<Output = Result<PictureDetections, DetectError>> + Send>>;

/// What to look for in a client's pictures.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Choice {
    /// The model to use; the default one if absent.
    pub model: Option<String>,
    /// Detections under this score are left out; the server's default if absent.
    pub min_score: Option<f32>,
    /// Class names to report; empty means all.
    pub classes: Vec<String>,
}

/// The pictures of one client's stream, which take turns with the cameras as one camera does.
#[tonic::async_trait]
pub trait PictureStream: Send {
    /// Waits until the stream's picture before this one went to an engine, and hands in this one.
    async fn offer(&mut self, picture: Arc<Picture>) -> Result<Pending, DetectError>;
}

/// One picture to look at.
#[derive(Debug)]
pub struct DetectRequest {
    /// The pixels.
    pub picture: Arc<Picture>,
    /// The model to use; the default one if absent.
    pub model: Option<String>,
    /// Detections under this score are left out; the server's default if absent.
    pub min_score: Option<f32>,
    /// Class names to report; empty means all.
    pub classes: Vec<String>,
}

/// Why a picture was not looked at.
#[derive(Debug, thiserror::Error)]
pub enum DetectError {
    /// No such model.
    #[error("there is no model {name:?}; models here: {have}")]
    UnknownModel {
        /// The name asked for.
        name: String,
        /// The names there are.
        have: String,
    },
    /// The model knows no such class.
    #[error("model {model} has no class {class:?}")]
    UnknownClass {
        /// The model's name.
        model: String,
        /// The class asked for.
        class: String,
    },
    /// Too many pictures wait already.
    #[error("too many pictures wait for the engine; retry in a moment")]
    Busy,
    /// The server is on its way out.
    #[error("the server is shutting down")]
    ShuttingDown,
    /// The engine failed.
    #[error("the engine failed: {0}")]
    Engine(String),
}

/// The server behind the services.
#[tonic::async_trait]
pub trait Backend: Send + Sync + 'static {
    /// Adds a camera and keeps it across restarts. Checks it with [`CameraSpec::validate`].
    async fn add_camera(&self, spec: CameraSpec) -> Result<CameraView, CameraError>;
    /// Changes a camera that the API added. Checks the outcome with [`CameraSpec::validate`].
    async fn update_camera(&self, id: &CameraId, patch: CameraPatch) -> Result<CameraView, CameraError>;
    /// Removes a camera that the API added.
    async fn remove_camera(&self, id: &CameraId) -> Result<(), CameraError>;
    /// One camera.
    fn camera(&self, id: &CameraId) -> Result<CameraView, CameraError>;
    /// All cameras, by id.
    fn cameras(&self) -> Vec<CameraView>;
    /// Begins a subscription: the state of each camera it covers first, then what happens.
    ///
    /// # Errors
    /// A camera or class in the filter that does not exist, as text for the client.
    fn subscribe(&self, filter: EventFilter) -> Result<EventStream, SubscribeError>;
    /// Looks at one picture.
    async fn detect(&self, request: DetectRequest) -> Result<PictureDetections, DetectError>;
    /// Begins a stream of pictures.
    ///
    /// # Errors
    /// A model or class that does not exist.
    fn open_stream(&self, choice: Choice) -> Result<Box<dyn PictureStream>, DetectError>;
    /// The models being served.
    fn models(&self) -> Vec<ModelInfo>;
    /// Whether the server is ready for work: none, or the reason why not.
    fn not_ready(&self) -> Option<String>;
}

/// A filter names something that does not exist.
#[derive(Debug, thiserror::Error)]
pub enum SubscribeError {
    /// A camera.
    #[error("there is no camera {0}")]
    UnknownCamera(CameraId),
    /// A class of any served model.
    #[error("no served model has a class {0:?}")]
    UnknownClass(String),
    /// The server is on its way out.
    #[error("the server is shutting down")]
    ShuttingDown,
}
