//! The only module that knows every stage: makes them, connects them, starts them, drains them.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use prometheus::Registry;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::api::backend::Backend;
use crate::camera::{CameraError, CameraOrigin};
use crate::config::Config;
use crate::detection::ModelInfo;
use crate::engine::{self, Engine};
use crate::ingest::{Fleet, Store};
use crate::publisher::Hub;
use crate::{api, http, ingest, publisher, scheduler, telemetry};

pub mod backend;
pub mod jobs;
pub mod models;
mod pictures;
pub mod pipeline;
pub mod probe;
pub mod router;

use backend::Server;
use pipeline::Pipeline;
use router::Router;

/// A model, and the engine it is loaded in.
pub struct LoadedModel {
    /// What is known of the model.
    pub info: ModelInfo,
    /// The engine.
    pub engine: Box<dyn Engine>,
}

/// A running server.
pub struct App {
    server: Arc<Server>,
    router: Arc<Router>,
    hub: Hub,
    health: api::Health,
    registry: Registry,
    grpc_address: SocketAddr,
    http_address: SocketAddr,
    stop_listening: CancellationToken,
    listeners: [JoinHandle<()>; 2],
    shutdown_timeout: Duration,
}

impl App {
    /// Starts everything: when this returns, engines are warm, cameras are connecting and both ports answer.
    ///
    /// # Errors
    /// A port in use, a model that an engine refuses, a camera setting that no model fits, a camera store
    /// that cannot be read.
    pub async fn start(config: Config, models: Vec<LoadedModel>) -> anyhow::Result<Self> {
        let registry = Registry::new();
        telemetry::register_process(&registry)?;
        // Ports first: being the second server on a machine should not take a warm-up to find out.
        let grpc = api::bind(&config.grpc).await?;
        let http = http::bind(&config.http).await?;
        let (grpc_address, http_address) = (grpc.local_addr()?, http.local_addr()?);

        let hub = Hub::new(config.publisher.clone(), publisher::Metrics::new(&registry)?);
        let metrics = pipeline::Metrics {
            engine: engine::Metrics::register(&registry)?,
            scheduler: scheduler::Metrics::register(&registry)?,
        };
        let pipelines = start_pipelines(models, &hub, metrics).await?;
        let default_model = config.models.first().map(|model| model.name.clone()).unwrap_or_default();
        let router = Arc::new(Router::new(pipelines, default_model, config.min_score, hub.clone()));
        let server = start_cameras(&config, &router, &hub, &registry).await?;

        let stop_listening = CancellationToken::new();
        let backend: Arc<dyn Backend> = Arc::clone(&server) as _;
        let services = api::Server::new(config.grpc.clone(), backend, api::Metrics::new(&registry)?);
        let health = services.health();
        let pages = http::router(registry.clone(), readiness(&server));
        let (stop_grpc, stop_http) = (stop_listening.clone(), stop_listening.clone());
        let listeners = [
            tokio::spawn(async move {
                if let Err(error) = services.serve(grpc, stop_grpc.cancelled()).await {
                    tracing::error!("{error}");
                }
            }),
            tokio::spawn(async move { http::serve(&config.http, http, pages, stop_http.cancelled()).await }),
        ];
        Ok(Self {
            server,
            router,
            hub,
            health,
            registry,
            grpc_address,
            http_address,
            stop_listening,
            listeners,
            shutdown_timeout: config.shutdown_timeout,
        })
    }

    /// Where gRPC listens.
    pub fn grpc_address(&self) -> SocketAddr {
        self.grpc_address
    }

    /// Where HTTP listens.
    pub fn http_address(&self) -> SocketAddr {
        self.http_address
    }

    /// The server behind the services.
    pub fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// All metrics.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Stops in the direction frames flow: cameras, schedulers, lanes, hub, listeners. What is not done when
    /// the time is up is abandoned; the answer tells whether all was.
    pub async fn shutdown(self) -> bool {
        let deadline = Instant::now() + self.shutdown_timeout;
        self.server.start_draining();
        self.health.refresh().await;
        let mut drained = timeout_at(deadline, self.server.fleet().shutdown()).await.is_ok();
        let lanes: Vec<_> = self.router.pipelines().flat_map(Pipeline::close).collect();
        let joined = tokio::task::spawn_blocking(move || {
            lanes.into_iter().for_each(|lane| {
                if lane.join().is_err() {
                    tracing::error!("an engine lane ended in a panic");
                }
            });
        });
        drained &= timeout_at(deadline, joined).await.is_ok();
        self.stop_listening.cancel();
        self.hub.close();
        for listener in self.listeners {
            let stop = listener.abort_handle();
            drained &= timeout_at(deadline, listener).await.is_ok();
            stop.abort();
        }
        drained
    }
}

async fn start_pipelines(
    models: Vec<LoadedModel>,
    hub: &Hub,
    metrics: pipeline::Metrics,
) -> anyhow::Result<HashMap<String, Pipeline>> {
    let hub = hub.clone();
    // Loading and warming up takes a core for a second or more.
    tokio::task::spawn_blocking(move || {
        let start = |model: LoadedModel| {
            let name = model.info.name.to_string();
            Pipeline::start(&*model.engine, model.info, &hub, &metrics).map(|pipeline| (name, pipeline))
        };
        Ok(models.into_iter().map(start).collect::<Result<_, _>>()?)
    })
    .await?
}

async fn start_cameras(
    config: &Config,
    router: &Arc<Router>,
    hub: &Hub,
    registry: &Registry,
) -> anyhow::Result<Arc<Server>> {
    let metrics = ingest::Metrics::new(registry)?;
    let data_dir = config.data_dir.clone();
    let store = tokio::task::spawn_blocking(move || Store::open(&data_dir)).await??;
    let stored = store.found().clone();
    let sink: Arc<dyn ingest::Sink> = Arc::clone(router) as _;
    let fleet = Fleet::new(config.ingest.clone(), sink, metrics, Some(store))?;
    let server = Arc::new(Server::new(Arc::clone(router), fleet, hub.clone()));
    for camera in &config.cameras {
        let spec = camera.get_ref().clone();
        let id = spec.id.clone();
        server.add(spec, CameraOrigin::Config).await.map_err(|error| match error {
            CameraError::Invalid(problem) => config.camera_error(&id, problem.to_string()).into(),
            other => anyhow::Error::from(other),
        })?;
    }
    server.restore(stored.values()).await?;
    Ok(server)
}

fn readiness(server: &Arc<Server>) -> http::NotReady {
    let server = Arc::clone(server);
    Arc::new(move || server.why_not_ready())
}
