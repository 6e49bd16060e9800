//! One served model: its scheduler and the lanes that pull from it.
//!
//! The lanes can be exchanged while frames come ([`Pipeline::prepare`], [`Pipeline::relieve`]): the scheduler
//! stays, so what waits and the order of each camera stay too.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use tokio_util::task::TaskTracker;

use crate::detection::ModelInfo;
use crate::engine::EngineError;
use crate::engine::lane::LaneModel;
use crate::engine::post::{Equipment, Post};
use crate::engine::supervisor::Supervisor;
use crate::ledger::DropReason;
use crate::live::Live;
use crate::publisher::Hub;
use crate::scheduler::queue::BatchPolicy;
use crate::scheduler::{self, Crew, Scheduler};

use super::jobs::{JobScheduler, LaneWork};
use super::open_model::{OpenModel, Serving};

/// What all pipelines share.
#[derive(Clone)]
pub struct Common {
    /// Looks after the lanes.
    pub supervisor: Supervisor,
    /// What the schedulers measure.
    pub scheduler: scheduler::Metrics,
    /// Where frames go that somebody looks at.
    pub live: Live,
}

/// A model at work.
pub struct Pipeline {
    name: Arc<str>,
    scheduler: Arc<JobScheduler>,
    hub: Hub,
    supervisor: Supervisor,
    live: Live,
    serving: RwLock<Arc<Serving>>,
    lanes: Mutex<Lanes>,
}

struct Lanes {
    /// Those on duty.
    posts: Vec<Arc<Post<LaneWork>>>,
    /// Tells when those on duty have ended.
    crew: TaskTracker,
    /// The same for crews that were relieved and may still hold a batch.
    before: Vec<TaskTracker>,
}

/// Lanes that wait for their duty. Let go, they end.
#[must_use = "lanes that are let go end"]
pub struct Relief {
    scheduler: Arc<JobScheduler>,
    crew: Crew,
    serving: Arc<Serving>,
    policy: BatchPolicy,
    tracker: TaskTracker,
    posts: Vec<Arc<Post<LaneWork>>>,
}

impl Relief {
    /// What is known of the model.
    pub fn info(&self) -> &ModelInfo {
        &self.serving.info
    }
}

impl Drop for Relief {
    fn drop(&mut self) {
        // One that was put on duty has no posts left here.
        if !self.posts.is_empty() {
            self.scheduler.dismiss(&self.crew);
        }
    }
}

