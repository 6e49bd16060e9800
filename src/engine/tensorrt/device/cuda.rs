//! CUDA's driver behind [`Device`], loaded when it is wanted.
//!
//! Nothing here is reached before [`Driver::load`] has found the library: cudarc panics without it. Calls go one by
//! one to cudarc's thin layer; what has to be freed in which order is [`owned`](super::owned)'s matter.

#![allow(unsafe_code)]

use std::ffi::{CStr, c_char};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cudarc::driver::result::{self, DriverError, ctx, event, graph, primary_ctx, stream};
use cudarc::driver::sys::{self, CUdevice_attribute as Attribute};

use super::super::preprocess::launch::Kernel;
use super::super::preprocess::nvrtc::Image;
use super::super::preprocess::{Batch, KernelError};
use super::api::{
    Capability, Device, DeviceAddress, DeviceInfo, EventHandle, GraphHandle, KernelHandle, MemoryInfo,
    StreamHandle,
};
use super::error::{DeviceError, ErrorKind};
use super::nvml::{Nvml, NvmlDevice};

type Result<T> = std::result::Result<T, DeviceError>;

/// The oldest driver that has all functions used here, as CUDA counts: 1000 * major + 10 * minor.
const OLDEST: i32 = 12_000;

/// NVIDIA's driver, loaded and ready.
#[derive(Clone, Copy, Debug)]
pub struct Driver(());

/// Why there is no driver to work with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoDriver {
    /// The library is not there.
    Missing,
    /// It is there and knows too old a CUDA: its version.
    Old(String),
    /// It is there and does not start.
    Fails(DeviceError),
}

impl Driver {
    /// Loads `libcuda.so.1` and starts it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn load() -> std::result::Result<Self, NoDriver> {
        // SAFETY: NVIDIA's library has no initialisers that ask for anything.
        if !unsafe { sys::is_culib_present() } {
            return Err(NoDriver::Missing);
        }
        let mut version = 0;
        // SAFETY: the library is there, and the version goes to a variable of ours.
        let asked = unsafe { sys::cuDriverGetVersion(&raw mut version) }.result();
        call("cuDriverGetVersion", asked).map_err(NoDriver::Fails)?;
        if version < OLDEST {
            return Err(NoDriver::Old(version_text(version)));
        }
        call("cuInit", result::init()).map_err(NoDriver::Fails)?;
        Ok(Self(()))
    }

    /// How many devices it shows to this process.
    ///
    /// # Errors
    /// What it says instead.
    pub fn devices(&self) -> Result<usize> {
        let count = call("cuDeviceGetCount", result::device::get_count())?;
        Ok(usize::try_from(count).unwrap_or(0))
    }

    /// One of them.
    ///
    /// # Errors
    /// There is none of this index.
    pub fn device(&self, index: usize) -> Result<CudaDevice> {
        let ordinal = i32::try_from(index).unwrap_or(i32::MAX);
        let device = call("cuDeviceGet", result::device::get(ordinal))?;
        let info = describe(index, device)?;
        let nvml = Nvml::load().and_then(|nvml| nvml.device(&info.bus));
        Ok(CudaDevice { info, device, context: AtomicUsize::new(0), nvml })
    }
}

fn version_text(version: i32) -> String {
    format!("{}.{}", version / 1000, version % 1000 / 10)
}

/// An error of a call, by its name.
pub(in crate::engine::tensorrt) fn call<T>(
    name: &'static str,
    result: std::result::Result<T, DriverError>,
) -> Result<T> {
    result.map_err(|DriverError(code)| DeviceError::cuda(name, code as u32, format_args!("{code:?}")))
}

/// As [`call`], for those that the preprocessing makes itself.
fn kernel_call<T>(name: &'static str, result: std::result::Result<T, KernelError>) -> Result<T> {
    result.map_err(|error| match error {
        KernelError::Driver { code, cause, .. } => DeviceError::cuda(name, code, cause),
        other => DeviceError { kind: ErrorKind::Other, call: name, message: other.to_string() },
    })
}

