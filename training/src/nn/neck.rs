//! The way back up: three doublings, from a stride of 32 to one of 4.

use burn::module::{Module, Param};
use burn::nn::conv::{ConvTranspose2d, ConvTranspose2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig};
use burn::tensor::{Device, Tensor, TensorData};

use super::config::{NeckKind, NetworkConfig};
use super::conv::{Conv, ConvNorm};
use super::ops::{Activation, Ops};

/// Three doublings, each perhaps with what the backbone saw at that stride added.
#[derive(Module, Debug)]
pub struct Neck {
    stages: Stages,
    /// Pointwise convolutions that bring the backbone's features of the strides 16, 8 and 4 to the stages' channels.
    skips: Vec<ConvNorm>,
}

/// The doublings, all of one kind.
#[derive(Module, Debug)]
pub enum Stages {
    Transposed(Vec<TransposedStage>),
    Resize(Vec<ResizeStage>),
}

impl Neck {
    /// From the backbone's channels at the strides 4, 8, 16 and 32 to those of the stages, one after the other.
    pub(super) fn new(
        config: &NetworkConfig,
        features: &[usize],
        stages: [usize; 3],
        device: &Device,
    ) -> Self {
        let input = features.last().copied().unwrap_or_default();
        let channels = [input, stages[0], stages[1], stages[2]];
        let pairs = channels.windows(2).map(|pair| [pair[0], pair[1]]);
        let skip = |(from, to): (&usize, usize)| Conv::new([*from, to], 1).norm(device);
        let skips = match config.skips {
            true => features.iter().rev().skip(1).zip(stages).map(skip).collect(),
            false => Vec::new(),
        };
        let stages = match config.neck {
            NeckKind::Transposed => {
                Stages::Transposed(pairs.map(|pair| TransposedStage::new(pair, device)).collect())
            }
            NeckKind::Resize => Stages::Resize(pairs.map(|pair| ResizeStage::new(pair, device)).collect()),
        };
        Self { stages, skips }
    }

    /// Takes features of the strides 4, 8, 16 and 32, the last `[N, C, H, W]`, to `[N, C', 8H, 8W]`.
    pub fn run<O: Ops>(&self, ops: &mut O, features: Vec<O::Value>) -> O::Value {
        let mut finer = features.into_iter().rev();
        let Some(mut x) = finer.next() else { unreachable!("a backbone gives features") };
        for at in 0..3 {
            x = match &self.stages {
                Stages::Transposed(stages) => stages[at].run(ops, x),
                Stages::Resize(stages) => stages[at].run(ops, x),
            };
            if let (Some(skip), Some(seen)) = (self.skips.get(at), finer.next()) {
                let seen = skip.run(ops, seen);
                x = ops.add(x, seen);
            }
        }
        x
    }
}

/// A 3x3 convolution, then a transposed one of stride 2.
#[derive(Module, Debug)]
pub struct TransposedStage {
    conv: ConvNorm,
    up: ConvTranspose2d,
    norm: BatchNorm,
}

impl TransposedStage {
    fn new([input, output]: [usize; 2], device: &Device) -> Self {
        Self {
            conv: Conv::new([input, output], 3).norm(device),
            up: bilinear_doubling(output, device),
            norm: BatchNormConfig::new(output).init(device),
        }
    }

    fn run<O: Ops>(&self, ops: &mut O, x: O::Value) -> O::Value {
        let x = self.conv.run(ops, x);
        let x = ops.activate(x, Activation::Relu);
        let x = ops.conv_transpose(x, &self.up, Some(&self.norm));
        ops.activate(x, Activation::Relu)
    }
}

/// A transposed convolution that begins as bilinear interpolation of each channel by itself.
fn bilinear_doubling(channels: usize, device: &Device) -> ConvTranspose2d {
    /// Shares of a cell in the four cells nearest to it at twice the size.
    const SHARES: [f32; 4] = [0.25, 0.75, 0.75, 0.25];
    let mut weight = vec![0.0; channels * channels * 16];
    for channel in 0..channels {
        let own = &mut weight[(channel * channels + channel) * 16..][..16];
        for (at, value) in own.iter_mut().enumerate() {
            *value = SHARES[at / 4] * SHARES[at % 4];
        }
    }
    let mut up = ConvTranspose2dConfig::new([channels; 2], [4, 4])
        .with_stride([2, 2])
        .with_padding([1, 1])
        .with_bias(false)
        .init(device);
    let weight = TensorData::new(weight, [channels, channels, 4, 4]);
    up.weight = Param::from_tensor(Tensor::from_data(weight, device));
    up
}

/// A pointwise convolution, which mixes channels while there are few cells, then each cell four times and a depthwise
/// 3x3 convolution that smooths them.
#[derive(Module, Debug)]
pub struct ResizeStage {
    pointwise: ConvNorm,
    depthwise: ConvNorm,
}

impl ResizeStage {
    fn new([input, output]: [usize; 2], device: &Device) -> Self {
        Self {
            pointwise: Conv::new([input, output], 1).norm(device),
            depthwise: Conv::depthwise(output, 3).norm(device),
        }
    }

    fn run<O: Ops>(&self, ops: &mut O, x: O::Value) -> O::Value {
        let x = self.pointwise.run(ops, x);
        let x = ops.activate(x, Activation::Relu);
        let x = ops.double(x);
        let x = self.depthwise.run(ops, x);
        ops.activate(x, Activation::Relu)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::Forward;

    #[test]
    fn transposed_convolution_begins_as_bilinear_interpolation() {
        let device = Device::flex();
        let up = bilinear_doubling(2, &device);
        // Two ramps, one along x and one along y.
        let ramps: Vec<f32> =
            (0..16).map(|at| (at % 4) as f32).chain((0..16).map(|at| 10.0 * (at / 4) as f32)).collect();
        let x = Tensor::<4>::from_data(TensorData::new(ramps, [1, 2, 4, 4]), &device);
        let y = Forward.conv_transpose(x, &up, None);
        assert_eq!(y.dims(), [1, 2, 8, 8]);
        let y = y.into_data().try_to_vec::<f32>().unwrap();
        // Away from the border, a cell's centre at twice the size is at (n + 0.5) / 2 - 0.5 of the old cells.
        for (row, column) in (1..7).flat_map(|row| (1..7).map(move |column| (row, column))) {
            let place = |n: usize| (n as f32 + 0.5) / 2.0 - 0.5;
            let [along_x, along_y] = [0, 64].map(|plane| y[plane + row * 8 + column]);
            assert!((along_x - place(column)).abs() < 1e-5, "{row} {column}: {along_x}");
            assert!((along_y - 10.0 * place(row)).abs() < 1e-4, "{row} {column}: {along_y}");
        }
    }
}
