//! A client that does what it should, and how long it waited for it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use centerx::api::v1::SubscribeRequest;
use centerx::api::v1::camera_service_client::CameraServiceClient;
use centerx::api::v1::detection_service_client::DetectionServiceClient;
use centerx::api::v1::subscribe_response::Event;
use centerx::api::v1::{ListCamerasRequest, ListCamerasResponse};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use crate::process::ServerProcess;
use crate::until;

/// An answer that takes longer did not come.
const PATIENCE: Duration = Duration::from_secs(5);
/// Rounds of answers that a test needs to say something.
pub const ROUNDS: usize = 10;
/// Frames that a test needs to say something.
const FRAMES: usize = 4;

/// Asks for `/healthz`, `/metrics` and the cameras, each over a new connection, and holds a subscription that
/// it opened before; until it is told to stop.
pub struct Healthy {
    stop: CancellationToken,
    asking: JoinHandle<Waited>,
    watching: JoinHandle<()>,
    frames: Arc<AtomicUsize>,
    answers: Arc<AtomicUsize>,
}

/// How long answers took.
#[derive(Debug, Default)]
pub struct Waited {
    http: Vec<Duration>,
    grpc: Vec<Duration>,
    frames: usize,
}

impl Healthy {
    pub async fn start(server: &ServerProcess) -> Self {
        let (grpc, http) = (server.grpc, server.http);
        let frames = Arc::new(AtomicUsize::new(0));
        let mut stream = DetectionServiceClient::new(channel(grpc).await)
            .subscribe(SubscribeRequest::default())
            .await
            .unwrap()
            .into_inner();
        let seen = Arc::clone(&frames);
        let watching = tokio::spawn(async move {
            while let Some(message) = stream.message().await.unwrap() {
                if let Some(Event::Detections(_)) = message.event {
                    seen.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        let stop = CancellationToken::new();
        let answers = Arc::new(AtomicUsize::new(0));
        let asking = tokio::spawn(ask_until(stop.clone(), grpc, http, Arc::clone(&answers)));
        Self { stop, asking, watching, frames, answers }
    }

    /// Rounds of answers that it got so far.
    pub fn answers(&self) -> usize {
        assert!(!self.asking.is_finished(), "the healthy client was not answered");
        self.answers.load(Ordering::Relaxed)
    }

    /// Waits for some rounds of answers and for frames, stops, and tells how it was treated.
    pub async fn stop(self) -> Waited {
        let enough = || self.answers() >= ROUNDS && self.frames.load(Ordering::Relaxed) > FRAMES;
        until("the healthy client is served", enough).await;
        self.stop.cancel();
        let mut waited = self.asking.await.unwrap();
        assert!(!self.watching.is_finished(), "the subscription ended");
        self.watching.abort();
        waited.frames = self.frames.load(Ordering::Relaxed);
        waited
    }
}

impl Waited {
    /// Answers came, and none was long in coming.
    pub fn assert_served(&self, what: &str) {
        let worst = |times: &[Duration]| times.iter().max().copied().unwrap_or_default();
        let median = |times: &[Duration]| {
            let mut times = times.to_vec();
            times.sort();
            times.get(times.len() / 2).copied().unwrap_or_default()
        };
        println!(
            "{what}: {} HTTP answers, median {:?}, worst {:?}; {} gRPC answers, median {:?}, worst {:?}; {} frames",
            self.http.len(),
            median(&self.http),
            worst(&self.http),
            self.grpc.len(),
            median(&self.grpc),
            worst(&self.grpc),
            self.frames
        );
        assert!(self.grpc.len() >= ROUNDS && self.frames > FRAMES, "{self:?}");
        assert!(worst(&self.http) < PATIENCE && worst(&self.grpc) < PATIENCE, "{self:?}");
    }
}

async fn ask_until(
    stop: CancellationToken,
    grpc: SocketAddr,
    http: SocketAddr,
    answers: Arc<AtomicUsize>,
) -> Waited {
    let mut waited = Waited::default();
    while !stop.is_cancelled() {
        for path in ["/healthz", "/metrics"] {
            let begin = Instant::now();
            let answer = timeout(PATIENCE, get(http, path)).await;
            let answer = answer.unwrap_or_else(|_| panic!("no answer of {path} in {PATIENCE:?}"));
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            waited.http.push(begin.elapsed());
        }
        let begin = Instant::now();
        let answer = timeout(PATIENCE, list(grpc)).await.expect("the cameras are listed in time");
        assert_eq!(answer.cameras.len(), 1);
        waited.grpc.push(begin.elapsed());
        answers.fetch_add(1, Ordering::Relaxed);
        // A person's pace, and not one attack more.
        let _ = timeout(Duration::from_millis(50), stop.cancelled()).await;
    }
    waited
}

async fn channel(address: SocketAddr) -> Channel {
    Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}

async fn list(address: SocketAddr) -> ListCamerasResponse {
    let mut client = CameraServiceClient::new(channel(address).await);
    client.list_cameras(ListCamerasRequest {}).await.unwrap().into_inner()
}

/// What an HTTP server says to a request over a connection of its own.
pub async fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}
