//! The forward pass.

use burn::nn::BatchNorm;
use burn::nn::conv::{Conv2d, ConvTranspose2d};
use burn::tensor::Tensor;
use burn::tensor::activation::{hard_sigmoid, hard_swish, relu, sigmoid};
use burn::tensor::module::{adaptive_avg_pool2d, interpolate, max_pool2d};
use burn::tensor::ops::{InterpolateMode, InterpolateOptions, MaxPoolOptions};

#[cfg(not(feature = "cuda"))]
use super::convolution::convolve;
use super::ops::{Activation, Ops};

/// GPUs have kernels of their own.
#[cfg(feature = "cuda")]
fn convolve(x: Tensor<4>, conv: &Conv2d) -> Tensor<4> {
    conv.forward(x)
}

/// Runs a network over tensors.
#[derive(Clone, Copy, Debug)]
pub struct Forward;

impl Forward {
    fn norm(x: Tensor<4>, norm: Option<&BatchNorm>) -> Tensor<4> {
        match norm {
            Some(norm) => norm.forward(x),
            None => x,
        }
    }
}

impl Ops for Forward {
    type Value = Tensor<4>;

    fn conv(&mut self, x: Tensor<4>, conv: &Conv2d, norm: Option<&BatchNorm>) -> Tensor<4> {
        Self::norm(convolve(x, conv), norm)
    }

    fn conv_transpose(
        &mut self,
        x: Tensor<4>,
        conv: &ConvTranspose2d,
        norm: Option<&BatchNorm>,
    ) -> Tensor<4> {
        Self::norm(conv.forward(x), norm)
    }

    fn max_pool(&mut self, x: Tensor<4>) -> Tensor<4> {
        let options = MaxPoolOptions { stride: [2, 2], padding: [(1, 1); 2], ..MaxPoolOptions::new([3, 3]) };
        max_pool2d(x, options)
    }

    fn mean(&mut self, x: Tensor<4>) -> Tensor<4> {
        adaptive_avg_pool2d(x, [1, 1])
    }

    fn double(&mut self, x: Tensor<4>) -> Tensor<4> {
        let [_, _, height, width] = x.dims();
        let size = Some([2 * height, 2 * width]);
        interpolate(
            x,
            InterpolateOptions { output_size: size, ..InterpolateOptions::new(InterpolateMode::Nearest) },
        )
    }

    fn activate(&mut self, x: Tensor<4>, activation: Activation) -> Tensor<4> {
        match activation {
            Activation::Relu => relu(x),
            Activation::Sigmoid => sigmoid(x),
            Activation::HardSigmoid => hard_sigmoid(x, 1.0 / 6.0, 0.5),
            Activation::HardSwish => hard_swish(x),
        }
    }

    fn add(&mut self, a: Tensor<4>, b: Tensor<4>) -> Tensor<4> {
        a + b
    }

    fn times(&mut self, x: Tensor<4>, number: f32) -> Tensor<4> {
        x * number
    }

    fn scale(&mut self, x: Tensor<4>, factors: Tensor<4>) -> Tensor<4> {
        x * factors
    }
}
