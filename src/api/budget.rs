//! Memory for requests of `Detect` that are still arriving.
//!
//! A picture gets a place once its request is there, and requests that never become complete have none: without
//! a limit of their own, a client that begins a thousand of them and stalls would hold 16 GB here.
//!
//! What does not belong here: room for pictures that have arrived (`places`).

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tonic::Status;

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
    next.run(request.map(|body| Body::new(Charged { body, budget, taken: 0 }))).await
}

struct Charged {
    body: Body,
    budget: Budget,
    taken: usize,
}

impl HttpBody for Charged {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            if !self.budget.take(bytes) {
                return Poll::Ready(Some(Err(axum::Error::new(Status::resource_exhausted(
                    "too many pictures are arriving; retry in a moment",
                )))));
            }
            self.taken += bytes;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Charged {
    fn drop(&mut self) {
        self.budget.give_back(self.taken);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_arrives_is_charged_until_it_is_let_go() {
        let budget = Budget(Arc::new(AtomicUsize::new(100)));
        let charged =
            |bytes: usize| Charged { body: Body::from(vec![0; bytes]), budget: budget.clone(), taken: 0 };
        let (mut first, mut second) = (charged(60), charged(60));
        let next =
            async |body: &mut Charged| std::future::poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await;
        assert!(next(&mut first).await.unwrap().is_ok());
        let refused = next(&mut second).await.unwrap().unwrap_err();
        assert!(Status::from_error(Box::new(refused)).message().contains("too many pictures"));
        drop((first, second));
        assert_eq!(budget.0.load(Ordering::Relaxed), 100);
    }
}
