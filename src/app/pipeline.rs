//! One served model: its scheduler and the lanes that pull from it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crate::detection::ModelInfo;
use crate::engine::lane::{self, LaneModel};
use crate::engine::{self, Engine, EngineError};
use crate::ledger::DropReason;
use crate::publisher::Hub;
use crate::scheduler::queue::BatchPolicy;
use crate::scheduler::{self, Scheduler};

use super::jobs::{JobScheduler, LaneWork};

/// A model at work.
pub struct Pipeline {
    /// What is known of the model.
    pub info: Arc<ModelInfo>,
    /// Where its work waits.
    pub scheduler: Arc<JobScheduler>,
    lanes: Mutex<Vec<JoinHandle<()>>>,
}

/// The metrics that all pipelines share.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// The engine's.
    pub engine: engine::Metrics,
    /// The scheduler's.
    pub scheduler: scheduler::Metrics,
}

impl Pipeline {
    /// Opens and warms up every lane of `engine` and starts their threads.
    ///
    /// # Errors
    /// A lane that cannot be opened, or the system has no thread to give.
    pub fn start(
        engine: &dyn Engine,
        info: ModelInfo,
        hub: &Hub,
        metrics: &Metrics,
    ) -> Result<Self, EngineError> {
        let limits = engine.limits();
        let policy = BatchPolicy {
            max_batch: limits.max_batch,
            preferred_batch: limits.preferred_batch,
            max_queue_delay: limits.max_queue_delay,
        };
        let scheduler = Arc::new(Scheduler::new(policy, metrics.scheduler.clone()));
        let pipeline = Self { info: Arc::new(info), scheduler, lanes: Mutex::default() };
        let model = LaneModel {
            classes: pipeline.info.classes.clone().into(),
            input: (pipeline.info.input_width, pipeline.info.input_height),
        };
        for index in 0..limits.lanes {
            let opened = engine.open_lane()?;
            let work = LaneWork {
                scheduler: Arc::clone(&pipeline.scheduler),
                hub: hub.clone(),
                model: Arc::clone(&pipeline.info.name),
            };
            // Linux shows 15 characters of a thread's name.
            let name = format!("infer-{index}");
            let thread = lane::spawn(name, opened, model.clone(), metrics.engine.clone(), work)
                .map_err(|error| EngineError::Run(format!("no thread for lane {index}: {error}")))?;
            pipeline.lanes().push(thread);
        }
        Ok(pipeline)
    }

    /// Refuses new work, names what still waits, and returns the threads to wait for.
    pub fn close(&self) -> Vec<JoinHandle<()>> {
        self.scheduler.close().into_iter().for_each(|job| job.abandon(DropReason::Shutdown));
        std::mem::take(&mut *self.lanes())
    }

    fn lanes(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        // Lanes hold the scheduler alive, and so each other, until it is closed.
        self.close();
    }
}