fn describe(index: usize, device: sys::CUdevice) -> Result<DeviceInfo> {
    let attribute = |attribute| {
        // SAFETY: the device is one that the driver gave.
        let value = unsafe { result::device::get_attribute(device, attribute) };
        call("cuDeviceGetAttribute", value).map(|value| u8::try_from(value).unwrap_or(0))
    };
    let major = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
    let minor = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
    // SAFETY: as above.
    let memory = call("cuDeviceTotalMem", unsafe { result::device::total_mem(device) })? as u64;
    let name = call("cuDeviceGetName", result::device::get_name(device))?;
    Ok(DeviceInfo { index, name, capability: Capability { major, minor }, memory, bus: bus(device)? })
}

fn bus(device: sys::CUdevice) -> Result<String> {
    let mut text = [0; 32];
    // SAFETY: the device is one that the driver gave, and it is told how long the text may be.
    let asked = unsafe { sys::cuDeviceGetPCIBusId(text.as_mut_ptr().cast::<c_char>(), 32, device) };
    call("cuDeviceGetPCIBusId", asked.result())?;
    Ok(CStr::from_bytes_until_nul(&text).unwrap_or_default().to_string_lossy().into_owned())
}

/// A GPU.
pub struct CudaDevice {
    info: DeviceInfo,
    device: sys::CUdevice,
    /// The primary context's address while it is retained, else 0.
    context: AtomicUsize,
    nvml: Option<NvmlDevice>,
}

impl CudaDevice {
    /// As the engine takes it.
    pub fn shared(self) -> Arc<dyn Device> {
        Arc::new(self)
    }
}

impl Device for CudaDevice {
    fn info(&self) -> &DeviceInfo {
        &self.info
    }

    fn retain(&self) -> Result<()> {
        // Waiting lanes sleep: by default each would spin on a core of its own, which decoders need.
        let flags = sys::CUctx_flags::CU_CTX_SCHED_BLOCKING_SYNC as u32;
        // SAFETY: the device is one that the driver gave.
        let set = unsafe { sys::cuDevicePrimaryCtxSetFlags_v2(self.device, flags) }.result();
        call("cuDevicePrimaryCtxSetFlags", set)?;
        // SAFETY: as above.
        let context = call("cuDevicePrimaryCtxRetain", unsafe { primary_ctx::retain(self.device) })?;
        self.context.store(context.expose_provenance(), Ordering::Release);
        Ok(())
    }

    unsafe fn release(&self) -> Result<()> {
        // SAFETY: the device is one that the driver gave; the caller is done with the context.
        call("cuDevicePrimaryCtxRelease", unsafe { primary_ctx::release(self.device) })
    }

    unsafe fn reset(&self) -> Result<()> {
        // SAFETY: the device is one that the driver gave; the caller is done with all in the context.
        call("cuDevicePrimaryCtxReset", unsafe { sys::cuDevicePrimaryCtxReset_v2(self.device) }.result())
    }

    fn make_current(&self) -> Result<()> {
        let context = self.context.load(Ordering::Acquire);
        if context == 0 {
            let message = "no context was retained".into();
            return Err(DeviceError { kind: ErrorKind::Other, call: "cuCtxSetCurrent", message });
        }
        // SAFETY: it came from retaining. The primary context keeps its address when it is made anew.
        let set = unsafe { ctx::set_current(std::ptr::with_exposed_provenance_mut(context)) };
        call("cuCtxSetCurrent", set)
    }

    fn memory(&self) -> Result<MemoryInfo> {
        let (free, total) = call("cuMemGetInfo", result::mem_get_info())?;
        Ok(MemoryInfo { free: free as u64, total: total as u64 })
    }

    fn utilization(&self) -> Option<f64> {
        self.nvml.as_ref()?.utilization()
    }

