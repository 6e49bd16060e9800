//! One subscriber: the end that publishers fill and the end that its task reads.

use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::vec;

use futures_util::Stream;

use super::Shared;
use super::filter::DetectionFilter;
use super::ring::Ring;
use crate::camera::{CameraId, CameraStatus};
use crate::detection::{Event, EventFilter, FrameDetections};

/// The publishers' end.
#[derive(Debug)]
pub(super) struct Subscriber {
    /// The cameras it watches, each once; empty means all.
    cameras: Vec<CameraId>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    ring: Ring,
    waker: Option<Waker>,
    closed: bool,
}

impl Subscriber {
    pub(super) fn new(ring: NonZeroUsize, mut cameras: Vec<CameraId>) -> Self {
        cameras.sort_unstable();
        cameras.dedup();
        Self { cameras, inner: Mutex::new(Inner { ring: Ring::new(ring), waker: None, closed: false }) }
    }

    pub(super) fn cameras(&self) -> &[CameraId] {
        &self.cameras
    }

    /// Adds a frame; returns how many were dropped for it.
    pub(super) fn push_frame(&self, frame: &Arc<FrameDetections>) -> u64 {
        self.change(|ring| ring.push_frame(Arc::clone(frame)))
    }

    /// Adds a camera's state.
    pub(super) fn push_state(&self, camera: &CameraId, status: &Arc<CameraStatus>) {
        self.change(|ring| ring.push_state(camera.clone(), Arc::clone(status)));
    }

    /// Lets the stream end once the ring is empty.
    pub(super) fn close(&self) {
        let mut inner = self.lock();
        inner.closed = true;
        wake(inner);
    }

    fn change<T: Default>(&self, change: impl FnOnce(&mut Ring) -> T) -> T {
        let mut inner = self.lock();
        if inner.closed {
            return T::default();
        }
        let result = change(&mut inner.ring);
        wake(inner);
        result
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing under this lock panics, so poison carries no news.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes the reader after letting go of the lock that it will want first.
fn wake(mut inner: MutexGuard<'_, Inner>) {
    let waker = inner.waker.take();
    drop(inner);
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// The events of one subscriber, ending when the hub closes. Dropping it ends the subscription.
#[derive(Debug)]
#[must_use = "a subscription let go ends"]
pub struct Subscription {
    hub: Arc<Shared>,
    subscriber: Arc<Subscriber>,
    filter: DetectionFilter,
    initial: vec::IntoIter<Event>,
}

impl Subscription {
    pub(super) fn new(
        hub: Arc<Shared>,
        subscriber: Arc<Subscriber>,
        filter: &EventFilter,
        initial: Vec<Event>,
    ) -> Self {
        Self { hub, subscriber, filter: DetectionFilter::new(filter), initial: initial.into_iter() }
    }

    /// Takes the next event out of the ring, or leaves word to be woken.
    fn poll_ring(&self, cx: &Context<'_>) -> Poll<Option<(Event, usize)>> {
        let mut inner = self.subscriber.lock();
        match inner.ring.pop() {
            Some(event) => Poll::Ready(Some((event, inner.ring.frames()))),
            None if inner.closed => Poll::Ready(None),
            None => {
                inner.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Stream for Subscription {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        if let Some(event) = self.initial.next() {
            return Poll::Ready(Some(event));
        }
        self.poll_ring(cx).map(|next| {
            let (event, waiting) = next?;
            self.hub.metrics.received(waiting);
            Some(match event {
                Event::Detections(frame) => Event::Detections(self.filter.apply(frame)),
                other => other,
            })
        })
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.hub.remove(&self.subscriber);
    }
}
