//! Pictures looked at side by side, a thread each lane, so that all cores work.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use indicatif::ProgressBar;
use prometheus::Registry;

use crate::app::models;
use crate::config::ModelConfig;
use crate::detection::{Detection, ModelInfo};
use crate::engine::lane::{LaneModel, Worker};
use crate::engine::onnx::{OnnxRuntime, Threads};
use crate::engine::{self, Engine, EngineError};
use crate::frame::Picture;

/// A model and what it takes to open lanes of it.
pub struct Model {
    /// What is known of it.
    pub info: ModelInfo,
    engine: Box<dyn Engine>,
    metrics: engine::Metrics,
}

impl Model {
    /// Loads a model by name or path, to run in `lanes` lanes, 0 meaning one a core.
    pub fn load(runtime: &OnnxRuntime, name: &str, lanes: usize) -> anyhow::Result<Self> {
        let config = ModelConfig { name: name.into(), source: None };
        let loaded = models::load(runtime, &config, Threads::throughput(lanes))?;
        let metrics = engine::Metrics::register(&Registry::new())?;
        Ok(Self { info: loaded.info, engine: loaded.engine, metrics })
    }

    /// How many lanes it is to run in.
    pub fn lanes(&self) -> usize {
        self.engine.limits().lanes.max(1)
    }

    /// Opens a lane that reports detections from `min_score` up.
    pub fn open(&self, min_score: f32) -> Result<Detector, EngineError> {
        let worker = Worker::new(self.engine.open_lane()?, LaneModel::from(&self.info), self.metrics.clone());
        Ok(Detector { worker, min_score })
    }
}

/// One lane of a model.
pub struct Detector {
    worker: Worker,
    min_score: f32,
}

impl Detector {
    /// What is in the picture, best first.
    pub fn look(&mut self, picture: &Picture) -> Result<Vec<Detection>, EngineError> {
        self.worker.look(picture, |_, score| score >= self.min_score)
    }
}

/// Does every job, each on the next free lane, and gives the results in the jobs' order.
///
/// # Errors
/// The first job that failed, or the job source's own error; what is under way is ended, the rest is left.
pub fn run<L: Send, J, T: Send>(
    lanes: Vec<L>,
    jobs: impl Iterator<Item = anyhow::Result<J>> + Send,
    progress: &ProgressBar,
    work: impl Fn(&mut L, J) -> anyhow::Result<T> + Sync,
) -> anyhow::Result<Vec<T>> {
    let (jobs, stop, results) =
        (Mutex::new(jobs.enumerate()), AtomicBool::new(false), Mutex::new(Vec::new()));
    let next = || jobs.lock().unwrap_or_else(PoisonError::into_inner).next();
    let done = |index, result: anyhow::Result<T>| {
        if result.is_err() {
            stop.store(true, Ordering::Relaxed);
        }
        progress.inc(1);
        results.lock().unwrap_or_else(PoisonError::into_inner).push((index, result));
    };
    thread::scope(|scope| {
        for lane in lanes {
            scope.spawn(|| {
                let mut lane = lane;
                while !stop.load(Ordering::Relaxed)
                    && let Some((index, job)) = next()
                {
                    done(index, job.and_then(|job| work(&mut lane, job)));
                }
            });
        }
    });
    progress.finish_and_clear();
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_unstable_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize) -> impl Iterator<Item = anyhow::Result<usize>> + Send {
        (0..count).map(Ok)
    }

    #[test]
    fn results_come_in_the_jobs_order() {
        let bar = ProgressBar::hidden();
        let results = run(vec![0; 4], numbers(100), &bar, |seen: &mut usize, job| {
            *seen += 1;
            Ok(job * 2)
        });
        assert_eq!(results.unwrap(), (0..100).map(|job| job * 2).collect::<Vec<_>>());
        assert_eq!(bar.position(), 100);
    }

    #[test]
    fn the_first_failure_ends_it() {
        let work = |_: &mut (), job: usize| {
            anyhow::ensure!(job < 3, "job {job} failed");
            Ok(())
        };
        let jobs = numbers(usize::MAX);
        let error = run(vec![(); 2], jobs, &ProgressBar::hidden(), work).unwrap_err();
        assert_eq!(error.to_string(), "job 3 failed");
    }
}