    fn create_stream(&self) -> Result<StreamHandle> {
        let made = stream::create(stream::StreamKind::NonBlocking);
        call("cuStreamCreate", made).map(StreamHandle::from_ptr)
    }

    unsafe fn destroy_stream(&self, stream: StreamHandle) -> Result<()> {
        // SAFETY: the caller's, as for all below.
        call("cuStreamDestroy", unsafe { stream::destroy(stream.as_ptr()) })
    }

    unsafe fn synchronize(&self, stream: StreamHandle) -> Result<()> {
        // SAFETY: see `Device`.
        call("cuStreamSynchronize", unsafe { stream::synchronize(stream.as_ptr()) })
    }

    fn alloc_device(&self, bytes: usize) -> Result<DeviceAddress> {
        // SAFETY: memory that is not cleared is what is promised.
        call("cuMemAlloc", unsafe { result::malloc_sync(bytes) }).map(DeviceAddress)
    }

    unsafe fn free_device(&self, memory: DeviceAddress) -> Result<()> {
        // SAFETY: see `Device`.
        call("cuMemFree", unsafe { result::memory_free(memory.0) })
    }

    fn alloc_host(&self, bytes: usize) -> Result<NonNull<u8>> {
        // SAFETY: it is cleared below. No flag: it is read and written by the host as often as by the device.
        let memory = call("cuMemHostAlloc", unsafe { result::malloc_host(bytes, 0) })?.cast::<u8>();
        let null = || {
            let message = "it gave no memory".into();
            DeviceError { kind: ErrorKind::OutOfMemory, call: "cuMemHostAlloc", message }
        };
        let memory = NonNull::new(memory).ok_or_else(null)?;
        // SAFETY: it has so many bytes, and nobody else has it yet.
        unsafe { memory.write_bytes(0, bytes) };
        Ok(memory)
    }

    unsafe fn free_host(&self, memory: NonNull<u8>) -> Result<()> {
        // SAFETY: see `Device`.
        call("cuMemFreeHost", unsafe { result::free_host(memory.as_ptr().cast()) })
    }

    unsafe fn copy_in(
        &self,
        to: DeviceAddress,
        from: *const u8,
        bytes: usize,
        stream: StreamHandle,
    ) -> Result<()> {
        // SAFETY: see `Device`. By address: a slice would claim that nobody writes to it meanwhile.
        let enqueued = unsafe { sys::cuMemcpyHtoDAsync_v2(to.0, from.cast(), bytes, stream.as_ptr()) };
        call("cuMemcpyHtoDAsync", enqueued.result())
    }

    unsafe fn copy_out(
        &self,
        to: *mut u8,
        from: DeviceAddress,
        bytes: usize,
        stream: StreamHandle,
    ) -> Result<()> {
        // SAFETY: see `Device`.
        let enqueued = unsafe { sys::cuMemcpyDtoHAsync_v2(to.cast(), from.0, bytes, stream.as_ptr()) };
        call("cuMemcpyDtoHAsync", enqueued.result())
    }

    fn create_event(&self) -> Result<EventHandle> {
        let made = event::create(sys::CUevent_flags::CU_EVENT_DEFAULT);
        call("cuEventCreate", made).map(EventHandle::from_ptr)
    }

    unsafe fn destroy_event(&self, event: EventHandle) -> Result<()> {
        // SAFETY: see `Device`.
        call("cuEventDestroy", unsafe { event::destroy(event.as_ptr()) })
    }

    unsafe fn record(&self, event: EventHandle, stream: StreamHandle) -> Result<()> {
        // SAFETY: see `Device`.
        call("cuEventRecord", unsafe { event::record(event.as_ptr(), stream.as_ptr()) })
    }

    unsafe fn elapsed(&self, from: EventHandle, to: EventHandle) -> Result<f64> {
        // SAFETY: see `Device`.
        let millis = call("cuEventElapsedTime", unsafe { event::elapsed(from.as_ptr(), to.as_ptr()) })?;
        Ok(f64::from(millis) / 1e3)
    }

