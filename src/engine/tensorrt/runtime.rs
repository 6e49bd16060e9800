//! What loads plans.
//!
//! CUDA's current device is the one that counts; who calls sets it. Nothing here, and nothing of plans and contexts,
//! waits for the GPU.

#![allow(unsafe_code)]

use std::sync::Arc;

use super::error::TensorRtError;
use super::handle::Handle;
use super::library::{Core, TensorRt};
use super::plan::{EngineObject, PlanEngine};

/// What loads plans.
#[derive(Clone, Debug)]
pub struct Runtime(Arc<RuntimeObject>);

#[derive(Debug)]
struct RuntimeObject(Handle<TensorRt>);

// SAFETY: TensorRT lets any thread use a runtime, and several deserialise plans at once.
unsafe impl Send for RuntimeObject {}
// SAFETY: as above.
unsafe impl Sync for RuntimeObject {}

impl TensorRt {
    /// What loads plans, onto the current device.
    ///
    /// # Errors
    /// No driver or no GPU, or too old ones, most often. TensorRT-RTX finds that out when it is given a plan.
    pub fn runtime(&self) -> Result<Runtime, TensorRtError> {
        let core = self.core();
        let attempt = core.log.attempt();
        // SAFETY: factory and logger are this flavour's; the runtime is ours, and the library outlives it.
        let handle = unsafe {
            let runtime = (core.api.runtime_new)(core.runtime_factory.as_ptr(), core.logger.as_ptr());
            Handle::new(runtime, core.api.runtime_free, self.clone())
        };
        handle.map(|handle| Runtime(Arc::new(RuntimeObject(handle)))).ok_or_else(|| TensorRtError::Runtime {
            flavour: core.flavour,
            version: core.version,
            cause: attempt.cause(),
        })
    }
}

impl Runtime {
    pub(super) fn core(&self) -> &Core {
        self.0.0.owner().core()
    }

    /// Loads a plan onto the current device.
    ///
    /// # Errors
    /// A plan that is damaged, or was built for another GPU or by another version; a GPU that cannot be used.
    pub fn deserialize(&self, plan: &[u8]) -> Result<PlanEngine, TensorRtError> {
        let core = self.core();
        let attempt = core.log.attempt();
        // SAFETY: the runtime lives, and outlives the engine, which is ours; the plan is only read during the call.
        let handle = unsafe {
            let engine = (core.api.engine_new)(self.0.0.as_ptr(), plan.as_ptr().cast(), plan.len());
            Handle::new(engine, core.api.engine_free, self.clone())
        };
        handle
            .map(|handle| PlanEngine::of(EngineObject(handle)))
            .ok_or_else(|| refused_plan(core, attempt.cause()))
    }
}

/// TensorRT-RTX makes a runtime without a driver, and misses it when it is given a plan.
fn refused_plan(core: &Core, cause: String) -> TensorRtError {
    let (flavour, version) = (core.flavour, core.version);
    if cause.contains("Cuda Runtime (") {
        TensorRtError::Runtime { flavour, version, cause }
    } else {
        TensorRtError::Plan { flavour, version, cause }
    }
}
