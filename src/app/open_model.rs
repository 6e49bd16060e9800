//! A model between its file and its work: every lane open, none with a thread yet.

use std::sync::Arc;

use crate::detection::ModelInfo;
use crate::engine::{Engine, EngineError, Lane};
use crate::scheduler::queue::BatchPolicy;

use super::LoadedModel;

/// A model whose lanes are open, warm and checked, but have no threads yet.
pub struct OpenModel {
    pub(super) serving: Arc<Serving>,
    pub(super) policy: BatchPolicy,
    pub(super) engine: Arc<dyn Engine>,
    pub(super) lanes: Vec<Box<dyn Lane>>,
}

/// What a pipeline serves.
#[derive(Debug)]
pub struct Serving {
    /// What is known of the model.
    pub info: Arc<ModelInfo>,
    /// What it was loaded from: a pulled model's name or a path.
    pub source: String,
}

impl OpenModel {
    /// Opens every lane of a model that was loaded from `source`. Takes a core for a second or more.
    ///
    /// # Errors
    /// A lane that cannot be opened.
    pub fn open(model: LoadedModel, source: String) -> Result<Self, EngineError> {
        let limits = model.engine.limits();
        let policy = BatchPolicy {
            max_batch: limits.max_batch,
            preferred_batch: limits.preferred_batch,
            max_queue_delay: limits.max_queue_delay,
        };
        let lanes = (0..limits.lanes).map(|_| model.engine.open_lane()).collect::<Result<_, _>>()?;
        let serving = Arc::new(Serving { info: Arc::new(model.info), source });
        Ok(Self { serving, policy, engine: model.engine.into(), lanes })
    }

    /// What is known of the model.
    pub fn info(&self) -> &ModelInfo {
        &self.serving.info
    }

    /// What it was loaded from.
    pub fn source(&self) -> &str {
        &self.serving.source
    }
}
