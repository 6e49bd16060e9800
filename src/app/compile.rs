//! From a detector to a plan: TensorRT's compiler, and the plans that it made before.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Instant;

use crate::engine::flavour::Capability;
use crate::engine::tensorrt::{BuildRequest, OnProgress, Profile, Progress, TensorRt, TensorRtError};
use crate::model::plan::{Batches, Key, Plans, Record};
use crate::model::{DetectorModel, INPUT, ModelError};

/// What plans are built by and for.
pub struct Compiler<'a> {
    /// The library. Where it builds on a GPU, that one's context is the calling thread's.
    pub tensorrt: &'a TensorRt,
    /// The plans made before.
    pub plans: &'a Plans,
    /// The GPUs' compute capabilities, sorted.
    pub capabilities: Vec<Capability>,
    /// The name of the GPU that is built on, if it is built on one.
    pub gpu: Option<String>,
    /// Bytes of GPU memory that the compiler may use to try things; all if none.
    pub workspace: Option<usize>,
}

/// A detector to compile.
#[derive(Clone, Copy)]
pub struct Wish<'a> {
    /// The detector.
    pub detector: &'a DetectorModel,
    /// What its user calls it: a pulled model's name or a path.
    pub source: &'a str,
    /// The batches to be fast for.
    pub profiles: &'a [Batches],
}

/// A plan and its record.
pub struct Compiled {
    /// The plan.
    pub plan: Vec<u8>,
    /// What it is.
    pub record: Record,
    /// How long it took to build; none if it was there.
    pub seconds: Option<f64>,
}

impl Compiler<'_> {
    /// The plan's key.
    pub fn key(&self, wish: Wish<'_>) -> Key {
        Key {
            onnx_sha256: wish.detector.sha256.clone(),
            library: self.tensorrt.flavour().product().to_owned(),
            version: self.tensorrt.version().to_string(),
            capabilities: self.capabilities.iter().map(Capability::to_string).collect(),
            profiles: wish.profiles.to_vec(),
        }
    }

    /// The plan from the cache, if it is there.
    pub fn cached(&self, wish: Wish<'_>) -> Option<Compiled> {
        let found = self.plans.find(&self.key(wish))?;
        Some(Compiled { plan: found.bytes, record: found.record?, seconds: None })
    }

    /// A new plan.
    ///
    /// # Errors
    /// What TensorRT does not like.
    pub fn compile(&self, wish: Wish<'_>, progress: &OnProgress<'_>) -> Result<Compiled, TensorRtError> {
        let begin = Instant::now();
        let plan = self.build(wish, progress)?;
        let seconds = Some(begin.elapsed().as_secs_f64());
        let metadata = wish.detector.metadata.clone();
        let record = Record::of(&plan, self.key(wish), metadata, wish.source.to_owned());
        Ok(Compiled { plan, record, seconds })
    }

    /// Puts a plan into the cache; returns where it lies.
    ///
    /// # Errors
    /// A cache folder that cannot be written.
    pub fn keep(&self, compiled: &Compiled) -> Result<PathBuf, ModelError> {
        self.plans.put(&compiled.record, &compiled.plan)
    }

    fn build(&self, wish: Wish<'_>, progress: &OnProgress<'_>) -> Result<Vec<u8>, TensorRtError> {
        let about = &wish.detector.metadata;
        let picture = [i64::from(about.input_height), i64::from(about.input_width), 3];
        let batches = |range: &Batches| [range.min, range.opt, range.max].map(|size| size as i64);
        let profiles: Vec<_> =
            wish.profiles.iter().map(|range| Profile::of_batches(INPUT, &picture, batches(range))).collect();
        let (library, version) = (self.tensorrt.flavour().to_string(), self.tensorrt.version().to_string());
        let measured = self.gpu.as_deref().map(|gpu| [library.as_str(), version.as_str(), gpu]);
        let timing = measured.map(|[library, version, gpu]| self.plans.timing(library, version, gpu));
        let built = self.tensorrt.build(&BuildRequest {
            // TensorRT-RTX takes them by name; the other one builds for the GPU at hand.
            capabilities: if self.gpu.is_none() { &self.capabilities } else { &[] },
            workspace: self.workspace,
            timing_cache: timing.as_deref().filter(|timing| !timing.is_empty()),
            progress: Some(progress),
            ..BuildRequest::new(&wish.detector.bytes, &profiles)
        })?;
        if let (Some(measured), Some(learnt)) = (measured, &built.timing_cache)
            && let Err(error) = self.plans.put_timing(measured, learnt)
        {
            tracing::warn!(
                "what the compiler measured cannot be kept, and the next time takes as long: {error}"
            );
        }
        Ok(built.plan)
    }
}

/// Passes on which phase a build is in, and in percent how far.
pub fn phases(tell: &(dyn Fn(&str, u32) + Sync)) -> impl Fn(Progress<'_>) -> ControlFlow<()> + Sync {
    let steps = std::sync::Mutex::new(std::collections::HashMap::new());
    move |progress| {
        let mut steps = steps.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match progress {
            Progress::Begin { phase, steps: count, .. } => {
                steps.insert(phase.to_owned(), count.max(1));
                tell(phase, 0);
            }
            Progress::Step { phase, step } => {
                let count = steps.get(phase).copied().unwrap_or(1);
                tell(phase, (step.min(count) * 100) / count);
            }
            Progress::End { .. } => {}
        }
        ControlFlow::Continue(())
    }
}
