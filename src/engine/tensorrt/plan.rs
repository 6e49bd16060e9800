//! A plan that was loaded.

#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_void};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::builder::{ShapeRange, take};
use super::error::TensorRtError;
use super::handle::Handle;
use super::library::Core;
use super::runtime::Runtime;
use super::sys::{MAX_DIMS, Memory};

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
pub(super) struct EngineObject(pub(super) Handle<Runtime>);

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

impl PlanEngine {
    pub(super) fn of(object: EngineObject) -> Self {
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

    pub(super) fn core(&self) -> &Core {
        self.0.object.0.owner().core()
    }

    pub(super) fn as_ptr(&self) -> *mut c_void {
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

    pub(super) fn profile(&self, profile: usize) -> Result<i32, TensorRtError> {
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

    pub(super) fn tensor(&self, name: &str) -> Result<&CStr, TensorRtError> {
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
    pub(super) fn as_ptr(&self) -> *mut c_void {
        self.0.handle.as_ptr()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, ()> {
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

/// Dimensions that `write` writes, and says how many.
pub(super) fn dims(write: impl FnOnce(*mut i64) -> i32) -> Vec<i64> {
    let mut values = [0; MAX_DIMS];
    let rank = usize::try_from(write(values.as_mut_ptr())).unwrap_or(0);
    values[..rank.min(MAX_DIMS)].to_vec()
}
