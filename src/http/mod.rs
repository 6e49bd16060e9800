//! Plain HTTP for people and machines that watch the server: metrics, health, readiness.
//!
//! What does not belong here: detections (`api`), and what the metrics count (each stage).

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use prometheus::{Registry, TextEncoder};
use serde::Deserialize;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::auth::{Denied, Guard, Role};
use crate::listen::{self, ListenError};

/// Connections at a time; more wait to be accepted. A scraper and a few probes need no more.
const MAX_CONNECTIONS: usize = 256;
/// For a request's head to arrive, and for the next request on a connection that is kept open.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);
/// For a request's line and headers together.
const MAX_HEAD_BYTES: usize = 32 * 1024;

/// The HTTP settings.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address and port to listen on.
    pub listen: SocketAddr,
    /// On shutdown, answers under way get this long.
    #[serde(with = "humantime_serde")]
    pub drain: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 8080)), drain: Duration::from_millis(500) }
    }
}

/// Tells why the server is not ready for work; none when it is.
pub type NotReady = Arc<dyn Fn() -> Option<String> + Send + Sync>;

/// Tells what does not keep the server from its work, but should not stay so.
pub type Warnings = Arc<dyn Fn() -> Vec<String> + Send + Sync>;

#[derive(Clone)]
struct Pages {
    registry: Registry,
    not_ready: NotReady,
    warnings: Warnings,
}

/// Listens as the settings say; port 0 takes a free one.
///
/// # Errors
/// An address that cannot be listened on, with the cure.
pub async fn bind(config: &Config) -> Result<TcpListener, ListenError> {
    listen::bind("HTTP", config.listen).await
}

/// The pages: `/` and `/metrics` for whom `guard` lets in, `/healthz` and `/readyz` for everybody: what looks
/// after the server's life has no token.
pub fn router(registry: Registry, not_ready: NotReady, warnings: Warnings, guard: Guard) -> Router {
    Router::new()
        .route("/", get(|| async { Html(include_str!("index.html")) }))
        .route("/metrics", get(metrics))
        .route_layer(middleware::from_fn_with_state(guard, authorize))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .with_state(Pages { registry, not_ready, warnings })
}

/// Answers on `listener` until `shutdown`; then answers under way have `config.drain` to finish.
pub async fn serve(
    config: &Config,
    listener: TcpListener,
    router: Router,
    shutdown: impl Future<Output = ()>,
) {
    let connections = GracefulShutdown::new();
    tokio::select! {
        () = accept_all(&listener, &router, &connections) => {}
        () = shutdown => {}
    }
    drop(listener);
    // Whoever has not read its answer by then does not want it.
    let _ = tokio::time::timeout(config.drain, connections.shutdown()).await;
}

async fn accept_all(listener: &TcpListener, router: &Router, connections: &GracefulShutdown) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        let connection = connections.watch(connection(listen::accept(listener).await, router.clone()));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!("an HTTP connection broke: {error}");
            }
            drop(place);
        });
    }
}

fn connection(
    stream: TcpStream,
    router: Router,
) -> http1::Connection<TokioIo<TcpStream>, TowerToHyperService<Router>> {
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
}

async fn authorize(State(guard): State<Guard>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| *peer);
    match guard.admit(request.headers_mut(), Some(Role::Read), peer) {
        Ok(()) => next.run(request).await,
        Err(denied) => refusal(&denied),
    }
}

/// A refusal with its challenge (RFC 6750, section 3).
fn refusal(denied: &Denied) -> Response {
    let (status, challenge) = match denied {
        Denied::Missing => (StatusCode::UNAUTHORIZED, "Bearer realm=\"centerx\""),
        Denied::Malformed => {
            (StatusCode::UNAUTHORIZED, "Bearer realm=\"centerx\", error=\"invalid_request\"")
        }
        Denied::Unknown => (StatusCode::UNAUTHORIZED, "Bearer realm=\"centerx\", error=\"invalid_token\""),
        Denied::Forbidden { .. } => {
            (StatusCode::FORBIDDEN, "Bearer realm=\"centerx\", error=\"insufficient_scope\"")
        }
    };
    (status, [(header::WWW_AUTHENTICATE, challenge)], format!("{denied}\n")).into_response()
}

async fn metrics(State(pages): State<Pages>) -> Response {
    // Gathering reads /proc and writes megabytes for a thousand cameras: not on the network's threads.
    let text = tokio::task::spawn_blocking(move || {
        TextEncoder::new().encode_to_string(&pages.registry.gather()).map_err(|error| error.to_string())
    });
    match text.await.unwrap_or_else(|error| Err(error.to_string())) {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("no metrics: {error}\n")).into_response(),
    }
}

async fn readyz(State(pages): State<Pages>) -> Response {
    match (pages.not_ready)() {
        None => {
            let warnings: String =
                (pages.warnings)().iter().map(|text| format!("warning: {text}\n")).collect();
            format!("ready\n{warnings}").into_response()
        }
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")).into_response(),
    }
}

#[cfg(test)]
mod tests;
