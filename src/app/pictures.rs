//! Clients' pictures on their way to a model: one at a time, or in streams.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::api::backend::{Choice, DetectError, Pending, PictureStream};
use crate::detection::PictureDetections;
use crate::frame::Picture;
use crate::scheduler::queue::Terms;

use super::jobs::{Interest, Job, JobKey, PictureReply};
use super::pipeline::Pipeline;
use super::router::Router;

/// Checks that there are the model and classes that a client asks for.
pub fn check(router: &Router, choice: &Choice) -> Result<(), DetectError> {
    interest(router, choice, &*pipeline(router, choice)?).map(drop)
}

/// Puts a picture into the slot of `key`. `slot` is let go when a lane takes the picture.
///
/// The model is looked up for each picture: it may be exchanged while a stream goes on.
pub fn submit(
    router: &Arc<Router>,
    choice: &Choice,
    key: JobKey,
    picture: Arc<Picture>,
    slot: Option<OwnedSemaphorePermit>,
) -> Result<Pending, DetectError> {
    let pipeline = pipeline(router, choice)?;
    let interest = interest(router, choice, &pipeline)?;
    let model = Arc::clone(pipeline.name());
    let (width, height) = (picture.width, picture.height);
    let (to, result) = oneshot::channel();
    let job = Job::Picture(picture, Arc::new(interest), PictureReply { to, slot });
    pipeline.scheduler().offer(key, job, Terms::default()).map_err(|_| gone(router, choice))?;
    let (router, choice) = (Arc::clone(router), choice.clone());
    Ok(Box::pin(async move {
        let detections = result
            .await
            .map_err(|_| gone(&router, &choice))?
            .map_err(|error| DetectError::Engine(error.to_string()))?;
        Ok(PictureDetections { width, height, model, detections })
    }))
}

fn pipeline(router: &Router, choice: &Choice) -> Result<Arc<Pipeline>, DetectError> {
    router.pipeline(choice.model.as_deref()).ok_or_else(|| DetectError::UnknownModel {
        name: choice.model.clone().unwrap_or_default(),
        have: router.model_names(),
    })
}

fn interest(router: &Router, choice: &Choice, pipeline: &Pipeline) -> Result<Interest, DetectError> {
    let min_score = choice.min_score.unwrap_or(router.min_score());
    Interest::new(&pipeline.info(), min_score, &choice.classes)
        .map_err(|class| DetectError::UnknownClass { model: pipeline.name().to_string(), class })
}

/// Why a pipeline took no picture, or let one go: its model is not served any more, or none is.
fn gone(router: &Router, choice: &Choice) -> DetectError {
    pipeline(router, choice).err().unwrap_or(DetectError::ShuttingDown)
}

/// One client's stream.
pub struct ClientStream {
    router: Arc<Router>,
    choice: Choice,
    key: JobKey,
    slot: Arc<Semaphore>,
}

impl ClientStream {
    /// A stream with a slot of its own.
    ///
    /// # Errors
    /// A model or class that is not served.
    pub fn new(router: &Arc<Router>, choice: Choice, number: u64) -> Result<Self, DetectError> {
        check(router, &choice)?;
        let slot = Arc::new(Semaphore::new(1));
        Ok(Self { router: Arc::clone(router), choice, key: JobKey::Stream(number), slot })
    }
}

#[tonic::async_trait]
impl PictureStream for ClientStream {
    async fn offer(&mut self, picture: Arc<Picture>) -> Result<Pending, DetectError> {
        // The slot is never closed.
        let slot = Arc::clone(&self.slot).acquire_owned().await.ok();
        submit(&self.router, &self.choice, self.key.clone(), picture, slot)
    }
}
