//! A body that somebody looks at while it passes.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes};
use http_body::{Body as HttpBody, Frame, SizeHint};

/// Looks at what passes, and is let go with the body.
pub trait Tap: Unpin {
    /// A frame passes.
    ///
    /// # Errors
    /// It shall not: the error takes its place.
    fn passes(&mut self, _frame: &Frame<Bytes>) -> Result<(), axum::Error> {
        Ok(())
    }

    /// The last frame has passed.
    fn ended(&mut self) {}
}

/// A body with its tap.
pub struct Tapped<T> {
    body: Body,
    tap: T,
}

impl<T> Tapped<T> {
    /// `body`, looked at by `tap`.
    pub fn new(body: Body, tap: T) -> Self {
        Self { body, tap }
    }
}

impl<T: Tap> HttpBody for Tapped<T> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let Err(refused) = self.tap.passes(frame) {
                    return Poll::Ready(Some(Err(refused)));
                }
            }
            Some(Err(_)) => {}
            None => self.tap.ended(),
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
