//! How busy a GPU is, asked of NVIDIA's management library if that is there. It comes with the driver, but not into
//! every container; without it there is one number less.

#![allow(unsafe_code)]

use std::ffi::{CString, c_char, c_int, c_uint, c_void};
use std::sync::{Arc, OnceLock};

use libloading::Library;

/// Its file.
const LIBRARY: &str = "libnvidia-ml.so.1";

/// As NVML gives it: percent of the last sample period.
#[repr(C)]
#[derive(Default)]
struct Utilization {
    gpu: c_uint,
    memory: c_uint,
}

type Init = unsafe extern "C" fn() -> c_int;
type HandleByBus = unsafe extern "C" fn(*const c_char, *mut *mut c_void) -> c_int;
type GetUtilization = unsafe extern "C" fn(*mut c_void, *mut Utilization) -> c_int;

/// The library, loaded and started, for as long as the process lives.
#[derive(Clone)]
pub struct Nvml(Arc<Functions>);

struct Functions {
    handle_by_bus: HandleByBus,
    utilization: GetUtilization,
    // The functions are its own.
    _library: Library,
}

impl Nvml {
    /// The library, or none if it is not there or does not start. Tried once a process.
    pub fn load() -> Option<Self> {
        static LOADED: OnceLock<Option<Nvml>> = OnceLock::new();
        LOADED.get_or_init(|| Self::open(LIBRARY)).clone()
    }

    fn open(library: &str) -> Option<Self> {
        // SAFETY: NVIDIA's library has no initialisers that ask for anything; the functions have these types by
        // its documentation, and stay as long as the library does, which is kept beside them.
        let (init, functions) = unsafe {
            let library = Library::new(library).ok()?;
            let init: Init = *library.get(b"nvmlInit_v2\0").ok()?;
            let handle_by_bus: HandleByBus = *library.get(b"nvmlDeviceGetHandleByPciBusId_v2\0").ok()?;
            let utilization: GetUtilization = *library.get(b"nvmlDeviceGetUtilizationRates\0").ok()?;
            (init, Functions { handle_by_bus, utilization, _library: library })
        };
        // SAFETY: it takes nothing.
        (unsafe { init() } == 0).then(|| Self(Arc::new(functions)))
    }

    /// The device that is plugged in there.
    pub fn device(&self, bus: &str) -> Option<NvmlDevice> {
        let bus = CString::new(bus).ok()?;
        let mut handle = std::ptr::null_mut::<c_void>();
        // SAFETY: a text that ends, and a variable of ours for the handle.
        let got = unsafe { (self.0.handle_by_bus)(bus.as_ptr(), &raw mut handle) };
        (got == 0).then(|| NvmlDevice { nvml: self.clone(), handle: handle.expose_provenance() })
    }
}

/// A device as NVML knows it.
pub struct NvmlDevice {
    nvml: Nvml,
    handle: usize,
}

impl NvmlDevice {
    /// The part of the last moments in which it computed, 0 to 1; none where it does not tell, as slices of a
    /// device (MIG) do not.
    pub fn utilization(&self) -> Option<f64> {
        let mut percent = Utilization::default();
        let handle = std::ptr::with_exposed_provenance_mut(self.handle);
        // SAFETY: the handle is NVML's own and stays good; the numbers go to a variable of ours.
        let got = unsafe { (self.nvml.0.utilization)(handle, &raw mut percent) };
        (got == 0).then(|| f64::from(percent.gpu.min(100)) / 100.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_the_library_there_is_nothing_and_no_harm() {
        assert!(Nvml::open("libnvidia-ml-that-is-not-there.so.1").is_none());
        assert!(Nvml::open("libc.so.6").is_none(), "a library that is not NVML");
    }
}
