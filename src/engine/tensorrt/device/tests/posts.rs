//! Lanes at their posts: threads, restarts, and an answer for every picture.

use std::collections::HashSet;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use prometheus::Registry;
use tokio_util::task::TaskTracker;

use super::super::ErrorKind;
use super::super::fake::{Call, FakeGpu};
use super::{Bench, PLENTY, Setup, kernel, plan, shared};
use crate::detection::Detection;
use crate::engine::lane::{Job, LaneModel};
use crate::engine::post::{Equipment, Post, Work};
use crate::engine::supervisor::Supervisor;
use crate::engine::{Config, EngineError, Metrics};
use crate::frame::Picture;

const PATIENCE: Duration = Duration::from_secs(60);

/// What became of a picture.
type Outcome = (usize, Result<usize, String>);

struct Look(Arc<Picture>);

impl Job for Look {
    fn picture(&self) -> &Picture {
        &self.0
    }

    fn wants(&self, _: &str, _: f32) -> bool {
        true
    }
}

/// Batches out of a queue that all lanes share; ends when it is closed.
#[derive(Clone)]
struct Queue {
    batches: Arc<Mutex<Receiver<Vec<usize>>>>,
    outcomes: SyncSender<Outcome>,
    picture: Arc<Picture>,
}

impl Work for Queue {
    type Task = usize;
    type Job = Look;

    fn next(&self) -> Option<Vec<usize>> {
        self.batches.lock().unwrap().recv().ok()
    }

    fn job(&self, _: &usize) -> Look {
        Look(Arc::clone(&self.picture))
    }

    fn done(&self, task: usize, result: Result<Vec<Detection>, Arc<EngineError>>) {
        self.outcomes
            .send((task, result.map(|found| found.len()).map_err(|error| error.to_string())))
            .unwrap();
    }

    fn rest(&self, _: Duration) -> bool {
        std::thread::yield_now();
        true
    }
}

/// Lanes at work.
struct Yard {
    fakes: Vec<FakeGpu>,
    batches: SyncSender<Vec<usize>>,
    outcomes: Receiver<Outcome>,
    posts: Vec<Arc<Post<Queue>>>,
    on_duty: TaskTracker,
    registry: Registry,
    sent: usize,
}

impl Yard {
    fn new(bench: Bench) -> Self {
        let (fakes, engine, registry) = shared(bench);
        let supervisor = Supervisor::start(Config::default(), Metrics::register(&registry).unwrap()).unwrap();
        let model = LaneModel { classes: ["person".into(), "car".into()].into(), input: (4, 2) };
        let equipment = Equipment { engine: Arc::clone(&engine), model, supervisor };
        let (batches, queue) = sync_channel(4);
        let (outcome, outcomes) = sync_channel(64);
        // It fits at its own size: the network's first byte is the picture's.
        let picture = Arc::new(Picture::rgb(4, 2, vec![1; 4 * 2 * 3]).unwrap());
        let work = Queue { batches: Arc::new(Mutex::new(queue)), outcomes: outcome, picture };
        let on_duty = TaskTracker::new();
        let start = |index| {
            let lane = engine.open_lane().unwrap();
            let name = format!("infer-{index}");
            Post::start(name, lane, equipment.clone(), work.clone(), on_duty.token()).unwrap()
        };
        let posts = (0..engine.limits().lanes).map(start).collect();
        Self { fakes, batches, outcomes, posts, on_duty, registry, sent: 0 }
    }

