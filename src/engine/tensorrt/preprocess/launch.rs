//! The compiled kernel on a GPU, through the CUDA driver.
//!
//! Nothing here waits: a launch is done when its stream has come to it.

#![allow(unsafe_code)]

use std::ffi::c_void;

use cudarc::driver::{result, sys};

use super::nvrtc::Image;
use super::{Batch, KernelError};

/// The kernel's name in `kernel.cu`.
pub const NAME: &std::ffi::CStr = c"centerx_letterbox";

/// Threads of a block in x and y: a warp takes 32 pixels of a row, whose sources are neighbours.
const BLOCK: (u32, u32) = (32, 8);

/// The most pictures one launch takes: what CUDA allows in z.
pub const MAX_PICTURES: u32 = 65_535;

/// The kernel, loaded into a CUDA context.
///
/// Holds no claim on the context: whoever owns that unloads the kernel first, with [`Kernel::unload`]. Dropped
/// without, it stays in the context until that is destroyed, which is what is wanted after an error that the
/// context does not recover from.
#[derive(Debug)]
pub struct Kernel {
    module: sys::CUmodule,
    function: sys::CUfunction,
}

/// A [`Kernel`]'s handles, as numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RawKernel {
    /// Of the module, which is what is unloaded.
    pub module: usize,
    /// Of the function in it, which is what is launched.
    pub function: usize,
}

// SAFETY: handles of the driver, which takes them in any thread that the context is current in.
unsafe impl Send for Kernel {}

impl Kernel {
    /// Loads what NVRTC has made into the current context.
    ///
    /// # Errors
    /// No driver, or a driver that refuses the image, for instance because it was made for another GPU.
    ///
    /// # Safety
    /// The driver must be initialised and a context current in this thread. `image` must be as
    /// [`Nvrtc::compile`](super::nvrtc::Nvrtc::compile) made it.
    pub unsafe fn load(image: &Image) -> Result<Self, KernelError> {
        // SAFETY: looks for the driver's library, no more.
        if !unsafe { sys::is_culib_present() } {
            return Err(KernelError::NoDriver);
        }
        // SAFETY: a whole ELF file or text with a zero at its end, as the caller says.
        let module = unsafe { result::module::load_data(image.bytes().as_ptr().cast()) };
        let module = module.map_err(|error| failed("load", &error))?;
        // SAFETY: the module has just been loaded.
        match unsafe { result::module::get_function(module, NAME.into()) } {
            Ok(function) => Ok(Self { module, function }),
            Err(error) => {
                // SAFETY: loaded, and nobody else knows it. Its own failure would say no more than the first one.
                let _ = unsafe { result::module::unload(module) };
                Err(failed("find", &error))
            }
        }
    }

    /// Letterboxes `count` pictures, on a stream.
    ///
    /// # Errors
    /// What the driver says, of this launch or of anything before it in the context.
    ///
    /// # Safety
    /// The kernel's context must be current in this thread and `stream` one of its streams. Until the stream has
    /// come past the launch, `batch.pictures` must point to `count` descriptors on the device, each made by
    /// [`DevicePicture::describe`](super::DevicePicture::describe) for an input of (`batch.width`,
    /// `batch.height`), the planes they name must be readable by the device, as many rows of as many bytes as
    /// they say, and `batch.target` must be `count * height * width * 3` bytes that nothing else uses.
    pub unsafe fn launch(&self, batch: &Batch, count: u32, stream: sys::CUstream) -> Result<(), KernelError> {
        let Some(grid) = grid(batch, count) else { return Ok(()) };
        let mut batch = *batch;
        let mut parameters = [(&raw mut batch).cast::<c_void>()];
        // SAFETY: the function is loaded and takes a `Batch`, which the driver copies before it returns; the
        // caller vouches for the rest.
        unsafe {
            result::launch_kernel(self.function, grid, (BLOCK.0, BLOCK.1, 1), 0, stream, &mut parameters)
        }
        .map_err(|error| failed("launch", &error))
    }

    /// The driver's handles of it.
    pub fn into_raw(self) -> RawKernel {
        RawKernel { module: self.module.expose_provenance(), function: self.function.expose_provenance() }
    }

    /// A kernel out of its handles.
    ///
    /// # Safety
    /// They came from [`Kernel::into_raw`], and the kernel was not unloaded since.
    pub unsafe fn from_raw(raw: RawKernel) -> Self {
        let module = std::ptr::with_exposed_provenance_mut(raw.module);
        Self { module, function: std::ptr::with_exposed_provenance_mut(raw.function) }
    }

    /// Takes the kernel out of its context.
    ///
    /// # Errors
    /// What the driver says.
    ///
    /// # Safety
    /// The kernel's context must be current in this thread, and every launch must have ended.
    pub unsafe fn unload(self) -> Result<(), KernelError> {
        // SAFETY: loaded, and used by nobody any more.
        unsafe { result::module::unload(self.module) }.map_err(|error| failed("unload", &error))
    }
}

/// Blocks in x, y and z; none for nothing to do, which CUDA would refuse.
fn grid(batch: &Batch, count: u32) -> Option<(u32, u32, u32)> {
    let blocks = (batch.width.div_ceil(BLOCK.0), batch.height.div_ceil(BLOCK.1), count);
    (blocks.0 > 0 && blocks.1 > 0 && blocks.2 > 0).then_some(blocks)
}

