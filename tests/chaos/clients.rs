//! A real server in a process of its own, so that what it holds is only its own, and its clients.

use std::path::Path;

use centerx::api::v1::camera_service_client::CameraServiceClient;
use centerx::api::v1::detection_service_client::DetectionServiceClient;
use centerx::api::v1::model_service_client::ModelServiceClient;
use centerx::api::v1::{
    AddCameraRequest, Camera, CameraInfo, FrameAccounts, GetCameraRequest, ListCamerasRequest,
    RemoveCameraRequest, SubscribeRequest, SubscribeResponse, UpdateCameraRequest,
};
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use super::held;
use super::hostile::FPS;
use super::process::ServerProcess;
use super::rtsp_camera::{Clip, Server};

/// Short times, so that failures are quick to see.
const SETTINGS: &str = "[ingest]\nconnect_timeout = \"2s\"\nstall_timeout = \"2s\"\nbackoff_max = \"4s\"\n";

/// Starts a server with the model of a file, by the file's name, and pulled ones beside it.
pub fn serve(data: &Path, model: &Path, pulled: &[&str]) -> ServerProcess {
    let config = data.join("centerx.toml");
    let name = model.file_stem().unwrap().to_str().unwrap();
    let model = format!("[[model]]\nname = \"{name}\"\nsource = \"{}\"\n", model.display());
    let pulled: String = pulled.iter().map(|name| format!("[[model]]\nname = \"{name}\"\n")).collect();
    std::fs::write(&config, format!("{SETTINGS}{model}{pulled}")).unwrap();
    ServerProcess::start(data, &["--config", config.to_str().unwrap(), "--log", "info"])
}

/// Well cameras: so many, by the names `well0` and so on.
pub fn well_cameras(count: usize) -> Server {
    gstreamer::init().unwrap();
    let cameras = Server::start("127.0.0.1", 0, None).unwrap();
    let clip = std::sync::Arc::new(Clip::pattern(320, 240, FPS as i32, 2).unwrap());
    for n in 0..count {
        cameras.mount(&format!("well{n}"), std::sync::Arc::clone(&clip), n * 3, None).unwrap();
    }
    cameras
}

/// A server's clients, on one connection. Clones share it.
#[derive(Clone)]
pub struct Clients {
    pub cameras: CameraServiceClient<Channel>,
    pub detections: DetectionServiceClient<Channel>,
    pub models: ModelServiceClient<Channel>,
}

impl Clients {
    pub async fn of(server: &ServerProcess) -> Self {
        let channel = Channel::from_shared(format!("http://{}", server.grpc)).unwrap();
        let channel = channel.connect().await.unwrap();
        Self {
            cameras: CameraServiceClient::new(channel.clone()),
            detections: DetectionServiceClient::new(channel.clone()),
            models: ModelServiceClient::new(channel),
        }
    }

    pub async fn add(&mut self, id: &str, url: &str) -> Result<(), Status> {
        self.add_camera(Camera { id: id.into(), url: url.into(), ..Default::default() }).await
    }

    pub async fn add_camera(&mut self, camera: Camera) -> Result<(), Status> {
        self.cameras.add_camera(AddCameraRequest { camera: Some(camera) }).await.map(drop)
    }

    /// Changes one field to what the camera says of it.
    pub async fn update(&mut self, camera: Camera, field: &str) -> Result<(), Status> {
        let update_mask = Some(prost_types::FieldMask { paths: vec![field.into()] });
        let request = UpdateCameraRequest { camera: Some(camera), update_mask };
        self.cameras.update_camera(request).await.map(drop)
    }

    pub async fn get(&mut self, id: &str) -> CameraInfo {
        let request = GetCameraRequest { id: id.into() };
        self.cameras.get_camera(request).await.unwrap().into_inner().camera.unwrap()
    }

    pub async fn list(&mut self) -> Vec<CameraInfo> {
        self.cameras.list_cameras(ListCamerasRequest {}).await.unwrap().into_inner().cameras
    }

    pub async fn remove(&mut self, id: &str) -> Result<(), Status> {
        self.cameras.remove_camera(RemoveCameraRequest { id: id.into() }).await.map(drop)
    }

    pub async fn subscribe(&mut self) -> Streaming<SubscribeResponse> {
        self.detections.subscribe(SubscribeRequest::default()).await.unwrap().into_inner()
    }
}

/// A camera's books, checked: they balance, and nothing was lost without a name.
pub fn books(camera: &CameraInfo) -> &FrameAccounts {
    let books = camera.accounts.as_ref().unwrap();
    let dropped: u64 = books.dropped.values().sum();
    assert_eq!(books.received, books.published + dropped + books.in_flight, "{camera:?}");
    assert_eq!(books.dropped["lost"], 0, "{camera:?}");
    books
}

/// What a process holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Held {
    pub threads: usize,
    pub files: usize,
    /// Resident memory in megabytes.
    pub resident: f64,
    /// Resident memory that is no file's, in megabytes.
    pub anonymous: f64,
}

impl Held {
    pub fn by(pid: u32) -> Self {
        let pid = pid.to_string();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let megabytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim_end_matches("kB").trim().parse::<f64>().unwrap() * 1024.0 / 1e6
        };
        Self {
            threads: held(&pid, "task"),
            files: held(&pid, "fd"),
            resident: megabytes("VmRSS:"),
            anonymous: megabytes("RssAnon:"),
        }
    }
}
