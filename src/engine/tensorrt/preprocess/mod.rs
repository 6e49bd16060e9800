//! Preprocessing on the GPU: decoded pictures in device memory in, the letterboxed batch out, in one launch.
//!
//! The kernel (`kernel.cu`) is compiled at run time by [NVRTC](nvrtc), for the GPU that is there, and
//! [launched](launch) through the CUDA driver. [`host`] runs the same source on the CPU: it computes in integers
//! only, so that what the tests compare with [`Preprocessor`](crate::letterbox::Preprocessor) is what a
//! GPU has to come to as well.
//!
//! How it goes: [`nvrtc::Nvrtc::load`], [`nvrtc::Nvrtc::compile`], [`launch::Kernel::load`]; then for each batch
//! one [`Descriptor`] a picture, made by [`DevicePicture::describe`] and copied to the device, and
//! [`launch::Kernel::launch`].
//!
//! What does not belong here: device memory, streams and copies.

mod descriptor;
pub mod host;
pub mod launch;
pub mod nvrtc;

use std::ffi::CStr;

use self::nvrtc::Image;
use super::Capability;
use crate::engine::gpu::Preprocess;
pub use descriptor::{Batch, Descriptor, DevicePicture, MAX_SIDE};

/// The kernel's source text.
pub const SOURCE: &CStr = match CStr::from_bytes_with_nul(concat!(include_str!("kernel.cu"), "\0").as_bytes())
{
    Ok(source) => source,
    Err(_) => panic!("kernel.cu holds a zero byte"),
};

/// Compiles the kernel for a GPU of this compute capability, with the NVRTC that is installed.
///
/// # Errors
/// There is none, or it makes no code for such a GPU.
pub fn compile(capability: Capability) -> Result<Image, KernelError> {
    nvrtc::Nvrtc::from_environment()?.compile((capability.major, capability.minor))
}

/// The kernel that `compile` makes, where the GPU is to preprocess. None where the CPU is to, or has to because there is
/// no kernel, which is said.
pub fn choose(wanted: Preprocess, compile: impl FnOnce() -> Result<Image, KernelError>) -> Option<Image> {
    if wanted == Preprocess::Cpu {
        return None;
    }
    let made = compile();
    match &made {
        Ok(image) => tracing::info!(target_gpu = image.target(), "pictures are preprocessed on the GPU"),
        Err(error) => tracing::warn!("pictures are preprocessed on the CPU: {error}"),
    }
    made.ok()
}

/// Why pictures cannot be preprocessed on the GPU.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// A picture that the kernel cannot read.
    #[error("a {picture} cannot be preprocessed on the GPU: {cause}; preprocess = \"cpu\" may take it")]
    Picture {
        /// Its format and size.
        picture: String,
        /// What is wrong with it.
        cause: String,
    },
    /// NVRTC's library is missing or not what it should be.
    #[error(
        "NVRTC, which compiles the preprocessing for the GPU, cannot be loaded: {cause}; install NVIDIA's CUDA 12 \
         package of it (cuda-nvrtc, or nvidia-cuda-nvrtc-cu12 from PyPI), name the folder of its libnvrtc.so.12 in \
         NVRTC_LIBRARY_DIR, or set preprocess = \"cpu\""
    )]
    Library {
        /// What the loader said.
        cause: String,
    },
    /// NVRTC does not know a GPU this old.
    #[error(
        "NVRTC {nvrtc} makes no code for compute capability {capability}, the oldest it knows is {oldest}; install \
         an older one (CUDA 12 goes back to 5.0), or set preprocess = \"cpu\""
    )]
    Capability {
        /// NVRTC's version.
        nvrtc: String,
        /// The GPU's compute capability.
        capability: String,
        /// The oldest one known.
        oldest: String,
    },
    /// NVRTC refuses the source.
    #[error(
        "NVRTC {nvrtc} cannot compile the preprocessing for {target}: {cause}; set preprocess = \"cpu\"\n{log}"
    )]
    Compile {
        /// NVRTC's version.
        nvrtc: String,
        /// What it was to be compiled for, such as `sm_89`.
        target: String,
        /// NVRTC's name for what went wrong.
        cause: String,
        /// The compiler's messages.
        log: String,
    },
    /// There is no CUDA driver.
    #[error("there is no CUDA driver (libcuda.so.1); install NVIDIA's driver, or serve from the CPU")]
    NoDriver,
    /// The CUDA driver refuses.
    #[error("the CUDA driver cannot {step} the preprocessing: {cause}; set preprocess = \"cpu\"")]
    Driver {
        /// What was tried: load, find, launch, unload.
        step: &'static str,
        /// The driver's number of what went wrong (`CUresult`).
        code: u32,
        /// What the driver said.
        cause: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_compiled_unless_the_gpu_is_wanted() {
        assert_eq!(choose(Preprocess::Cpu, || panic!("compiled")), None);
        let image = Image::fake(b"kernel");
        assert_eq!(choose(Preprocess::Gpu, || Ok(image.clone())), Some(image));
    }

    #[test]
    fn without_a_compiler_the_cpu_preprocesses() {
        let missing = || Err(KernelError::Library { cause: "there is no libnvrtc.so.12".into() });
        assert_eq!(choose(Preprocess::Gpu, missing), None);
    }
}
