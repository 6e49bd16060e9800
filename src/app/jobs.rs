//! What the engine's lanes work on, and what becomes of it: a camera's frame goes to the hub, a client's
//! picture back to its client.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::camera::CameraId;
use crate::detection::{Detection, FrameDetections, ModelInfo};
use crate::engine::{EngineError, lane, post};
use crate::frame::{Frame, Picture};
use crate::ledger::{DropReason, Ticket};
use crate::live::{Live, Offer};
use crate::publisher::Hub;
use crate::scheduler::{Crew, Scheduled, Scheduler, Taken};
use crate::trace::{Stage, Trace};

use super::budget::{Budget, SIGN_OF_LIFE, Verdict};

/// Whose turn it is: a camera's, a client's stream's, or that of one picture sent by a client.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum JobKey {
    /// A camera's slot.
    Camera(CameraId),
    /// A slot used once.
    Picture(u64),
    /// The slot of a client's stream. The next picture comes when a lane has taken the one before, so that
    /// none is replaced and a stream weighs as much as a camera, however many pictures it has to look at.
    Stream(u64),
}

/// Which detections are of interest. By class name, so that it holds whichever lanes a job meets: a model may
/// be swapped for one that numbers its classes otherwise while the job waits.
#[derive(Clone, Debug)]
pub struct Interest {
    min_score: f32,
    /// Empty means all.
    classes: Vec<String>,
}

impl Interest {
    /// Detections of at least `min_score` of the named classes; no names mean all.
    ///
    /// # Errors
    /// The first class that the model does not know.
    pub fn new(model: &ModelInfo, min_score: f32, classes: &[String]) -> Result<Self, String> {
        let interest = Self { min_score, classes: classes.to_vec() };
        match interest.unknown_to(model) {
            Some(unknown) => Err(unknown.to_owned()),
            None => Ok(interest),
        }
    }

    /// The first class asked for that `model` does not know.
    pub fn unknown_to(&self, model: &ModelInfo) -> Option<&str> {
        let known = |class: &str| model.classes.iter().any(|known| **known == *class);
        self.classes.iter().map(String::as_str).find(|class| !known(class))
    }

    /// Whether a detection of this class and score is of interest.
    pub fn covers(&self, label: &str, score: f32) -> bool {
        score >= self.min_score
            && (self.classes.is_empty() || self.classes.iter().any(|class| class == label))
    }
}

/// What a client waiting for its picture gets.
pub type PictureResult = Result<Vec<Detection>, Arc<EngineError>>;

/// Where the result of a client's picture goes.
pub struct PictureReply {
    /// To the client.
    pub to: oneshot::Sender<PictureResult>,
    /// The slot of the picture's stream, let go when a lane takes the picture, so that the next one can come.
    pub slot: Option<OwnedSemaphorePermit>,
}

/// One thing for a lane to look at.
pub enum Job {
    /// A camera's frame.
    Frame(Frame, Arc<Interest>, Budget),
    /// A client's picture.
    Picture(Arc<Picture>, Arc<Interest>, PictureReply),
}

impl Job {
    fn is_awaited(&self) -> bool {
        !matches!(self, Self::Picture(_, _, reply) if reply.to.is_closed())
    }

    /// A lane of `model` has it now.
    fn taken(&mut self, model: &Arc<str>, batch: usize) {
        match self {
            Self::Picture(_, _, reply) => reply.slot = None,
            Self::Frame(frame, ..) => {
                if let Some(trace) = frame.ticket.trace() {
                    trace.taken(Instant::now(), model, batch);
                }
            }
        }
    }

    /// Ends the job unprocessed. A waiting client learns it from its closed channel.
    pub fn abandon(self, reason: DropReason) {
        if let Self::Frame(frame, ..) = self {
            frame.ticket.drop_as(reason);
        }
    }
}

/// A frame's result, waiting for its turn to be published: what was found, or why it is to be dropped.
pub struct Outcome {
    found: Result<Arc<FrameDetections>, DropReason>,
    /// The frame's pixels, if somebody looks at its camera.
    picture: Option<Arc<Picture>>,
    budget: Budget,
    late: bool,
    ticket: Ticket,
}

impl Outcome {
    /// It comes too late: later ones were published.
    fn pass_over(self) {
        self.ticket.drop_as(self.found.err().unwrap_or(DropReason::Superseded));
    }
}

/// The scheduler of one model.
pub type JobScheduler = Scheduler<JobKey, Job, Option<Outcome>>;

type ScheduledJob = Scheduled<Job, Option<Outcome>>;

/// What a lane needs of a job to look at it.
pub struct Look {
    picture: Arc<Picture>,
    interest: Arc<Interest>,
    trace: Option<Arc<Trace>>,
}

impl lane::Job for Look {
    fn picture(&self) -> &Picture {
        &self.picture
    }

    fn wants(&self, label: &str, score: f32) -> bool {
        self.interest.covers(label, score)
    }

    fn ran(&self, times: &lane::Times) {
        if let Some(trace) = &self.trace {
            trace.span(Stage::Preprocess, times.begun, times.letterboxed);
            trace.span(Stage::Infer, times.letterboxed, times.inferred);
        }
    }
}

