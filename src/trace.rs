//! What happened to one frame, stage by stage: for the few frames that are sampled.
//!
//! A trace goes with the frame's ticket ([`Ticket::follow`](crate::ledger::Ticket::follow)), so that it ends when the
//! frame is published or dropped, wherever that is. Stages note when they began and ended. A frame that is not sampled
//! has no trace, and costs nobody anything.
//!
//! What does not belong here: which frames are sampled, and where traces go.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::camera::CameraId;

/// A part of a frame's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// From the coded frame at its decoder to the picture.
    Decode,
    /// Waiting for an engine.
    Queue,
    /// Letterbox and colour conversion of its batch.
    Preprocess,
    /// The network, over its batch.
    Infer,
    /// Handing its detections to all subscribers.
    Publish,
}

impl Stage {
    /// The name of its span.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::Queue => "queue",
            Self::Preprocess => "preprocess",
            Self::Infer => "infer",
            Self::Publish => "publish",
        }
    }
}

/// When a stage began and ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs)]
pub struct Span {
    pub stage: Stage,
    pub began: Instant,
    pub ended: Instant,
}

/// The story of a frame, told when it has ended.
#[derive(Clone, Debug)]
pub struct Story {
    /// The camera.
    pub camera: CameraId,
    /// The frame's sequence number.
    pub sequence: u64,
    /// When the coded frame arrived.
    pub began: Instant,
    /// When the frame was published or dropped.
    pub ended: Instant,
    /// The stages it went through, in that order.
    pub spans: Vec<Span>,
    /// The model it was looked at with, if it was.
    pub model: Option<Arc<str>>,
    /// Pictures in its batch, if it was in one.
    pub batch: Option<usize>,
    /// `published`, or the reason why it was dropped.
    pub outcome: &'static str,
}

/// Where stories go. Called where frames are published and dropped: it must not wait for anything.
pub trait Teller: fmt::Debug + Send + Sync {
    /// Takes a story.
    fn tell(&self, story: Story);
}

/// The trace of one frame.
#[derive(Debug)]
pub struct Trace {
    teller: Arc<dyn Teller>,
    told: Mutex<Told>,
}

#[derive(Debug)]
struct Told {
    /// None once it was told.
    story: Option<Story>,
    /// Since when the frame waits for an engine.
    waits: Option<Instant>,
}

impl Trace {
    /// That of a frame whose coded frame arrived at `began`.
    pub fn new(teller: Arc<dyn Teller>, camera: CameraId, sequence: u64, began: Instant) -> Arc<Self> {
        let story = Story {
            camera,
            sequence,
            began,
            ended: began,
            spans: Vec::with_capacity(5),
            model: None,
            batch: None,
            outcome: "",
        };
        Arc::new(Self { teller, told: Mutex::new(Told { story: Some(story), waits: None }) })
    }

    /// Notes a stage.
    pub fn span(&self, stage: Stage, began: Instant, ended: Instant) {
        if let Some(story) = &mut self.lock().story {
            story.spans.push(Span { stage, began, ended });
        }
    }

    /// The frame begins to wait for an engine.
    pub fn waits(&self, since: Instant) {
        self.lock().waits = Some(since);
    }

    /// An engine of `model` took the frame, in a batch of so many.
    pub fn taken(&self, now: Instant, model: &Arc<str>, batch: usize) {
        let mut told = self.lock();
        told.end_wait(now);
        if let Some(story) = &mut told.story {
            (story.model, story.batch) = (Some(Arc::clone(model)), Some(batch));
        }
    }

    /// The frame was published or dropped: the end of the story.
    pub fn end(&self, now: Instant, outcome: &'static str) {
        let mut told = self.lock();
        told.end_wait(now);
        let story = told.story.take();
        drop(told);
        if let Some(story) = story {
            self.teller.tell(Story { ended: now, outcome, ..story });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        // Each change is an assignment or two.
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Told {
    fn end_wait(&mut self, now: Instant) {
        if let (Some(since), Some(story)) = (self.waits.take(), &mut self.story) {
            story.spans.push(Span { stage: Stage::Queue, began: since, ended: now });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::ledger::{DropReason, Ledger};

    #[derive(Debug, Default)]
    struct Stories(Mutex<Vec<Story>>);

    impl Teller for Stories {
        fn tell(&self, story: Story) {
            self.0.lock().unwrap().push(story);
        }
    }

    fn begin(stories: &Arc<Stories>) -> (Arc<Trace>, Instant) {
        let began = Instant::now();
        let camera = CameraId::new("yard").unwrap();
        (Trace::new(Arc::clone(stories) as _, camera, 7, began), began)
    }

    #[test]
    fn a_frame_that_waits_and_is_dropped_has_waited_until_then() {
        let stories = Arc::new(Stories::default());
        let (trace, began) = begin(&stories);
        let at = |ms| began + Duration::from_millis(ms);
        trace.span(Stage::Decode, began, at(3));
        trace.waits(at(4));
        trace.end(at(9), "superseded");
        trace.end(at(10), "lost");
        let stories = stories.0.lock().unwrap();
        let story = &stories[0];
        assert_eq!((stories.len(), story.outcome, story.ended), (1, "superseded", at(9)));
        let queue = Span { stage: Stage::Queue, began: at(4), ended: at(9) };
        assert_eq!(story.spans, [Span { stage: Stage::Decode, began, ended: at(3) }, queue]);
        assert_eq!((&story.model, story.batch), (&None, None));
    }

    #[test]
    fn the_end_of_a_ticket_is_the_end_of_the_story_whatever_it_is() {
        let stories = Arc::new(Stories::default());
        let ledger = Arc::new(Ledger::default());
        let follow = |end: fn(crate::ledger::Ticket)| {
            let mut ticket = ledger.receive();
            ticket.follow(begin(&stories).0);
            assert!(ticket.trace().is_some());
            end(ticket);
        };
        follow(|ticket| ticket.publish());
        follow(|ticket| ticket.drop_as(DropReason::TooOld));
        follow(drop);
        let outcomes: Vec<_> = stories.0.lock().unwrap().iter().map(|story| story.outcome).collect();
        assert_eq!(outcomes, ["published", "too_old", "lost"]);
    }
}
