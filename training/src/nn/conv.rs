//! A convolution and the BatchNorm after it, which all networks here are made of.

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Initializer, PaddingConfig2d};
use burn::tensor::Device;

use super::ops::Ops;

/// A convolution to be made, square and padded so that at stride 1 the size stays.
#[derive(Clone, Copy, Debug)]
pub(super) struct Conv {
    channels: [usize; 2],
    kernel: usize,
    stride: usize,
    groups: usize,
    epsilon: f64,
}

impl Conv {
    /// From so many channels to so many.
    pub fn new(channels: [usize; 2], kernel: usize) -> Self {
        Self { channels, kernel, stride: 1, groups: 1, epsilon: 1e-5 }
    }

    /// One filter a channel.
    pub fn depthwise(channels: usize, kernel: usize) -> Self {
        Self::new([channels; 2], kernel).groups(channels)
    }

    pub fn stride(self, stride: usize) -> Self {
        Self { stride, ..self }
    }

    pub fn groups(self, groups: usize) -> Self {
        Self { groups, ..self }
    }

    /// What the BatchNorm adds to the variance.
    pub fn epsilon(self, epsilon: f64) -> Self {
        Self { epsilon, ..self }
    }

    /// With a BatchNorm and so without bias.
    pub fn norm(self, device: &Device) -> ConvNorm {
        let norm = BatchNormConfig::new(self.channels[1]).with_epsilon(self.epsilon).init(device);
        ConvNorm { conv: self.config().with_bias(false).init(device), norm }
    }

    /// As [`norm`](Self::norm), for the last layer of a residual block: its factor begins at 0, so that the block begins
    /// as its shortcut and the network as a shallow one (Goyal et al. 2017, section 5.1).
    pub fn silent_norm(self, device: &Device) -> ConvNorm {
        let mut made = self.norm(device);
        made.norm.gamma = Initializer::Zeros.init([self.channels[1]], device);
        made
    }

    /// Without BatchNorm; the bias begins at 0.
    pub fn bias(self, device: &Device) -> Conv2d {
        let mut conv = self.config().init(device);
        conv.bias = Some(Initializer::Zeros.init([self.channels[1]], device));
        conv
    }

    fn config(self) -> Conv2dConfig {
        let pad = self.kernel / 2;
        // He et al. 2015: what comes out varies as much as what went in, ReLU included.
        let he = Initializer::KaimingNormal { gain: std::f64::consts::SQRT_2, fan_out_only: true };
        Conv2dConfig::new(self.channels, [self.kernel; 2])
            .with_stride([self.stride; 2])
            .with_padding(PaddingConfig2d::Explicit(pad, pad, pad, pad))
            .with_groups(self.groups)
            .with_initializer(he)
    }
}

/// A convolution without bias, and its BatchNorm.
#[derive(Module, Debug)]
pub struct ConvNorm {
    pub(super) conv: Conv2d,
    pub(super) norm: BatchNorm,
}

impl ConvNorm {
    pub(super) fn run<O: Ops>(&self, ops: &mut O, x: O::Value) -> O::Value {
        ops.conv(x, &self.conv, Some(&self.norm))
    }
}
