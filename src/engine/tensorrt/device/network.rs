//! What is needed of TensorRT, call by call, so that a fake can stand in: a plan, its weights on a device, a context to
//! run it in.

#![allow(unsafe_code)]

use super::api::{DeviceAddress, StreamHandle};
use super::error::DeviceError;

type Result<T> = std::result::Result<T, DeviceError>;

/// What a plan promises of its two tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlanShape {
    /// Input width and height in pixels; the input is uint8 `[batch, height, width, 3]`.
    pub input: (u32, u32),
    /// Detections a picture; the output is float32 `[batch, top_k, values]`.
    pub top_k: usize,
    /// Values a detection, 6 or more.
    pub values: usize,
    /// Pictures a run at most.
    pub max_batch: usize,
    /// Pictures a run that it was tuned for.
    pub optimum: usize,
}

impl PlanShape {
    /// Bytes of one picture's input.
    pub fn input_bytes(&self) -> usize {
        self.input.0 as usize * self.input.1 as usize * 3
    }

    /// Values of one picture's output.
    pub fn output_values(&self) -> usize {
        self.top_k * self.values
    }
}

/// A compiled model, on no device yet.
pub trait Plan: Send + Sync {
    /// What it promises.
    fn shape(&self) -> PlanShape;

    /// Puts its weights on the device whose context is the calling thread's.
    ///
    /// # Errors
    /// Too little memory, or a plan that this device or TensorRT refuses.
    fn load(&self) -> Result<Box<dyn ExecutionSource>>;
}

/// A plan whose weights are on a device. Dropped while that device's context is the thread's.
pub trait ExecutionSource: Send + Sync {
    /// What it takes to run the plan once, for batches up to `max_batch`. One that is told a smaller `max_batch`
    /// takes less memory if it can: by a smaller profile, or by memory of its own for activations. The device's
    /// context is the calling thread's.
    ///
    /// # Errors
    /// Too little memory.
    fn open(&self, max_batch: usize) -> Result<Box<dyn Execution>>;
}

/// A TensorRT execution context. Used by one thread at a time, dropped before its [`ExecutionSource`] and while the
/// device's context is the thread's.
pub trait Execution: Send {
    /// Tells where the input is and where the output goes. The addresses stay until it is dropped.
    ///
    /// # Errors
    /// TensorRT refuses an address.
    ///
    /// # Safety
    /// Both are memory of the device that stays until this is dropped, with room for the `max_batch` it was opened
    /// for.
    unsafe fn bind(&mut self, input: DeviceAddress, output: DeviceAddress) -> Result<()>;

    /// Tells how many pictures the next runs have.
    ///
    /// # Errors
    /// A batch outside the profile.
    fn set_batch(&mut self, batch: usize) -> Result<()>;

    /// Enqueues a run.
    ///
    /// # Errors
    /// What TensorRT says.
    ///
    /// # Safety
    /// Addresses are bound and the batch is set, the stream is of the same device, and nobody else touches the
    /// memory until it is synchronised.
    unsafe fn enqueue(&mut self, stream: StreamHandle) -> Result<()>;
}
