//! From a plan to its runs on a GPU.
//!
//! CUDA's current device is the one that counts; who calls sets it. Nothing here waits for the GPU.

#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_void};
use std::sync::{Arc, Mutex, PoisonError};

use super::builder::{ShapeRange, take};
use super::error::TensorRtError;
use super::handle::Handle;
use super::library::{Core, TensorRt};
use super::sys::{MAX_DIMS, Memory};

/// What loads plans.
#[derive(Clone, Debug)]
pub struct Runtime(Arc<RuntimeObject>);

#[derive(Debug)]
struct RuntimeObject(Handle<TensorRt>);

// SAFETY: TensorRT lets any thread use a runtime, and several deserialise plans at once.
unsafe impl Send for RuntimeObject {}
// SAFETY: as above.
unsafe impl Sync for RuntimeObject {}

/// A plan on the GPU. Cheap to clone.
#[derive(Clone, Debug)]
pub struct PlanEngine(Arc<EngineParts>);

#[derive(Debug)]
struct EngineParts {
    object: EngineObject,
    tensors: Vec<(CString, Tensor)>,
    profiles: usize,
}

#[derive(Debug)]
struct EngineObject(Handle<Runtime>);

// SAFETY: TensorRT lets several threads ask an engine and make contexts of it; nothing here changes one.
unsafe impl Send for EngineObject {}
// SAFETY: as above.
unsafe impl Sync for EngineObject {}

/// An input or output of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// It goes in.
    pub is_input: bool,
    /// What it is made of.
    pub data_type: DataType,
    /// Its shape, -1 where that depends on the batch.
    pub dims: Vec<i64>,
}

/// What a tensor is made of, as TensorRT counts the kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs)]
pub enum DataType {
    Float32,
    Float16,
    Int8,
    Int32,
    Bool,
    Uint8,
    Int64,
    /// One that no detector has at its ends.
    Other(i32),
}

impl DataType {
    fn of(number: i32) -> Self {
        match number {
            0 => Self::Float32,
            1 => Self::Float16,
            2 => Self::Int8,
            3 => Self::Int32,
            4 => Self::Bool,
            5 => Self::Uint8,
            8 => Self::Int64,
            other => Self::Other(other),
        }
    }
}

/// The batches of a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs)]
pub struct BatchRange {
    pub min: i64,
    /// The one that it is made fast for.
    pub opt: i64,
    pub max: i64,
}

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

impl TensorRt {
    /// What loads plans, onto the current device.
    ///
    /// # Errors
    /// No driver or no GPU, or too old ones, most often.
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
    fn core(&self) -> &Core {
        self.0.0.owner().core()
    }

    /// Loads a plan onto the current device.
    ///
    /// # Errors
    /// A plan that is damaged, or was built for another GPU or by another version.
    pub fn deserialize(&self, plan: &[u8]) -> Result<PlanEngine, TensorRtError> {
        let core = self.core();
        let attempt = core.log.attempt();
        // SAFETY: the runtime lives, and outlives the engine, which is ours; the plan is only read during the call.
        let handle = unsafe {
            let engine = (core.api.engine_new)(self.0.0.as_ptr(), plan.as_ptr().cast(), plan.len());
            Handle::new(engine, core.api.engine_free, self.clone())
        };
        handle.map(|handle| PlanEngine::of(EngineObject(handle))).ok_or_else(|| TensorRtError::Plan {
            flavour: core.flavour,
            version: core.version,
            cause: attempt.cause(),
        })
    }
}

