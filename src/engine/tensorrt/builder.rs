//! From an ONNX file to a plan.

#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_void};
use std::ops::ControlFlow;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::error::TensorRtError;
use super::handle::Handle;
use super::library::{Core, TensorRt};
use super::log::Attempt;
use super::sys::{self, MAX_DIMS, Memory, Request, status};
use crate::engine::flavour::{Capability, Flavour};

/// Hears how a build goes, from several threads at a time; a break ends the build.
pub type OnProgress<'a> = dyn Fn(Progress<'_>) -> ControlFlow<()> + Sync + 'a;

/// What to build.
#[derive(Clone, Copy)]
pub struct BuildRequest<'a> {
    /// The ONNX file's bytes. It says itself what is computed in which precision.
    pub onnx: &'a [u8],
    /// The shapes to be fast for; one at least where a dimension is free.
    pub profiles: &'a [Profile],
    /// The GPUs it is for, with TensorRT-RTX; none for the GPU of this machine.
    pub capabilities: &'a [Capability],
    /// Bytes of GPU memory that a layer may use to work in; as many as there are if none.
    pub workspace: Option<usize>,
    /// From 0, built fast, to 5, fast itself; TensorRT's usual one if none.
    pub optimization_level: Option<u8>,
    /// What an earlier build measured. One of another GPU or version counts for nothing.
    pub timing_cache: Option<&'a [u8]>,
    /// Who wants to know how it goes.
    pub progress: Option<&'a OnProgress<'a>>,
}

impl<'a> BuildRequest<'a> {
    /// A plan of `onnx` for `profiles` and the GPU of this machine, everything else as TensorRT has it.
    pub fn new(onnx: &'a [u8], profiles: &'a [Profile]) -> Self {
        Self {
            onnx,
            profiles,
            capabilities: &[],
            workspace: None,
            optimization_level: None,
            timing_cache: None,
            progress: None,
        }
    }
}

/// The shapes that a plan is made for: one range for each input that has free dimensions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile(pub Vec<ShapeRange>);

/// The shapes of one input.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs)]
pub struct ShapeRange {
    pub tensor: String,
    pub min: Vec<i64>,
    /// The one that it is made fast for.
    pub opt: Vec<i64>,
    pub max: Vec<i64>,
}

impl Profile {
    /// Batches of `min` to `max` and best of `opt` pictures in the input `tensor`, each of the shape `picture`.
    pub fn of_batches(tensor: &str, picture: &[i64], [min, opt, max]: [i64; 3]) -> Self {
        let shape = |batch: i64| [&[batch], picture].concat();
        Self(vec![ShapeRange {
            tensor: tensor.to_owned(),
            min: shape(min),
            opt: shape(opt),
            max: shape(max),
        }])
    }
}

/// How a build goes: phases, some within others, each of some steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs)]
pub enum Progress<'a> {
    Begin {
        phase: &'a str,
        parent: Option<&'a str>,
        steps: u32,
    },
    /// Steps are counted from 0.
    Step {
        phase: &'a str,
        step: u32,
    },
    /// Maybe before all steps were taken.
    End {
        phase: &'a str,
    },
}

/// What was built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// The plan, for the flavour, version and GPUs that it was built by and for.
    pub plan: Vec<u8>,
    /// What was measured, for the next build; none of TensorRT-RTX.
    pub timing_cache: Option<Vec<u8>>,
}

/// TensorRT-RTX keeps the GPUs that it builds for in one list for all builders, so that a build fails while another
/// one is for other GPUs.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

impl TensorRt {
    /// Builds a plan, after those that are being built. This takes from a second to many minutes. TensorRT builds on the
    /// current CUDA device where it needs one: the enterprise flavour always, TensorRT-RTX if no capabilities are named.
    ///
    /// # Errors
    /// What TensorRT does not like about the model, the profiles or this machine.
    pub fn build(&self, request: &BuildRequest<'_>) -> Result<Built, TensorRtError> {
        let core = self.core();
        let no_builder = || TensorRtError::NoBuilder { library: core.path.clone(), flavour: core.flavour };
        let builder = core.builder_factory.ok_or_else(no_builder)?;
        let parser = core.parser_factory()?;
        let refused = |cause: &str| refused_capabilities(core, request, cause.to_owned());
        if core.flavour == Flavour::Enterprise && !request.capabilities.is_empty() {
            return Err(refused("TensorRT builds for the GPU of this machine only"));
        }
        let ranges = ranges(request.profiles)?;
        let capabilities: Vec<i32> = request.capabilities.iter().map(|one| one.number()).collect();
        let watcher = Watcher { progress: request.progress, cancelled: AtomicBool::new(false) };
        let raw = raw_request(request, &ranges, &capabilities, &watcher);
        let (mut plan, mut cache) = (Memory::NONE, Memory::NONE);
        let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let attempt = core.log.attempt();
        // SAFETY: the factories and the logger are this flavour's, and what `raw` points to lives until the call ends.
        let status = unsafe {
            let logger = core.logger.as_ptr();
            (core.api.build)(builder.as_ptr(), parser.as_ptr(), logger, &raw, &mut plan, &mut cache)
        };
        let (plan, cache) = (take(core.api, &plan), take(core.api, &cache));
        match plan {
            _ if watcher.cancelled.into_inner() => Err(TensorRtError::Cancelled),
            Some(plan) if status == status::DONE => Ok(Built { plan, timing_cache: cache }),
            _ => Err(failed(core, request, status, attempt)),
        }
    }
}

