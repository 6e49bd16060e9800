//! Many models in one server, changed while cameras run: the real process, real ONNX files, gRPC clients.

// A test that fails is to panic.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::time::{Duration, Instant};

use centerx::api::v1::camera_service_client::CameraServiceClient;
use centerx::api::v1::detection_service_client::DetectionServiceClient;
use centerx::api::v1::model_service_client::ModelServiceClient;
use centerx::api::v1::subscribe_response::Event;
use centerx::api::v1::{
    AddCameraRequest, Camera, CameraInfo, FrameDetections, ListCamerasRequest, ListModelsRequest,
    LoadModelRequest, Model, RemoveCameraRequest, SubscribeRequest, SubscribeResponse, SwapModelRequest,
    UnloadModelRequest,
};
use tokio::time::timeout;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt;

mod changes;
mod command;
#[path = "../support/files.rs"]
mod files;
#[path = "../support/process.rs"]
mod process;
mod restart;
mod side_by_side;
mod swaps;
#[path = "../support/tiny_model.rs"]
mod tiny_model;

use process::ServerProcess;
use tiny_model::Tiny;

const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks by a call: an address may begin 2,000 calls a second.
const LOOK: Duration = Duration::from_millis(10);

/// A server's clients.
struct Clients {
    cameras: CameraServiceClient<Channel>,
    detections: DetectionServiceClient<Channel>,
    models: ModelServiceClient<Channel>,
}

impl Clients {
    async fn of(server: &ServerProcess) -> Self {
        let channel = Channel::from_shared(format!("http://{}", server.grpc)).unwrap();
        let channel = channel.connect().await.unwrap();
        Self {
            cameras: CameraServiceClient::new(channel.clone()),
            detections: DetectionServiceClient::new(channel.clone()),
            models: ModelServiceClient::new(channel),
        }
    }

    async fn add_camera(&mut self, camera: Camera) -> Result<(), Status> {
        self.cameras.add_camera(AddCameraRequest { camera: Some(camera) }).await.map(drop)
    }

    async fn list_cameras(&mut self) -> Vec<CameraInfo> {
        self.cameras.list_cameras(ListCamerasRequest {}).await.unwrap().into_inner().cameras
    }

    async fn list_models(&mut self) -> Vec<Model> {
        self.models.list_models(ListModelsRequest {}).await.unwrap().into_inner().models
    }

    async fn load(&mut self, name: &str, source: &str) -> Result<Model, Status> {
        let request = LoadModelRequest { name: name.into(), source: source.into() };
        Ok(self.models.load_model(request).await?.into_inner().model.unwrap())
    }

    async fn swap(&mut self, name: &str, source: &str) -> Result<Model, Status> {
        let request = SwapModelRequest { name: name.into(), source: source.into() };
        Ok(self.models.swap_model(request).await?.into_inner().model.unwrap())
    }

    async fn unload(&mut self, name: &str) -> Result<(), Status> {
        self.models.unload_model(UnloadModelRequest { name: name.into() }).await.map(drop)
    }

    async fn subscribe(&mut self) -> Streaming<SubscribeResponse> {
        self.detections.subscribe(SubscribeRequest::default()).await.unwrap().into_inner()
    }
}

/// A small picture so many times a second.
fn camera(id: &str, fps: u32, model: Option<&str>) -> Camera {
    Camera {
        id: id.into(),
        url: format!("test://ball?width=64&height=64&fps={fps}"),
        model: model.map(str::to_owned),
        // These tests are about lost frames, not about how fast this machine is.
        max_age: Some(prost_types::Duration { seconds: 60, nanos: 0 }),
        ..Default::default()
    }
}

/// The next frame that `wanted` likes; the others are given to `seen` as well.
async fn next_frame(
    stream: &mut Streaming<SubscribeResponse>,
    mut wanted: impl FnMut(&FrameDetections) -> bool,
) -> FrameDetections {
    let look = async {
        loop {
            if let Some(Event::Detections(frame)) = stream.message().await.unwrap().unwrap().event
                && wanted(&frame)
            {
                return frame;
            }
        }
    };
    timeout(PATIENCE, look).await.expect("frames come")
}

fn labels(frame: &FrameDetections) -> Vec<&str> {
    frame.detections.iter().map(|found| found.label.as_str()).collect()
}

fn assert_balanced(cameras: &[CameraInfo]) {
    for camera in cameras {
        let books = camera.accounts.as_ref().unwrap();
        let dropped: u64 = books.dropped.values().sum();
        assert_eq!(books.received, books.published + dropped + books.in_flight, "{books:?}");
        assert_eq!(books.dropped["lost"], 0, "{books:?}");
    }
}

/// The field that a status complains about.
fn field(status: &Status) -> String {
    let bad = status.get_details_bad_request().unwrap();
    bad.field_violations[0].field.clone()
}