    /// Sends so many batches of these sizes and tells what became of each picture.
    fn look(&mut self, sizes: impl IntoIterator<Item = usize>) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        for size in sizes {
            let batch = (self.sent..self.sent + size).collect();
            self.sent += size;
            self.batches.send(batch).unwrap();
            let answered = (0..size).map(|_| self.outcomes.recv_timeout(PATIENCE).unwrap());
            outcomes.extend(answered);
        }
        outcomes
    }

    /// Looks at pictures until so many batches in a row succeed; tells the errors on the way.
    fn until_well(&mut self, in_a_row: usize) -> Vec<String> {
        let (begun, mut well, mut errors) = (Instant::now(), 0, Vec::new());
        while well < in_a_row {
            assert!(begun.elapsed() < PATIENCE, "{errors:?}");
            let failed: Vec<_> = self.look([3]).into_iter().filter_map(|(_, result)| result.err()).collect();
            assert!(failed.is_empty() || failed.len() == 3, "a batch fails as a whole");
            well = if failed.is_empty() { well + 1 } else { 0 };
            errors.extend(failed);
        }
        errors
    }

    /// Looks at pictures until every lane is there: one without work keeps its lost context.
    fn until_all_at_work(&mut self) {
        let begun = Instant::now();
        while let Some(trouble) = self.posts.iter().find_map(|post| post.trouble()) {
            assert!(begun.elapsed() < PATIENCE, "{trouble}");
            self.look([1]);
        }
    }

    fn restarts(&self) -> f64 {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == "centerx_engine_restarts_total").unwrap();
        family.get_metric().iter().map(|metric| metric.get_counter().get_value()).sum()
    }

    /// Ends the lanes; nothing of theirs is left.
    fn end(self) {
        let Self { fakes, batches, posts, on_duty, .. } = self;
        drop(batches);
        on_duty.close();
        while !on_duty.is_empty() {
            std::thread::yield_now();
        }
        drop(posts);
        fakes.iter().for_each(FakeGpu::assert_given_back);
    }
}

#[test]
fn every_picture_is_answered_once_by_two_lanes() {
    for kernel in [None, kernel()] {
        let on_gpu = kernel.is_some();
        let change = |setup: &mut Setup| setup.kernel = kernel;
        let mut yard = Yard::new(Bench::with(vec![FakeGpu::new(0, PLENTY)], plan(), change));
        let outcomes = yard.look((0..200).map(|round| 1 + round % 8));
        assert!(outcomes.iter().all(|(_, found)| *found == Ok(1)));
        let tasks: HashSet<_> = outcomes.iter().map(|(task, _)| *task).collect();
        assert_eq!((tasks.len(), outcomes.len()), (yard.sent, yard.sent));
        assert_eq!(yard.restarts(), 0.0);
        // Two to warm up.
        assert_eq!(yard.fakes[0].calls(Call::Letterbox), if on_gpu { 202 } else { 0 });
        yard.end();
    }
}

#[test]
fn a_sticky_error_costs_a_few_batches_and_both_lanes_come_back_in_a_new_context() {
    let mut yard = Yard::new(Bench::new(1));
    yard.until_well(4);
    yard.fakes[0].fail(Call::Launch, 0, ErrorKind::Sticky);
    let errors = yard.until_well(20);
    // Three batches a lane before it is opened anew, of three pictures each.
    assert_eq!(errors.len(), 2 * 3 * 3, "{errors:#?}");
    assert!(errors.iter().all(|error| error.contains("GPU 0 (Fake GPU) broke down")), "{errors:#?}");
    assert_eq!(yard.fakes[0].calls(Call::Reset), 1);
    yard.until_all_at_work();
    assert!(yard.restarts() >= 2.0);
    yard.end();
}

#[test]
fn errors_again_and_again_never_stop_it() {
    let mut yard = Yard::new(Bench::new(1));
    for (round, call) in
        [Call::Launch, Call::CopyIn, Call::Synchronize, Call::CopyOut].into_iter().enumerate()
    {
        yard.fakes[0].fail(call, 0, ErrorKind::Sticky);
        assert!(!yard.until_well(20).is_empty());
        yard.until_all_at_work();
        assert_eq!(yard.fakes[0].calls(Call::Reset), round as u64 + 1);
    }
    yard.end();
}

#[test]
fn with_two_gpus_the_one_that_is_well_goes_on_meanwhile() {
    let mut yard = Yard::new(Bench::new(2));
    yard.until_well(8);
    // It does not come back for a while.
    yard.fakes[1].fail(Call::Launch, 0, ErrorKind::Sticky);
    (0..10).for_each(|after| yard.fakes[1].fail(Call::Retain, after, ErrorKind::Other));
    yard.until_well(20);
    yard.until_all_at_work();
    yard.until_well(8);
    yard.end();
}

#[test]
fn a_single_error_costs_one_batch_and_no_restart() {
    let mut yard = Yard::new(Bench::new(1));
    yard.fakes[0].fail(Call::CopyIn, 0, ErrorKind::Other);
    yard.fakes[0].fail(Call::CopyIn, 5, ErrorKind::OutOfMemory);
    let errors = yard.until_well(20);
    assert_eq!(errors.len(), 2 * 3, "{errors:#?}");
    assert_eq!(yard.restarts(), 0.0);
    yard.end();
}