/// What ties one lane to its scheduler and the hub.
pub struct LaneWork {
    /// Where the jobs come from.
    pub scheduler: Arc<JobScheduler>,
    /// The lane's crew.
    pub crew: Crew,
    /// Where the cameras' detections go.
    pub hub: Hub,
    /// Where their pictures go, if somebody looks.
    pub live: Live,
    /// The model's name.
    pub model: Arc<str>,
    /// Pairs of landmarks that a drawing joins.
    pub skeleton: Arc<[[u32; 2]]>,
}

impl post::Work for LaneWork {
    type Task = ScheduledJob;
    type Job = Look;

    fn next(&self) -> Option<Vec<ScheduledJob>> {
        loop {
            let mut batch = match self.scheduler.take(&self.crew)? {
                Taken::Batch(batch) => batch,
                Taken::Expired(jobs) => {
                    jobs.into_iter().for_each(|job| job.abandon(DropReason::TooOld));
                    continue;
                }
            };
            let size = batch.len();
            batch.iter_mut().for_each(|scheduled| scheduled.item.taken(&self.model, size));
            batch.retain(|scheduled| scheduled.item.is_awaited());
            if !batch.is_empty() {
                return Some(batch);
            }
        }
    }

    fn job(&self, scheduled: &ScheduledJob) -> Look {
        let (picture, interest, trace) = match &scheduled.item {
            Job::Frame(frame, interest, _) => (&frame.picture, interest, frame.ticket.trace().cloned()),
            Job::Picture(picture, interest, _) => (picture, interest, None),
        };
        Look { picture: Arc::clone(picture), interest: Arc::clone(interest), trace }
    }

    fn done(&self, scheduled: ScheduledJob, result: PictureResult) {
        // A run that failed tells nothing of how long runs take.
        if let Some(run) = scheduled.run.filter(|_| result.is_ok()) {
            self.scheduler.ran(&self.crew, run.items, run.begun.elapsed());
        }
        let late = scheduled.late;
        let outcome = match scheduled.item {
            Job::Frame(frame, _, budget) => Some(self.outcome(frame, budget, late, result)),
            Job::Picture(_, _, reply) => {
                // A client that hung up does not mind.
                let _ = reply.to.send(result);
                None
            }
        };
        let late = scheduled.turn.finish(outcome, |outcome| self.publish(outcome));
        if let Some(Some(outcome)) = late {
            outcome.pass_over();
        }
    }

    fn rest(&self, pause: Duration) -> bool {
        self.scheduler.rest(&self.crew, pause)
    }
}

impl LaneWork {
    fn outcome(&self, frame: Frame, budget: Budget, late: bool, result: PictureResult) -> Outcome {
        let picture = self.live.is_watched(&frame.camera).then(|| Arc::clone(&frame.picture));
        let found = result.map_err(|error| reason_of(&error)).map(|detections| {
            Arc::new(FrameDetections {
                camera: frame.camera,
                sequence: frame.sequence,
                capture: frame.capture,
                width: frame.picture.width,
                height: frame.picture.height,
                model: Arc::clone(&self.model),
                detections,
            })
        });
        Outcome { found, picture, budget, late, ticket: frame.ticket }
    }

    fn publish(&self, outcome: Option<Outcome>) {
        let Some(Outcome { found, picture, budget, late, ticket }) = outcome else { return };
        let found = match found {
            Ok(found) => found,
            Err(reason) => return ticket.drop_as(reason),
        };
        match budget.judge(found.capture.monotonic, late, Instant::now()) {
            Verdict::TooOld => return ticket.drop_as(DropReason::TooOld),
            Verdict::SignOfLife { first: true } => warn_too_slow(&found, &budget),
            Verdict::SignOfLife { first: false } | Verdict::Publish => {}
        }
        let begun = Instant::now();
        let found = self.hub.publish(found);
        if let Some(trace) = ticket.trace() {
            trace.span(Stage::Publish, begun, Instant::now());
        }
        let age = found.capture.monotonic.elapsed();
        ticket.publish_with(found.detections.len(), age);
        if let Some(picture) = picture {
            self.live.offer(Offer { picture, found, skeleton: Arc::clone(&self.skeleton), age });
        }
    }
}

/// The name under which a frame is dropped that the engine did not get done with.
fn reason_of(error: &EngineError) -> DropReason {
    match error {
        EngineError::Panicked(_) => DropReason::EnginePanic,
        EngineError::Hung(_) | EngineError::OpeningHung(_) => DropReason::EngineHung,
        _ => DropReason::EngineError,
    }
}

fn warn_too_slow(found: &FrameDetections, budget: &Budget) {
    tracing::warn!(
        camera = %found.camera,
        model = %found.model,
        max_age = ?budget.max_age(),
        age = ?found.capture.monotonic.elapsed(),
        "nothing comes out within max_age on this machine: only one frame in {SIGN_OF_LIFE:?} is published; raise \
         max_age, use a smaller model or watch fewer cameras"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> ModelInfo {
        ModelInfo { name: "coco".into(), classes: vec!["person".into(), "car".into()], ..Default::default() }
    }

    #[test]
    fn interest_covers_named_classes_from_the_score_on() {
        let interest = Interest::new(&model(), 0.5, &["car".into()]).unwrap();
        assert!(interest.covers("car", 0.5));
        assert!(!interest.covers("car", 0.49) && !interest.covers("person", 0.9));
        assert!(Interest::new(&model(), 0.0, &[]).unwrap().covers("person", 0.0));
    }

    #[test]
    fn an_unknown_class_is_named() {
        assert_eq!(Interest::new(&model(), 0.5, &["tractor".into()]).unwrap_err(), "tractor");
    }
}
