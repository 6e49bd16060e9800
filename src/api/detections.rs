//! `DetectionService`.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::{Stream, StreamExt, stream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::backend::{Backend, DetectError, DetectRequest};
use super::convert_detections::{check_choice, detect_response, event_filter, subscribe_response};
use super::detect_stream::{Answers, Streams};
use super::observe::Metrics;
use super::places::Places;
use super::status::{Violations, of_detection, of_subscription, shutting_down};
use super::v1::detection_service_server::DetectionService;
use super::{Config, v1};

/// The largest picture file.
pub(super) const MAX_PICTURE_BYTES: usize = 16 * 1024 * 1024;
/// More frames of one stream under way than this are a slip of the hand.
const MAX_WINDOW: usize = 1024;
/// The largest message: the largest picture and what surrounds it.
pub(super) const MAX_MESSAGE_BYTES: usize = MAX_PICTURE_BYTES + 256 * 1024;

pub(super) struct Detections {
    backend: Arc<dyn Backend>,
    /// Ends subscriptions that did not end by themselves in time.
    cut: CancellationToken,
    places: Arc<Places>,
    streams: Streams,
}

impl Detections {
    /// The service over `backend`. `stopping` ends the reading of streams, `cut` the streams.
    pub(super) fn new(
        config: &Config,
        backend: Arc<dyn Backend>,
        metrics: Metrics,
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
            stopping,
            cut: cut.clone(),
        };
        Self { backend, cut, places, streams }
    }
}

pub(super) fn check(request: &v1::DetectRequest) -> Result<(), Status> {
    let mut bad = Violations::default();
    if request.image.len() > MAX_PICTURE_BYTES {
        bad.add("image", format!("is larger than {} MiB", MAX_PICTURE_BYTES >> 20));
    }
    check_choice(&mut bad, &request.classes, request.min_score);
    bad.into_result()
}

#[tonic::async_trait]
impl DetectionService for Detections {
    type SubscribeStream = Pin<Box<dyn Stream<Item = Result<v1::SubscribeResponse, Status>> + Send>>;

    async fn subscribe(
        &self,
        request: Request<v1::SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let filter = event_filter(request.into_inner())?;
        let events = self.backend.subscribe(filter).map_err(|error| of_subscription(&error))?;
        let responses = events
            .map(|event| Ok(subscribe_response(event)))
            .take_until(self.cut.clone().cancelled_owned())
            .chain(stream::once(async { Err(shutting_down()) }));
        Ok(Response::new(Box::pin(responses)))
    }

    type DetectStreamStream = Answers;

    async fn detect_stream(
        &self,
        request: Request<Streaming<v1::DetectStreamRequest>>,
    ) -> Result<Response<Answers>, Status> {
        self.streams.open(request.into_inner()).map(Response::new)
    }

    async fn detect(
        &self,
        request: Request<v1::DetectRequest>,
    ) -> Result<Response<v1::DetectResponse>, Status> {
        let _place = self.places.take().ok_or_else(|| of_detection(&DetectError::Busy))?;
        let request = request.into_inner();
        check(&request)?;
        let picture = Arc::new(self.places.decode(request.image, "image").await?);
        let (model, min_score, classes) = (request.model, request.min_score, request.classes);
        let request = DetectRequest { picture, model, min_score, classes };
        let found = self.backend.detect(request).await.map_err(|error| of_detection(&error))?;
        Ok(Response::new(detect_response(&found)))
    }
}
