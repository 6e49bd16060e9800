//! A TensorRT for the tests: objects that know what they depend on and notice when that is freed before them.

#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_void};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};

use super::library::{Core, Static, TensorRt};
use super::log::{Log, hear};
use super::sys::{Api, LogFn, Memory, Request, status};
use crate::engine::flavour::{Flavour, Version};

/// What the fake plan's tensors are: a detector of 64x64, and 100 rows.
const SHAPES: [(&CStr, [i64; 4], i32); 2] =
    [(c"images", [-1, 64, 64, 3], 4), (c"detections", [-1, 100, 6, 0], 3)];
/// Least, best and greatest batch of its profiles.
const BATCHES: [[i64; 3]; 2] = [[1, 1, 1], [1, 4, 8]];
/// Memory that a context works in, a profile.
pub(super) const DEVICE_MEMORY: i64 = 4096;

/// One fake TensorRT. It lives for ever, as its log does.
pub(super) struct Fake {
    log: Log,
    /// The function that is to fail.
    failing: Mutex<&'static str>,
    /// What was done, in order.
    events: Mutex<Vec<String>>,
    alive: AtomicUsize,
}

/// An object; `parent` is the one it depends on.
struct Object {
    fake: &'static Fake,
    kind: &'static str,
    parent: *mut Object,
    children: AtomicUsize,
}

impl Fake {
    /// A new one, and the library to use it by.
    pub(super) fn load() -> (&'static Self, TensorRt) {
        Self::load_with(|_| ())
    }

    /// As [`Fake::load`], with something different about the library.
    pub(super) fn load_with(change: impl FnOnce(&mut Core)) -> (&'static Self, TensorRt) {
        // Kept in a static, so that it does not count as lost where leaks are looked for.
        static ALL: Mutex<Vec<&'static Fake>> = Mutex::new(Vec::new());
        let fake: &'static Self = Box::leak(Box::new(Self {
            log: Log::new(Flavour::Rtx),
            failing: Mutex::new(""),
            events: Mutex::default(),
            alive: AtomicUsize::new(0),
        }));
        ALL.lock().unwrap().push(fake);
        let pointer = Static::new(std::ptr::from_ref(fake).cast_mut().cast()).unwrap();
        let mut core = Core {
            api: &API,
            log: &fake.log,
            logger: pointer,
            flavour: Flavour::Rtx,
            version: Version { major: 1, minor: 7, patch: 1 },
            runtime_factory: pointer,
            builder_factory: Some(pointer),
            parser_factory: OnceLock::from(pointer),
            path: "libfake.so.1".into(),
            folder: None,
        };
        change(&mut core);
        (fake, TensorRt::of(core))
    }

    /// Lets a function of the shim fail from now on.
    pub(super) fn fail(&self, function: &'static str) {
        *self.failing.lock().unwrap() = function;
    }

    /// Objects and memory that were not freed.
    pub(super) fn alive(&self) -> usize {
        self.alive.load(Ordering::SeqCst)
    }

    /// What was done since the last call, in order. What must not be begins with `WRONG`.
    pub(super) fn events(&self) -> Vec<String> {
        std::mem::take(&mut *self.events.lock().unwrap())
    }

    fn note(&self, event: impl Into<String>) {
        self.events.lock().unwrap().push(event.into());
    }

    /// Whether `function` may go on; what fails says so in the log.
    fn goes(&self, function: &str) -> bool {
        let fails = *self.failing.lock().unwrap() == function;
        if fails {
            self.say(&format!("{function} was told to fail"));
        }
        !fails
    }

    fn say(&self, line: &str) {
        let line = std::ffi::CString::new(line).unwrap();
        // SAFETY: the log is in a static fake, the line ends with a zero.
        unsafe { hear(std::ptr::from_ref(&self.log).cast_mut().cast(), 1, line.as_ptr()) };
    }

    fn make(&'static self, function: &str, kind: &'static str, parent: *mut Object) -> *mut c_void {
        if !self.goes(function) {
            return null_mut();
        }
        self.note(format!("new {kind}"));
        self.alive.fetch_add(1, Ordering::SeqCst);
        if !parent.is_null() {
            // SAFETY: whoever makes something of an object holds it.
            unsafe { &*parent }.children.fetch_add(1, Ordering::SeqCst);
        }
        let object = Object { fake: self, kind, parent, children: AtomicUsize::new(0) };
        Box::into_raw(Box::new(object)).cast()
    }
}

