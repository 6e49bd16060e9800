//! `ModelService`.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::backend::Backend;
use super::convert_detections::model;
use super::v1;
use super::v1::model_service_server::ModelService;

pub(super) struct Models {
    pub(super) backend: Arc<dyn Backend>,
}

#[tonic::async_trait]
impl ModelService for Models {
    async fn list_models(
        &self,
        _request: Request<v1::ListModelsRequest>,
    ) -> Result<Response<v1::ListModelsResponse>, Status> {
        let models = self.backend.models().into_iter().map(model).collect();
        Ok(Response::new(v1::ListModelsResponse { models }))
    }
}