impl PlanEngine {
    fn of(object: EngineObject) -> Self {
        let api = object.0.owner().core().api;
        let engine = object.0.as_ptr();
        // SAFETY: the engine lives.
        let (count, profiles) =
            unsafe { ((api.engine_tensor_count)(engine), (api.engine_profile_count)(engine)) };
        let tensor = |at| {
            // SAFETY: the engine lives, and so do the names that it answers.
            let name = unsafe {
                let name = (api.engine_tensor_name)(engine, at);
                (!name.is_null()).then(|| CStr::from_ptr(name).to_owned())?
            };
            // SAFETY: the engine lives and has a tensor of that name.
            let (is_input, data_type) = unsafe {
                let is_input = (api.engine_tensor_is_input)(engine, name.as_ptr()) != 0;
                (is_input, DataType::of((api.engine_tensor_type)(engine, name.as_ptr())))
            };
            // SAFETY: as above; there is room for all dimensions.
            let dims = dims(|to| unsafe { (api.engine_tensor_shape)(engine, name.as_ptr(), to) });
            let text = name.to_string_lossy().into_owned();
            Some((name, Tensor { name: text, is_input, data_type, dims }))
        };
        let tensors = (0..count).filter_map(tensor).collect();
        Self(Arc::new(EngineParts { object, tensors, profiles: usize::try_from(profiles).unwrap_or(0) }))
    }

    fn core(&self) -> &Core {
        self.0.object.0.owner().core()
    }

    fn as_ptr(&self) -> *mut c_void {
        self.0.object.0.as_ptr()
    }

    /// The plan's inputs and outputs.
    pub fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        self.0.tensors.iter().map(|(_, tensor)| tensor)
    }

    /// The shapes of the inputs in each profile.
    pub fn profiles(&self) -> Vec<Vec<ShapeRange>> {
        let inputs = || self.0.tensors.iter().filter(|(_, tensor)| tensor.is_input);
        (0..self.0.profiles).map(|at| inputs().map(|(name, _)| self.range(at, name)).collect()).collect()
    }

    /// The batches of each profile: the first dimension of the first input.
    pub fn batches(&self) -> Vec<BatchRange> {
        let first = |dims: &[i64]| dims.first().copied().unwrap_or(0);
        let batches = |ranges: &Vec<ShapeRange>| {
            let range = ranges.first()?;
            Some(BatchRange { min: first(&range.min), opt: first(&range.opt), max: first(&range.max) })
        };
        self.profiles().iter().filter_map(batches).collect()
    }

    fn range(&self, profile: usize, name: &CStr) -> ShapeRange {
        let api = self.core().api;
        let shape = |which| {
            // SAFETY: the engine lives, has that input and profile, and there is room for all dimensions.
            dims(|to| unsafe {
                (api.engine_profile_shape)(self.as_ptr(), name.as_ptr(), profile as i32, which, to)
            })
        };
        ShapeRange {
            tensor: name.to_string_lossy().into_owned(),
            min: shape(0),
            opt: shape(1),
            max: shape(2),
        }
    }

    /// Bytes of GPU memory that a context of this profile works in.
    ///
    /// # Errors
    /// No such profile.
    pub fn device_memory(&self, profile: usize) -> Result<usize, TensorRtError> {
        let profile = self.profile(profile)?;
        // SAFETY: the engine lives and has that profile.
        let bytes = unsafe { (self.core().api.engine_device_memory)(self.as_ptr(), profile) };
        Ok(usize::try_from(bytes).unwrap_or(0))
    }

    fn profile(&self, profile: usize) -> Result<i32, TensorRtError> {
        let count = self.0.profiles;
        let there = i32::try_from(profile).ok().filter(|_| profile < count);
        there.ok_or(TensorRtError::NoProfile { profile, count })
    }

    /// What TensorRT tells of the plan's layers, as JSON; none if it does not.
    pub fn description(&self) -> Option<String> {
        let api = self.core().api;
        // SAFETY: the engine lives and outlives the inspector, which is ours.
        let inspector =
            unsafe { Handle::new((api.inspector_new)(self.as_ptr()), api.inspector_free, self.clone()) }?;
        // SAFETY: the inspector lives, and so does what it answers until it is freed.
        unsafe {
            let text = (api.inspector_text)(inspector.as_ptr());
            (!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy().into_owned())
        }
    }

    /// Keeps what contexts compile when they are made, beginning with what was `saved` before, which counts for nothing
    /// if that was on another GPU or version. None of the enterprise flavour, where all is compiled in the plan.
    pub fn runtime_cache(&self, saved: &[u8]) -> Option<RuntimeCache> {
        let api = self.core().api;
        let data = if saved.is_empty() { std::ptr::null() } else { saved.as_ptr().cast() };
        // SAFETY: the engine lives and outlives the cache, which is ours; what was saved is only read in the call.
        let handle = unsafe {
            let cache = (api.runtime_cache_new)(self.as_ptr(), data, saved.len());
            Handle::new(cache, api.runtime_cache_free, self.clone())
        };
        handle.map(|handle| RuntimeCache(Arc::new(CacheObject { handle, one_at_a_time: Mutex::new(()) })))
    }

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
            let cache = cache.map_or(std::ptr::null_mut(), |cache| cache.0.handle.as_ptr());
            // SAFETY: engine and cache live and outlive the context, which is ours; the cache is used by one at a time.
            unsafe {
                let context = (core.api.context_new)(self.as_ptr(), cache, i32::from(memory.is_some()));
                Handle::new(context, core.api.context_free, owner)
            }
        };
        let refused = || TensorRtError::Context { cause: attempt.cause() };
        let context = Context(handle.ok_or_else(refused)?);
        if let Some(DeviceMemory { address, bytes }) = memory {
            let device = address as usize as *mut c_void;
            // SAFETY: the context lives; `context_in` was promised that the memory may be used.
            unsafe { (core.api.context_memory)(context.0.as_ptr(), device, bytes as i64) };
        }
        // SAFETY: the context lives, the engine has the profile, and a `Stream` is live.
        let set = unsafe { (core.api.context_profile)(context.0.as_ptr(), profile, stream.0) };
        if set == 0 { Err(refused()) } else { Ok(context) }
    }

    fn tensor(&self, name: &str) -> Result<&CStr, TensorRtError> {
        let found = self.0.tensors.iter().find(|(_, tensor)| tensor.name == name);
        found.map(|(name, _)| name.as_c_str()).ok_or_else(|| TensorRtError::NoTensor {
            name: name.to_owned(),
            have: self.tensors().map(|tensor| tensor.name.as_str()).collect::<Vec<_>>().join(", "),
        })
    }
}

