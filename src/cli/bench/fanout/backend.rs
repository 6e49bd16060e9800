//! A server that has one camera, whose detections the benchmark publishes, and nothing else.

use std::time::SystemTime;

use crate::api::backend::{
    Backend, CameraTest, Capacity, Choice, DetectError, DetectRequest, EventStream, ModelChangeError,
    ModelView, PictureStream, SubscribeError,
};
use crate::camera::{CameraError, CameraId, CameraOrigin, CameraPatch, CameraSpec, CameraView};
use crate::detection::{EventFilter, PictureDetections};
use crate::history::CameraHistory;
use crate::publisher::Hub;
use crate::view::{LiveStream, View, ViewError};

/// Subscriptions to a hub; everything else is refused.
pub(super) struct OnlyHub(pub(super) Hub);

const NOTHING: DetectError = DetectError::Busy;

fn no_models() -> ModelChangeError {
    ModelChangeError::Failed("the benchmark has no models".into())
}

#[tonic::async_trait]
impl Backend for OnlyHub {
    async fn add_camera(&self, spec: CameraSpec) -> Result<CameraView, CameraError> {
        Err(CameraError::Unknown(spec.id))
    }

    async fn update_camera(&self, id: &CameraId, _: CameraPatch) -> Result<CameraView, CameraError> {
        self.camera(id)
    }

    async fn remove_camera(&self, id: &CameraId) -> Result<(), CameraError> {
        self.camera(id).map(drop)
    }

    async fn test_camera(&self, spec: CameraSpec, _: CameraOrigin) -> Result<CameraTest, CameraError> {
        Err(CameraError::Unknown(spec.id))
    }

    fn camera(&self, id: &CameraId) -> Result<CameraView, CameraError> {
        Err(CameraError::Unknown(id.clone()))
    }

    fn cameras(&self) -> Vec<CameraView> {
        Vec::new()
    }

    fn history(&self, _: &[CameraId], _: Option<SystemTime>) -> Result<Vec<CameraHistory>, CameraError> {
        Ok(Vec::new())
    }

    fn capacities(&self) -> Vec<Capacity> {
        Vec::new()
    }

    fn subscribe(&self, filter: EventFilter) -> Result<EventStream, SubscribeError> {
        Ok(Box::pin(self.0.subscribe(filter, Vec::new())))
    }

    fn watch(&self, _: Vec<View>) -> Result<LiveStream, ViewError> {
        Err(ViewError::ShuttingDown)
    }

    async fn detect(&self, _: DetectRequest) -> Result<PictureDetections, DetectError> {
        Err(NOTHING)
    }

    fn open_stream(&self, _: Choice) -> Result<Box<dyn PictureStream>, DetectError> {
        Err(NOTHING)
    }

    fn models(&self) -> Vec<ModelView> {
        Vec::new()
    }

    async fn load_model(&self, _: String, _: String) -> Result<ModelView, ModelChangeError> {
        Err(no_models())
    }

    async fn unload_model(&self, _: String) -> Result<(), ModelChangeError> {
        Err(no_models())
    }

    async fn swap_model(&self, _: String, _: String) -> Result<ModelView, ModelChangeError> {
        Err(no_models())
    }

    fn not_ready(&self) -> Option<String> {
        None
    }
}