    unsafe fn begin_capture(&self, stream: StreamHandle) -> Result<()> {
        // Of this thread only: other lanes may allocate meanwhile.
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: see `Device`.
        call("cuStreamBeginCapture", unsafe { stream::begin_capture(stream.as_ptr(), mode) })
    }

    unsafe fn end_capture(&self, stream: StreamHandle) -> Result<GraphHandle> {
        // SAFETY: see `Device`.
        let template = call("cuStreamEndCapture", unsafe { stream::end_capture(stream.as_ptr()) })?;
        // SAFETY: the template was just made; it is not needed once it is instantiated.
        let (made, destroyed) = unsafe {
            (graph::instantiate(template, sys::CUgraphInstantiate_flags(0)), graph::destroy(template))
        };
        let made = call("cuGraphInstantiate", made).map(GraphHandle::from_ptr)?;
        call("cuGraphDestroy", destroyed).map(|()| made)
    }

    unsafe fn launch(&self, graph: GraphHandle, stream: StreamHandle) -> Result<()> {
        // SAFETY: see `Device`.
        call("cuGraphLaunch", unsafe { graph::launch(graph.as_ptr(), stream.as_ptr()) })
    }

    unsafe fn destroy_graph(&self, graph: GraphHandle) -> Result<()> {
        // SAFETY: see `Device`.
        call("cuGraphExecDestroy", unsafe { graph::exec_destroy(graph.as_ptr()) })
    }

    fn load_kernel(&self, image: &Image) -> Result<KernelHandle> {
        // SAFETY: the context is the thread's, see `Device`; an image is what NVRTC made.
        let loaded = unsafe { Kernel::load(image) };
        kernel_call("cuModuleLoadData", loaded).map(Kernel::into_raw)
    }

    unsafe fn unload_kernel(&self, kernel: KernelHandle) -> Result<()> {
        // SAFETY: see `Device`.
        kernel_call("cuModuleUnload", unsafe { Kernel::from_raw(kernel).unload() })
    }

    unsafe fn letterbox(
        &self,
        kernel: KernelHandle,
        batch: &Batch,
        count: usize,
        stream: StreamHandle,
    ) -> Result<()> {
        // More than any batch has; CUDA refuses it.
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        // SAFETY: see `Device`.
        let launched = unsafe { Kernel::from_raw(kernel).launch(batch, count, stream.as_ptr()) };
        kernel_call("cuLaunchKernel", launched)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_read_as_cuda_writes_them() {
        assert_eq!(["12.8", "13.0", "9.2"], [12080, 13000, 9020].map(version_text));
    }

    #[test]
    fn an_error_names_the_call_and_cudas_name_of_it() {
        let error =
            call::<()>("cuMemAlloc", Err(DriverError(sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY))).unwrap_err();
        assert_eq!(error.to_string(), "cuMemAlloc failed: CUDA_ERROR_OUT_OF_MEMORY (2)");
        assert_eq!(error.kind, ErrorKind::OutOfMemory);
    }

    #[test]
    fn an_error_of_the_preprocessing_keeps_its_kind() {
        let error =
            |code| KernelError::Driver { step: "launch", code, cause: "illegal memory access".into() };
        let told = kernel_call::<()>("cuLaunchKernel", Err(error(700))).unwrap_err();
        assert_eq!(told.to_string(), "cuLaunchKernel failed: illegal memory access (700)");
        assert_eq!(told.kind, ErrorKind::Sticky);
        assert_eq!(kernel_call::<()>("a", Err(error(2))).unwrap_err().kind, ErrorKind::OutOfMemory);
        assert_eq!(kernel_call::<()>("a", Err(KernelError::NoDriver)).unwrap_err().kind, ErrorKind::Other);
    }

    #[test]
    fn cuda_numbers_survive_being_handles() {
        let mut there = 0_u8;
        let handle = StreamHandle::from_ptr(&raw mut there);
        assert_eq!(handle.as_cuda(), (&raw mut there).cast());
    }
}
