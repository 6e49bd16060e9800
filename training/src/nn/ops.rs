//! The operations that networks here are made of.
//!
//! A network is written once, as calls of [`Ops`], and run by different ones: over tensors it is the forward pass
//! ([`Forward`](super::Forward)), over a graph's value names it is an export. So an export cannot forget what the
//! forward pass does.

use burn::nn::BatchNorm;
use burn::nn::conv::{Conv2d, ConvTranspose2d};

/// A function of each value by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `max(x, 0)`
    Relu,
    /// `1 / (1 + exp(-x))`, inside RegNetY's squeeze-and-excitation (Radosavovic et al. 2020)
    Sigmoid,
    /// `max(min(x / 6 + 1/2, 1), 0)`
    HardSigmoid,
    /// `x * hard sigmoid(x)`, MobileNetV3 (Howard et al. 2019)
    HardSwish,
}

/// What runs a network. All values are `[N, C, H, W]`.
pub trait Ops {
    /// A value on its way.
    type Value: Clone;

    /// A convolution, grouped ones included, then the BatchNorm if there is one.
    fn conv(&mut self, x: Self::Value, conv: &Conv2d, norm: Option<&BatchNorm>) -> Self::Value;

    /// A transposed convolution, then the BatchNorm if there is one.
    fn conv_transpose(
        &mut self,
        x: Self::Value,
        conv: &ConvTranspose2d,
        norm: Option<&BatchNorm>,
    ) -> Self::Value;

    /// The greatest of each 3x3 neighbourhood at every second cell, borders left out: `[N, C, ceil(H/2), ceil(W/2)]`.
    fn max_pool(&mut self, x: Self::Value) -> Self::Value;

    /// The mean of each channel, `[N, C, 1, 1]`.
    fn mean(&mut self, x: Self::Value) -> Self::Value;

    /// Each cell four times, `[N, C, 2H, 2W]`.
    fn double(&mut self, x: Self::Value) -> Self::Value;

    /// A function of each value by itself.
    fn activate(&mut self, x: Self::Value, activation: Activation) -> Self::Value;

    /// The sum of two values of one shape.
    fn add(&mut self, a: Self::Value, b: Self::Value) -> Self::Value;

    /// A value times a number.
    fn times(&mut self, x: Self::Value, number: f32) -> Self::Value;

    /// A value times a factor for each channel, `[N, C, 1, 1]`.
    fn scale(&mut self, x: Self::Value, factors: Self::Value) -> Self::Value;
}
