//! HTTP for people and machines that watch the server: the live page, metrics, health, readiness.
//!
//! What does not belong here: the services that the page asks (`api`, whose router is served beside these pages), and
//! what the metrics count (each stage).

mod assets;
mod cameras;

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus::{Registry, TextEncoder};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use crate::auth::{Denied, Guard, Role};
use crate::listen::places::Limits;
use crate::listen::{ListenError, Listener, Protocol, Setup, tls};

pub use cameras::Cameras;

/// The HTTP settings.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address and port to listen on.
    pub listen: SocketAddr,
    /// On shutdown, for answers under way.
    #[serde(with = "humantime_serde")]
    pub drain: Duration,
    /// Connections at a time.
    pub connections: usize,
    /// Connections at a time from one address.
    pub connections_per_peer: usize,
    /// From a connection to the end of its first request's head, TLS included.
    #[serde(with = "humantime_serde")]
    pub first_request_timeout: Duration,
    /// A connection without a request for so long is closed; also the time for the whole head of each request but
    /// the first.
    #[serde(with = "humantime_serde")]
    pub idle_timeout: Duration,
    /// Its certificate: https in place of http.
    pub tls: Option<tls::Config>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            drain: Duration::from_millis(500),
            // Browsers open six each; behind a proxy they come from one address.
            connections: 256,
            connections_per_peer: 128,
            first_request_timeout: Duration::from_secs(10),
            // Longer than scrapers wait between two scrapes.
            idle_timeout: Duration::from_secs(75),
            tls: None,
        }
    }
}

impl Config {
    /// Who may hold a connection.
    pub fn limits(&self) -> Limits {
        Limits {
            connections: self.connections,
            per_peer: self.connections_per_peer,
            first_request: self.first_request_timeout,
            idle: self.idle_timeout,
        }
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
/// An address that cannot be listened on, a certificate that cannot be used, with the cure.
pub async fn bind(config: &Config) -> Result<Listener, ListenError> {
    let (address, limits, tls) = (config.listen, config.limits(), config.tls.clone());
    let protocol = Protocol::Http1;
    Listener::open(Setup { what: "HTTP", label: "http", address, limits, tls, protocol }).await
}

/// The pages: `/metrics` and the cameras' pictures for whom `guard` lets in; for everybody the live page, which holds no
/// data, and `/healthz` and `/readyz`, because what looks after the server's life has no token.
pub fn router(
    registry: Registry,
    not_ready: NotReady,
    warnings: Warnings,
    cameras: Arc<dyn Cameras>,
    guard: Guard,
) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .merge(cameras::routes(cameras))
        .route_layer(middleware::from_fn_with_state(guard, authorize))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .merge(assets::router())
        .with_state(Pages { registry, not_ready, warnings })
}

/// Answers on `listener` until `shutdown`; then answers under way have `config.drain` to finish.
pub async fn serve(config: &Config, listener: Listener, router: Router, shutdown: impl Future<Output = ()>) {
    let stop = CancellationToken::new();
    let mut serving = pin!(listener.serve(router, stop.cancelled()));
    tokio::select! {
        () = &mut serving => return,
        () = shutdown => stop.cancel(),
    }
    // Whoever has not read its answer by then does not want it.
    let _ = tokio::time::timeout(config.drain, serving).await;
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
