//! The only module that knows every stage: makes them, connects them, starts them, drains them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use prometheus::Registry;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::access::Policy;
use crate::api::backend::Backend;
use crate::auth::{self, Guard};
use crate::camera::{CameraError, CameraOrigin, CameraSpec};
use crate::config::Config;
use crate::data_dir::DataDir;
use crate::detection::ModelInfo;
use crate::engine::supervisor::Supervisor;
use crate::engine::{self, Engine};
use crate::ingest::{Fleet, Store};
use crate::live::{self, Live};
use crate::publisher::Hub;
use crate::restream::Restream;
use crate::{api, http, ingest, publisher, scheduler, telemetry};

pub mod backend;
pub mod budget;
pub mod calibrate;
pub mod capacity;
pub mod catalog;
#[cfg(feature = "tensorrt")]
pub mod compile;
mod disk;
pub mod engines;
#[cfg(feature = "tensorrt")]
pub mod gpu;
pub mod inspect;
pub mod jobs;
pub mod load;
pub mod model_store;
pub mod models;
pub mod open_model;
pub mod opener;
mod pictures;
pub mod pipeline;
pub mod probe;
mod recorder;
mod restreaming;
pub mod router;
pub mod tracer;
mod trial;
pub mod verify;

use backend::Server;
use catalog::{Catalog, Parts};
use disk::WatchedDir;
use model_store::ModelStore;
use models::Loader;
use opener::Opener;
use pipeline::Pipeline;
use router::{Defaults, Router};
use tracer::Tracer;

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
    live: Live,
    restream: Option<Restream>,
    tracer: Tracer,
    guard: Guard,
    health: api::Health,
    registry: Registry,
    grpc_address: SocketAddr,
    http_address: SocketAddr,
    stop_listening: CancellationToken,
    listeners: [JoinHandle<()>; 2],
    watchers: [JoinHandle<()>; 2],
    shutdown_timeout: Duration,
    _data_dir: WatchedDir,
}

