//! What is needed of CUDA, call by call, so that a fake can stand in and check the calls; with [`network`](super::network)
//! what is needed of TensorRT.
//!
//! Handles are plain numbers here, and all that takes one is `unsafe`; [`owned`](super::owned) gives them owners.
//! What does not belong here: any decision.

#![allow(unsafe_code)]

use std::ffi::c_void;
use std::ptr::NonNull;

use super::super::preprocess::Batch;
pub use super::super::preprocess::launch::RawKernel as KernelHandle;
use super::super::preprocess::nvrtc::Image;
use super::error::DeviceError;
pub use super::network::{Execution, ExecutionSource, Plan, PlanShape};
pub use crate::engine::flavour::Capability;

type Result<T> = std::result::Result<T, DeviceError>;

/// What is known of a device without a context on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// CUDA's number of it, from 0. `CUDA_VISIBLE_DEVICES` changes what is counted.
    pub index: usize,
    /// Its name, such as `NVIDIA L4`.
    pub name: String,
    /// What it can run.
    pub capability: Capability,
    /// Its memory in bytes.
    pub memory: u64,
    /// Where it is plugged in, such as `0000:65:00.0`; how NVML knows it.
    pub bus: String,
}

/// A device's memory now, all processes' together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryInfo {
    /// Bytes that nobody has.
    pub free: u64,
    /// Bytes there are.
    pub total: u64,
}

/// Memory of a device, by its address there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeviceAddress(pub u64);

macro_rules! handle {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub struct $name(pub usize);

        impl $name {
            /// A handle out of CUDA's pointer.
            pub fn from_ptr<T>(pointer: *mut T) -> Self {
                Self(pointer.expose_provenance())
            }

            /// CUDA's pointer, for a call that takes it.
            pub fn as_ptr<T>(self) -> *mut T {
                std::ptr::with_exposed_provenance_mut(self.0)
            }
        }
    };
}

handle!(
    /// A stream: calls on it are done one after the other.
    StreamHandle
);
handle!(
    /// A point on a stream, with its time.
    EventHandle
);
handle!(
    /// A recorded run, ready to be launched.
    GraphHandle
);

/// One GPU, at the level of CUDA's driver.
///
/// [`Device::retain`] comes before everything else, and [`Device::make_current`] before everything that takes or
/// gives a handle, on the same thread. The methods that enqueue return at once; what they touch is in use until
/// [`Device::synchronize`] has returned for the stream.
pub trait Device: Send + Sync {
    /// What is known of it.
    fn info(&self) -> &DeviceInfo;

    /// Makes sure that it has its primary context, once more.
    ///
    /// # Errors
    /// A device that is gone or busy.
    fn retain(&self) -> Result<()>;

    /// Gives the context back, once for each [`Device::retain`]; the last time it goes.
    ///
    /// # Errors
    /// More releases than retains.
    ///
    /// # Safety
    /// For the last time nothing that was made in it is left.
    unsafe fn release(&self) -> Result<()>;

    /// Throws the context away with all that is in it, and what spoiled it.
    ///
    /// # Errors
    /// A device that is gone.
    ///
    /// # Safety
    /// No handle or memory out of it is used any more, host memory included.
    unsafe fn reset(&self) -> Result<()>;

    /// Makes its context the calling thread's.
    ///
    /// # Errors
    /// No context was retained.
    fn make_current(&self) -> Result<()>;

    /// Its memory now.
    ///
    /// # Errors
    /// A spoiled context.
    fn memory(&self) -> Result<MemoryInfo>;

    /// The part of the last moments in which it computed, 0 to 1; none where that is not known.
    fn utilization(&self) -> Option<f64>;

    /// A new stream, which waits for no other.
    ///
    /// # Errors
    /// No memory, or a spoiled context.
    fn create_stream(&self) -> Result<StreamHandle>;

    /// Ends a stream.
    ///
    /// # Errors
    /// A spoiled context.
    ///
    /// # Safety
    /// It is of this device, nothing is under way on it, and it is not used any more.
    unsafe fn destroy_stream(&self, stream: StreamHandle) -> Result<()>;

    /// Waits until everything on the stream is done.
    ///
    /// # Errors
    /// What went wrong in any of it.
    ///
    /// # Safety
    /// The stream is of this device and not destroyed.
    unsafe fn synchronize(&self, stream: StreamHandle) -> Result<()>;

    /// Memory on the device, not cleared.
    ///
    /// # Errors
    /// Not so much is left.
    fn alloc_device(&self, bytes: usize) -> Result<DeviceAddress>;

    /// Frees memory on the device.
    ///
    /// # Errors
    /// A spoiled context.
    ///
    /// # Safety
    /// It came from [`Device::alloc_device`], and nothing uses it any more.
    unsafe fn free_device(&self, memory: DeviceAddress) -> Result<()>;

    /// Page-locked memory of the host, which copies need to be asynchronous. All zeros.
    ///
    /// # Errors
    /// Not so much can be locked.
    fn alloc_host(&self, bytes: usize) -> Result<NonNull<u8>>;

