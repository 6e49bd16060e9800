//! `CameraService`.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::backend::{Backend, Capacity};
use super::convert_cameras::{camera_info, camera_patch, camera_spec, model_capacity};
use super::convert_tests::{camera_test, camera_to_test};
use super::status::{invalid, of_camera};
use super::v1;
use super::v1::camera_service_server::CameraService;
use crate::camera::CameraId;

pub(super) struct Cameras {
    pub(super) backend: Arc<dyn Backend>,
}

pub(super) fn camera_id(id: &str) -> Result<CameraId, Status> {
    CameraId::new(id).map_err(|error| invalid("id", error.problem))
}

#[tonic::async_trait]
impl CameraService for Cameras {
    async fn add_camera(
        &self,
        request: Request<v1::AddCameraRequest>,
    ) -> Result<Response<v1::AddCameraResponse>, Status> {
        let spec = camera_spec(request.into_inner().camera)?;
        let view = self.backend.add_camera(spec).await.map_err(|error| of_camera("camera.id", error))?;
        let model = view.spec.model.clone();
        let is_its =
            |capacity: &Capacity| model.as_ref().map_or(capacity.is_default, |m| *m == capacity.model);
        let capacity = self.backend.capacities().into_iter().find(is_its).map(model_capacity);
        Ok(Response::new(v1::AddCameraResponse { camera: Some(camera_info(view)), capacity }))
    }

    async fn update_camera(
        &self,
        request: Request<v1::UpdateCameraRequest>,
    ) -> Result<Response<v1::UpdateCameraResponse>, Status> {
        let request = request.into_inner();
        let (id, patch) = camera_patch(request.camera, request.update_mask)?;
        let outcome = self.backend.update_camera(&id, patch).await;
        let view = outcome.map_err(|error| of_camera("camera.id", error))?;
        Ok(Response::new(v1::UpdateCameraResponse { camera: Some(camera_info(view)) }))
    }

    async fn remove_camera(
        &self,
        request: Request<v1::RemoveCameraRequest>,
    ) -> Result<Response<v1::RemoveCameraResponse>, Status> {
        let id = camera_id(&request.get_ref().id)?;
        self.backend.remove_camera(&id).await.map_err(|error| of_camera("id", error))?;
        Ok(Response::new(v1::RemoveCameraResponse {}))
    }

    async fn get_camera(
        &self,
        request: Request<v1::GetCameraRequest>,
    ) -> Result<Response<v1::GetCameraResponse>, Status> {
        let id = camera_id(&request.get_ref().id)?;
        let view = self.backend.camera(&id).map_err(|error| of_camera("id", error))?;
        Ok(Response::new(v1::GetCameraResponse { camera: Some(camera_info(view)) }))
    }

    async fn list_cameras(
        &self,
        _request: Request<v1::ListCamerasRequest>,
    ) -> Result<Response<v1::ListCamerasResponse>, Status> {
        let cameras = self.backend.cameras().into_iter().map(camera_info).collect();
        Ok(Response::new(v1::ListCamerasResponse { cameras }))
    }

    async fn test_camera(
        &self,
        request: Request<v1::TestCameraRequest>,
    ) -> Result<Response<v1::TestCameraResponse>, Status> {
        let (spec, origin) = camera_to_test(request.into_inner().camera, |id| self.backend.camera(id))?;
        let test = self.backend.test_camera(spec, origin).await;
        Ok(Response::new(camera_test(test.map_err(|error| of_camera("camera.id", error))?)))
    }

    async fn get_capacity(
        &self,
        _request: Request<v1::GetCapacityRequest>,
    ) -> Result<Response<v1::GetCapacityResponse>, Status> {
        let models = self.backend.capacities().into_iter().map(model_capacity).collect();
        Ok(Response::new(v1::GetCapacityResponse { models }))
    }
}