impl App {
    /// Starts everything: when this returns, engines are warm, cameras are connecting and both ports answer.
    ///
    /// # Errors
    /// A port in use, a model that an engine refuses, a camera setting that no model fits, a camera store
    /// that cannot be read, a data directory that another server uses.
    pub async fn start(config: Config, models: Vec<LoadedModel>) -> anyhow::Result<Self> {
        let registry = Registry::new();
        telemetry::register_process(&registry)?;
        // Ports first: being the second server on a machine should not take a warm-up to find out.
        let mut grpc = api::bind(&config.grpc).await?;
        let mut http = http::bind(&config.http).await?;
        grpc.share_descriptors(&mut http);
        let restream = restreaming::bind(&config.restream, &registry)?;
        let (grpc_address, http_address) = (grpc.local_addr()?, http.local_addr()?);
        grpc.register(&registry)?;
        http.register(&registry)?;

        let path = config.data_dir.clone();
        let held = tokio::task::spawn_blocking(move || DataDir::open(&path)).await??;
        let data_dir = WatchedDir::new(held, &registry).await?;

        #[cfg(feature = "tensorrt")]
        gpu::register(&registry)?;
        let hub = Hub::new(config.publisher.clone(), publisher::Metrics::new(&registry)?);
        let live = Live::start(&config.live, live::Metrics::new(&registry)?)?;
        let supervisor = Supervisor::start(config.engine, engine::Metrics::register(&registry)?)?;
        let scheduler = scheduler::Metrics::register(&registry)?;
        let common = pipeline::Common { supervisor: supervisor.clone(), scheduler, live: live.clone() };
        let folder = config.data_dir.clone();
        let store = tokio::task::spawn_blocking(move || ModelStore::open(&folder)).await??;
        let policy = Policy::new(&config.access);
        let loader = Arc::new(Loader::new(policy.clone(), &config));
        let pipelines = start_pipelines(&config, models, &store, &loader, &hub, &common).await?;
        let defaults = Defaults {
            model: config.models.first().map(|model| model.name.clone()).unwrap_or_default(),
            min_score: config.min_score,
            max_age: config.max_age,
        };
        let tracer = Tracer::start(&config.otlp, &registry)?;
        let router = Router::new(pipelines, defaults, hub.clone()).traced_by(tracer.clone());
        let router = Arc::new(router);
        capacity::register(&registry, &router)?;
        let (fleet, stored) = make_fleet(&config, &policy, &router, &registry).await?;
        let catalog = Catalog::new(Parts {
            router: Arc::clone(&router),
            fleet: fleet.clone(),
            hub: hub.clone(),
            opener: Opener::start(loader)?,
            store,
            configured: config.models.iter().map(|m| (m.name.clone(), m.source().to_owned())).collect(),
            pipelines: common,
            metrics: catalog::Metrics::register(&registry)?,
        });
        let guard = Guard::new(config.auth.clone(), &registry)?;
        let restream = restreaming::serve(restream, &live, &guard)?;
        let server = Arc::new(Server::new(backend::Parts {
            router: Arc::clone(&router),
            fleet,
            catalog,
            hub: hub.clone(),
            live: live.clone(),
            restream: restream.clone(),
            supervisor,
            admission: config.ingest.admission,
            policy,
        }));
        start_cameras(&config, &server, &stored).await?;

        let stop_listening = CancellationToken::new();
        let backend: Arc<dyn Backend> = Arc::clone(&server) as _;
        let mut services = api::Server::new(config.grpc.clone(), backend, api::Metrics::new(&registry)?)
            .guarded_by(guard.clone());
        let health = services.health();
        let (ready, warnings) = (readiness(&server), data_dir.warnings());
        let pages = http::router(registry.clone(), ready, warnings, Arc::clone(&server) as _, guard.clone())
            .merge(services.web()?);
        let (stop_grpc, stop_http) = (stop_listening.clone(), stop_listening.clone());
        let (grpc_end, http_end) = (listening("gRPC", &server), listening("HTTP", &server));
        let listeners = [
            tokio::spawn(async move {
                let _at_the_end = grpc_end;
                if let Err(error) = services.serve(grpc, stop_grpc.cancelled()).await {
                    tracing::error!("{error}");
                }
            }),
            tokio::spawn(async move {
                let _at_the_end = http_end;
                http::serve(&config.http, http, pages, stop_http.cancelled()).await;
            }),
        ];
        let watchers = [capacity::watch(Arc::clone(&router)), server.recorder().start()];
        Ok(Self {
            server,
            router,
            hub,
            live,
            restream,
            tracer,
            guard,
            health,
            registry,
            grpc_address,
            http_address,
            stop_listening,
            listeners,
            watchers,
            shutdown_timeout: config.shutdown_timeout,
            _data_dir: data_dir,
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

    /// Where the RTSP re-stream listens, if it does.
    pub fn restream_address(&self) -> Option<SocketAddr> {
        self.restream.as_ref().map(Restream::address)
    }

    /// The server behind the services.
    pub fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// From now on the tokens are those of other settings.
    pub fn replace_tokens(&self, config: auth::Config) {
        self.guard.replace(config);
    }

    /// All metrics.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Stops in the direction frames flow: cameras, schedulers, lanes, hub, listeners. What is not done when
    /// the time is up is abandoned; the answer tells whether all was.
    pub async fn shutdown(self) -> bool {
        let deadline = Instant::now() + self.shutdown_timeout;
        self.watchers.iter().for_each(JoinHandle::abort);
        self.server.start_draining();
        self.health.refresh().await;
        let mut drained = timeout_at(deadline, self.server.fleet().shutdown()).await.is_ok();
        let lanes = self.router.close();
        for crew in lanes {
            drained &= timeout_at(deadline, crew.wait()).await.is_ok();
        }
        self.stop_listening.cancel();
        // A collector that is slow is no reason to say that frames were abandoned.
        let _ = timeout_at(deadline.min(Instant::now() + tracer::PATIENCE), self.tracer.finish()).await;
        self.hub.close();
        self.live.close();
        if let Some(restream) = self.restream {
            drained &= timeout_at(deadline, restreaming::stop(restream)).await.is_ok();
        }
        for listener in self.listeners {
            let stop = listener.abort_handle();
            drained &= timeout_at(deadline, listener).await.is_ok();
            stop.abort();
        }
        drained
    }
}

/// Opens the models and starts their lanes. Takes a core for a second or more.
async fn start_pipelines(
    config: &Config,
    models: Vec<LoadedModel>,
    store: &ModelStore,
    loader: &Arc<Loader>,
    hub: &Hub,
    common: &pipeline::Common,
) -> anyhow::Result<Vec<Pipeline>> {
    let (config, stored, loader) = (config.clone(), store.models().clone(), Arc::clone(loader));
    let (hub, common) = (hub.clone(), common.clone());
    tokio::task::spawn_blocking(move || {
        let models = models::open_all(&config, models, &stored, &loader)?;
        Ok(models.into_iter().map(|model| Pipeline::start(model, &hub, &common)).collect::<Result<_, _>>()?)
    })
    .await?
}

/// The fleet without cameras, and those of its store.
async fn make_fleet(
    config: &Config,
    policy: &Policy,
    router: &Arc<Router>,
    registry: &Registry,
) -> anyhow::Result<(Fleet, Vec<CameraSpec>)> {
    let metrics = ingest::Metrics::new(registry)?;
    let data_dir = config.data_dir.clone();
    let store = tokio::task::spawn_blocking(move || Store::open(&data_dir)).await??;
    let stored = store.found().values().cloned().collect();
    let sink: Arc<dyn ingest::Sink> = Arc::clone(router) as _;
    Ok((Fleet::guarded(config.ingest.clone(), policy.clone(), sink, metrics, Some(store))?, stored))
}

async fn start_cameras(config: &Config, server: &Server, stored: &[CameraSpec]) -> anyhow::Result<()> {
    for camera in &config.cameras {
        let spec = camera.get_ref().clone();
        let id = spec.id.clone();
        server.add(spec, CameraOrigin::Config).await.map_err(|error| match error {
            CameraError::Invalid(problem) => config.camera_error(&id, problem.to_string()).into(),
            other => anyhow::Error::from(other),
        })?;
    }
    Ok(server.restore(stored.iter()).await?)
}

fn readiness(server: &Arc<Server>) -> http::NotReady {
    let server = Arc::clone(server);
    Arc::new(move || server.why_not_ready())
}

/// What to let go when a listener ends, also by a panic: the server tells that it does not hear any more.
fn listening(protocol: &'static str, server: &Arc<Server>) -> impl Send + 'static {
    let server = Arc::clone(server);
    OnDrop(Some(move || server.ended_listening(protocol)))
}

/// Calls a function when it is let go.
struct OnDrop<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        if let Some(last) = self.0.take() {
            last();
        }
    }
}
