//! `ModelService`.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::backend::{Backend, ModelView};
use super::convert_detections::model;
use super::status::{Violations, of_model_change};
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
        let models = self.backend.models().into_iter().map(served).collect();
        Ok(Response::new(v1::ListModelsResponse { models }))
    }

    async fn load_model(
        &self,
        request: Request<v1::LoadModelRequest>,
    ) -> Result<Response<v1::LoadModelResponse>, Status> {
        let v1::LoadModelRequest { name, source } = request.into_inner();
        required(&[("name", &name), ("source", &source)])?;
        let view = self.backend.load_model(name, source).await.map_err(|error| of_model_change(&error))?;
        Ok(Response::new(v1::LoadModelResponse { model: Some(served(view)) }))
    }

    async fn unload_model(
        &self,
        request: Request<v1::UnloadModelRequest>,
    ) -> Result<Response<v1::UnloadModelResponse>, Status> {
        let v1::UnloadModelRequest { name } = request.into_inner();
        required(&[("name", &name)])?;
        self.backend.unload_model(name).await.map_err(|error| of_model_change(&error))?;
        Ok(Response::new(v1::UnloadModelResponse {}))
    }

    async fn swap_model(
        &self,
        request: Request<v1::SwapModelRequest>,
    ) -> Result<Response<v1::SwapModelResponse>, Status> {
        let v1::SwapModelRequest { name, source } = request.into_inner();
        required(&[("name", &name), ("source", &source)])?;
        let view = self.backend.swap_model(name, source).await.map_err(|error| of_model_change(&error))?;
        Ok(Response::new(v1::SwapModelResponse { model: Some(served(view)) }))
    }
}

pub(super) fn required(fields: &[(&str, &str)]) -> Result<(), Status> {
    let mut bad = Violations::default();
    fields.iter().filter(|(_, value)| value.is_empty()).for_each(|(field, _)| bad.add(*field, "is missing"));
    bad.into_result()
}

fn served(view: ModelView) -> v1::Model {
    v1::Model {
        loaded_from: view.loaded_from,
        is_default: view.is_default,
        cameras: view.cameras as u32,
        ..model(view.info)
    }
}
