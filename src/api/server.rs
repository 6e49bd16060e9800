//! The server around the services: the listening socket, the layers, the shutdown.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::{Router, middleware};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::server::TcpConnectInfo;
use tonic_health::pb::FILE_DESCRIPTOR_SET as HEALTH_DESCRIPTORS;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::HealthService;
use tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET as REFLECTION_DESCRIPTORS;
use tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET as OLD_REFLECTION_DESCRIPTORS;
use tonic_reflection::server::Builder as Reflection;
use tonic_web::GrpcWebLayer;

use super::authorize::authorize;
use super::backend::Backend;
use super::budget::{Budget, charge};
use super::cameras::Cameras;
use super::detections::{Detections, MESSAGE_OVERHEAD};
use super::health::Health;
use super::live::Live;
use super::models::Models;
use super::observe::{Metrics, Observer, observe};
use super::peers::{self, Peers};
use super::v1::camera_service_server::CameraServiceServer;
use super::v1::live_service_server::LiveServiceServer;
use super::v1::model_service_server::ModelServiceServer;
use super::{Config, DESCRIPTORS, cors, subscribe, v1};
use crate::auth::{self, Guard};
use crate::listen::{Http2, ListenError, Listener, Protocol, Setup};

/// Calls on one connection at a time: a proxy may carry a thousand subscribers in one.
const MAX_STREAMS: u32 = 2000;
/// Bytes of one call that may wait to be read.
const CALL_BUFFER: u32 = 1 << 20;
/// Bytes of one connection that may wait to be read: many times those of a call, so that streams whose frames
/// wait do not hold up the other calls of their connection.
const CONNECTION_BUFFER: u32 = 64 << 20;
/// The largest message about cameras and models. A list of empty names takes twelve times its message in memory.
const MAX_CHANGE_BYTES: usize = 256 * 1024;
/// For the last words to leave after subscriptions were cut.
const FLUSH: Duration = Duration::from_millis(250);

/// The gRPC server cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The compiled-in protos cannot be told by reflection: a fault of the build.
    #[error("the protos in this binary are damaged, build it again: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// Listens as the settings say; port 0 takes a free one.
///
/// # Errors
/// An address that cannot be listened on, a certificate that cannot be used, with the cure.
pub async fn bind(config: &Config) -> Result<Listener, ListenError> {
    let protocol = Protocol::Http2(Http2 {
        keep_alive: config.keep_alive,
        calls: MAX_STREAMS,
        call_buffer: CALL_BUFFER,
        connection_buffer: CONNECTION_BUFFER,
    });
    let (address, limits, tls) = (config.listen, config.limits(), config.tls.clone());
    Listener::open(Setup { what: "gRPC", label: "grpc", address, limits, tls, protocol }).await
}

/// The services over a backend, ready to be served.
pub struct Server {
    config: Config,
    backend: Arc<dyn Backend>,
    metrics: Metrics,
    guard: Guard,
    health: Health,
    /// Ends the reading of clients' streams.
    stopping: CancellationToken,
    /// Ends what did not end by itself in time.
    cut: CancellationToken,
    /// What is served, once somebody asked for it.
    router: Option<Router>,
}

impl Server {
    /// The services over `backend`.
    pub fn new(config: Config, backend: Arc<dyn Backend>, metrics: Metrics) -> Self {
        let health = Health::new(Arc::clone(&backend));
        let (stopping, cut) = (CancellationToken::new(), CancellationToken::new());
        Self { config, backend, metrics, guard: Guard::open(), health, stopping, cut, router: None }
    }

    /// Lets in only whom `guard` lets in.
    pub fn guarded_by(self, guard: Guard) -> Self {
        Self { guard, ..self }
    }

    /// The handle that makes the health service tell a change of readiness at once.
    pub fn health(&self) -> Health {
        self.health.clone()
    }

    /// The services of this server's own protos by grpc-web, for the listener that serves the live page. They are the
    /// same as those of [`Server::serve`], limits and streams included, and end with them.
    ///
    /// # Errors
    /// See [`ServeError`].
    pub fn web(&mut self) -> Result<Router, ServeError> {
        let router = self.router()?;
        self.router = Some(router.clone());
        let services = [
            v1::camera_service_server::SERVICE_NAME,
            v1::detection_service_server::SERVICE_NAME,
            v1::live_service_server::SERVICE_NAME,
            v1::model_service_server::SERVICE_NAME,
        ];
        let paths = services.map(|service| format!("/{service}/{{method}}"));
        // As a service, because nesting would cut the paths that the layers know the calls by.
        let all = router.into_service::<Body>();
        Ok(paths.iter().fold(Router::new(), |web, path| web.route_service(path, all.clone())))
    }

