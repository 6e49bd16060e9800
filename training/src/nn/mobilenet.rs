//! MobileNetV3: *Searching for MobileNetV3*, Howard et al. 2019, tables 1 and 2, up to the last bottleneck: the pointwise
//! convolution after it serves the classifier, and would make a neck behind it six times as heavy.

use burn::module::Module;
use burn::tensor::Device;

use super::backbone::{Excite, published_excite, published_pair};
use super::config::{round_to, scaled};
use super::conv::{Conv, ConvNorm};
use super::ops::{Activation, Ops};

/// A line of the paper's tables.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    kernel: usize,
    expanded: usize,
    output: usize,
    excite: bool,
    swish: bool,
    stride: usize,
}

const fn row([kernel, expanded, output]: [usize; 3], [excite, swish]: [bool; 2], stride: usize) -> Row {
    Row { kernel, expanded, output, excite, swish, stride }
}

/// Neither squeeze-and-excitation nor hard-swish.
const PLAIN: [bool; 2] = [false, false];
const EXCITE: [bool; 2] = [true, false];
const SWISH: [bool; 2] = [false, true];
const BOTH: [bool; 2] = [true, true];

pub(super) const SMALL: [Row; 11] = [
    row([3, 16, 16], EXCITE, 2),
    row([3, 72, 24], PLAIN, 2),
    row([3, 88, 24], PLAIN, 1),
    row([5, 96, 40], BOTH, 2),
    row([5, 240, 40], BOTH, 1),
    row([5, 240, 40], BOTH, 1),
    row([5, 120, 48], BOTH, 1),
    row([5, 144, 48], BOTH, 1),
    row([5, 288, 96], BOTH, 2),
    row([5, 576, 96], BOTH, 1),
    row([5, 576, 96], BOTH, 1),
];

pub(super) const LARGE: [Row; 15] = [
    row([3, 16, 16], PLAIN, 1),
    row([3, 64, 24], PLAIN, 2),
    row([3, 72, 24], PLAIN, 1),
    row([5, 72, 40], EXCITE, 2),
    row([5, 120, 40], EXCITE, 1),
    row([5, 120, 40], EXCITE, 1),
    row([3, 240, 80], SWISH, 2),
    row([3, 200, 80], SWISH, 1),
    row([3, 184, 80], SWISH, 1),
    row([3, 184, 80], SWISH, 1),
    row([3, 480, 112], BOTH, 1),
    row([3, 672, 112], BOTH, 1),
    row([5, 672, 160], BOTH, 2),
    row([5, 960, 160], BOTH, 1),
    row([5, 960, 160], BOTH, 1),
];

const STEM: usize = 16;
/// That of the published networks.
const EPSILON: f64 = 1e-3;

/// A MobileNetV3 up to its last bottleneck.
#[derive(Module, Debug)]
pub struct MobileNet {
    stem: ConvNorm,
    blocks: Vec<Block>,
    /// The last block of each stride from 4 on.
    ends: Vec<usize>,
    channels: Vec<usize>,
}

/// An inverted bottleneck: wide inside, where each channel has its own filter.
#[derive(Module, Debug)]
pub struct Block {
    expand: Option<ConvNorm>,
    depthwise: ConvNorm,
    excite: Option<Excite>,
    project: ConvNorm,
    swish: bool,
    shortcut: bool,
}

impl MobileNet {
    pub(super) fn new(rows: &[Row], width: f32, device: &Device) -> Self {
        let mut channels = scaled(STEM, width);
        let stem = Conv::new([3, channels], 3).stride(2).epsilon(EPSILON).norm(device);
        let mut blocks = Vec::new();
        let (mut stride, mut ends, mut outputs) = (2, Vec::new(), Vec::new());
        for (at, row) in rows.iter().enumerate() {
            blocks.push(Block::new(row, channels, width, device));
            channels = scaled(row.output, width);
            stride *= row.stride;
            let is_last = rows.get(at + 1).is_none_or(|next| next.stride > 1);
            if is_last && stride >= 4 {
                ends.push(at);
                outputs.push(channels);
            }
        }
        Self { stem, blocks, ends, channels: outputs }
    }

    pub(super) fn channels(&self) -> &[usize] {
        &self.channels
    }

    pub(super) fn run<O: Ops>(&self, ops: &mut O, x: O::Value) -> Vec<O::Value> {
        let x = self.stem.run(ops, x);
        let mut x = ops.activate(x, Activation::HardSwish);
        let mut features = Vec::new();
        for (at, block) in self.blocks.iter().enumerate() {
            x = block.run(ops, x);
            if self.ends.contains(&at) {
                features.push(x.clone());
            }
        }
        features
    }

    pub(super) fn published_layer(&self, path: &[&str]) -> Option<[String; 2]> {
        let ["blocks", at, layer @ ..] = path else {
            return (path == ["stem"]).then(|| published_pair("features.0")).flatten();
        };
        let at = at.parse::<usize>().ok()?;
        let block = self.blocks.get(at)?;
        // Layers that a block does not have are not counted.
        let depthwise = usize::from(block.expand.is_some());
        let excite = depthwise + 1;
        let project = excite + usize::from(block.excite.is_some());
        let name = |nth: usize| format!("features.{}.block.{nth}", at + 1);
        match layer {
            ["expand"] => published_pair(&name(0)),
            ["depthwise"] => published_pair(&name(depthwise)),
            ["excite", layer] => published_excite(&name(excite), layer),
            ["project"] => published_pair(&name(project)),
            _ => None,
        }
    }
}

impl Block {
    fn new(row: &Row, input: usize, width: f32, device: &Device) -> Self {
        let (inner, output) = (scaled(row.expanded, width), scaled(row.output, width));
        let norm = |conv: Conv| conv.epsilon(EPSILON).norm(device);
        let squeezed = round_to(inner as f32 / 4.0, 8);
        Self {
            expand: (inner != input).then(|| norm(Conv::new([input, inner], 1))),
            depthwise: norm(Conv::depthwise(inner, row.kernel).stride(row.stride)),
            excite: row.excite.then(|| Excite::new(inner, squeezed, device)),
            project: norm(Conv::new([inner, output], 1)),
            swish: row.swish,
            shortcut: row.stride == 1 && input == output,
        }
    }

    fn run<O: Ops>(&self, ops: &mut O, x: O::Value) -> O::Value {
        let activation = if self.swish { Activation::HardSwish } else { Activation::Relu };
        let mut y = x.clone();
        if let Some(expand) = &self.expand {
            y = expand.run(ops, y);
            y = ops.activate(y, activation);
        }
        y = self.depthwise.run(ops, y);
        y = ops.activate(y, activation);
        if let Some(excite) = &self.excite {
            y = excite.run(ops, y, Activation::HardSigmoid);
        }
        y = self.project.run(ops, y);
        if self.shortcut { ops.add(y, x) } else { y }
    }
}
