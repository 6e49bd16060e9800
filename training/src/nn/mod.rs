//! Networks: backbones, up-sampling, heads.
//!
//! A [`CenterNet`] is a backbone down to stride 32, a neck of three doublings up to [`STRIDE`] and the heads. Each part
//! is written once, as calls of [`Ops`](ops::Ops): run over tensors it trains and infers, run over something else it is
//! exported.
//!
//! What does not belong here: losses, and what the heads' numbers mean.

mod backbone;
mod centernet;
mod config;
mod conv;
#[cfg(not(feature = "cuda"))]
mod convolution;
mod forward;
mod mobilenet;
mod neck;
pub mod ops;
mod regnet;
mod resnet;
pub mod weights;

use burn::tensor::{Device, Tensor, TensorData};

pub use backbone::Backbone;
pub use centernet::{CenterNet, Head};
pub use config::{BackboneKind, NeckKind, NetworkConfig, NetworkError};
pub use conv::ConvNorm;
pub use forward::Forward;
pub use mobilenet::MobileNet;
pub use neck::Neck;
pub use regnet::RegNet;
pub use resnet::ResNet;

/// Input pixels a cell of the heads.
pub const STRIDE: usize = 4;

/// Mean of ImageNet's pixels, red, green, blue, from 0 to 255.
pub const MEAN: [f32; 3] = [123.675, 116.28, 103.53];

/// Standard deviation of ImageNet's pixels, likewise.
pub const STD: [f32; 3] = [58.395, 57.12, 57.375];

/// Where networks are trained: the first NVIDIA GPU in builds with the feature `cuda`.
#[cfg(feature = "cuda")]
pub fn device() -> Device {
    Device::cuda(burn::tensor::DeviceIndex::Default)
}

/// Where networks are trained: the processor, in builds without the feature `cuda`.
#[cfg(not(feature = "cuda"))]
pub fn device() -> Device {
    Device::flex()
}

/// Pictures as networks here want them, `[n, 3, height, width]`: `(pixel - MEAN) / STD`.
///
/// # Panics
/// If `rgb` is not `n` pictures, uint8 `[height, width, 3]` each.
pub fn pixels(rgb: &[u8], n: usize, height: usize, width: usize, device: &Device) -> Tensor<4> {
    let cells = height * width;
    assert_eq!(rgb.len(), n * cells * 3, "not {n} pictures of {width}x{height}");
    let mut values = Vec::with_capacity(rgb.len());
    for picture in rgb.chunks_exact(cells * 3) {
        for channel in 0..3 {
            let (mean, scale) = (MEAN[channel], 1.0 / STD[channel]);
            values.extend(picture[channel..].iter().step_by(3).map(|&v| (f32::from(v) - mean) * scale));
        }
    }
    Tensor::from_data(TensorData::new(values, [n, 3, height, width]), device)
}

#[cfg(test)]
mod tests;
