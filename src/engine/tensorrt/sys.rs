//! The functions of shim.cpp, one table a flavour. What they do is told there.
//!
//! A table, so that the layers above are the same for every flavour and for the fake one of the tests.

#![allow(unsafe_code)]

use std::ffi::{c_char, c_void};

use crate::engine::flavour::Flavour;

/// Dimensions a tensor at most.
pub(super) const MAX_DIMS: usize = 8;

/// Hears a line of TensorRT's; severity 0 and 1 are errors, 4 is chatter. Called from any thread.
pub(super) type LogFn = unsafe extern "C" fn(user: *mut c_void, severity: i32, text: *const c_char);
/// Hears how a build goes, see `Request` in shim.cpp. Called from any thread.
pub(super) type ProgressFn = unsafe extern "C" fn(
    user: *mut c_void,
    event: i32,
    phase: *const c_char,
    parent: *const c_char,
    number: i32,
) -> i32;

/// Bytes that are TensorRT's.
#[repr(C)]
pub(super) struct Memory {
    pub data: *const c_void,
    pub size: usize,
    pub owner: *mut c_void,
}

impl Memory {
    pub(super) const NONE: Self = Self { data: std::ptr::null(), size: 0, owner: std::ptr::null_mut() };
}

/// The shapes that an input may have in a profile.
#[repr(C)]
pub(super) struct Range {
    pub tensor: *const c_char,
    pub min: [i64; MAX_DIMS],
    pub opt: [i64; MAX_DIMS],
    pub max: [i64; MAX_DIMS],
    pub rank: i32,
    pub profile: i32,
}

/// What to build.
#[repr(C)]
pub(super) struct Request {
    pub onnx: *const c_void,
    pub onnx_size: usize,
    pub ranges: *const Range,
    pub range_count: usize,
    pub capabilities: *const i32,
    pub capability_count: usize,
    pub workspace: usize,
    pub optimization_level: i32,
    pub timing_cache: *const c_void,
    pub timing_cache_size: usize,
    pub progress: Option<ProgressFn>,
    pub progress_user: *mut c_void,
}

// shim.cpp has the same.
const _: () = assert!(size_of::<Memory>() == 24 && size_of::<Range>() == 208 && size_of::<Request>() == 96);

/// What a build failed at, as shim.cpp lists it.
pub(super) mod status {
    pub(in super::super) const DONE: i32 = 0;
    pub(in super::super) const BUILDER: i32 = 1;
    pub(in super::super) const PARSER: i32 = 2;
    pub(in super::super) const PARSE: i32 = 3;
    pub(in super::super) const NO_OUTPUTS: i32 = 4;
    pub(in super::super) const CAPABILITY: i32 = 5;
    pub(in super::super) const PROFILE: i32 = 6;
}

macro_rules! shim {
    ($(fn $name:ident($($argument:ident: $kind:ty),*) $(-> $result:ty)?;)*) => {
        /// The shim over one flavour.
        #[derive(Debug)]
        pub(super) struct Api {
            $(pub $name: unsafe extern "C" fn($($argument: $kind),*) $(-> $result)?,)*
        }

        #[cfg(tensorrt_enterprise)]
        static ENTERPRISE: Api = {
            unsafe extern "C" {
                $(#[link_name = concat!("centerx_trt_enterprise_", stringify!($name))]
                fn $name($($argument: $kind),*) $(-> $result)?;)*
            }
            Api { $($name,)* }
        };

        #[cfg(tensorrt_rtx)]
        static RTX: Api = {
            unsafe extern "C" {
                $(#[link_name = concat!("centerx_trt_rtx_", stringify!($name))]
                fn $name($($argument: $kind),*) $(-> $result)?;)*
            }
            Api { $($name,)* }
        };
    };
}

shim! {
    fn header_version() -> i32;
    fn logger_new(log: LogFn, user: *mut c_void) -> *mut c_void;
    fn memory_free(owner: *mut c_void);
    fn build(
        builder_factory: *mut c_void,
        parser_factory: *mut c_void,
        logger: *mut c_void,
        request: *const Request,
        plan: *mut Memory,
        cache: *mut Memory
    ) -> i32;
    fn runtime_new(factory: *mut c_void, logger: *mut c_void) -> *mut c_void;
    fn runtime_free(runtime: *mut c_void);
    fn engine_new(runtime: *mut c_void, plan: *const c_void, size: usize) -> *mut c_void;
    fn engine_free(engine: *mut c_void);
    fn engine_tensor_count(engine: *mut c_void) -> i32;
    fn engine_tensor_name(engine: *mut c_void, index: i32) -> *const c_char;
    fn engine_tensor_is_input(engine: *mut c_void, name: *const c_char) -> i32;
    fn engine_tensor_type(engine: *mut c_void, name: *const c_char) -> i32;
    fn engine_tensor_shape(engine: *mut c_void, name: *const c_char, values: *mut i64) -> i32;
    fn engine_profile_count(engine: *mut c_void) -> i32;
    fn engine_profile_shape(
        engine: *mut c_void,
        name: *const c_char,
        profile: i32,
        which: i32,
        values: *mut i64
    ) -> i32;
    fn engine_device_memory(engine: *mut c_void, profile: i32) -> i64;
    fn inspector_new(engine: *mut c_void) -> *mut c_void;
    fn inspector_text(inspector: *mut c_void) -> *const c_char;
    fn inspector_free(inspector: *mut c_void);
    fn runtime_cache_new(engine: *mut c_void, data: *const c_void, size: usize) -> *mut c_void;
    fn runtime_cache_save(cache: *mut c_void, saved: *mut Memory);
    fn runtime_cache_free(cache: *mut c_void);
    fn context_new(engine: *mut c_void, cache: *mut c_void, own_memory: i32) -> *mut c_void;
    fn context_free(context: *mut c_void);
    fn context_profile(context: *mut c_void, profile: i32, stream: *mut c_void) -> i32;
    fn context_memory(context: *mut c_void, device: *mut c_void, size: i64);
    fn context_shape(context: *mut c_void, name: *const c_char, values: *const i64, rank: i32) -> i32;
    fn context_tensor_shape(context: *mut c_void, name: *const c_char, values: *mut i64) -> i32;
    fn context_address(context: *mut c_void, name: *const c_char, device: *mut c_void) -> i32;
    fn context_enqueue(context: *mut c_void, stream: *mut c_void) -> i32;
}

/// The shim over `flavour`, if this binary has it.
pub(super) fn api(flavour: Flavour) -> Option<&'static Api> {
    match flavour {
        #[cfg(tensorrt_enterprise)]
        Flavour::Enterprise => Some(&ENTERPRISE),
        #[cfg(tensorrt_rtx)]
        Flavour::Rtx => Some(&RTX),
        #[allow(unreachable_patterns, reason = "not where both are built")]
        _ => None,
    }
}
