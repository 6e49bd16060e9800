//! Owners of what a context gives: made in it, freed in it, each keeps it alive.
//!
//! In a lost context nothing is freed, its end frees it.

#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::Arc;

use super::super::preprocess::Batch;
use super::super::preprocess::nvrtc::Image;
use super::api::{DeviceAddress, EventHandle, GraphHandle, KernelHandle, StreamHandle};
use super::context::Retained;
use super::error::DeviceError;

type Result<T> = std::result::Result<T, DeviceError>;

/// A stream. Whoever drops it has waited for it.
pub struct Stream {
    handle: StreamHandle,
    context: Arc<Retained>,
}

impl Stream {
    /// A new one.
    ///
    /// # Errors
    /// The device has none to give.
    pub fn new(context: &Arc<Retained>) -> Result<Self> {
        let handle = context.check(context.enter()?.create_stream())?;
        Ok(Self { handle, context: Arc::clone(context) })
    }

    /// For calls that take it; good as long as this lives.
    pub fn handle(&self) -> StreamHandle {
        self.handle
    }

    /// Waits until all on it is done.
    ///
    /// # Errors
    /// What went wrong in any of it.
    pub fn synchronize(&self) -> Result<()> {
        // SAFETY: the stream is this one's own.
        self.context.check(unsafe { self.context.enter()?.synchronize(self.handle) })
    }

    /// Waits for it even in a lost context, as far as the device still waits: what is dropped next should not be
    /// at work.
    pub(super) fn wait_anyway(&self) {
        // SAFETY: the stream is this one's own.
        if let Err(error) = unsafe { self.context.enter_anyway().synchronize(self.handle) } {
            tracing::debug!("a stream of a lost context is left alone: {error}");
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: it is this one's own and nobody has it from now on.
        self.context.dispose(|device| unsafe { device.destroy_stream(self.handle) });
    }
}

/// A point on a stream, with its time.
pub struct Event {
    handle: EventHandle,
    context: Arc<Retained>,
}

impl Event {
    /// A new one.
    ///
    /// # Errors
    /// The device has none to give.
    pub fn new(context: &Arc<Retained>) -> Result<Self> {
        let handle = context.check(context.enter()?.create_event())?;
        Ok(Self { handle, context: Arc::clone(context) })
    }

    /// Enqueues it: it happens when all before it on the stream is done.
    ///
    /// # Errors
    /// A spoiled context.
    pub fn record(&self, stream: &Stream) -> Result<()> {
        // SAFETY: both are alive, and of one device by how lanes are made.
        self.context.check(unsafe { self.context.enter()?.record(self.handle, stream.handle) })
    }

    /// Seconds since an earlier one; both have happened.
    ///
    /// # Errors
    /// One has not.
    pub fn since(&self, earlier: &Self) -> Result<f64> {
        // SAFETY: both are alive, and of one device by how lanes are made.
        self.context.check(unsafe { self.context.enter()?.elapsed(earlier.handle, self.handle) })
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: it is this one's own and nobody has it from now on.
        self.context.dispose(|device| unsafe { device.destroy_event(self.handle) });
    }
}

/// A run written down. Dropped before the memory it uses and the execution it came from.
pub struct Graph {
    handle: GraphHandle,
    context: Arc<Retained>,
}

impl Graph {
    /// Writes down what `enqueue` puts on `stream`.
    ///
    /// # Errors
    /// It failed, or cannot be captured. The stream is as before.
    pub fn capture(
        context: &Arc<Retained>,
        stream: &Stream,
        enqueue: impl FnOnce() -> Result<()>,
    ) -> Result<Self> {
        let device = context.enter()?;
        // SAFETY: the stream is alive.
        context.check(unsafe { device.begin_capture(stream.handle) })?;
        let enqueued = context.check(enqueue());
        // SAFETY: the capture has begun, and has to end whatever became of it.
        let ended = context.check(unsafe { device.end_capture(stream.handle) });
        let graph = ended.map(|handle| Self { handle, context: Arc::clone(context) });
        enqueued.and(graph)
    }

    /// Enqueues all of it.
    ///
    /// # Errors
    /// A spoiled context.
    ///
    /// # Safety
    /// The memory and the execution it was captured with are there, and nobody else uses them until the stream is
    /// synchronised.
    pub unsafe fn launch(&self, stream: &Stream) -> Result<()> {
        // SAFETY: the graph and the stream are alive; the caller sees to the memory.
        self.context.check(unsafe { self.context.enter()?.launch(self.handle, stream.handle) })
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        // SAFETY: it is this one's own, and whoever drops it has waited for its launches.
        self.context.dispose(|device| unsafe { device.destroy_graph(self.handle) });
    }
}

/// The preprocessing's kernel.
pub struct Kernel {
    handle: KernelHandle,
    context: Arc<Retained>,
}

impl Kernel {
    /// Loads it.
    ///
    /// # Errors
    /// It was compiled for another GPU, or there is too little memory.
    pub fn load(context: &Arc<Retained>, image: &Image) -> Result<Self> {
        let handle = context.check(context.enter()?.load_kernel(image))?;
        Ok(Self { handle, context: Arc::clone(context) })
    }

