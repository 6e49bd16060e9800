//! Plans as the [`device`](super::device) engine runs them, by TensorRT.

#![allow(unsafe_code)]

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use cudarc::driver::result;

use super::device::api::{DeviceAddress, Execution, ExecutionSource, Plan, PlanShape, StreamHandle};
use super::device::cuda::call;
use super::device::{DeviceError, Gpu};
use super::{
    BatchRange, Context, DataType, DeviceMemory, PlanEngine, RuntimeCache, Stream, Tensor, TensorRt,
    TensorRtError,
};
use crate::model::{INPUT, OUTPUT};

/// A plan that TensorRT takes and that is a detector's.
pub struct CompiledPlan {
    tensorrt: TensorRt,
    plan: Vec<u8>,
    shape: PlanShape,
    /// Where kernels that are compiled for the GPU at hand are kept, if the flavour has such.
    kernels: Option<PathBuf>,
}

/// Why a plan cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// TensorRT refuses it.
    #[error(transparent)]
    TensorRt(#[from] TensorRtError),
    /// The GPU does.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// It is no detector.
    #[error(
        "the plan is not a centerx detector's: {0}; expected input {INPUT} uint8 [N,H,W,3] with profiles that begin at \
         one picture, and output {OUTPUT} float32 [N,K,6 + 3 a landmark]; build it from a file that `centerx model \
         import` or `pull` made"
    )]
    NotDetector(String),
}

impl CompiledPlan {
    /// Loads `plan` onto `gpu` once, to see what it is and that it can be run there.
    ///
    /// # Errors
    /// A plan that is damaged, no detector, or was built for another GPU or version.
    pub fn open(
        tensorrt: &TensorRt,
        plan: Vec<u8>,
        gpu: &Gpu,
        kernels: Option<PathBuf>,
    ) -> Result<Self, PlanError> {
        let context = gpu.retain()?;
        context.enter()?;
        let shape = shape(&tensorrt.runtime()?.deserialize(&plan)?).map_err(PlanError::NotDetector)?;
        Ok(Self { tensorrt: tensorrt.clone(), plan, shape, kernels })
    }
}

/// What a plan promises.
fn shape(engine: &PlanEngine) -> Result<PlanShape, String> {
    let tensors: Vec<_> = engine.tensors().cloned().collect();
    shape_of(&tensors, &engine.batches())
}

fn shape_of(tensors: &[Tensor], batches: &[BatchRange]) -> Result<PlanShape, String> {
    let one = |name: &str, is_input: bool| {
        let found = tensors.iter().find(|tensor| tensor.name == name && tensor.is_input == is_input);
        found.ok_or_else(|| format!("it has no {} {name}", if is_input { "input" } else { "output" }))
    };
    let (input, output) = (one(INPUT, true)?, one(OUTPUT, false)?);
    let size = |dim: i64| usize::try_from(dim).ok().filter(|&size| size > 0);
    let refuse = |tensor: &Tensor| format!("{} is {:?} {:?}", tensor.name, tensor.data_type, tensor.dims);
    let [height, width, channels] = *input.dims.get(1..).unwrap_or_default() else {
        return Err(refuse(input));
    };
    let (Some(height), Some(width), 3, DataType::Uint8) =
        (size(height), size(width), channels, input.data_type)
    else {
        return Err(refuse(input));
    };
    let [top_k, values] = *output.dims.get(1..).unwrap_or_default() else { return Err(refuse(output)) };
    let (Some(top_k), Some(values @ 6..), DataType::Float32) = (size(top_k), size(values), output.data_type)
    else {
        return Err(refuse(output));
    };
    let best = greatest(batches).ok_or("it has no profile for batches from one picture on")?;
    let (max_batch, optimum) = (size(best.max).unwrap_or(1), size(best.opt).unwrap_or(1));
    let input = (width as u32, height as u32);
    Ok(PlanShape { input, top_k, values, max_batch, optimum })
}

/// The profile with the greatest batch, and the greatest optimum among those.
fn greatest(batches: &[BatchRange]) -> Option<&BatchRange> {
    batches.iter().filter(|range| range.min == 1).max_by_key(|range| (range.max, range.opt))
}

