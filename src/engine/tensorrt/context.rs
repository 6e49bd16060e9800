//! A plan's runs on a GPU. The device that the plan was loaded onto is the current one wherever its contexts are made,
//! used and dropped; who calls sees to that.

#![allow(unsafe_code)]

use std::ffi::c_void;

use super::error::TensorRtError;
use super::handle::Handle;
use super::plan::{PlanEngine, RuntimeCache, dims};
use super::sys::MAX_DIMS;

/// A CUDA stream, as the driver hands it out.
#[derive(Clone, Copy, Debug)]
pub struct Stream(*mut c_void);

impl Stream {
    /// The stream that every device has.
    pub const DEFAULT: Self = Self(std::ptr::null_mut());

    /// A stream made by CUDA.
    ///
    /// # Safety
    /// It is a live stream, of the device that it is used with, and outlives every use.
    pub unsafe fn from_raw(stream: *mut c_void) -> Self {
        Self(stream)
    }
}

/// Memory of a GPU for a context to work in.
#[derive(Clone, Copy, Debug)]
pub struct DeviceMemory {
    /// Its address on the device, a multiple of 256.
    pub address: u64,
    /// Its size, [`PlanEngine::device_memory`] at least.
    pub bytes: usize,
}

impl PlanEngine {
    /// Makes a context that runs this profile, in memory that TensorRT allocates. Switching to the profile is queued
    /// on `stream`.
    ///
    /// # Errors
    /// No such profile, or what TensorRT refuses, too little memory most often.
    pub fn context(&self, profile: usize, stream: Stream) -> Result<Context, TensorRtError> {
        self.open(profile, stream, None, None)
    }

    /// Makes a context that works in `memory`, with the kernels of `cache` and for it.
    ///
    /// # Errors
    /// As [`PlanEngine::context`].
    ///
    /// # Safety
    /// The memory is the current device's, of the size that [`PlanEngine::device_memory`] tells at least, used by
    /// nothing else while the context runs, and outlives the context.
    pub unsafe fn context_in(
        &self,
        profile: usize,
        stream: Stream,
        memory: DeviceMemory,
        cache: Option<&RuntimeCache>,
    ) -> Result<Context, TensorRtError> {
        let wanted = self.device_memory(profile)?;
        if memory.bytes < wanted {
            let cause = format!("{} bytes of GPU memory were given to it, it needs {wanted}", memory.bytes);
            return Err(TensorRtError::Context { cause });
        }
        self.open(profile, stream, Some(memory), cache)
    }

    fn open(
        &self,
        profile: usize,
        stream: Stream,
        memory: Option<DeviceMemory>,
        cache: Option<&RuntimeCache>,
    ) -> Result<Context, TensorRtError> {
        let core = self.core();
        let profile = self.profile(profile)?;
        let attempt = core.log.attempt();
        let owner = ContextOwner { engine: self.clone(), _cache: cache.cloned() };
        let handle = {
            let _guard = cache.map(RuntimeCache::lock);
            let cache = cache.map_or(std::ptr::null_mut(), RuntimeCache::as_ptr);
            // SAFETY: engine and cache live and outlive the context, which is ours; the cache is used by one at a time.
            unsafe {
                let context = (core.api.context_new)(self.as_ptr(), cache, i32::from(memory.is_some()));
                Handle::new(context, core.api.context_free, owner)
            }
        };
        let refused = || TensorRtError::Context { cause: attempt.cause() };
        let context = Context(handle.ok_or_else(refused)?);
        // SAFETY: the context lives, the engine has the profile, and a `Stream` is live.
        if unsafe { (core.api.context_profile)(context.0.as_ptr(), profile, stream.0) } == 0 {
            return Err(refused());
        }
        // Now that the context knows how much its profile takes.
        if let Some(DeviceMemory { address, bytes }) = memory {
            let device = address as usize as *mut c_void;
            // SAFETY: the context lives; `context_in` was promised that the memory may be used.
            unsafe { (core.api.context_memory)(context.0.as_ptr(), device, bytes as i64) };
        }
        Ok(context)
    }
}

