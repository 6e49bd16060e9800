//! What looks at the picture: down to a stride of 32.

use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::tensor::Device;

use super::config::BackboneKind;
use super::conv::Conv;
use super::mobilenet::{self, MobileNet};
use super::ops::{Activation, Ops};
use super::regnet::{self, RegNet};
use super::resnet::ResNet;

/// One of the backbones.
#[derive(Module, Debug)]
#[expect(missing_docs)]
pub enum Backbone {
    ResNet(ResNet),
    RegNet(RegNet),
    MobileNet(MobileNet),
}

impl Backbone {
    pub(super) fn new(kind: BackboneKind, width: f32, device: &Device) -> Self {
        match kind {
            BackboneKind::Resnet18 => Self::ResNet(ResNet::basic([2, 2, 2, 2], width, device)),
            BackboneKind::Resnet34 => Self::ResNet(ResNet::basic([3, 4, 6, 3], width, device)),
            BackboneKind::Resnet50 => Self::ResNet(ResNet::bottleneck([3, 4, 6, 3], width, device)),
            BackboneKind::RegnetX200 => Self::RegNet(RegNet::new(&regnet::X200, width, device)),
            BackboneKind::RegnetX400 => Self::RegNet(RegNet::new(&regnet::X400, width, device)),
            BackboneKind::RegnetX800 => Self::RegNet(RegNet::new(&regnet::X800, width, device)),
            BackboneKind::RegnetY200 => Self::RegNet(RegNet::new(&regnet::Y200, width, device)),
            BackboneKind::RegnetY400 => Self::RegNet(RegNet::new(&regnet::Y400, width, device)),
            BackboneKind::RegnetY800 => Self::RegNet(RegNet::new(&regnet::Y800, width, device)),
            BackboneKind::MobilenetSmall => Self::MobileNet(MobileNet::new(&mobilenet::SMALL, width, device)),
            BackboneKind::MobilenetLarge => Self::MobileNet(MobileNet::new(&mobilenet::LARGE, width, device)),
        }
    }

    /// Takes pictures `[N, 3, H, W]` to features `[N, C, H/s, W/s]` for the strides s of 4, 8, 16 and 32.
    pub fn run<O: Ops>(&self, ops: &mut O, x: O::Value) -> Vec<O::Value> {
        match self {
            Self::ResNet(net) => net.run(ops, x),
            Self::RegNet(net) => net.run(ops, x),
            Self::MobileNet(net) => net.run(ops, x),
        }
    }

    /// The numbers C of channels of these.
    pub fn channels(&self) -> &[usize] {
        match self {
            Self::ResNet(net) => net.channels(),
            Self::RegNet(net) => net.channels(),
            Self::MobileNet(net) => net.channels(),
        }
    }

    /// What torchvision calls the layer at this path of the backbone: a convolution, and the BatchNorm after it.
    pub(super) fn published_layer(&self, path: &[&str]) -> Option<[String; 2]> {
        match self {
            Self::ResNet(_) => ResNet::published_layer(path),
            Self::RegNet(_) => RegNet::published_layer(path),
            Self::MobileNet(net) => net.published_layer(path),
        }
    }
}

/// Squeeze-and-excitation (Hu et al. 2018): each channel times a factor that all channels' means decide.
#[derive(Module, Debug)]
pub struct Excite {
    squeeze: Conv2d,
    excite: Conv2d,
}

impl Excite {
    pub(super) fn new(channels: usize, inner: usize, device: &Device) -> Self {
        Self {
            squeeze: Conv::new([channels, inner], 1).bias(device),
            excite: Conv::new([inner, channels], 1).bias(device),
        }
    }

    /// `gate` takes the factors to 0..1.
    pub(super) fn run<O: Ops>(&self, ops: &mut O, x: O::Value, gate: Activation) -> O::Value {
        let mean = ops.mean(x.clone());
        let inner = ops.conv(mean, &self.squeeze, None);
        let inner = ops.activate(inner, Activation::Relu);
        let factors = ops.conv(inner, &self.excite, None);
        let factors = ops.activate(factors, gate);
        ops.scale(x, factors)
    }
}

/// torchvision's name for a layer inside an [`Excite`] that it calls `name`.
pub(super) fn published_excite(name: &str, layer: &str) -> Option<[String; 2]> {
    let layer = match layer {
        "squeeze" => "fc1",
        "excite" => "fc2",
        _ => return None,
    };
    Some([format!("{name}.{layer}"), String::new()])
}

/// Runs stages of blocks one after the other; what each gives.
pub(super) fn run_stages<B, V: Clone>(
    stages: &[Vec<B>],
    mut x: V,
    mut run: impl FnMut(&B, V) -> V,
) -> Vec<V> {
    let stage = |blocks: &Vec<B>| {
        x = blocks.iter().fold(x.clone(), |x, block| run(block, x));
        x.clone()
    };
    stages.iter().map(stage).collect()
}

/// torchvision's names for a convolution and its BatchNorm in a sequence that it calls `name`.
pub(super) fn published_pair(name: &str) -> Option<[String; 2]> {
    Some([format!("{name}.0"), format!("{name}.1")])
}
