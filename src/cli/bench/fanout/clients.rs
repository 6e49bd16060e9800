//! Subscribers that read, each with a connection of its own, and subscribers that never do.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;
use tokio::runtime::Runtime;
use tonic::Streaming;
use tonic::transport::Endpoint;

use crate::api::v1::detection_service_client::DetectionServiceClient;
use crate::api::v1::subscribe_response::Event;
use crate::api::v1::{SubscribeRequest, SubscribeResponse};

/// What the readers of one run have seen.
pub(super) struct Seen {
    /// Detections are stamped with the time since then.
    pub(super) start: Instant,
    counting: AtomicBool,
    dropped: AtomicU64,
    /// Milliseconds from publication to receipt.
    latencies: Mutex<Vec<f32>>,
}

impl Seen {
    pub(super) fn new() -> Arc<Self> {
        let (counting, dropped) = (AtomicBool::new(false), AtomicU64::new(0));
        Arc::new(Self { start: Instant::now(), counting, dropped, latencies: Mutex::default() })
    }

    /// From now on receipts count.
    pub(super) fn begin(&self) {
        self.counting.store(true, Ordering::Relaxed);
    }

    /// Ends the counting: latencies in order, and messages dropped since the last time.
    pub(super) fn end(&self) -> (Vec<f32>, u64) {
        self.counting.store(false, Ordering::Relaxed);
        let mut latencies =
            std::mem::take(&mut *self.latencies.lock().unwrap_or_else(PoisonError::into_inner));
        latencies.sort_by(f32::total_cmp);
        (latencies, self.dropped.swap(0, Ordering::Relaxed))
    }

    fn enter(&self, event: Option<Event>) {
        match event {
            Some(Event::Detections(frame)) if self.counting.load(Ordering::Relaxed) => {
                let stamp = frame.capture_time.and_then(|time| SystemTime::try_from(time).ok());
                let published = stamp.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
                let latency = self.start.elapsed().saturating_sub(published.unwrap_or_default());
                let mut latencies = self.latencies.lock().unwrap_or_else(PoisonError::into_inner);
                latencies.push(latency.as_secs_f32() * 1e3);
            }
            Some(Event::Dropped(gap)) => _ = self.dropped.fetch_add(gap.frames, Ordering::Relaxed),
            _ => {}
        }
    }
}

/// How much a client lets the server send ahead.
#[derive(Clone, Copy)]
pub(super) enum Window {
    /// As much as HTTP/2 knows: only TCP stops the server.
    Endless,
    /// HTTP/2's default of 64 KiB.
    Small,
}

async fn subscribe(server: SocketAddr, window: Window) -> anyhow::Result<Streaming<SubscribeResponse>> {
    let mut endpoint = Endpoint::from_shared(format!("http://{server}"))?;
    if matches!(window, Window::Endless) {
        let most = (1 << 31) - 1;
        endpoint = endpoint.initial_stream_window_size(most).initial_connection_window_size(most);
    }
    let channel = endpoint.connect().await.context("a subscriber cannot connect")?;
    let mut client = DetectionServiceClient::new(channel);
    Ok(client.subscribe(SubscribeRequest::default()).await?.into_inner())
}

/// Opens so many subscriptions on the current runtime, which read until the server ends them.
pub(super) async fn read(server: SocketAddr, count: usize, seen: &Arc<Seen>) -> anyhow::Result<()> {
    for _ in 0..count {
        let mut stream = subscribe(server, Window::Small).await?;
        let seen = Arc::clone(seen);
        tokio::spawn(async move {
            while let Ok(Some(response)) = stream.message().await {
                seen.enter(response.event);
            }
        });
    }
    Ok(())
}

/// A subscriber that never reads: not its socket, or not its stream only.
pub(super) struct Stuck {
    stream: Option<Streaming<SubscribeResponse>>,
    runtime: Option<Runtime>,
}

impl Stuck {
    /// Subscribes, and then lets the socket alone: the runtime that would read it stands still.
    pub(super) fn at_tcp(server: SocketAddr) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let stream = runtime.block_on(subscribe(server, Window::Endless))?;
        Ok(Self { stream: Some(stream), runtime: Some(runtime) })
    }

    /// Subscribes on `runtime`, which reads the socket, and then lets the stream alone.
    pub(super) fn at_http2(server: SocketAddr, runtime: &Runtime) -> anyhow::Result<Self> {
        let stream = runtime.block_on(subscribe(server, Window::Small))?;
        Ok(Self { stream: Some(stream), runtime: None })
    }
}

impl Drop for Stuck {
    fn drop(&mut self) {
        self.stream = None;
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_millis(10));
        }
    }
}
