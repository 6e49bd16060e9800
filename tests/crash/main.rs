//! What the server must remember: through kills at any moment, a second server, full, read-only and broken disks.

// A test that fails is to panic.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use centerx::api::v1::camera_service_client::CameraServiceClient;
use centerx::api::v1::model_service_client::ModelServiceClient;
use centerx::api::v1::{
    AddCameraRequest, Camera, ListCamerasRequest, ListModelsRequest, LoadModelRequest, RemoveCameraRequest,
    SwapModelRequest, UnloadModelRequest, UpdateCameraRequest,
};
use tonic::transport::Channel;
use tonic::{Code, Status};

mod corrupt;
mod disk;
#[path = "../support/files.rs"]
mod files;
mod held;
mod kills;
#[path = "../support/process.rs"]
mod process;
#[path = "../support/tiny_model.rs"]
mod tiny_model;

use process::{ServerProcess, errors};
use tiny_model::Tiny;

const PATIENCE: Duration = Duration::from_secs(30);

type Cameras = CameraServiceClient<Channel>;

async fn channel(server: &ServerProcess) -> Channel {
    Channel::from_shared(format!("http://{}", server.grpc)).unwrap().connect().await.unwrap()
}

async fn cameras_of(server: &ServerProcess) -> Cameras {
    CameraServiceClient::new(channel(server).await)
}

/// A camera that is kept and not connected, which costs nothing.
fn camera(id: &str, name: &str) -> Camera {
    let url = "rtsp://admin:s%40cret@192.0.2.1/live".to_owned();
    Camera { id: id.into(), name: name.into(), url, enabled: Some(false), ..Default::default() }
}

async fn add(client: &mut Cameras, camera: Camera) -> Result<(), Status> {
    client.add_camera(AddCameraRequest { camera: Some(camera) }).await.map(drop)
}

async fn rename(client: &mut Cameras, id: &str, name: &str) -> Result<(), Status> {
    let camera = Camera { id: id.into(), name: name.into(), ..Default::default() };
    let update_mask = Some(prost_types::FieldMask { paths: vec!["name".into()] });
    client.update_camera(UpdateCameraRequest { camera: Some(camera), update_mask }).await.map(drop)
}

async fn remove(client: &mut Cameras, id: &str) -> Result<(), Status> {
    client.remove_camera(RemoveCameraRequest { id: id.into() }).await.map(drop)
}

/// Ids and names.
async fn list(client: &mut Cameras) -> Vec<(String, String)> {
    let cameras = client.list_cameras(ListCamerasRequest {}).await.unwrap().into_inner().cameras;
    cameras.into_iter().filter_map(|info| info.camera).map(|camera| (camera.id, camera.name)).collect()
}

async fn ids(client: &mut Cameras) -> Vec<String> {
    list(client).await.into_iter().map(|(id, _)| id).collect()
}

/// A model that is there at once.
fn quick_model(folder: &Path) -> String {
    Tiny::new("quick", &["person"]).write(folder).display().to_string()
}

/// Waits until the server's metric has a value that will do.
fn wait_for_metric(server: &ServerProcess, name: &str, will_do: impl Fn(f64) -> bool) {
    let begin = Instant::now();
    loop {
        let text = server.get("/metrics");
        let value = text.lines().find_map(|line| line.strip_prefix(&format!("{name} "))).map(str::to_owned);
        if value.as_ref().is_some_and(|value| will_do(value.parse().unwrap())) {
            return;
        }
        assert!(begin.elapsed() < PATIENCE, "{name} is {value:?}");
    }
}
