//! Clients' pictures on their way to a model: one at a time, or in streams.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, timeout};

use crate::api::backend::{Choice, DetectError, Pending, PictureStream};
use crate::detection::PictureDetections;
use crate::frame::Picture;
use crate::scheduler::queue::Terms;

use super::jobs::{Interest, Job, JobKey, PictureReply, PictureResult};
use super::pipeline::Pipeline;
use super::router::Router;

/// A picture waits so long for a model without a lane at work. Lanes mostly come back within less.
const NO_LANE_PATIENCE: Duration = Duration::from_secs(3);
/// Between two looks at whether there is a lane at work.
const LOOK_EVERY: Duration = Duration::from_millis(500);

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
    pipeline.scheduler().offer(key.clone(), job, Terms::default()).map_err(|_| gone(router, choice))?;
    let (router, choice) = (Arc::clone(router), choice.clone());
    let pipeline = Arc::downgrade(&pipeline);
    Ok(Box::pin(async move {
        let detections = answer(result, &pipeline, &key)
            .await?
            .ok_or_else(|| gone(&router, &choice))?
            .map_err(|error| DetectError::Engine(error.to_string()))?;
        Ok(PictureDetections { width, height, model, detections })
    }))
}

/// Waits for what comes of the picture that was put into the slot of `key`; none if it was let go.
///
/// # Errors
/// No lane is there to look at it, and none has been for a while: it is taken back.
async fn answer(
    mut result: oneshot::Receiver<PictureResult>,
    pipeline: &Weak<Pipeline>,
    key: &JobKey,
) -> Result<Option<PictureResult>, DetectError> {
    let mut idle_since = None;
    loop {
        if let Ok(result) = timeout(LOOK_EVERY, &mut result).await {
            return Ok(result.ok());
        }
        let Some((pipeline, why)) = pipeline.upgrade().and_then(|p| p.trouble().map(|why| (p, why))) else {
            idle_since = None;
            continue;
        };
        if idle_since.get_or_insert_with(Instant::now).elapsed() >= NO_LANE_PATIENCE {
            drop(pipeline.scheduler().forget(key));
            return Err(DetectError::NoLane(why));
        }
    }
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
