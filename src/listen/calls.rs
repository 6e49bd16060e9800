//! The router as one connection sees it: each call is counted from its head to the end of its answer.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::service::TowerToHyperService;

use super::places::{Call, Place};
use super::tap::{Tap, Tapped};

/// The calls of one connection. Each request carries a [`ConnectInfo`] with the peer's address.
#[derive(Clone)]
pub(super) struct Calls {
    router: TowerToHyperService<Router>,
    place: Arc<Place>,
    peer: SocketAddr,
}

impl Calls {
    pub(super) fn new(router: Router, place: Arc<Place>, peer: SocketAddr) -> Self {
        Self { router: TowerToHyperService::new(router), place, peer }
    }
}

impl Service<Request<Incoming>> for Calls {
    type Response = Response<Tapped<Call>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let call = self.place.begin();
        request.extensions_mut().insert(ConnectInfo(self.peer));
        let answer = self.router.call(request);
        Box::pin(async move { Ok(answer.await?.map(|body| Tapped::new(body, call))) })
    }
}

/// A call is under way until the body of its answer is let go.
impl Tap for Call {}
