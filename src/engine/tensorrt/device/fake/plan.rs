//! The fake at the level of TensorRT.

#![allow(unsafe_code)]

use std::cell::RefCell;
use std::sync::Arc;

use super::super::api::{DeviceAddress, Execution, ExecutionSource, Plan, PlanShape, StreamHandle};
use super::super::error::{DeviceError, ErrorKind};
use super::{Call, FakeExecution, FakeGpu, Network, Op, error};

type Result<T> = std::result::Result<T, DeviceError>;

thread_local! {
    /// The device whose context is the thread's, as TensorRT would find it.
    static GPU: RefCell<Option<FakeGpu>> = const { RefCell::new(None) };
}

pub(super) fn set_current_gpu(gpu: &FakeGpu) {
    GPU.replace(Some(gpu.clone()));
}

/// A plan that runs a function.
#[derive(Clone)]
pub struct FakePlan {
    shape: PlanShape,
    network: Network,
    /// Bytes of its weights.
    weights: u64,
    /// Bytes for each picture of a batch.
    activations: u64,
}

impl FakePlan {
    /// A plan that does `network` with each picture: its input, its output.
    pub fn new(shape: PlanShape, network: impl Fn(&[u8], &mut [f32]) + Send + Sync + 'static) -> Self {
        Self { shape, network: Arc::new(network), weights: 1000, activations: 100 }
    }

    /// Takes so many bytes for its weights, and for each picture of a batch.
    pub fn takes(mut self, weights: u64, activations: u64) -> Self {
        (self.weights, self.activations) = (weights, activations);
        self
    }

    /// As the engine takes it.
    pub fn plan(&self) -> Arc<dyn Plan> {
        Arc::new(self.clone())
    }
}

impl Plan for FakePlan {
    fn shape(&self) -> PlanShape {
        self.shape
    }

    fn load(&self) -> Result<Box<dyn ExecutionSource>> {
        let Some(gpu) = GPU.with_borrow(Clone::clone) else {
            return Err(error(Call::Load, ErrorKind::Other));
        };
        let mut state = gpu.inside(Call::Load)?;
        state.take(Call::Load, self.weights)?;
        let handle = state.handle();
        state.sources.insert(handle, self.weights);
        drop(state);
        Ok(Box::new(Source { gpu, handle, plan: self.clone() }))
    }
}

struct Source {
    gpu: FakeGpu,
    handle: usize,
    plan: FakePlan,
}

impl ExecutionSource for Source {
    fn open(&self, max_batch: usize) -> Result<Box<dyn Execution>> {
        let mut state = self.gpu.inside(Call::OpenExecution)?;
        let bytes = self.plan.activations * max_batch as u64;
        state.take(Call::OpenExecution, bytes)?;
        let handle = state.handle();
        let shape = &self.plan.shape;
        let execution = FakeExecution {
            source: self.handle,
            max_batch,
            bound: None,
            batch: None,
            bytes,
            picture: (shape.input_bytes(), shape.output_values()),
            network: Arc::clone(&self.plan.network),
        };
        state.executions.insert(handle, execution);
        Ok(Box::new(Run { gpu: self.gpu.clone(), handle }))
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        let mut state = self.gpu.state();
        let in_use = state.executions.values().any(|execution| execution.source == self.handle);
        state.insist(!in_use, || "weights are freed under an execution".into());
        let bytes = state.sources.remove(&self.handle);
        state.insist(bytes.is_some(), || "weights are freed that are not there".into());
        state.used = state.used.saturating_sub(bytes.unwrap_or(0));
        let current = super::checks::current() == Some((self.gpu.info.index, state.generation));
        state.insist(current, || "weights are freed outside the device's context".into());
    }
}

struct Run {
    gpu: FakeGpu,
    handle: usize,
}

impl Execution for Run {
    unsafe fn bind(&mut self, input: DeviceAddress, output: DeviceAddress) -> Result<()> {
        let mut state = self.gpu.inside(Call::Bind)?;
        if let Some(execution) = state.executions.get_mut(&self.handle) {
            execution.bound = Some((input.0, output.0));
        }
        Ok(())
    }

    fn set_batch(&mut self, batch: usize) -> Result<()> {
        let mut state = self.gpu.inside(Call::SetBatch)?;
        let Some(execution) = state.executions.get_mut(&self.handle) else { return Ok(()) };
        execution.batch = Some(batch);
        let fits = (1..=execution.max_batch).contains(&batch);
        let idle = !state.runs(self.handle);
        state.insist(fits, || format!("a batch of {batch} for an execution with less room"));
        state.insist(idle, || "the batch is changed during a run".into());
        Ok(())
    }

    unsafe fn enqueue(&mut self, stream: StreamHandle) -> Result<()> {
        let mut state = self.gpu.inside(Call::Enqueue)?;
        let Some(execution) = state.executions.get(&self.handle) else { return Ok(()) };
        let Some(((input, output), batch)) = execution.bound.zip(execution.batch) else {
            state.wrong("a run without addresses or batch".into());
            return Ok(());
        };
        let (picture, network) = (execution.picture, Arc::clone(&execution.network));
        let idle = !state.runs(self.handle);
        state.insist(idle, || "a run of an execution that runs already".into());
        let op = Op::Run { execution: self.handle, batch, input, output, picture, network };
        state.enqueue(Call::Enqueue, stream.0, op);
        Ok(())
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let mut state = self.gpu.state();
        let idle = !state.runs(self.handle);
        state.insist(idle, || "an execution is dropped during its run".into());
        let current = super::checks::current() == Some((self.gpu.info.index, state.generation));
        state.insist(current, || "an execution is dropped outside the device's context".into());
        let bytes = state.executions.remove(&self.handle).map(|execution| execution.bytes);
        state.used = state.used.saturating_sub(bytes.unwrap_or(0));
    }
}