    /// Serves on `listener` until `shutdown`. Then calls under way have `config.drain` to end; subscriptions
    /// end when the backend's streams do and clients' streams after the answers under way, at the latest after
    /// that time, with UNAVAILABLE.
    ///
    /// # Errors
    /// See [`ServeError`].
    pub async fn serve(
        mut self,
        listener: Listener,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), ServeError> {
        self.warn_if_open(&listener);
        self.health.refresh().await;
        let router = self.router()?;
        let stop = CancellationToken::new();
        let mut server = pin!(listener.serve(router, stop.cancelled()));
        tokio::select! {
            () = &mut server => return Ok(()),
            () = self.health.follow() => {}
            () = shutdown => {}
        }
        stop.cancel();
        self.stopping.cancel();
        self.health.close().await;
        if tokio::time::timeout(self.config.drain, &mut server).await.is_err() {
            self.cut.cancel();
            // Connections that are still open after this belong to clients that do not read.
            let _ = tokio::time::timeout(FLUSH, server).await;
        }
        Ok(())
    }

    fn warn_if_open(&self, listener: &Listener) {
        if let Ok(address) = listener.local_addr()
            && self.guard.is_open()
            && !auth::is_loopback(&address)
            && !listener.asks_for_certificates()
        {
            tracing::warn!(
                "gRPC on {address} asks for no token: whoever reaches it can watch and change the cameras"
            );
        }
    }

    fn router(&mut self) -> Result<Router, ServeError> {
        match self.router.take() {
            Some(router) => Ok(router),
            None => self.make_router(),
        }
    }

    fn make_router(&self) -> Result<Router, ServeError> {
        let peers = Peers::new(&self.config, self.metrics.clone());
        let descriptors =
            [DESCRIPTORS, HEALTH_DESCRIPTORS, REFLECTION_DESCRIPTORS, OLD_REFLECTION_DESCRIPTORS];
        let observer = Observer::new(self.metrics.clone(), self.config.request_timeout, &descriptors);
        // The last layer is the outermost. Browsers' questions are answered first, then grpc-web becomes
        // gRPC, so that every call is observed in the same form, refusals too.
        Ok(self
            .routes(peers.clone())?
            .into_axum_router()
            .layer(middleware::from_fn_with_state(Budget::new(), charge))
            .layer(middleware::from_fn_with_state(self.guard.clone(), authorize))
            .layer(middleware::from_fn_with_state(peers, peers::limit))
            .layer(middleware::from_fn_with_state(observer, observe))
            .layer(GrpcWebLayer::new())
            .layer(cors::layer(&self.config.web_origins))
            .layer(middleware::map_request(tell_peer)))
    }

    fn routes(&self, peers: Peers) -> Result<Routes, ServeError> {
        let backend = || Arc::clone(&self.backend);
        let detections = Detections::new(
            &self.config,
            backend(),
            self.metrics.clone(),
            peers.clone(),
            self.stopping.clone(),
            self.cut.clone(),
        );
        let health = HealthService::from_health_reporter(self.health.reporter.clone());
        let reflection = || {
            let builder = Reflection::configure().register_encoded_file_descriptor_set(DESCRIPTORS);
            builder.register_encoded_file_descriptor_set(HEALTH_DESCRIPTORS)
        };
        let mut routes = Routes::builder();
        routes
            .add_service(
                CameraServiceServer::new(Cameras { backend: backend() })
                    .max_decoding_message_size(MAX_CHANGE_BYTES),
            )
            .add_service(subscribe::Server::new(detections, self.config.max_picture() + MESSAGE_OVERHEAD))
            .add_service(
                LiveServiceServer::new(Live { backend: backend(), peers, cut: self.cut.clone() })
                    .max_decoding_message_size(MAX_CHANGE_BYTES),
            )
            .add_service(
                ModelServiceServer::new(Models { backend: backend() })
                    .max_decoding_message_size(MAX_CHANGE_BYTES),
            )
            .add_service(HealthServer::new(health))
            .add_service(reflection().build_v1()?)
            .add_service(reflection().build_v1alpha()?);
        Ok(routes.routes())
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("config", &self.config).finish_non_exhaustive()
    }
}

/// Lets the services know who calls, in the way that tonic's `Request::remote_addr` reads.
async fn tell_peer(mut request: Request) -> Request {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| *peer);
    request.extensions_mut().insert(TcpConnectInfo { local_addr: None, remote_addr: peer });
    request
}