/// The kernels that contexts of a plan compiled when they were made, shared among them.
#[derive(Clone, Debug)]
pub struct RuntimeCache(Arc<CacheObject>);

#[derive(Debug)]
struct CacheObject {
    handle: Handle<PlanEngine>,
    /// To make a context changes it.
    one_at_a_time: Mutex<()>,
}

// SAFETY: it is only used by who holds the lock.
unsafe impl Send for CacheObject {}
// SAFETY: as above.
unsafe impl Sync for CacheObject {}

impl RuntimeCache {
    fn lock(&self) -> std::sync::MutexGuard<'_, ()> {
        self.0.one_at_a_time.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What to keep for the next start; none if TensorRT does not say.
    pub fn save(&self) -> Option<Vec<u8>> {
        let api = self.0.handle.owner().core().api;
        let mut memory = Memory::NONE;
        let _guard = self.lock();
        // SAFETY: the cache lives and nobody else uses it.
        unsafe { (api.runtime_cache_save)(self.0.handle.as_ptr(), &mut memory) };
        take(api, &memory)
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

/// Dimensions that `write` writes, and says how many.
fn dims(write: impl FnOnce(*mut i64) -> i32) -> Vec<i64> {
    let mut values = [0; MAX_DIMS];
    let rank = usize::try_from(write(values.as_mut_ptr())).unwrap_or(0);
    values[..rank.min(MAX_DIMS)].to_vec()
}
