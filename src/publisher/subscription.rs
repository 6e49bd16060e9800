//! One subscriber: the end that publishers fill and the end that its task reads.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use std::vec;

use futures_util::Stream;

use super::entry::Entry;
use super::filter::DetectionFilter;
use super::replay::Resumption;
use super::ring::{Next, Ring};
use super::{Config, Shared};
use crate::camera::{CameraId, CameraStatus};
use crate::detection::{Event, EventFilter};

/// The publishers' end.
#[derive(Debug)]
pub(super) struct Subscriber {
    /// The cameras it watches, each once; empty means all.
    cameras: Vec<CameraId>,
    stall_timeout: Duration,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    ring: Ring,
    waker: Option<Waker>,
    /// Since when something waits that was not taken; none while nothing waits.
    waiting_since: Option<Instant>,
    closed: bool,
    /// It was ended because it took nothing, and is yet to be told.
    stalled: bool,
}

/// What became of a frame for one subscriber.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pushed {
    /// Frames that were dropped for it.
    pub(super) dropped: u64,
    /// The subscriber took nothing for too long and has ended.
    pub(super) stalled: bool,
}

impl Subscriber {
    pub(super) fn new(
        config: &Config,
        mut cameras: Vec<CameraId>,
        resumed: Vec<Resumption>,
        now: Instant,
    ) -> Self {
        cameras.sort_unstable();
        cameras.dedup();
        let ring = Ring::new(config.ring, resumed);
        let waiting_since = (!ring.is_empty()).then_some(now);
        let inner = Inner { ring, waker: None, waiting_since, closed: false, stalled: false };
        Self { cameras, stall_timeout: config.stall_timeout, inner: Mutex::new(inner) }
    }

    pub(super) fn cameras(&self) -> &[CameraId] {
        &self.cameras
    }

    /// Adds a frame that is published `now`.
    pub(super) fn push_frame(&self, frame: &Arc<Entry>, now: Instant) -> Pushed {
        let mut inner = self.lock();
        if inner.closed {
            return Pushed::default();
        }
        let since = *inner.waiting_since.get_or_insert(now);
        let stalled = now.saturating_duration_since(since) > self.stall_timeout;
        let dropped = if stalled { inner.give_up() } else { inner.ring.push_frame(Arc::clone(frame)) };
        wake(inner);
        Pushed { dropped, stalled }
    }

    /// Adds a camera's state.
    pub(super) fn push_state(&self, camera: &CameraId, status: &Arc<CameraStatus>, now: Instant) {
        let mut inner = self.lock();
        if !inner.closed {
            inner.waiting_since.get_or_insert(now);
            inner.ring.push_state(camera.clone(), Arc::clone(status));
            wake(inner);
        }
    }

    /// Lets the stream end once the ring is empty.
    pub(super) fn close(&self) {
        let mut inner = self.lock();
        inner.closed = true;
        wake(inner);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing under this lock panics, so poison carries no news.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Ends a subscriber that takes nothing; returns how many frames it misses.
    fn give_up(&mut self) -> u64 {
        (self.closed, self.stalled) = (true, true);
        self.ring.clear()
    }

    fn take(&mut self) -> Option<Next> {
        let next = self.ring.pop()?;
        self.waiting_since = (!self.ring.is_empty()).then(Instant::now);
        Some(next)
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
    filter: Arc<DetectionFilter>,
    initial: vec::IntoIter<Event>,
}

/// What a look into the ring gives.
enum Look {
    Next(Next, usize),
    Stalled,
    End,
}

impl Subscription {
    pub(super) fn new(
        hub: Arc<Shared>,
        subscriber: Arc<Subscriber>,
        filter: &EventFilter,
        initial: Vec<Event>,
    ) -> Self {
        let filter = Arc::new(DetectionFilter::new(filter));
        Self { hub, subscriber, filter, initial: initial.into_iter() }
    }

    /// Takes what comes next out of the ring, or leaves word to be woken.
    fn poll_ring(&self, cx: &Context<'_>) -> Poll<Look> {
        let mut inner = self.subscriber.lock();
        match inner.take() {
            Some(next) => Poll::Ready(Look::Next(next, inner.ring.frames())),
            None if std::mem::take(&mut inner.stalled) => Poll::Ready(Look::Stalled),
            None if inner.closed => Poll::Ready(Look::End),
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
        self.poll_ring(cx).map(|look| match look {
            Look::Next(next, waiting) => {
                self.hub.metrics.received(waiting);
                Some(next.into_event(|entry| entry.seen_through(&self.filter)))
            }
            Look::Stalled => Some(Event::Stalled(self.subscriber.stall_timeout)),
            Look::End => None,
        })
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.hub.remove(&self.subscriber);
    }
}
