//! A lane's post: the thread that works there, what it has in hand, and who follows when it falls.
//!
//! Tasks stay with the post while its thread looks at their pictures, so that they can be answered for
//! whatever becomes of the thread. A panic, or errors one after the other, make the thread open its lane
//! anew. A thread that hangs cannot be ended: the [`Supervisor`] takes its tasks away and puts another thread
//! on the post. Should the old one return, nobody asks for its result.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::task::task_tracker::TaskTrackerToken;

use super::lane::{Job, LaneModel, Worker};
use super::supervisor::{Supervisor, Watched};
use super::{Cause, Engine, EngineError, Lane};
use crate::detection::Detection;

/// Batches in a row that a lane may fail on before it is opened anew.
const MAX_ERRORS: u32 = 3;
/// Before a lane is opened anew for the first time. Doubles with each failure.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Before a lane is opened anew at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// To open a lane may take so many times as long as a run: it loads and warms up.
const OPENING: u32 = 8;
/// At work for so long, a lane's failures before are forgiven.
const HEALTHY_AFTER: Duration = Duration::from_secs(10);

/// Where a lane's work comes from and goes to.
pub trait Work: Send + Sync + 'static {
    /// What waits for a result.
    type Task: Send;
    /// What is looked at for it.
    type Job: Job;

    /// Waits for the next batch; none ends the lane.
    fn next(&self) -> Option<Vec<Self::Task>>;

    /// What to look at for a task.
    fn job(&self, task: &Self::Task) -> Self::Job;

    /// Takes the result of one task. Must not wait for anything.
    fn done(&self, task: Self::Task, result: Result<Vec<Detection>, Arc<EngineError>>);

    /// Waits for `pause`, or until the lane has to end, and tells whether it may go on.
    fn rest(&self, pause: Duration) -> bool;
}

/// What a lane is opened on, and what it must know.
#[derive(Clone)]
pub struct Equipment {
    /// Opens lanes.
    pub engine: Arc<dyn Engine>,
    /// What is known of the model.
    pub model: LaneModel,
    /// Looks after the post.
    pub supervisor: Supervisor,
}

/// One lane's place.
pub struct Post<W: Work> {
    name: String,
    equipment: Equipment,
    work: W,
    shift: Mutex<Shift<W::Task>>,
}

/// Who works at the post, and on what.
struct Shift<T> {
    /// Threads that were here before: they have no say any more.
    number: u64,
    state: State,
    in_hand: Option<InHand<T>>,
    /// Let go when the lane has ended and its memory is free, or it hangs and is not waited for.
    on_duty: Option<TaskTrackerToken>,
}

/// What the thread does now and may hang at.
struct InHand<T> {
    does: Does<T>,
    /// How often the supervisor saw it.
    seen: u32,
}

enum Does<T> {
    /// It opens its lane.
    Opens,
    /// It looks at a batch.
    Runs(Vec<T>),
}

impl<T> From<Does<T>> for InHand<T> {
    fn from(does: Does<T>) -> Self {
        Self { does, seen: 0 }
    }
}

impl<T> InHand<T> {
    /// Whether it was seen so often that it hangs, now that it is seen once more.
    fn hangs(&mut self, patience: u32) -> bool {
        self.seen += 1;
        let patience = match self.does {
            Does::Opens => patience.saturating_mul(OPENING),
            Does::Runs(_) => patience,
        };
        self.seen > patience
    }

    fn tasks(self) -> Vec<T> {
        match self.does {
            Does::Opens => Vec::new(),
            Does::Runs(tasks) => tasks,
        }
    }
}

#[derive(Debug)]
enum State {
    Working,
    /// Its thread opens the lane anew, for this reason.
    Failed(String),
    /// Its thread hangs, and there is none in its place.
    Vacant(String),
    Over,
}

