//! The kernel's source on the CPU, for comparison: what it computes here it has to compute on a GPU.

#![allow(unsafe_code)]

use super::{Batch, Descriptor, DevicePicture, KernelError};
use crate::frame::Picture;
use crate::letterbox::Letterbox;

// Made by build/kernel.rs out of host.cpp.
unsafe extern "C" {
    fn centerx_letterbox_host(batch: *const Batch, count: u32);
    #[cfg(test)]
    static centerx_kernel_layout: [usize; super::descriptor::LAYOUT.len()];
    #[cfg(test)]
    static centerx_kernel_layout_length: usize;
}

/// Letterboxes pictures into `target`, uint8 `[pictures, input.1, input.0, 3]`, by the kernel's source, and tells
/// how each lies there. Slow: one pixel after another, on this thread.
///
/// # Errors
/// A picture that the kernel cannot read.
///
/// # Panics
/// `target` of another length.
pub fn letterbox(
    pictures: &[&Picture],
    input: (u32, u32),
    target: &mut [u8],
) -> Result<Vec<Letterbox>, KernelError> {
    let described: Result<Vec<_>, _> = pictures.iter().map(|picture| describe(picture, input)).collect();
    let (descriptors, fits): (Vec<Descriptor>, Vec<Letterbox>) = described?.into_iter().unzip();
    // SAFETY: `describe` has checked every plane against its description, and the planes are borrowed as long as
    // `pictures` is.
    unsafe { launch(&descriptors, input, target) };
    Ok(fits)
}

/// What a launch over these descriptions does.
///
/// # Safety
/// The planes are where the descriptions say, as many rows of as many bytes as they say.
///
/// # Panics
/// `target` of another length.
pub(in crate::engine::tensorrt) unsafe fn launch(
    descriptors: &[Descriptor],
    input: (u32, u32),
    target: &mut [u8],
) {
    let (size, count) = (input.0 as usize * input.1 as usize * 3, descriptors.len());
    assert_eq!(target.len(), count * size, "{count} pictures of {}x{}", input.0, input.1);
    let batch = Batch {
        pictures: descriptors.as_ptr() as u64,
        target: target.as_mut_ptr() as u64,
        width: input.0,
        height: input.1,
    };
    // SAFETY: `target` holds as many bytes as the batch describes; the caller vouches for the planes.
    unsafe { centerx_letterbox_host(&raw const batch, count as u32) };
}

/// The description of a picture in host memory.
fn describe(picture: &Picture, input: (u32, u32)) -> Result<(Descriptor, Letterbox), KernelError> {
    let (mut device, planes) = DevicePicture::read(picture, input)?;
    device.planes.iter_mut().zip(planes).for_each(|(address, plane)| *address = plane.as_ptr() as u64);
    device.describe(input)
}

#[cfg(test)]
mod tests {
    use super::super::descriptor::LAYOUT;
    use super::*;

    #[test]
    fn rust_and_cpp_agree_on_the_layout() {
        // SAFETY: constants of host.cpp; the array is read only if it is as long as it is declared to be.
        let layout = unsafe {
            assert_eq!(centerx_kernel_layout_length, LAYOUT.len());
            centerx_kernel_layout
        };
        assert_eq!(layout, LAYOUT);
    }

    #[test]
    fn a_picture_whose_description_grew_is_refused() {
        let mut picture = Picture::rgb(4, 4, vec![9; 48]).unwrap();
        picture.height = 5;
        let refusal = letterbox(&[&picture], (4, 4), &mut [0; 48]).unwrap_err().to_string();
        assert!(refusal.contains("48 bytes with stride 12"), "{refusal}");
    }
}