fn fake_of(logger: *mut c_void) -> &'static Fake {
    // SAFETY: what `Fake::load` gives as logger and factories.
    unsafe { &*logger.cast::<Fake>() }
}

fn object_of<'a>(object: *mut c_void) -> &'a Object {
    // SAFETY: the tests run what keeps it alive; valgrind and Miri see where it is not.
    unsafe { &*object.cast::<Object>() }
}

unsafe extern "C" fn free(object: *mut c_void) {
    // SAFETY: made by `make`, and freed once, or valgrind and Miri see it.
    let object = unsafe { Box::from_raw(object.cast::<Object>()) };
    object.fake.note(format!("free {}", object.kind));
    if object.children.load(Ordering::SeqCst) != 0 {
        object.fake.note(format!("WRONG: {} freed before what depends on it", object.kind));
    }
    if !object.parent.is_null() {
        object_of(object.parent.cast()).children.fetch_sub(1, Ordering::SeqCst);
    }
    object.fake.alive.fetch_sub(1, Ordering::SeqCst);
}

unsafe extern "C" fn header_version() -> i32 {
    10_701
}

unsafe extern "C" fn logger_new(_: LogFn, user: *mut c_void) -> *mut c_void {
    user
}

/// A plan that tells what was asked for.
unsafe extern "C" fn build(
    _: *mut c_void,
    _: *mut c_void,
    logger: *mut c_void,
    request: *const Request,
    plan: *mut Memory,
    cache: *mut Memory,
) -> i32 {
    let fake = fake_of(logger);
    // SAFETY: the caller's request and memory live during the call.
    let (request, plan, cache) = unsafe { (&*request, &mut *plan, &mut *cache) };
    if let Some(progress) = request.progress {
        let calls = [(0, c"Tactics", 2), (1, c"Tactics", 0), (1, c"Tactics", 1), (2, c"Tactics", 0)];
        for (event, phase, number) in calls {
            // SAFETY: the watcher outlives the build.
            let go_on =
                unsafe { progress(request.progress_user, event, phase.as_ptr(), c"Build".as_ptr(), number) };
            if go_on == 0 && event == 1 {
                return 7;
            }
        }
    }
    // SAFETY: as many ranges as told, with names that end with a zero.
    let ranges = unsafe { std::slice::from_raw_parts(request.ranges, request.range_count) };
    for range in ranges {
        // SAFETY: as above.
        let name = unsafe { CStr::from_ptr(range.tensor) }.to_string_lossy();
        let rank = range.rank as usize;
        let shapes = [&range.min[..rank], &range.opt[..rank], &range.max[..rank]];
        fake.note(format!("profile {} {name} {shapes:?}", range.profile));
    }
    *cache = memory(fake, b"timings");
    if !fake.goes("parse") {
        return status::PARSE;
    }
    *plan = memory(fake, b"plan");
    if fake.goes("build") { status::DONE } else { 7 }
}

fn memory(fake: &'static Fake, data: &'static [u8]) -> Memory {
    Memory { data: data.as_ptr().cast(), size: data.len(), owner: fake.make("memory", "memory", null_mut()) }
}

unsafe extern "C" fn runtime_new(_: *mut c_void, logger: *mut c_void) -> *mut c_void {
    fake_of(logger).make("runtime_new", "runtime", null_mut())
}

unsafe extern "C" fn engine_new(runtime: *mut c_void, _: *const c_void, size: usize) -> *mut c_void {
    // As many bytes as the words of a plan that needs a driver.
    let function = if size == b"no driver".len() { "Cuda Runtime (cudaError 35)" } else { "engine_new" };
    object_of(runtime).fake.make(function, "engine", runtime.cast())
}

unsafe extern "C" fn engine_tensor_count(_: *mut c_void) -> i32 {
    SHAPES.len() as i32
}

unsafe extern "C" fn engine_tensor_name(_: *mut c_void, index: i32) -> *const c_char {
    SHAPES[index as usize].0.as_ptr()
}

fn tensor(name: *const c_char) -> usize {
    // SAFETY: a name that ends with a zero.
    let name = unsafe { CStr::from_ptr(name) };
    SHAPES.iter().position(|shape| shape.0 == name).unwrap()
}

unsafe extern "C" fn engine_tensor_is_input(_: *mut c_void, name: *const c_char) -> i32 {
    i32::from(tensor(name) == 0)
}

unsafe extern "C" fn engine_tensor_type(_: *mut c_void, name: *const c_char) -> i32 {
    [5, 0][tensor(name)]
}