/// One line of execution of a plan, for one thread at a time.
#[derive(Debug)]
pub struct Context(Handle<ContextOwner>);

#[derive(Debug)]
struct ContextOwner {
    engine: PlanEngine,
    _cache: Option<RuntimeCache>,
}

// SAFETY: TensorRT binds a context to no thread; that it is used by one at a time is as it is not `Sync`.
unsafe impl Send for Context {}

impl Context {
    /// The plan that it runs.
    pub fn engine(&self) -> &PlanEngine {
        &self.0.owner().engine
    }

    /// Says which shape the input has from now on.
    ///
    /// # Errors
    /// No such tensor, or a shape outside of the profile.
    pub fn set_batch_shape(&mut self, name: &str, dims: &[i64]) -> Result<(), TensorRtError> {
        let refuse =
            |cause: String| TensorRtError::Shape { name: name.to_owned(), dims: dims.to_vec(), cause };
        if dims.len() > MAX_DIMS {
            return Err(refuse("a tensor has 8 dimensions at most".to_owned()));
        }
        let (core, tensor) = (self.engine().core(), self.engine().tensor(name)?);
        let attempt = core.log.attempt();
        // SAFETY: the context lives and there are as many dimensions as told.
        let set = unsafe {
            (core.api.context_shape)(self.0.as_ptr(), tensor.as_ptr(), dims.as_ptr(), dims.len() as i32)
        };
        if set == 0 { Err(refuse(attempt.cause())) } else { Ok(()) }
    }

    /// The shape of a tensor with the inputs as they are; -1 where that is not settled.
    ///
    /// # Errors
    /// No such tensor.
    pub fn shape(&self, name: &str) -> Result<Vec<i64>, TensorRtError> {
        let (core, tensor) = (self.engine().core(), self.engine().tensor(name)?);
        // SAFETY: the context lives, has that tensor, and there is room for all dimensions.
        Ok(dims(|to| unsafe { (core.api.context_tensor_shape)(self.0.as_ptr(), tensor.as_ptr(), to) }))
    }

    /// Says where a tensor is in the device's memory.
    ///
    /// # Errors
    /// No such tensor, or an address that TensorRT refuses.
    ///
    /// # Safety
    /// There is memory of the context's device at `address`, enough for the tensor in its greatest shape that is run,
    /// until the last run with it has ended.
    pub unsafe fn set_address(&mut self, name: &str, address: u64) -> Result<(), TensorRtError> {
        let (core, tensor) = (self.engine().core(), self.engine().tensor(name)?);
        let attempt = core.log.attempt();
        let device = address as usize as *mut c_void;
        // SAFETY: the context lives and the caller answers for the address.
        let set = unsafe { (core.api.context_address)(self.0.as_ptr(), tensor.as_ptr(), device) };
        let refused = || TensorRtError::Address { name: name.to_owned(), cause: attempt.cause() };
        if set == 0 { Err(refused()) } else { Ok(()) }
    }

    /// Queues a run.
    ///
    /// # Errors
    /// A shape or an address that is missing, or a device that failed.
    ///
    /// # Safety
    /// Every address that was set still holds, nothing else writes there, and the context, its memory and its addresses
    /// stay until the stream has done the work.
    pub unsafe fn enqueue(&mut self, stream: Stream) -> Result<(), TensorRtError> {
        let core = self.engine().core();
        let attempt = core.log.attempt();
        // SAFETY: the context lives, a `Stream` is live, and the caller answers for the memory.
        let queued = unsafe { (core.api.context_enqueue)(self.0.as_ptr(), stream.0) };
        if queued == 0 { Err(TensorRtError::Enqueue { cause: attempt.cause() }) } else { Ok(()) }
    }
}
