//! ResNet: *Deep Residual Learning for Image Recognition*, He et al. 2015; in the bottleneck the stride is in the 3x3
//! convolution, as in most published weights.

use burn::module::Module;
use burn::tensor::Device;

use super::backbone::{published_pair, run_stages};
use super::config::scaled;
use super::conv::{Conv, ConvNorm};
use super::ops::{Activation, Ops};

/// A ResNet up to its last feature map; a stage each for the strides 4, 8, 16 and 32.
#[derive(Module, Debug)]
pub struct ResNet {
    stem: ConvNorm,
    stages: Vec<Vec<Block>>,
    channels: Vec<usize>,
}

/// Convolutions with a shortcut around them.
#[derive(Module, Debug)]
pub struct Block {
    convs: Vec<ConvNorm>,
    shortcut: Option<ConvNorm>,
}

const STEM: usize = 64;
const STAGES: [usize; 4] = [64, 128, 256, 512];
/// How many times more channels a bottleneck gives than it computes with.
const EXPANSION: usize = 4;

impl ResNet {
    /// Of blocks of two 3x3 convolutions: ResNet-18 and 34.
    pub(super) fn basic(depths: [usize; 4], width: f32, device: &Device) -> Self {
        Self::new(depths, width, device, |input, inner, stride| {
            let first = Conv::new([input, inner], 3).stride(stride);
            Block::new(&[first, Conv::new([inner, inner], 3)], [input, inner], stride, device)
        })
    }

    /// Of blocks of a 3x3 convolution between two of 1x1: ResNet-50.
    pub(super) fn bottleneck(depths: [usize; 4], width: f32, device: &Device) -> Self {
        Self::new(depths, width, device, |input, inner, stride| {
            let output = inner * EXPANSION;
            let middle = Conv::new([inner, inner], 3).stride(stride);
            let convs = [Conv::new([input, inner], 1), middle, Conv::new([inner, output], 1)];
            Block::new(&convs, [input, output], stride, device)
        })
    }

    /// `block` makes one of the input's and the inner channels and the stride.
    fn new(
        depths: [usize; 4],
        width: f32,
        device: &Device,
        block: impl Fn(usize, usize, usize) -> Block,
    ) -> Self {
        let stem = Conv::new([3, scaled(STEM, width)], 7).stride(2).norm(device);
        let mut channels = scaled(STEM, width);
        let (mut stages, mut outputs) = (Vec::new(), Vec::new());
        for (at, (inner, depth)) in STAGES.into_iter().zip(depths).enumerate() {
            let mut blocks: Vec<Block> = Vec::new();
            for nth in 0..depth {
                let stride = if at > 0 && nth == 0 { 2 } else { 1 };
                let made = block(channels, scaled(inner, width), stride);
                channels = made.channels();
                blocks.push(made);
            }
            stages.push(blocks);
            outputs.push(channels);
        }
        Self { stem, stages, channels: outputs }
    }

    pub(super) fn channels(&self) -> &[usize] {
        &self.channels
    }

    pub(super) fn run<O: Ops>(&self, ops: &mut O, x: O::Value) -> Vec<O::Value> {
        let x = self.stem.run(ops, x);
        let x = ops.activate(x, Activation::Relu);
        let x = ops.max_pool(x);
        run_stages(&self.stages, x, |block, x| block.run(ops, x))
    }

    pub(super) fn published_layer(path: &[&str]) -> Option<[String; 2]> {
        let number = |text: &str| text.parse::<usize>().ok();
        match path {
            ["stem"] => Some(["conv1".to_owned(), "bn1".to_owned()]),
            ["stages", stage, block, "convs", nth] => {
                let (layer, nth) = (number(stage)? + 1, number(nth)? + 1);
                Some(["conv", "bn"].map(|kind| format!("layer{layer}.{block}.{kind}{nth}")))
            }
            ["stages", stage, block, "shortcut"] => {
                published_pair(&format!("layer{}.{block}.downsample", number(stage)? + 1))
            }
            _ => None,
        }
    }
}

impl Block {
    fn new(convs: &[Conv], channels: [usize; 2], stride: usize, device: &Device) -> Self {
        let changes = stride != 1 || channels[0] != channels[1];
        let shortcut = changes.then(|| Conv::new(channels, 1).stride(stride).norm(device));
        let made = |(nth, conv): (usize, &Conv)| match nth + 1 == convs.len() {
            true => conv.silent_norm(device),
            false => conv.norm(device),
        };
        Self { convs: convs.iter().enumerate().map(made).collect(), shortcut }
    }

    fn channels(&self) -> usize {
        self.convs.last().map_or(0, |last| last.conv.weight.dims()[0])
    }

    fn run<O: Ops>(&self, ops: &mut O, x: O::Value) -> O::Value {
        let mut y = x.clone();
        for (nth, conv) in self.convs.iter().enumerate() {
            y = conv.run(ops, y);
            if nth + 1 < self.convs.len() {
                y = ops.activate(y, Activation::Relu);
            }
        }
        let around = match &self.shortcut {
            Some(shortcut) => shortcut.run(ops, x),
            None => x,
        };
        let sum = ops.add(y, around);
        ops.activate(sum, Activation::Relu)
    }
}
