//! Backbone, neck and heads together.

use burn::module::{Module, ModuleVisitor, Param};
use burn::nn::Initializer;
use burn::nn::conv::Conv2d;
use burn::tensor::{Device, Tensor};

use super::backbone::Backbone;
use super::config::{NetworkConfig, NetworkError, scaled};
use super::conv::Conv;
use super::forward::Forward;
use super::neck::Neck;
use super::ops::{Activation, Ops};
use crate::maps::Heads;

/// A CenterNet: *Objects as Points*, Zhou et al. 2019.
///
/// A clone shares the running statistics of BatchNorm with its original, as burn's modules do: training one moves both.
/// `valid()` makes copies of its own.
#[derive(Module, Debug)]
pub struct CenterNet {
    pub(super) backbone: Backbone,
    neck: Neck,
    cls: Head,
    wh: Head,
    reg: Head,
}

/// A 3x3 convolution and a pointwise one.
#[derive(Module, Debug)]
pub struct Head {
    hidden: Conv2d,
    last: Conv2d,
}

/// Logit of a score of 0.1, with which all cells begin: with so few centres in a picture, any greater one would drown
/// them (Lin et al. 2017, *Focal Loss for Dense Object Detection*, section 3.3).
const PRIOR: f64 = -2.19;

/// What a size of 1 is inside the network, in cells. Optimisers with a rate of their own for each weight, such as Adam,
/// move what a layer says by about as much a step whatever its scale is; in cells, sizes of dozens would take thousands.
const SIZE_UNIT: f32 = 16.0;

impl CenterNet {
    /// Both sides of the input must be multiples of this.
    pub const MULTIPLE: usize = 32;

    /// A network with random weights, drawn from the device's generator (`device.seed`).
    ///
    /// # Errors
    /// A description with numbers out of their range.
    pub fn new(config: &NetworkConfig, classes: usize, device: &Device) -> Result<Self, NetworkError> {
        config.check(classes)?;
        let backbone = Backbone::new(config.backbone, config.width, device);
        let stages = config.backbone.neck_channels().map(|channels| scaled(channels, config.width));
        let neck = Neck::new(config, backbone.channels(), stages, device);
        let head = |channels, bias| Head::new([stages[2], config.head_channels, channels], bias, device);
        let network = Self { backbone, neck, cls: head(classes, PRIOR), wh: head(2, 0.0), reg: head(2, 0.0) };
        // burn draws weights when they are first read; what is drawn must not hang on what is read first.
        network.visit(&mut Draw);
        Ok(network)
    }

    /// Runs the network: `x` is pictures `[N, 3, H, W]`, normalised by [`MEAN`](super::MEAN) and [`STD`](super::STD);
    /// the heads are `[N, C or 2, H/4, W/4]`.
    pub fn run<O: Ops>(&self, ops: &mut O, x: O::Value) -> Heads<O::Value> {
        let features = self.backbone.run(ops, x);
        let x = self.neck.run(ops, features);
        let cls = self.cls.run(ops, x.clone());
        let wh = self.wh.run(ops, x.clone());
        let wh = ops.times(wh, SIZE_UNIT);
        let reg = self.reg.run(ops, x);
        Heads { cls, wh, reg }
    }

    /// The network over tensors. Whether BatchNorm takes the batch's statistics is up to the device, which has autodiff
    /// or not: `valid()` gives the network for inference.
    pub fn forward(&self, x: Tensor<4>) -> Heads<Tensor<4>> {
        self.run(&mut Forward, x)
    }

    /// The number of classes.
    pub fn classes(&self) -> usize {
        self.cls.last.weight.dims()[0]
    }

    /// The device that the weights are on.
    pub fn device(&self) -> Device {
        self.cls.last.weight.val().device()
    }
}

struct Draw;

impl ModuleVisitor for Draw {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        param.val();
    }
}

impl Head {
    fn new([input, inner, output]: [usize; 3], bias: f64, device: &Device) -> Self {
        let mut last = Conv::new([inner, output], 1).bias(device);
        let small = Initializer::Normal { mean: 0.0, std: 1e-3 };
        last.weight = small.init([output, inner, 1, 1], device);
        last.bias = Some(Param::from_tensor(Tensor::full([output], bias, device)));
        Self { hidden: Conv::new([input, inner], 3).bias(device), last }
    }

    fn run<O: Ops>(&self, ops: &mut O, x: O::Value) -> O::Value {
        let x = ops.conv(x, &self.hidden, None);
        let x = ops.activate(x, Activation::Relu);
        ops.conv(x, &self.last, None)
    }
}