    /// Frees page-locked memory.
    ///
    /// # Errors
    /// A spoiled context.
    ///
    /// # Safety
    /// It came from [`Device::alloc_host`], and nothing uses it any more.
    unsafe fn free_host(&self, memory: NonNull<u8>) -> Result<()>;

    /// Enqueues a copy to the device.
    ///
    /// # Errors
    /// A spoiled context, or an earlier call's failure.
    ///
    /// # Safety
    /// `from` is page-locked, both sides have `bytes` bytes, and nobody writes to `from` or uses `to` on another
    /// stream until the stream is synchronised.
    unsafe fn copy_in(
        &self,
        to: DeviceAddress,
        from: *const u8,
        bytes: usize,
        stream: StreamHandle,
    ) -> Result<()>;

    /// Enqueues a copy from the device.
    ///
    /// # Errors
    /// A spoiled context, or an earlier call's failure.
    ///
    /// # Safety
    /// `to` is page-locked, both sides have `bytes` bytes, and nobody touches `to` or writes to `from` on another
    /// stream until the stream is synchronised.
    unsafe fn copy_out(
        &self,
        to: *mut u8,
        from: DeviceAddress,
        bytes: usize,
        stream: StreamHandle,
    ) -> Result<()>;

    /// A new event.
    ///
    /// # Errors
    /// A spoiled context.
    fn create_event(&self) -> Result<EventHandle>;

    /// Ends an event.
    ///
    /// # Errors
    /// A spoiled context.
    ///
    /// # Safety
    /// It is of this device and not used any more.
    unsafe fn destroy_event(&self, event: EventHandle) -> Result<()>;

    /// Enqueues the event: it happens when all before it on the stream is done.
    ///
    /// # Errors
    /// A spoiled context.
    ///
    /// # Safety
    /// Both are of this device and not destroyed.
    unsafe fn record(&self, event: EventHandle, stream: StreamHandle) -> Result<()>;

    /// Seconds between two events that have happened.
    ///
    /// # Errors
    /// One has not happened, or was never recorded.
    ///
    /// # Safety
    /// Both are of this device and not destroyed.
    unsafe fn elapsed(&self, from: EventHandle, to: EventHandle) -> Result<f64>;

    /// From now on what this thread enqueues on the stream is written down and not done.
    ///
    /// # Errors
    /// A capture is under way, or a spoiled context.
    ///
    /// # Safety
    /// The stream is of this device and not destroyed.
    unsafe fn begin_capture(&self, stream: StreamHandle) -> Result<()>;

    /// Ends the capture, whether it went well or not, and makes it ready to be launched.
    ///
    /// # Errors
    /// Something in it cannot be captured. The stream is usable again.
    ///
    /// # Safety
    /// The stream is of this device, and [`Device::begin_capture`] succeeded on it.
    unsafe fn end_capture(&self, stream: StreamHandle) -> Result<GraphHandle>;

    /// Enqueues all that was captured.
    ///
    /// # Errors
    /// A spoiled context.
    ///
    /// # Safety
    /// Both are of this device and not destroyed, and all memory the graph uses is there and free to be used.
    unsafe fn launch(&self, graph: GraphHandle, stream: StreamHandle) -> Result<()>;

    /// Ends a graph.
    ///
    /// # Errors
    /// A spoiled context.
    ///
    /// # Safety
    /// It is of this device, not under way and not used any more.
    unsafe fn destroy_graph(&self, graph: GraphHandle) -> Result<()>;

    /// Loads the preprocessing's kernel.
    ///
    /// # Errors
    /// It was compiled for another GPU, too little memory, or a spoiled context.
    fn load_kernel(&self, image: &Image) -> Result<KernelHandle>;

    /// Takes the kernel out of the context.
    ///
    /// # Errors
    /// A spoiled context.
    ///
    /// # Safety
    /// It came from [`Device::load_kernel`], no launch of it is under way, and it is not used any more.
    unsafe fn unload_kernel(&self, kernel: KernelHandle) -> Result<()>;

    /// Enqueues the letterboxing of `count` pictures.
    ///
    /// # Errors
    /// A spoiled context, or an earlier call's failure.
    ///
    /// # Safety
    /// Kernel and stream are of this device and not gone. `batch` is as
    /// [`Kernel::launch`](super::super::preprocess::launch::Kernel::launch) says, in memory of this device, by when
    /// all that was enqueued before is done; nobody writes to its pictures or uses its target on another stream until
    /// this one is synchronised.
    unsafe fn letterbox(
        &self,
        kernel: KernelHandle,
        batch: &Batch,
        count: usize,
        stream: StreamHandle,
    ) -> Result<()>;
}

impl StreamHandle {
    /// As TensorRT takes it (`cudaStream_t`).
    pub fn as_cuda(self) -> *mut c_void {
        self.as_ptr()
    }
}