impl Pipeline {
    /// Starts the threads of a model's lanes.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub fn start(model: OpenModel, hub: &Hub, common: &Common) -> Result<Self, EngineError> {
        let scheduler = Scheduler::new(Crew::default(), model.policy, common.scheduler.clone());
        let pipeline = Self {
            name: Arc::clone(&model.serving.info.name),
            scheduler: Arc::new(scheduler),
            hub: hub.clone(),
            supervisor: common.supervisor.clone(),
            live: common.live.clone(),
            serving: RwLock::new(Arc::clone(&model.serving)),
            lanes: Mutex::new(Lanes { posts: Vec::new(), crew: TaskTracker::new(), before: Vec::new() }),
        };
        let relief = pipeline.prepare(model)?;
        pipeline.relieve(relief);
        Ok(pipeline)
    }

    /// Starts the threads of lanes that are to take over.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub fn prepare(&self, model: OpenModel) -> Result<Relief, EngineError> {
        let OpenModel { serving, policy, engine, lanes } = model;
        let lane_model = LaneModel::from(&*serving.info);
        let skeleton = Arc::from(serving.info.skeleton.as_slice());
        let equipment = Equipment { engine, model: lane_model, supervisor: self.supervisor.clone() };
        let mut relief = Relief {
            scheduler: Arc::clone(&self.scheduler),
            crew: Crew::default(),
            serving,
            policy,
            tracker: TaskTracker::new(),
            posts: Vec::new(),
        };
        for (index, lane) in lanes.into_iter().enumerate() {
            let work = LaneWork {
                scheduler: Arc::clone(&self.scheduler),
                crew: relief.crew.clone(),
                hub: self.hub.clone(),
                live: self.live.clone(),
                model: Arc::clone(&self.name),
                skeleton: Arc::clone(&skeleton),
            };
            // Linux shows 15 characters of a thread's name.
            let name = format!("infer-{index}");
            let post = Post::start(name, lane, equipment.clone(), work, relief.tracker.token())
                .map_err(|error| EngineError::Run(format!("no thread for lane {index}: {error}")))?;
            relief.posts.push(post);
        }
        Ok(relief)
    }

    /// Lets `relief` take over between two batches. What is returned tells when the lanes before it have
    /// ended and their memory is free: each finishes the batch it holds.
    pub fn relieve(&self, mut relief: Relief) -> TaskTracker {
        let mut lanes = self.lanes();
        self.scheduler.relieve(&relief.crew, relief.policy);
        *self.serving.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&relief.serving);
        lanes.posts = std::mem::take(&mut relief.posts);
        let before = std::mem::replace(&mut lanes.crew, relief.tracker.clone());
        before.close();
        lanes.before.retain(|crew| !crew.is_empty());
        lanes.before.push(before.clone());
        before
    }

    /// The name cameras refer to it by.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// What it serves now.
    pub fn serving(&self) -> Arc<Serving> {
        Arc::clone(&self.serving.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What is known of the model it serves now.
    pub fn info(&self) -> Arc<ModelInfo> {
        Arc::clone(&self.serving().info)
    }

    /// Pictures a second it can look at, by what its runs took; none while that is not known.
    pub fn pictures_per_second(&self) -> Option<f64> {
        self.scheduler.items_per_second().map(|rate| rate * self.lanes().crew.len() as f64)
    }

    /// Where its work waits.
    pub fn scheduler(&self) -> &Arc<JobScheduler> {
        &self.scheduler
    }

    /// How many of its lanes are at work, and how many are not.
    pub fn lanes_at_work(&self) -> (usize, usize) {
        let lanes = self.lanes();
        let down = lanes.posts.iter().filter(|post| post.trouble().is_some()).count();
        (lanes.posts.len() - down, down)
    }

    /// Why none of its lanes is at work; none while at least one is.
    pub fn trouble(&self) -> Option<String> {
        let lanes = self.lanes();
        let troubles = lanes.posts.iter().map(|post| post.trouble()).collect::<Option<Vec<_>>>()?;
        let why = troubles.first()?;
        Some(format!("model {} has no lane at work: {why}", self.name))
    }

    /// Refuses new work and names what still waits `reason`. What is returned tells when all lanes have ended:
    /// those on duty, and those before them.
    pub fn close(&self, reason: DropReason) -> Vec<TaskTracker> {
        self.scheduler.close().into_iter().for_each(|job| job.abandon(reason));
        let mut lanes = self.lanes();
        lanes.crew.close();
        let mut all = std::mem::take(&mut lanes.before);
        all.push(lanes.crew.clone());
        all
    }

    /// Refuses new work and names what still waits `reason`. What is returned tells when the lanes on duty
    /// have ended.
    pub fn retire(&self, reason: DropReason) -> TaskTracker {
        drop(self.close(reason));
        self.lanes().crew.clone()
    }

    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        // Lanes hold the scheduler alive, and so each other, until it is closed.
        self.close(DropReason::Shutdown);
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use futures_util::StreamExt as _;
    use prometheus::Registry;

    use super::*;
    use crate::app::LoadedModel;
    use crate::app::budget::{Budget, Pulse};
    use crate::app::jobs::{Interest, Job, JobKey};
    use crate::camera::CameraId;
    use crate::detection::{Event, EventFilter, FrameDetections};
    use crate::engine::fake::{FakeEngine, Gate};
    use crate::engine::{self, Limits};
    use crate::frame::{CaptureQuality, CaptureTime, Frame, Picture};
    use crate::ledger::Ledger;
    use crate::live;
    use crate::publisher::{self, Subscription};
    use crate::scheduler::queue::Terms;

    const SIDE: u32 = 8;

    fn info(classes: &[&str]) -> ModelInfo {
        ModelInfo {
            name: "yard".into(),
            classes: classes.iter().map(|&class| class.into()).collect(),
            input_width: SIDE,
            input_height: SIDE,
            top_k: 1,
            ..Default::default()
        }
    }

    /// A model that finds its class `found`.
    fn model(classes: &[&str], found: usize, shape: impl FnOnce(FakeEngine) -> FakeEngine) -> OpenModel {
        let engine = FakeEngine::new((SIDE, SIDE)).finds(vec![[0.0, 0.0, 4.0, 4.0, 0.9, found as f32]]);
        let model = LoadedModel { info: info(classes), engine: Box::new(shape(engine)) };
        OpenModel::open(model, "a test".into()).unwrap()
    }

    struct Yard {
        pipeline: Pipeline,
        ledger: Arc<Ledger>,
        events: Subscription,
        sequence: u64,
    }

    impl Yard {
        fn new(model: OpenModel) -> Self {
            let registry = Registry::new();
            let hub = Hub::new(Default::default(), publisher::Metrics::new(&registry).unwrap());
            let metrics = engine::Metrics::register(&registry).unwrap();
            let common = Common {
                supervisor: Supervisor::start(engine::Config::default(), metrics).unwrap(),
                scheduler: scheduler::Metrics::register(&registry).unwrap(),
                live: Live::start(&Default::default(), live::Metrics::new(&registry).unwrap()).unwrap(),
            };
            let events = hub.subscribe(EventFilter::default(), Vec::new());
            let pipeline = Pipeline::start(model, &hub, &common).unwrap();
            Self { pipeline, ledger: Arc::default(), events, sequence: 0 }
        }

        /// Offers the next frame, of interest for one class, and takes back the one it replaces.
        fn offer(&mut self, class: &str) {
            self.sequence += 1;
            let now = std::time::Instant::now();
            let frame = Frame {
                camera: CameraId::new("yard").unwrap(),
                sequence: self.sequence,
                picture: Arc::new(Picture::rgb(SIDE, SIDE, vec![0; 192]).unwrap()),
                capture: CaptureTime {
                    wall: SystemTime::now(),
                    monotonic: now,
                    quality: CaptureQuality::Arrival,
                },
                decoded: now,
                ticket: self.ledger.receive(),
            };
            let interest = Interest::new(&info(&[class]), 0.5, &[class.into()]).unwrap();
            let budget = Budget::new(Duration::from_secs(3600), Arc::new(Pulse::new(now)));
            let job = Job::Frame(frame, Arc::new(interest), budget);
            let key = JobKey::Camera(CameraId::new("yard").unwrap());
            if let Ok(Some(older)) = self.pipeline.scheduler().offer(key, job, Terms::default()) {
                older.abandon(DropReason::Superseded);
            }
        }

        async fn next(&mut self) -> Arc<FrameDetections> {
            let event = tokio::time::timeout(Duration::from_secs(10), self.events.next()).await;
            match event.unwrap().unwrap() {
                Event::Detections(published) => Arc::clone(published.frame()),
                other => panic!("{other:?}"),
            }
        }

        /// Waits until a lane holds what was offered.
        async fn until_taken(&self) {
            let key = JobKey::Camera(CameraId::new("yard").unwrap());
            while self.pipeline.scheduler().holds(&key) {
                tokio::task::yield_now().await;
            }
        }
    }

    #[tokio::test]
    async fn a_frame_held_by_the_old_lanes_comes_before_those_of_the_new_and_none_is_lost() {
        let gate = Gate::default();
        let mut yard = Yard::new(model(&["person"], 0, |engine| engine.held_by(gate.clone())));
        yard.offer("person");
        yard.until_taken().await;
        yard.offer("person"); // waits in its slot
        // The class has another number in the new model, and its engine wants to be fed otherwise.
        let limits = Limits { max_batch: 4, preferred_batch: 1, max_queue_delay: Duration::ZERO, lanes: 2 };
        let relief = yard.pipeline.prepare(model(&["car", "person"], 1, |engine| engine.limited(limits)));
        let before = yard.pipeline.relieve(relief.unwrap());
        // The new lanes take what waited, and are done with it while the old one still stands.
        yard.until_taken().await;
        assert_eq!((yard.ledger.balance().in_flight, before.is_empty()), (2, false));
        gate.open();
        before.wait().await;
        for sequence in [1, 2] {
            let frame = yard.next().await;
            assert_eq!((frame.sequence, &*frame.model), (sequence, "yard"));
            assert_eq!(&*frame.detections[0].label, "person");
            assert_eq!(frame.detections[0].class_id, sequence as u32 - 1, "each by its own model");
        }
        let books = yard.ledger.balance();
        assert_eq!((books.received, books.published, books.total_dropped()), (2, 2, 0));
        assert_eq!(&*yard.pipeline.info().classes[0], "car");
    }

    #[tokio::test]
    async fn lanes_that_are_let_go_before_their_duty_end_and_the_old_ones_work_on() {
        let mut yard = Yard::new(model(&["person"], 0, |engine| engine));
        let relief = yard.pipeline.prepare(model(&["car"], 0, |engine| engine)).unwrap();
        let tracker = relief.tracker.clone();
        tracker.close();
        drop(relief);
        tracker.wait().await;
        yard.offer("person");
        assert_eq!(&*yard.next().await.detections[0].label, "person");
    }

    #[tokio::test]
    async fn a_retired_pipeline_names_what_waited_and_ends_its_lanes() {
        let gate = Gate::default();
        let mut yard = Yard::new(model(&["person"], 0, |engine| engine.held_by(gate.clone())));
        yard.offer("person");
        yard.until_taken().await;
        yard.offer("person");
        let lanes = yard.pipeline.retire(DropReason::NoModel);
        assert_eq!(yard.ledger.balance().dropped(DropReason::NoModel), 1);
        gate.open();
        lanes.wait().await;
        assert_eq!((yard.next().await.sequence, yard.ledger.balance().in_flight), (1, 0));
    }
}