/// Ranges in C, with the names that they point to.
struct Ranges {
    _names: Vec<CString>,
    raw: Vec<sys::Range>,
}

fn ranges(profiles: &[Profile]) -> Result<Ranges, TensorRtError> {
    let (mut names, mut raw) = (Vec::new(), Vec::new());
    for (index, profile) in profiles.iter().enumerate() {
        if profile.0.is_empty() {
            return Err(TensorRtError::Profile { cause: format!("profile {index} has no shapes") });
        }
        for range in &profile.0 {
            let refuse = |problem: &str| TensorRtError::Profile {
                cause: format!("profile {index} for {:?}: {problem}", range.tensor),
            };
            let name = CString::new(range.tensor.as_str()).map_err(|_| refuse("no name of a tensor"))?;
            let rank = range.min.len();
            if rank > MAX_DIMS || range.opt.len() != rank || range.max.len() != rank {
                return Err(refuse("min, opt and max are to have the same number of dimensions, 8 at most"));
            }
            let dims = |values: &[i64]| std::array::from_fn(|at| values.get(at).copied().unwrap_or(0));
            raw.push(sys::Range {
                tensor: name.as_ptr(),
                min: dims(&range.min),
                opt: dims(&range.opt),
                max: dims(&range.max),
                rank: rank as i32,
                profile: index as i32,
            });
            names.push(name);
        }
    }
    Ok(Ranges { _names: names, raw })
}

fn raw_request(
    request: &BuildRequest<'_>,
    ranges: &Ranges,
    capabilities: &[i32],
    watcher: &Watcher<'_>,
) -> Request {
    let timing_cache = request.timing_cache.unwrap_or_default();
    Request {
        onnx: request.onnx.as_ptr().cast(),
        onnx_size: request.onnx.len(),
        ranges: ranges.raw.as_ptr(),
        range_count: ranges.raw.len(),
        capabilities: capabilities.as_ptr(),
        capability_count: capabilities.len(),
        workspace: request.workspace.unwrap_or(0),
        optimization_level: request.optimization_level.map_or(-1, i32::from),
        timing_cache: timing_cache.as_ptr().cast(),
        timing_cache_size: timing_cache.len(),
        progress: request.progress.map(|_| watch as sys::ProgressFn),
        progress_user: std::ptr::from_ref(watcher).cast_mut().cast(),
    }
}

/// Copies what TensorRT made, and frees it.
pub(super) fn take(api: &'static sys::Api, memory: &Memory) -> Option<Vec<u8>> {
    // SAFETY: the shim gives the owner to us, and it depends on the library alone, which stays.
    let _owner = unsafe { Handle::new(memory.owner, api.memory_free, ()) }?;
    if memory.data.is_null() {
        return None;
    }
    // SAFETY: the owner has `size` bytes there.
    Some(unsafe { std::slice::from_raw_parts(memory.data.cast::<u8>(), memory.size) }.to_vec())
}

fn failed(core: &Core, request: &BuildRequest<'_>, status: i32, attempt: Attempt) -> TensorRtError {
    let (flavour, cause) = (core.flavour, attempt.cause());
    match status {
        status::BUILDER | status::PARSER => TensorRtError::Builder { flavour, cause },
        status::PARSE => TensorRtError::Parse { flavour, cause },
        status::NO_OUTPUTS => TensorRtError::NoOutputs,
        status::CAPABILITY => refused_capabilities(core, request, cause),
        status::PROFILE => TensorRtError::Profile { cause },
        _ => TensorRtError::Build { flavour, cause },
    }
}

fn refused_capabilities(core: &Core, request: &BuildRequest<'_>, cause: String) -> TensorRtError {
    TensorRtError::Capability { flavour: core.flavour, capabilities: request.capabilities.to_vec(), cause }
}

/// Stands between TensorRT and who wants to know.
struct Watcher<'a> {
    progress: Option<&'a OnProgress<'a>>,
    cancelled: AtomicBool,
}

impl Watcher<'_> {
    /// Whether to go on.
    fn tell(&self, progress: Progress<'_>) -> bool {
        if let Some(tell) = self.progress.filter(|_| !self.cancelled.load(Ordering::SeqCst)) {
            // A panic must not pass through TensorRT.
            let answer = std::panic::catch_unwind(AssertUnwindSafe(|| tell(progress)));
            if !matches!(answer, Ok(ControlFlow::Continue(()))) {
                self.cancelled.store(true, Ordering::SeqCst);
            }
        }
        !self.cancelled.load(Ordering::SeqCst)
    }
}

/// What the shim calls.
///
/// # Safety
/// `user` is a [`Watcher`] that outlives the build, the strings are null or end with a zero.
unsafe extern "C" fn watch(
    user: *mut c_void,
    event: i32,
    phase: *const c_char,
    parent: *const c_char,
    number: i32,
) -> i32 {
    // SAFETY: by the contract; only shared references are made of it.
    let watcher = unsafe { &*user.cast::<Watcher<'_>>() };
    // SAFETY: by the contract; they live while this runs.
    let [phase, parent] =
        [phase, parent].map(|text| unsafe { (!text.is_null()).then(|| CStr::from_ptr(text)) });
    let phase = phase.map(CStr::to_string_lossy).unwrap_or_default();
    let parent = parent.map(CStr::to_string_lossy);
    let (phase, number) = (&*phase, u32::try_from(number).unwrap_or(0));
    i32::from(watcher.tell(match event {
        0 => Progress::Begin { phase, parent: parent.as_deref(), steps: number },
        1 => Progress::Step { phase, step: number },
        _ => Progress::End { phase },
    }))
}