fn write(tensor: usize, batch: i64, to: *mut i64) -> i32 {
    let (_, dims, rank) = &SHAPES[tensor];
    for (at, dim) in dims.iter().enumerate() {
        // SAFETY: there is room for eight.
        unsafe { to.add(at).write(if at == 0 { batch } else { *dim }) };
    }
    *rank
}

unsafe extern "C" fn engine_tensor_shape(_: *mut c_void, name: *const c_char, to: *mut i64) -> i32 {
    write(tensor(name), -1, to)
}

unsafe extern "C" fn engine_profile_count(_: *mut c_void) -> i32 {
    BATCHES.len() as i32
}

unsafe extern "C" fn engine_profile_shape(
    _: *mut c_void,
    name: *const c_char,
    profile: i32,
    which: i32,
    to: *mut i64,
) -> i32 {
    write(tensor(name), BATCHES[profile as usize][which as usize], to)
}

unsafe extern "C" fn engine_device_memory(_: *mut c_void, profile: i32) -> i64 {
    DEVICE_MEMORY * i64::from(profile + 1)
}

unsafe extern "C" fn inspector_new(engine: *mut c_void) -> *mut c_void {
    object_of(engine).fake.make("inspector_new", "inspector", engine.cast())
}

unsafe extern "C" fn inspector_text(_: *mut c_void) -> *const c_char {
    c"{\"Layers\": []}".as_ptr()
}

unsafe extern "C" fn runtime_cache_new(engine: *mut c_void, _: *const c_void, _: usize) -> *mut c_void {
    object_of(engine).fake.make("runtime_cache_new", "cache", engine.cast())
}

unsafe extern "C" fn runtime_cache_save(cache: *mut c_void, saved: *mut Memory) {
    // SAFETY: the caller's memory lives during the call.
    unsafe { *saved = memory(object_of(cache).fake, b"kernels") };
}

unsafe extern "C" fn context_new(engine: *mut c_void, cache: *mut c_void, own_memory: i32) -> *mut c_void {
    let fake = object_of(engine).fake;
    fake.note(format!("own memory {own_memory}"));
    // A context of a cache depends on it, and by that on the engine.
    fake.make("context_new", "context", if cache.is_null() { engine.cast() } else { cache.cast() })
}

unsafe extern "C" fn context_profile(context: *mut c_void, profile: i32, _: *mut c_void) -> i32 {
    let fake = object_of(context).fake;
    fake.note(format!("profile {profile}"));
    i32::from(fake.goes("context_profile"))
}

unsafe extern "C" fn context_memory(context: *mut c_void, device: *mut c_void, size: i64) {
    object_of(context).fake.note(format!("memory {device:?} {size}"));
}

unsafe extern "C" fn context_shape(
    context: *mut c_void,
    _: *const c_char,
    dims: *const i64,
    rank: i32,
) -> i32 {
    // SAFETY: as many dimensions as told.
    let dims = unsafe { std::slice::from_raw_parts(dims, rank as usize) };
    object_of(context).fake.note(format!("shape {dims:?}"));
    i32::from(object_of(context).fake.goes("context_shape"))
}

unsafe extern "C" fn context_tensor_shape(_: *mut c_void, name: *const c_char, to: *mut i64) -> i32 {
    write(tensor(name), 2, to)
}

unsafe extern "C" fn context_address(context: *mut c_void, _: *const c_char, device: *mut c_void) -> i32 {
    object_of(context).fake.note(format!("address {device:?}"));
    i32::from(object_of(context).fake.goes("context_address"))
}

unsafe extern "C" fn context_enqueue(context: *mut c_void, stream: *mut c_void) -> i32 {
    object_of(context).fake.note(format!("enqueue {stream:?}"));
    i32::from(object_of(context).fake.goes("context_enqueue"))
}

static API: Api = Api {
    header_version,
    logger_new,
    memory_free: free,
    build,
    runtime_new,
    runtime_free: free,
    engine_new,
    engine_free: free,
    engine_tensor_count,
    engine_tensor_name,
    engine_tensor_is_input,
    engine_tensor_type,
    engine_tensor_shape,
    engine_profile_count,
    engine_profile_shape,
    engine_device_memory,
    inspector_new,
    inspector_text,
    inspector_free: free,
    runtime_cache_new,
    runtime_cache_save,
    runtime_cache_free: free,
    context_new,
    context_free: free,
    context_profile,
    context_memory,
    context_shape,
    context_tensor_shape,
    context_address,
    context_enqueue,
};