/// The profile for up to `max_batch` pictures: the one with the greatest optimum that is not above it, or else the
/// least.
fn profile_for(batches: &[BatchRange], max_batch: i64) -> Option<usize> {
    let fits = || batches.iter().enumerate().filter(|(_, range)| range.min == 1 && range.max >= max_batch);
    let below = fits().filter(|(_, range)| range.opt <= max_batch).max_by_key(|(_, range)| range.opt);
    below.or_else(|| fits().min_by_key(|(_, range)| range.opt)).map(|(index, _)| index)
}

impl Plan for CompiledPlan {
    fn shape(&self) -> PlanShape {
        self.shape
    }

    fn load(&self) -> Result<Box<dyn ExecutionSource>, DeviceError> {
        let refuse = |error: TensorRtError| DeviceError::tensorrt("deserializeCudaEngine", error.to_string());
        let engine =
            self.tensorrt.runtime().and_then(|runtime| runtime.deserialize(&self.plan)).map_err(refuse)?;
        let saved = self.kernels.as_ref().and_then(|path| std::fs::read(path).ok()).unwrap_or_default();
        let cache = engine.runtime_cache(&saved);
        let kernels = self.kernels.clone().map(|path| Mutex::new((path, saved.len())));
        Ok(Box::new(LoadedPlan { engine, cache, kernels, shape: self.shape }))
    }
}

/// A plan on a GPU.
struct LoadedPlan {
    engine: PlanEngine,
    cache: Option<RuntimeCache>,
    /// Where the cache is kept, and how many bytes of it are there.
    kernels: Option<Mutex<(PathBuf, usize)>>,
    shape: PlanShape,
}

impl LoadedPlan {
    /// Keeps what was compiled for this GPU, so that the next start need not.
    fn keep_kernels(&self) {
        let (Some(cache), Some(kernels)) = (&self.cache, &self.kernels) else { return };
        let mut kept = kernels.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(bytes) = cache.save().filter(|bytes| bytes.len() != kept.1) else { return };
        match crate::model::write(&kept.0, &bytes) {
            Ok(()) => kept.1 = bytes.len(),
            Err(error) => {
                let path = kept.0.display();
                tracing::warn!("{path} cannot be written, and the next start takes longer: {error}");
            }
        }
    }
}

impl ExecutionSource for LoadedPlan {
    fn open(&self, max_batch: usize) -> Result<Box<dyn Execution>, DeviceError> {
        let refuse =
            |error: TensorRtError| DeviceError::tensorrt("createExecutionContext", error.to_string());
        let nothing = || DeviceError::tensorrt("createExecutionContext", "no profile takes such a batch");
        let profile = profile_for(&self.engine.batches(), max_batch as i64).ok_or_else(nothing)?;
        let bytes = self.engine.device_memory(profile).map_err(refuse)?;
        let activations = Activations::take(bytes)?;
        let memory = DeviceMemory { address: activations.address, bytes };
        // SAFETY: the memory is the current device's, and is kept until the context is gone.
        let context =
            unsafe { self.engine.context_in(profile, Stream::DEFAULT, memory, self.cache.as_ref()) };
        let context = context.map_err(refuse)?;
        // The profile was set on a stream that no other waits for.
        call("cuCtxSynchronize", result::ctx::synchronize())?;
        self.keep_kernels();
        let dims = [max_batch as i64, i64::from(self.shape.input.1), i64::from(self.shape.input.0), 3];
        Ok(Box::new(Running { context, _activations: activations, dims }))
    }
}

/// Memory of the device that a context works in.
struct Activations {
    address: u64,
}

impl Activations {
    fn take(bytes: usize) -> Result<Self, DeviceError> {
        // SAFETY: the device's context is the thread's. TensorRT takes no address of zero, so there is a byte at least.
        let address = unsafe { result::malloc_sync(bytes.max(1)) };
        Ok(Self { address: call("cuMemAlloc", address)? })
    }
}

