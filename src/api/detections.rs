//! `DetectionService`.

use std::net::IpAddr;
use std::sync::Arc;

use futures_util::{Stream, StreamExt, stream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::backend::{Backend, DetectError, DetectRequest};
use super::convert_detections::{check_choice, detect_response, event_filter, outgoing};
use super::detect_stream::{Answers, Streams};
use super::observe::Metrics;
use super::peers::{OpenStream, Peers};
use super::places::Places;
use super::status::{Violations, of_detection, of_subscription, shutting_down};
use super::subscribe::Messages;
use super::v1::detection_service_server::DetectionService;
use super::{Config, v1};

/// More frames of one stream under way than this are a slip of the hand.
const MAX_WINDOW: usize = 1024;
/// What surrounds the largest picture in its message.
pub(super) const MESSAGE_OVERHEAD: usize = 256 * 1024;

pub(super) struct Detections {
    backend: Arc<dyn Backend>,
    /// Ends subscriptions that did not end by themselves in time.
    cut: CancellationToken,
    places: Arc<Places>,
    streams: Streams,
    peers: Peers,
    max_picture: usize,
}

impl Detections {
    /// The service over `backend`. `stopping` ends the reading of streams, `cut` the streams.
    pub(super) fn new(
        config: &Config,
        backend: Arc<dyn Backend>,
        metrics: Metrics,
        peers: Peers,
        stopping: CancellationToken,
        cut: CancellationToken,
    ) -> Self {
        let places = Arc::new(Places::new(config));
        let streams = Streams {
            backend: Arc::clone(&backend),
            places: Arc::clone(&places),
            metrics,
            free: Arc::new(Semaphore::new(config.streams.get().min(Semaphore::MAX_PERMITS))),
            window: config.stream_window.get().min(MAX_WINDOW),
            max_picture: config.max_picture(),
            stopping,
            cut: cut.clone(),
        };
        Self { backend, cut, places, streams, peers, max_picture: config.max_picture() }
    }
}

pub(super) fn caller<T>(request: &Request<T>) -> Option<IpAddr> {
    request.remote_addr().map(|address| address.ip())
}

/// The stream, which holds its place among its peer's until it is let go.
pub(super) fn held<S: Stream>(open: OpenStream, stream: S) -> impl Stream<Item = S::Item> {
    stream.inspect(move |_| _ = &open)
}

impl Detections {
    /// Begins a subscription.
    pub(super) fn events(&self, request: Request<v1::SubscribeRequest>) -> Result<Messages, Status> {
        let open = self.peers.open_stream(caller(&request))?;
        let filter = event_filter(request.into_inner())?;
        let events = self.backend.subscribe(filter).map_err(|error| of_subscription(&error))?;
        let responses = events
            .map(outgoing)
            .take_until(self.cut.clone().cancelled_owned())
            .chain(stream::once(async { Err(shutting_down()) }));
        Ok(Box::pin(held(open, responses)))
    }
}

/// What is wrong with a picture of more than `most` bytes.
pub(super) fn too_large(most: usize) -> String {
    format!("is larger than {} ([grpc] picture_bytes)", size(most))
}

/// A size for people.
pub(super) fn size(bytes: usize) -> String {
    if bytes >= 1 << 20 { format!("{} MiB", bytes >> 20) } else { format!("{bytes} bytes") }
}

pub(super) fn check(request: &v1::DetectRequest, max_picture: usize) -> Result<(), Status> {
    let mut bad = Violations::default();
    if request.image.len() > max_picture {
        bad.add("image", too_large(max_picture));
    }
    check_choice(&mut bad, &request.classes, request.min_score);
    bad.into_result()
}

#[tonic::async_trait]
impl DetectionService for Detections {
    type SubscribeStream = stream::Empty<Result<v1::SubscribeResponse, Status>>;

    async fn subscribe(
        &self,
        _: Request<v1::SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        // `subscribe::Server` has answered it, with messages that are encoded once for all.
        Err(Status::internal("Subscribe went astray, which is a fault in centerx; please report it"))
    }

    type DetectStreamStream = Answers;

    async fn detect_stream(
        &self,
        request: Request<Streaming<v1::DetectStreamRequest>>,
    ) -> Result<Response<Answers>, Status> {
        let open = self.peers.open_stream(caller(&request))?;
        let answers = self.streams.open(request.into_inner())?;
        Ok(Response::new(Box::pin(held(open, answers))))
    }

    async fn detect(
        &self,
        request: Request<v1::DetectRequest>,
    ) -> Result<Response<v1::DetectResponse>, Status> {
        let _place = self.places.take().ok_or_else(|| of_detection(&DetectError::Busy))?;
        let request = request.into_inner();
        check(&request, self.max_picture)?;
        let picture = Arc::new(self.places.decode(request.image, "image").await?);
        let (model, min_score, classes) = (request.model, request.min_score, request.classes);
        let request = DetectRequest { picture, model, min_score, classes };
        let found = self.backend.detect(request).await.map_err(|error| of_detection(&error))?;
        Ok(Response::new(detect_response(&found)))
    }
}
