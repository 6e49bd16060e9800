//! What the services need of the rest of the server. `app` implements it; tests script it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::Stream;

use crate::camera::{CameraError, CameraId, CameraOrigin, CameraPatch, CameraSpec, CameraView, FailureKind};
use crate::detection::{Event, EventFilter, ModelInfo, PictureDetections};
use crate::frame::Picture;
use crate::history::CameraHistory;
use crate::view::{LiveStream, Side, View, ViewError};

/// Events for one subscriber, ending when the server shuts down. Dropping it ends the subscription.
pub type EventStream = Pin<Box<dyn Stream<Item = Event> + Send>>;

/// What was found in a picture, once it was looked at. Letting it go takes the picture back.
pub type Pending = Pin<Box<dyn Future<Output = Result<PictureDetections, DetectError>> + Send>>;

/// How the test of a camera went.
#[derive(Clone, Debug)]
pub struct CameraTest {
    /// Its first picture; or why none came, as a kind and in words.
    pub outcome: Result<FirstPicture, (FailureKind, String)>,
    /// From the first step to the picture or the failure.
    pub took: Duration,
}

/// The first picture of a camera that was tested.
#[derive(Clone, Debug)]
pub struct FirstPicture {
    /// Frame width in pixels.
    pub width: u32,
    /// Frame height in pixels.
    pub height: u32,
    /// The picture, its longer side that of [`FirstPicture::SIDE`] at most.
    pub jpeg: Vec<u8>,
}

impl FirstPicture {
    /// The longer side of the JPEG at most.
    pub const SIDE: Side = Side::DEFAULT;
}

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
    /// No lane of the model has been at work for a while.
    #[error("{0}; retry later")]
    NoLane(String),
}

/// How much a model can do, and how much of it is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Capacity {
    /// The model's name.
    pub model: String,
    /// Whether cameras that name no model use it.
    pub is_default: bool,
    /// Frames a second it can look at, by what its runs took; none before the first.
    pub frames_per_second: Option<f64>,
    /// Frames a second that its cameras ask for.
    pub load: f64,
}

/// A served model and how it is used.
#[derive(Clone, Debug)]
pub struct ModelView {
    /// What is known of it.
    pub info: ModelInfo,
    /// What it was loaded from: a pulled model's name or a path.
    pub loaded_from: String,
    /// Whether cameras that name no model use it.
    pub is_default: bool,
    /// Cameras that use it.
    pub cameras: usize,
}

/// Why a change to the models was refused. Nothing is changed then.
#[derive(Debug, thiserror::Error)]
pub enum ModelChangeError {
    /// The name is taken.
    #[error("model {0} is served already; swap it, or choose another name")]
    Exists(String),
    /// No such model.
    #[error("there is no model {name:?}; models here: {have}")]
    Unknown {
        /// The name asked for.
        name: String,
        /// The names there are.
        have: String,
    },
    /// The name cannot be one.
    #[error("{0}")]
    InvalidName(String),
    /// Every camera that names none uses it.
    #[error(
        "model {0} is the default of cameras that name none and cannot be unloaded; swap it, or make another one the \
         first of the config file and restart"
    )]
    Default(String),
    /// It would be back after a restart.
    #[error("model {0} is in the config file; remove it there and restart")]
    Configured(String),
    /// Cameras use it.
    #[error("model {name} is used by {}; give them another model or remove them first", listed(cameras))]
    InUse {
        /// The model.
        name: String,
        /// Those that do.
        cameras: Vec<CameraId>,
    },
    /// Cameras ask for what the new model does not find.
    #[error(
        "cameras of model {name} ask for classes that the new one does not have: {}; change their classes first",
        listed(&cameras.iter().map(|(id, class)| format!("{id} for {class:?}")).collect::<Vec<_>>())
    )]
    LacksClasses {
        /// The model.
        name: String,
        /// Each camera and the first class it asks for in vain.
        cameras: Vec<(CameraId, String)>,
    },
    /// The source is no model that runs here.
    #[error("{reason}")]
    Unusable {
        /// What is wrong, whole.
        reason: String,
    },
    /// There are too many.
    #[error("{0} models are served already, and more are not; unload one first")]
    TooMany(usize),
    /// The store could not be written.
    #[error("the model store cannot be written, so nothing was changed: {0}")]
    Store(String),
    /// The server is on its way out.
    #[error("the server is shutting down")]
    ShuttingDown,
    /// A fault in the server.
    #[error("the change failed: {0}; please report it")]
    Failed(String),
}

/// Names in a message are cut after so many.
const MAX_LISTED: usize = 8;

fn listed(names: &[impl ToString]) -> String {
    let mut shown: Vec<_> = names.iter().take(MAX_LISTED).map(ToString::to_string).collect();
    if names.len() > MAX_LISTED {
        shown.push(format!("{} more", names.len() - MAX_LISTED));
    }
    shown.join(", ")
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
    /// Connects to a camera as one of `origin` would be, and waits for its first picture, without adding it.
    /// Checks it as [`Backend::add_camera`] does. Ends when the future is dropped.
    async fn test_camera(&self, spec: CameraSpec, origin: CameraOrigin) -> Result<CameraTest, CameraError>;
    /// One camera.
    fn camera(&self, id: &CameraId) -> Result<CameraView, CameraError>;
    /// All cameras, by id.
    fn cameras(&self) -> Vec<CameraView>;
    /// How these cameras fared after a time, by id; all cameras if none is named.
    ///
    /// # Errors
    /// A camera that does not exist.
    fn history(
        &self,
        cameras: &[CameraId],
        after: Option<SystemTime>,
    ) -> Result<Vec<CameraHistory>, CameraError>;
    /// What each model can do and is asked for, by name.
    fn capacities(&self) -> Vec<Capacity>;
    /// Begins a subscription: the state of each camera it covers first, then what happens.
    ///
    /// # Errors
    /// A camera or class in the filter that does not exist, as text for the client.
    fn subscribe(&self, filter: EventFilter) -> Result<EventStream, SubscribeError>;
    /// Pictures of what is published from now on, of each view those of its own rate.
    ///
    /// # Errors
    /// A camera that does not exist.
    fn watch(&self, views: Vec<View>) -> Result<LiveStream, ViewError>;
    /// Looks at one picture.
    async fn detect(&self, request: DetectRequest) -> Result<PictureDetections, DetectError>;
    /// Begins a stream of pictures.
    ///
    /// # Errors
    /// A model or class that does not exist.
    fn open_stream(&self, choice: Choice) -> Result<Box<dyn PictureStream>, DetectError>;
    /// The models being served, by name.
    fn models(&self) -> Vec<ModelView>;
    /// Serves one more model, and keeps it across restarts. `source` is a pulled model's name or the path of
    /// an ONNX file on the server.
    async fn load_model(&self, name: String, source: String) -> Result<ModelView, ModelChangeError>;
    /// Stops to serve a model.
    async fn unload_model(&self, name: String) -> Result<(), ModelChangeError>;
    /// Serves another file under a model's name, between two batches, and keeps it so across restarts.
    async fn swap_model(&self, name: String, source: String) -> Result<ModelView, ModelChangeError>;
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