impl<W: Work> Post<W> {
    /// Puts a thread with `lane` to work. `on_duty` is let go when it has ended and its memory is free, or
    /// when it hangs and is not to be waited for.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub fn start(
        name: String,
        lane: Box<dyn Lane>,
        equipment: Equipment,
        work: W,
        on_duty: TaskTrackerToken,
    ) -> std::io::Result<Arc<Self>> {
        let shift = Shift { number: 0, state: State::Working, in_hand: None, on_duty: Some(on_duty) };
        let post = Arc::new(Self { name, equipment, work, shift: Mutex::new(shift) });
        post.spawn(0, Some(lane))?;
        let watched: Arc<dyn Watched> = Arc::clone(&post) as _;
        post.equipment.supervisor.watch(&watched);
        Ok(post)
    }

    /// Why no lane is at work here; none while one is.
    pub fn trouble(&self) -> Option<String> {
        match &self.shift().state {
            State::Working => None,
            State::Failed(why) | State::Vacant(why) => Some(why.clone()),
            State::Over => Some("it has ended".into()),
        }
    }

    fn spawn(self: &Arc<Self>, number: u64, lane: Option<Box<dyn Lane>>) -> std::io::Result<()> {
        let post = Arc::clone(self);
        std::thread::Builder::new().name(self.name.clone()).spawn(move || post.stand(number, lane)).map(drop)
    }

    /// What the thread of this number does.
    fn stand(&self, number: u64, mut lane: Option<Box<dyn Lane>>) {
        let mut failures = 0;
        loop {
            let begun = Instant::now();
            let served = catch_unwind(AssertUnwindSafe(|| self.serve(number, lane.take())));
            let (cause, error) = match served {
                Ok(Ok(())) => break,
                Ok(Err(error)) => (Cause::Error, error),
                Err(panic) => (Cause::Panic, Arc::new(EngineError::Panicked(words_of(&*panic)))),
            };
            failures = if begun.elapsed() < HEALTHY_AFTER { failures } else { 0 };
            let pause = pause_after(failures);
            failures += 1;
            if !self.fall(number, cause, &error, pause) || !self.work.rest(pause) {
                break;
            }
        }
        self.leave(number);
    }

    /// Works until the lane has to end or another thread is in this one's place.
    ///
    /// # Errors
    /// Why the lane has to be opened anew.
    fn serve(&self, number: u64, lane: Option<Box<dyn Lane>>) -> Result<(), Arc<EngineError>> {
        let Equipment { engine, model, supervisor } = &self.equipment;
        let lane = match lane {
            Some(lane) => lane,
            None => {
                self.shift().in_hand = Some(Does::Opens.into());
                let opened = engine.open_lane();
                if self.take_back(number).is_none() {
                    return Ok(());
                }
                opened?
            }
        };
        let mut worker = Worker::new(lane, model.clone(), supervisor.metrics().clone());
        self.shift().state = State::Working;
        let mut errors = 0;
        while let Some(tasks) = self.work.next() {
            let jobs: Vec<_> = tasks.iter().map(|task| self.work.job(task)).collect();
            self.shift().in_hand = Some(Does::Runs(tasks).into());
            let found = worker.process(&jobs.iter().collect::<Vec<_>>());
            let Some(tasks) = self.take_back(number) else { return Ok(()) };
            match found {
                Ok(found) => {
                    errors = 0;
                    tasks.into_iter().zip(found).for_each(|(task, found)| self.finish(task, Ok(found)));
                }
                Err(error) => {
                    errors += u32::from(is_of_lane(&error));
                    let error = Arc::new(error);
                    self.fail(tasks, &error);
                    if errors >= MAX_ERRORS {
                        return Err(error);
                    }
                }
            }
        }
        Ok(())
    }

    /// What the thread of this number has in hand, nothing if it opened its lane; none if it was given up.
    fn take_back(&self, number: u64) -> Option<Vec<W::Task>> {
        let mut shift = self.shift();
        if shift.number != number {
            return None;
        }
        shift.in_hand.take().map(InHand::tasks)
    }

    fn fail(&self, tasks: Vec<W::Task>, error: &Arc<EngineError>) {
        if tasks.is_empty() {
            return;
        }
        self.equipment.supervisor.metrics().errors.inc();
        tracing::error!(%error, batch = tasks.len(), "the engine failed on a batch");
        tasks.into_iter().for_each(|task| self.finish(task, Err(Arc::clone(error))));
    }

    /// Hands out one result. What panics over it takes no other result along.
    fn finish(&self, task: W::Task, result: Result<Vec<Detection>, Arc<EngineError>>) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.work.done(task, result))) {
            tracing::error!("handing out a result panicked: {}", words_of(&*panic));
        }
    }

    /// The thread of this number has to open its lane anew after `pause`; false if it was given up.
    fn fall(&self, number: u64, cause: Cause, error: &Arc<EngineError>, pause: Duration) -> bool {
        let mut shift = self.shift();
        if shift.number != number {
            return false;
        }
        shift.state = State::Failed(error.to_string());
        let in_hand = shift.in_hand.take();
        drop(shift);
        self.equipment.supervisor.metrics().count_restart(cause);
        let (lane, cause) = (&self.name, cause.as_str());
        tracing::error!(lane, cause, ?pause, %error, "a lane has fallen and is opened anew");
        self.fail(in_hand.map(InHand::tasks).unwrap_or_default(), error);
        true
    }

    /// The last that the thread of this number does.
    fn leave(&self, number: u64) {
        let mut shift = self.shift();
        if shift.number == number {
            shift.end();
        } else {
            drop(shift);
            self.equipment.supervisor.count_returned();
            tracing::warn!(lane = self.name, "a hung lane came back; its late result is discarded");
        }
    }

    /// Takes away what a hung thread has in hand, and its say.
    fn give_up(&self, mut shift: MutexGuard<'_, Shift<W::Task>>) {
        let Some(in_hand) = shift.in_hand.take() else { return };
        let supervisor = &self.equipment.supervisor;
        let timeout = supervisor.hang_timeout();
        let error = Arc::new(match in_hand.does {
            Does::Opens => EngineError::OpeningHung(timeout * OPENING),
            Does::Runs(_) => EngineError::Hung(timeout),
        });
        shift.number += 1;
        shift.state = State::Vacant(error.to_string());
        // Counted before the thread can know it, which counts the other way.
        supervisor.count_given_up();
        drop(shift);
        tracing::error!(lane = self.name, "a lane hangs and is given up");
        self.fail(in_hand.tasks(), &error);
    }

    /// Puts a thread on a post without one, if there may be one more.
    fn fill(self: &Arc<Self>) {
        let mut shift = self.shift();
        let State::Vacant(why) = &shift.state else { return };
        let why = why.clone();
        if !self.work.rest(Duration::ZERO) {
            return shift.end();
        }
        if !self.equipment.supervisor.may_replace() {
            return;
        }
        shift.state = State::Failed(why.clone());
        let number = shift.number;
        drop(shift);
        if let Err(error) = self.spawn(number, None) {
            tracing::error!(lane = self.name, "no thread to replace a hung lane: {error}");
            self.shift().state = State::Vacant(why);
        }
    }

    fn shift(&self) -> MutexGuard<'_, Shift<W::Task>> {
        // Every change is an assignment or two that cannot panic halfway.
        self.shift.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Shift<T> {
    fn end(&mut self) {
        self.state = State::Over;
        self.on_duty = None;
    }
}

impl<W: Work> Watched for Post<W> {
    fn look_after(self: Arc<Self>, patience: u32) {
        let mut shift = self.shift();
        if shift.in_hand.as_mut().is_some_and(|in_hand| in_hand.hangs(patience)) {
            self.give_up(shift);
        } else {
            drop(shift);
        }
        self.fill();
    }
}

/// Whether an error may be the lane's own fault, and not that of a picture.
fn is_of_lane(error: &EngineError) -> bool {
    !matches!(error, EngineError::Preprocess(_))
}

/// How long to wait before a lane is opened anew that has failed so often before. Takes no clock.
fn pause_after(failures: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << failures.min(16)).min(LONGEST_PAUSE)
}

/// What a panic said.
fn words_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without words").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_end_at_the_longest() {
        let pauses: Vec<_> = (0..8).map(|failures| pause_after(failures).as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(pause_after(u32::MAX), LONGEST_PAUSE);
    }

    #[test]
    fn the_words_of_a_panic_are_told() {
        let said = |panic: Box<dyn Any + Send>| words_of(&*panic);
        assert_eq!(said(Box::new("a")), "a");
        assert_eq!(said(Box::new("b".to_owned())), "b");
        assert_eq!(said(Box::new(7)), "without words");
    }
}
