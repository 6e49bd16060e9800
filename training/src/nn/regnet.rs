//! RegNetX and RegNetY: *Designing Network Design Spaces*, Radosavovic et al. 2020.
//!
//! The widths of all blocks lie on a line, `w0 + wa * block`, and are quantised to `w0 * wm^k`; blocks of one width are
//! a stage.

use burn::module::Module;
use burn::tensor::Device;

use super::backbone::{Excite, published_excite, published_pair, run_stages};
use super::config::round_to;
use super::conv::{Conv, ConvNorm};
use super::ops::{Activation, Ops};

/// A RegNet's parameters as the paper has them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parameters {
    depth: usize,
    w0: f64,
    wa: f64,
    wm: f64,
    group: usize,
    /// RegNetY.
    excite: bool,
}

pub(super) const X200: Parameters =
    Parameters { depth: 13, w0: 24.0, wa: 36.44, wm: 2.49, group: 8, excite: false };
pub(super) const X400: Parameters =
    Parameters { depth: 22, w0: 24.0, wa: 24.48, wm: 2.54, group: 16, excite: false };
pub(super) const X800: Parameters =
    Parameters { depth: 16, w0: 56.0, wa: 35.73, wm: 2.28, group: 16, excite: false };
pub(super) const Y200: Parameters = Parameters { excite: true, ..X200 };
pub(super) const Y400: Parameters =
    Parameters { depth: 16, w0: 48.0, wa: 27.89, wm: 2.09, group: 8, excite: true };
pub(super) const Y800: Parameters =
    Parameters { depth: 14, w0: 56.0, wa: 38.84, wm: 2.4, group: 16, excite: true };

const STEM: usize = 32;
/// Channels of a block's input to those inside its squeeze-and-excitation.
const SQUEEZE: f64 = 0.25;

impl Parameters {
    /// Width and depth of each stage at a width factor.
    fn stages(&self, width: f32) -> Vec<(usize, usize)> {
        let mut stages: Vec<(usize, usize)> = Vec::new();
        for block in 0..self.depth {
            let channels = self.block_channels(block);
            match stages.last_mut() {
                Some((last, depth)) if *last == channels => *depth += 1,
                _ => stages.push((channels, 1)),
            }
        }
        let scaled = |(channels, depth)| (round_to(channels as f32 * width, self.group), depth);
        stages.into_iter().map(scaled).collect()
    }

    /// As in the paper, a multiple of 8.
    fn block_channels(&self, block: usize) -> usize {
        let wanted = self.w0 + self.wa * block as f64;
        let power = ((wanted / self.w0).ln() / self.wm.ln()).round();
        (self.w0 * self.wm.powf(power) / 8.0).round() as usize * 8
    }
}

/// A RegNet up to its last feature map; a stage each for the strides 4, 8, 16 and 32.
#[derive(Module, Debug)]
pub struct RegNet {
    stem: ConvNorm,
    stages: Vec<Vec<Block>>,
    channels: Vec<usize>,
}

/// A grouped 3x3 convolution between two of 1x1, with a shortcut around them.
#[derive(Module, Debug)]
pub struct Block {
    a: ConvNorm,
    b: ConvNorm,
    excite: Option<Excite>,
    c: ConvNorm,
    shortcut: Option<ConvNorm>,
}

impl RegNet {
    pub(super) fn new(parameters: &Parameters, width: f32, device: &Device) -> Self {
        let mut channels = round_to(STEM as f32 * width, 8);
        let stem = Conv::new([3, channels], 3).stride(2).norm(device);
        let (mut stages, mut outputs) = (Vec::new(), Vec::new());
        for (output, depth) in parameters.stages(width) {
            let mut blocks = Vec::new();
            for nth in 0..depth {
                let stride = if nth == 0 { 2 } else { 1 };
                blocks.push(Block::new(parameters, [channels, output], stride, device));
                channels = output;
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
        run_stages(&self.stages, x, |block, x| block.run(ops, x))
    }

    pub(super) fn published_layer(path: &[&str]) -> Option<[String; 2]> {
        let ["stages", stage, block, layer @ ..] = path else {
            return (path == ["stem"]).then(|| published_pair("stem")).flatten();
        };
        let stage = stage.parse::<usize>().ok()? + 1;
        let block = format!("trunk_output.block{stage}.block{stage}-{block}");
        match layer {
            [name @ ("a" | "b" | "c")] => published_pair(&format!("{block}.f.{name}")),
            ["shortcut"] => published_pair(&format!("{block}.proj")),
            ["excite", layer] => published_excite(&format!("{block}.f.se"), layer),
            _ => None,
        }
    }
}

impl Block {
    fn new(parameters: &Parameters, [input, output]: [usize; 2], stride: usize, device: &Device) -> Self {
        let inner = (input as f64 * SQUEEZE).round() as usize;
        let changes = stride != 1 || input != output;
        Self {
            a: Conv::new([input, output], 1).norm(device),
            b: Conv::new([output, output], 3).stride(stride).groups(output / parameters.group).norm(device),
            excite: parameters.excite.then(|| Excite::new(output, inner, device)),
            c: Conv::new([output, output], 1).silent_norm(device),
            shortcut: changes.then(|| Conv::new([input, output], 1).stride(stride).norm(device)),
        }
    }

    fn run<O: Ops>(&self, ops: &mut O, x: O::Value) -> O::Value {
        let y = self.a.run(ops, x.clone());
        let y = ops.activate(y, Activation::Relu);
        let y = self.b.run(ops, y);
        let mut y = ops.activate(y, Activation::Relu);
        if let Some(excite) = &self.excite {
            y = excite.run(ops, y, Activation::Sigmoid);
        }
        let y = self.c.run(ops, y);
        let around = match &self.shortcut {
            Some(shortcut) => shortcut.run(ops, x),
            None => x,
        };
        let sum = ops.add(y, around);
        ops.activate(sum, Activation::Relu)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_those_of_the_published_networks() {
        assert_eq!(X200.stages(1.0), [(24, 1), (56, 1), (152, 4), (368, 7)]);
        assert_eq!(X400.stages(1.0), [(32, 1), (64, 2), (160, 7), (400, 12)]);
        assert_eq!(X800.stages(1.0), [(64, 1), (128, 3), (288, 7), (672, 5)]);
        assert_eq!(Y200.stages(1.0), [(24, 1), (56, 1), (152, 4), (368, 7)]);
        assert_eq!(Y400.stages(1.0), [(48, 1), (104, 3), (208, 6), (440, 6)]);
        assert_eq!(Y800.stages(1.0), [(64, 1), (144, 3), (320, 8), (784, 2)]);
    }

    #[test]
    fn thin_networks_keep_their_four_stages_and_whole_groups() {
        for parameters in [X200, X400, X800, Y200, Y400, Y800] {
            for width in [0.0625, 0.25, 0.5, 2.0] {
                let stages = parameters.stages(width);
                assert_eq!(stages.len(), 4, "{parameters:?} at {width}: {stages:?}");
                assert!(stages.iter().all(|(channels, _)| channels.is_multiple_of(parameters.group)));
            }
        }
    }
}