impl Drop for Activations {
    fn drop(&mut self) {
        // SAFETY: it came from `malloc_sync`, and the context that worked in it is gone. A device's lost context takes
        // it along, which is the only failure there is.
        let _ = unsafe { result::free_sync(self.address) };
    }
}

/// A context with its memory; fields are dropped in their order.
struct Running {
    context: Context,
    _activations: Activations,
    dims: [i64; 4],
}

impl Execution for Running {
    unsafe fn bind(&mut self, input: DeviceAddress, output: DeviceAddress) -> Result<(), DeviceError> {
        for (name, address) in [(INPUT, input), (OUTPUT, output)] {
            // SAFETY: by this function's own contract.
            let set = unsafe { self.context.set_address(name, address.0) };
            set.map_err(|error| DeviceError::tensorrt("setTensorAddress", error.to_string()))?;
        }
        Ok(())
    }

    fn set_batch(&mut self, batch: usize) -> Result<(), DeviceError> {
        self.dims[0] = batch as i64;
        let set = self.context.set_batch_shape(INPUT, &self.dims);
        set.map_err(|error| DeviceError::tensorrt("setInputShape", error.to_string()))
    }

    unsafe fn enqueue(&mut self, stream: StreamHandle) -> Result<(), DeviceError> {
        // SAFETY: by this function's own contract.
        let queued = unsafe { self.context.enqueue(Stream::from_raw(stream.as_cuda())) };
        queued.map_err(|error| DeviceError::tensorrt("enqueueV3", error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(name: &str, is_input: bool, data_type: DataType, dims: &[i64]) -> Tensor {
        Tensor { name: name.into(), is_input, data_type, dims: dims.to_vec() }
    }

    fn detector() -> Vec<Tensor> {
        vec![
            tensor(INPUT, true, DataType::Uint8, &[-1, 384, 512, 3]),
            tensor(OUTPUT, false, DataType::Float32, &[-1, 100, 6]),
        ]
    }

    fn range(min: i64, opt: i64, max: i64) -> BatchRange {
        BatchRange { min, opt, max }
    }

    #[test]
    fn a_detectors_plan_tells_its_shape() {
        let shape = shape_of(&detector(), &[range(1, 1, 16), range(1, 8, 16), range(1, 4, 4)]).unwrap();
        let expected = PlanShape { input: (512, 384), top_k: 100, values: 6, max_batch: 16, optimum: 8 };
        assert_eq!(shape, expected);
    }

    #[test]
    fn other_plans_are_refused_with_what_they_have() {
        let refused = |tensors: &[Tensor], batches: &[BatchRange]| shape_of(tensors, batches).unwrap_err();
        let all = [range(1, 8, 16)];
        assert_eq!(refused(&detector()[..1], &all), "it has no output detections");
        assert_eq!(refused(&detector()[1..], &all), "it has no input images");
        assert_eq!(refused(&detector(), &[]), "it has no profile for batches from one picture on");
        assert_eq!(
            refused(&detector(), &[range(4, 4, 4)]),
            "it has no profile for batches from one picture on"
        );
        let mut floats = detector();
        floats[0] = tensor(INPUT, true, DataType::Float32, &[-1, 3, 384, 512]);
        assert_eq!(refused(&floats, &all), "images is Float32 [-1, 3, 384, 512]");
        let mut short = detector();
        short[1].dims[2] = 5;
        assert_eq!(refused(&short, &all), "detections is Float32 [-1, 100, 5]");
    }

    #[test]
    fn the_profile_follows_the_batch_that_there_is_room_for() {
        let batches = [range(1, 1, 16), range(1, 4, 16), range(1, 16, 16)];
        assert_eq!([16, 15, 4, 3, 1].map(|max| profile_for(&batches, max)), [2, 1, 1, 0, 0].map(Some));
        assert_eq!(
            profile_for(&[range(1, 8, 16)], 2),
            Some(0),
            "one that is tuned for more is better than none"
        );
        assert_eq!(profile_for(&[range(1, 8, 16)], 17), None);
    }
}
