//! The whole server as a process: real RTSP cameras in, a real engine, gRPC and HTTP clients out.

// A test that fails is to panic.
#![allow(clippy::unwrap_used)]

use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use centerx::api::v1::camera_service_client::CameraServiceClient;
use centerx::api::v1::client_frame::Picture;
use centerx::api::v1::detect_stream_request::Message;
use centerx::api::v1::detect_stream_response::Outcome;
use centerx::api::v1::detection_service_client::DetectionServiceClient;
use centerx::api::v1::model_service_client::ModelServiceClient;
use centerx::api::v1::subscribe_response::Event;
use centerx::api::v1::{
    AddCameraRequest, Camera, CameraInfo, CameraOrigin, CameraState, ClientFrame, DetectRequest,
    DetectStreamOptions, DetectStreamRequest, DetectStreamResponse, Detection, FrameDetections,
    ListCamerasRequest, ListModelsRequest, PixelFormat, RawPicture, RemoveCameraRequest, SubscribeRequest,
};
use tokio::time::timeout;
use tonic::transport::Channel;

mod access;
mod cameras;
mod detections;
#[path = "../support/files.rs"]
mod files;
mod foreign;
mod life;
#[path = "../support/process.rs"]
mod process;
#[path = "../support/prometheus/mod.rs"]
mod prometheus_server;
#[path = "../support/rtsp_camera/mod.rs"]
mod rtsp_camera;
mod streams;
mod systemd;

use files::{python, sample};
use process::{ServerProcess, errors, run};
use rtsp_camera::Clip;

const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks by a call: an address may begin 2,000 calls a second.
const LOOK: Duration = Duration::from_millis(10);

/// An RTSP server on this machine that plays `vtest.avi` for ever.
fn yard() -> (rtsp_camera::Server, String) {
    static CLIP: OnceLock<Arc<Clip>> = OnceLock::new();
    let server = rtsp_camera::Server::start("127.0.0.1", 0, None).unwrap();
    let clip = CLIP.get_or_init(|| {
        let cache = std::env::temp_dir().join("centerx-test-clips");
        Arc::new(Clip::from_file(&sample("vtest.avi"), &cache, |_| ()).unwrap())
    });
    server.mount("yard", Arc::clone(clip), 0, None).unwrap();
    let url = server.url("yard");
    (server, url)
}

async fn connect(server: &ServerProcess) -> Channel {
    Channel::from_shared(format!("http://{}", server.grpc)).unwrap().connect().await.unwrap()
}

async fn list_cameras(channel: &Channel) -> Vec<CameraInfo> {
    let mut client = CameraServiceClient::new(channel.clone());
    client.list_cameras(ListCamerasRequest {}).await.unwrap().into_inner().cameras
}

/// Subscribes to everything and returns the next `count` frames' detections.
async fn watch(channel: &Channel, count: usize) -> Vec<FrameDetections> {
    let mut client = DetectionServiceClient::new(channel.clone());
    let mut stream = client.subscribe(SubscribeRequest::default()).await.unwrap().into_inner();
    let mut frames = Vec::new();
    let collect = async {
        while frames.len() < count {
            if let Some(Event::Detections(frame)) = stream.message().await.unwrap().unwrap().event {
                frames.push(frame);
            }
        }
    };
    timeout(PATIENCE, collect).await.expect("detections come");
    frames
}

fn assert_balanced(camera: &CameraInfo) {
    let accounts = camera.accounts.as_ref().unwrap();
    let dropped: u64 = accounts.dropped.values().sum();
    assert_eq!(accounts.received, accounts.published + dropped + accounts.in_flight, "{accounts:?}");
    assert_eq!(accounts.dropped["lost"], 0, "{accounts:?}");
}