fn failed(step: &'static str, error: &result::DriverError) -> KernelError {
    KernelError::Driver { step, code: error.0 as u32, cause: error.to_string() }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;
    use std::ptr::null_mut;

    use super::super::{Descriptor, DevicePicture, MAX_SIDE};
    use super::*;
    use crate::frame::{Colorimetry, PixelFormat};

    fn batch(width: u32, height: u32) -> Batch {
        Batch { pictures: 8, target: 8, width, height }
    }

    #[test]
    fn blocks_cover_every_pixel_and_z_is_the_picture() {
        assert_eq!(grid(&batch(512, 512), 4), Some((16, 64, 4)));
        assert_eq!(grid(&batch(33, 9), 1), Some((2, 2, 1)));
        assert_eq!(grid(&batch(1, 1), 1), Some((1, 1, 1)));
    }

    #[test]
    fn nothing_to_do_is_no_launch() {
        assert_eq!(grid(&batch(512, 512), 0), None);
        assert_eq!(grid(&batch(0, 512), 1), None);
    }

    #[test]
    fn the_largest_grid_is_one_that_cuda_takes() {
        let (_, y, z) = grid(&batch(MAX_SIDE, MAX_SIDE), MAX_PICTURES).unwrap();
        assert!(y <= 65_535 && z <= 65_535 && BLOCK.0 * BLOCK.1 <= 1024);
    }

    /// The name of the test below that runs in a process of its own.
    const IN_CHILD: &str = "engine::tensorrt::preprocess::launch::tests::launches_through_the_driver";
    const CHILD: &str = "CENTERX_TEST_FAKE_DRIVER";

    /// A CUDA driver whose device is the host, compiled on the spot.
    fn fake_driver(folder: &Path) {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/engine/tensorrt/preprocess");
        let made = Command::new("c++")
            .args(["-std=c++17", "-O1", "-shared", "-fPIC", "-o"])
            .arg(folder.join("libcuda.so"))
            .arg(sources.join("fake_driver.cpp"))
            .status()
            .unwrap();
        assert!(made.success());
    }

    /// The driver is looked for once a process, so that a fake one must not get into that of the other tests.
    #[test]
    fn launches_through_the_driver() {
        if std::env::var_os(CHILD).is_some() {
            return in_child();
        }
        let folder = tempfile::tempdir().unwrap();
        fake_driver(folder.path());
        let others = std::env::var("LD_LIBRARY_PATH").unwrap_or_default();
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", IN_CHILD]).env(CHILD, "1");
        child.env("LD_LIBRARY_PATH", format!("{}:{others}", folder.path().display()));
        let output = child.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{output:?}");
    }

    fn in_child() {
        // SAFETY: the fake driver takes anything for a context, and refuses what is no image.
        let refusal = unsafe { Kernel::load(&Image::fake(b"nothing")) }.unwrap_err().to_string();
        assert!(refusal.contains("cannot load") && refusal.contains("not an image"), "{refusal}");
        // SAFETY: as above; of this image the fake driver says that the kernel is not in it.
        let refusal = unsafe { Kernel::load(&Image::fake(b"\x7fELF without")) }.unwrap_err().to_string();
        assert!(refusal.contains("cannot find") && refusal.contains("not found"), "{refusal}");
        // SAFETY: as above.
        let kernel = unsafe { Kernel::load(&Image::fake(b"\x7fELF with centerx_letterbox")) }.unwrap();
        // SAFETY: its own handles, of which nothing else is made.
        let kernel = unsafe { Kernel::from_raw(kernel.into_raw()) };
        launch_two_pictures(&kernel);
        // SAFETY: as above; the launch has ended.
        unsafe { kernel.unload() }.unwrap();
        // A kernel that was not found does not leave its module behind.
        // SAFETY: a function of the fake driver's without arguments.
        let loaded =
            unsafe { sys::culib().get::<unsafe extern "C" fn() -> i32>("fakeModulesLoaded").unwrap()() };
        assert_eq!(loaded, 0);
    }

    /// Two flat pictures into an input of which they cover 40x20 each: more than one block both ways.
    fn launch_two_pictures(kernel: &Kernel) {
        let (input, size) = ((40, 30), (8, 4));
        let planes = [vec![200u8; 8 * 4 * 3], vec![100; 8 * 4 * 3]];
        let describe = |plane: &Vec<u8>| {
            let (planes, strides) = ([plane.as_ptr() as u64, 0, 0], [24, 0, 0]);
            let colorimetry = Colorimetry::default();
            DevicePicture { format: PixelFormat::Rgb, size, planes, strides, colorimetry }
                .describe(input)
                .unwrap()
                .0
        };
        let descriptors: Vec<Descriptor> = planes.iter().map(describe).collect();
        let mut target = vec![9u8; 2 * 40 * 30 * 3];
        let batch = Batch {
            pictures: descriptors.as_ptr() as u64,
            target: target.as_mut_ptr() as u64,
            width: input.0,
            height: input.1,
        };
        // SAFETY: all of it lives until the fake driver is done, which is when it returns.
        unsafe { kernel.launch(&batch, 2, null_mut()) }.unwrap();
        for (value, place) in [200, 100].into_iter().zip(target.chunks(40 * 30 * 3)) {
            assert!(place[..40 * 20 * 3].iter().all(|&byte| byte == value));
            assert!(place[40 * 20 * 3..].iter().all(|&byte| byte == 0));
        }
        // SAFETY: as above; the fake driver knows no stream but the default one, and does nothing on others.
        let refusal = unsafe { kernel.launch(&batch, 2, 8 as sys::CUstream) }.unwrap_err().to_string();
        assert!(refusal.contains("cannot launch") && refusal.contains("no such handle"), "{refusal}");
    }
}
