//! The network alone: what a device could do if nothing had to be copied. For benchmarks.

#![allow(unsafe_code)]

use std::sync::Arc;

use super::api::{Execution, Plan};
use super::context::Gpu;
use super::error::DeviceError;
use super::loaded::Loaded;
use super::owned::{DeviceMemory, Event, Stream};

/// A plan on a device, with pictures that are there already.
pub struct Alone {
    // Dropped in this order: what is used after what uses it.
    execution: Box<dyn Execution>,
    _memory: [DeviceMemory; 2],
    moments: [Event; 2],
    stream: Stream,
    loaded: Loaded,
}

impl Alone {
    /// `plan` on `gpu`, for batches of `batch` pictures, whatever is in the memory.
    ///
    /// # Errors
    /// Too little memory, or a batch that the plan does not take.
    pub fn open(gpu: &Gpu, plan: &dyn Plan, batch: usize) -> Result<Self, DeviceError> {
        let shape = plan.shape();
        let loaded = Loaded::new(plan, None, gpu.retain()?)?;
        let context: &Arc<_> = loaded.context();
        let input = DeviceMemory::new(context, shape.input_bytes() * batch)?;
        let output = DeviceMemory::new(context, shape.output_values() * size_of::<f32>() * batch)?;
        let (moments, stream) = ([Event::new(context)?, Event::new(context)?], Stream::new(context)?);
        let mut execution = loaded.open(batch)?;
        // SAFETY: both are of this device, have room for the batch, and are dropped after the execution.
        unsafe { execution.bind(input.address(), output.address())? };
        execution.set_batch(batch)?;
        let mut alone = Self { execution, _memory: [input, output], moments, stream, loaded };
        alone.run(2)?;
        Ok(alone)
    }

    /// Runs the batch `times` over; the seconds it took by the device's clock.
    ///
    /// # Errors
    /// A failed run.
    pub fn run(&mut self, times: usize) -> Result<f64, DeviceError> {
        self.loaded.context().enter()?;
        let [begun, ended] = &self.moments;
        begun.record(&self.stream)?;
        for _ in 0..times {
            // SAFETY: addresses and batch are set, the stream is the same device's, nobody else has the memory.
            unsafe { self.execution.enqueue(self.stream.handle())? };
        }
        ended.record(&self.stream)?;
        self.stream.synchronize()?;
        ended.since(begun)
    }
}