    /// Enqueues the letterboxing of `count` pictures.
    ///
    /// # Errors
    /// A spoiled context, or an earlier call's failure.
    ///
    /// # Safety
    /// See [`Device::letterbox`](super::api::Device::letterbox); kernel and stream are seen to.
    pub unsafe fn letterbox(&self, batch: &Batch, count: usize, stream: &Stream) -> Result<()> {
        let device = self.context.enter()?;
        // SAFETY: the kernel and the stream are alive; the caller sees to the batch.
        self.context.check(unsafe { device.letterbox(self.handle, batch, count, stream.handle) })
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        // SAFETY: it is this one's own, and whoever drops it has waited for its launches.
        self.context.dispose(|device| unsafe { device.unload_kernel(self.handle) });
    }
}

/// Memory on the device.
pub struct DeviceMemory {
    address: DeviceAddress,
    bytes: usize,
    context: Arc<Retained>,
}

impl DeviceMemory {
    /// So many bytes, not cleared.
    ///
    /// # Errors
    /// The device does not have them.
    pub fn new(context: &Arc<Retained>, bytes: usize) -> Result<Self> {
        let address = context.check(context.enter()?.alloc_device(bytes))?;
        Ok(Self { address, bytes, context: Arc::clone(context) })
    }

    /// Where it is.
    pub fn address(&self) -> DeviceAddress {
        self.address
    }

    /// Enqueues a copy of `from`, which goes `offset` bytes behind its start.
    ///
    /// # Errors
    /// A spoiled context.
    ///
    /// # Panics
    /// `from` reaches beyond its end.
    ///
    /// # Safety
    /// `from` is [`Pinned`], and stays as it is, and nobody else uses this memory, until the stream is synchronised.
    pub unsafe fn copy_in(&self, offset: usize, from: &[u8], stream: &Stream) -> Result<()> {
        let end = offset + from.len();
        assert!(end <= self.bytes, "{} bytes at {offset} into {}", from.len(), self.bytes);
        let to = DeviceAddress(self.address.0 + offset as u64);
        let device = self.context.enter()?;
        // SAFETY: the size was checked; the caller sees to the rest.
        self.context.check(unsafe { device.copy_in(to, from.as_ptr(), from.len(), stream.handle) })
    }

    /// Enqueues a copy of its start to `to`.
    ///
    /// # Errors
    /// A spoiled context.
    ///
    /// # Panics
    /// `to` is larger.
    ///
    /// # Safety
    /// `to` is [`Pinned`], and nobody touches it or writes to this memory, until the stream is synchronised.
    pub unsafe fn copy_out(&self, to: &mut [f32], stream: &Stream) -> Result<()> {
        let bytes = size_of_val(to);
        assert!(bytes <= self.bytes, "{bytes} bytes out of {}", self.bytes);
        let device = self.context.enter()?;
        let to = to.as_mut_ptr().cast();
        // SAFETY: the size was checked; the caller sees to the rest.
        self.context.check(unsafe { device.copy_out(to, self.address, bytes, stream.handle) })
    }
}

impl Drop for DeviceMemory {
    fn drop(&mut self) {
        // SAFETY: it is this one's own, and whoever drops it has waited for what uses it.
        self.context.dispose(|device| unsafe { device.free_device(self.address) });
    }
}

mod sealed {
    pub trait Plain: Copy {}
    impl Plain for u8 {}
    impl Plain for f32 {}
}

/// Page-locked memory of the host: `u8` or `f32`, zeros at first.
pub struct Pinned<T: sealed::Plain> {
    start: NonNull<u8>,
    len: usize,
    context: Arc<Retained>,
    of: PhantomData<T>,
}

// SAFETY: it owns its memory, as a `Vec<T>` does; freeing it makes the context the thread's first.
unsafe impl<T: sealed::Plain + Send> Send for Pinned<T> {}

impl<T: sealed::Plain> Pinned<T> {
    /// Room for `len` values.
    ///
    /// # Errors
    /// The system does not lock so much memory.
    pub fn new(context: &Arc<Retained>, len: usize) -> Result<Self> {
        let start = context.check(context.enter()?.alloc_host(len * size_of::<T>()))?;
        Ok(Self { start, len, context: Arc::clone(context), of: PhantomData })
    }

    /// What is in it.
    pub fn as_slice(&self) -> &[T] {
        // SAFETY: it is aligned to a page, all zeros or written since, which makes good values of `T`; the context
        // does not end before this does.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().cast(), self.len) }
    }

    /// What is in it, to be changed.
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        // SAFETY: as above, and `&mut self` makes it the only one.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr().cast(), self.len) }
    }
}

impl<T: sealed::Plain> Drop for Pinned<T> {
    fn drop(&mut self) {
        // SAFETY: it is this one's own, and whoever drops it has waited for copies.
        self.context.dispose(|device| unsafe { device.free_host(self.start) });
    }
}
