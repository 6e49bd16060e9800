//! Memory for requests of `Detect` that are still arriving.
//!
//! A picture gets a place once its request is there, and requests that never become complete have none: without
//! a limit of their own, a client that begins a thousand of them and stalls would hold 16 GB here.
//!
//! What does not belong here: room for pictures that have arrived (`places`).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http_body::Frame;
use tonic::Status;

use crate::listen::{Tap, Tapped};

/// For all such requests together: sixteen of the largest, or thousands of the usual.
const BUDGET: usize = 256 << 20;
const DETECT: &str = "/centerx.v1.DetectionService/Detect";

/// What is left of the budget, in bytes.
#[derive(Clone)]
pub(super) struct Budget(Arc<AtomicUsize>);

impl Budget {
    pub(super) fn new() -> Self {
        Self(Arc::new(AtomicUsize::new(BUDGET)))
    }

    fn take(&self, bytes: usize) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes)).is_ok()
    }

    fn give_back(&self, bytes: usize) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// Charges what arrives of a request of `Detect` to the budget, until it has arrived or is given up.
pub(super) async fn charge(State(budget): State<Budget>, request: Request, next: Next) -> Response {
    if request.uri().path() != DETECT {
        return next.run(request).await;
    }
    next.run(request.map(|body| Body::new(Tapped::new(body, Charge::on(&budget))))).await
}

/// What was taken from the budget for one request.
struct Charge {
    budget: Budget,
    taken: usize,
}

impl Charge {
    fn on(budget: &Budget) -> Self {
        Self { budget: budget.clone(), taken: 0 }
    }
}

impl Tap for Charge {
    fn passes(&mut self, frame: &Frame<Bytes>) -> Result<(), axum::Error> {
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        if !self.budget.take(bytes) {
            let refusal = Status::resource_exhausted("too many pictures are arriving; retry in a moment");
            return Err(axum::Error::new(refusal));
        }
        self.taken += bytes;
        Ok(())
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.give_back(self.taken);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;

    use http_body::Body as _;

    use super::*;

    #[tokio::test]
    async fn what_arrives_is_charged_until_it_is_let_go() {
        let budget = Budget(Arc::new(AtomicUsize::new(100)));
        let charged = |bytes: usize| Tapped::new(Body::from(vec![0; bytes]), Charge::on(&budget));
        let (mut first, mut second) = (charged(60), charged(60));
        let next = async |body: &mut Tapped<Charge>| {
            std::future::poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await
        };
        assert!(next(&mut first).await.unwrap().is_ok());
        let refused = next(&mut second).await.unwrap().unwrap_err();
        assert!(Status::from_error(Box::new(refused)).message().contains("too many pictures"));
        drop((first, second));
        assert_eq!(budget.0.load(Ordering::Relaxed), 100);
    }
}
