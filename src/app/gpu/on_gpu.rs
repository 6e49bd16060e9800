//! A detector on a GPU, apart from any server: for benchmarks.

use std::sync::Arc;

use super::{Gpus, NotOnGpu};
use crate::app::models::loaded;
use crate::config::ModelConfig;
use crate::detection::ModelInfo;
use crate::engine::EngineError;
use crate::engine::tensorrt::device::{Gpu, Setup, TensorRtEngine};
use crate::engine::tensorrt::execution::CompiledPlan;
use crate::model;

/// A detector on the first GPU, and what it takes to open engines of it.
pub struct OnGpu {
    /// What is known of the model.
    pub info: ModelInfo,
    /// What it was loaded from: a pulled model's name or a path.
    pub source: String,
    gpu: Arc<Gpu>,
    plan: Arc<CompiledPlan>,
    setup: Setup,
}

impl OnGpu {
    /// The GPU.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// The plan.
    pub fn plan(&self) -> &CompiledPlan {
        &self.plan
    }

    /// An engine with no lanes yet.
    ///
    /// # Errors
    /// A plan that is not what the model's metadata promise.
    pub fn engine(&self, graphs: bool) -> Result<TensorRtEngine, EngineError> {
        let (plan, setup) = (Arc::clone(&self.plan), Setup { graphs, ..self.setup.clone() });
        TensorRtEngine::new(std::slice::from_ref(&self.gpu), plan, setup)
    }
}

impl Gpus {
    /// The detector called `source`, a pulled model's name or a path, on the first GPU.
    ///
    /// # Errors
    /// A model that is missing, or does not compile.
    pub fn detector(&self, source: &str) -> anyhow::Result<OnGpu> {
        let path = model::zoo::resolve(source)?;
        let detector = model::load(&path)?;
        let config = ModelConfig { name: source.to_owned(), source: None };
        let failed = |reason: NotOnGpu| anyhow::anyhow!("{}", reason.why);
        let plan = self.compiled(&config, &detector).map_err(failed)?;
        let (plan, setup) = self.opened(source, &detector.metadata, plan).map_err(failed)?;
        let on_gpu = |engine| loaded(source, detector.metadata.clone(), detector.sha256.clone(), engine);
        let (plan, gpu) = (Arc::new(plan), Arc::clone(&self.gpus[0]));
        let engine = TensorRtEngine::new(std::slice::from_ref(&gpu), plan.clone(), setup.clone())?;
        let info = on_gpu(Box::new(engine)).info;
        Ok(OnGpu { info, source: source.to_owned(), gpu, plan, setup })
    }
}
