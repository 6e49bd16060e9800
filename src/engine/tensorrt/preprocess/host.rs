//! The kernel's source on the CPU, for comparison: what it computes here it has to compute on a GPU.

#![allow(unsafe_code)]

use super::{Batch, Descriptor, DevicePicture, KernelError};
use crate::engine::preprocess::Letterbox;
use crate::frame::Picture;

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
    let size = input.0 as usize * input.1 as usize * 3;
    assert_eq!(target.len(), pictures.len() * size, "{} pictures of {}x{}", pictures.len(), input.0, input.1);
    let described: Result<Vec<_>, _> = pictures.iter().map(|picture| describe(picture, input)).collect();
    let (descriptors, fits): (Vec<Descriptor>, Vec<Letterbox>) = described?.into_iter().unzip();
    let batch = Batch {
        pictures: descriptors.as_ptr() as u64,
        target: target.as_mut_ptr() as u64,
        width: input.0,
        height: input.1,
    };
    // SAFETY: `describe` has checked every plane against its description, the planes are borrowed as long as
    // `pictures` is, and `target` holds as many bytes as the batch describes.
    unsafe { centerx_letterbox_host(&raw const batch, descriptors.len() as u32) };
    Ok(fits)
}

/// The description of a picture in host memory. Planes may say something else each time they are asked, so their
/// lengths are checked here, on the very bytes that the kernel gets.
fn describe(picture: &Picture, input: (u32, u32)) -> Result<(Descriptor, Letterbox), KernelError> {
    let mut device = DevicePicture {
        format: picture.format,
        size: (picture.width, picture.height),
        planes: [0; 3],
        strides: picture.strides,
        colorimetry: picture.colorimetry,
    };
    // Says what is wrong with sizes and strides before anything is computed from them.
    device.describe(input)?;
    for (index, (row_bytes, rows)) in picture.plane_sizes().into_iter().enumerate() {
        let (bytes, stride) = (picture.plane(index), picture.strides[index]);
        if bytes.len() < stride * (rows - 1) + row_bytes {
            let cause = format!("plane {index} has {} bytes with stride {stride}", bytes.len());
            return Err(KernelError::Picture { picture: format!("{picture:?}"), cause });
        }
        device.planes[index] = bytes.as_ptr() as u64;
    }
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
