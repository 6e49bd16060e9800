//! A model in a device's context: what its lanes there share.

use std::sync::Arc;

use super::super::preprocess::nvrtc::Image;
use super::api::{Execution, ExecutionSource, Plan};
use super::context::Retained;
use super::error::DeviceError;
use super::owned::Kernel;

/// A plan's weights on a device, shared by the lanes there. The last one to go frees them.
pub struct Loaded {
    // Dropped in this order.
    source: Box<dyn ExecutionSource>,
    kernel: Option<Kernel>,
    context: Arc<Retained>,
}

impl Loaded {
    /// Puts a plan's weights into `context`, and the preprocessing's kernel if it is to be done there. A kernel that
    /// cannot be loaded leaves the preprocessing to the CPU.
    ///
    /// # Errors
    /// What [`Plan::load`] says.
    pub fn new(plan: &dyn Plan, kernel: Option<&Image>, context: Arc<Retained>) -> Result<Self, DeviceError> {
        context.enter()?;
        let source = context.check(plan.load())?;
        let refused = |error: &DeviceError| {
            let gpu = context.info().index;
            tracing::warn!(gpu, "pictures are preprocessed on the CPU: {error}; update NVIDIA's driver");
        };
        let kernel = kernel.and_then(|image| Kernel::load(&context, image).inspect_err(refused).ok());
        Ok(Self { source, kernel, context })
    }

    /// What it takes to run the plan.
    ///
    /// # Errors
    /// See [`ExecutionSource::open`].
    pub fn open(&self, max_batch: usize) -> Result<Box<dyn Execution>, DeviceError> {
        self.context.enter()?;
        self.context.check(self.source.open(max_batch))
    }

    /// The preprocessing's kernel, if it was loaded.
    pub fn kernel(&self) -> Option<&Kernel> {
        self.kernel.as_ref()
    }

    /// Where they are.
    pub fn context(&self) -> &Arc<Retained> {
        &self.context
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        self.context.enter_anyway();
    }
}
