//! `DetectionService`.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::{Stream, StreamExt, stream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::backend::{Backend, DetectError, DetectRequest};
use super::convert_detections::{check_choice, detect_response, event_filter, subscribe_response};
use super::status::{Violations, invalid, of_detection, of_subscription, shutting_down};
use super::v1::detection_service_server::DetectionService;
use super::{Config, v1};
use crate::frame::Picture;
use crate::picture_file;

/// The largest picture file.
const MAX_PICTURE_BYTES: usize = 16 * 1024 * 1024;
/// The largest message: the largest picture and what surrounds it.
pub(super) const MAX_MESSAGE_BYTES: usize = MAX_PICTURE_BYTES + 256 * 1024;

pub(super) struct Detections {
    backend: Arc<dyn Backend>,
    /// Ends subscriptions that did not end by themselves in time.
    cut: CancellationToken,
    /// Places for pictures in memory.
    pictures: Semaphore,
    /// Places for pictures being decoded.
    decoders: Arc<Semaphore>,
}

impl Detections {
    pub(super) fn new(config: &Config, backend: Arc<dyn Backend>, cut: CancellationToken) -> Self {
        Self {
            backend,
            cut,
            pictures: Semaphore::new(config.pictures.get()),
            decoders: Arc::new(Semaphore::new(config.decoders.get())),
        }
    }

    async fn decode(&self, image: Vec<u8>) -> Result<Picture, Status> {
        let place = Arc::clone(&self.decoders).acquire_owned().await;
        // The place goes along: a caller that gives up does not make room for another decoder.
        let decoded = tokio::task::spawn_blocking(move || {
            let _place = place;
            picture_file::decode(&image)
        });
        match decoded.await {
            Ok(decoded) => decoded.map_err(|error| invalid("image", error.to_string())),
            Err(error) => Err(Status::internal(format!("the picture decoder failed: {error}"))),
        }
    }
}

fn check(request: &v1::DetectRequest) -> Result<(), Status> {
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

    async fn detect(
        &self,
        request: Request<v1::DetectRequest>,
    ) -> Result<Response<v1::DetectResponse>, Status> {
        let _place = self.pictures.try_acquire().map_err(|_| of_detection(&DetectError::Busy))?;
        let request = request.into_inner();
        check(&request)?;
        let picture = Arc::new(self.decode(request.image).await?);
        let (model, min_score, classes) = (request.model, request.min_score, request.classes);
        let request = DetectRequest { picture, model, min_score, classes };
        let found = self.backend.detect(request).await.map_err(|error| of_detection(&error))?;
        Ok(Response::new(detect_response(&found)))
    }
}
