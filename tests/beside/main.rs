//! What stands beside the way of the frames: trying an address first, how the cameras fared lately.

// A test that fails is to panic.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use centerx::api::v1;
use centerx::api::v1::camera_service_client::CameraServiceClient;
use centerx::app::App;
use centerx::config::Config;
use centerx::engine::fake::FakeEngine;
use tonic::Code;
use tonic::transport::Channel;

#[path = "../support/fake_server.rs"]
mod fake_server;
mod lately;
mod restream;
#[path = "../support/rtsp_camera/mod.rs"]
mod rtsp_camera;
#[cfg(feature = "otlp")]
mod traces;
mod trying;

const PATIENCE: Duration = Duration::from_secs(20);
/// What the fake engine finds: a person in the top left quarter.
const PERSON: [f32; 6] = [8.0, 8.0, 32.0, 32.0, 0.9, 0.0];

/// A server in this process, whose folder goes with it.
struct Server {
    app: App,
    folder: tempfile::TempDir,
}

impl Server {
    /// On an engine that finds a person in every frame.
    async fn start(shape: impl FnOnce(&mut Config)) -> Self {
        Self::start_on(FakeEngine::new((64, 64)).finds(vec![PERSON]), shape).await
    }

    async fn start_on(engine: FakeEngine, shape: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = fake_server::config(folder.path());
        shape(&mut config);
        config.validate().unwrap();
        let models = vec![fake_server::model(engine, &["person", "car"])];
        Self { app: App::start(config, models).await.unwrap(), folder }
    }

    async fn channel(&self) -> Channel {
        let address = format!("http://{}", self.app.grpc_address());
        Channel::from_shared(address).unwrap().connect().await.unwrap()
    }

    async fn cameras(&self) -> CameraServiceClient<Channel> {
        CameraServiceClient::new(self.channel().await)
    }

    /// The metrics as Prometheus reads them.
    fn metrics(&self) -> String {
        prometheus::TextEncoder::new().encode_to_string(&self.app.registry().gather()).unwrap()
    }

    async fn stop(self) {
        assert!(self.app.shutdown().await);
        drop(self.folder);
    }
}

fn camera(id: &str, url: &str) -> v1::Camera {
    v1::Camera { id: id.into(), url: url.into(), ..Default::default() }
}
