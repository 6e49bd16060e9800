use burn::module::{Module as _, ModuleVisitor, Param};
use burn::tensor::{Device, Distribution, Tensor};

use super::*;

fn config(backbone: BackboneKind, width: f32, neck: NeckKind) -> NetworkConfig {
    NetworkConfig { backbone, width, neck, skips: true, head_channels: 8 }
}

#[test]
fn every_network_gives_heads_of_its_stride() {
    let device = Device::flex();
    let x = Tensor::<4>::random([2, 3, 64, 32], Distribution::Default, &device);
    for backbone in BackboneKind::ALL {
        for neck in [NeckKind::Transposed, NeckKind::Resize] {
            let network = CenterNet::new(&config(backbone, 0.125, neck), 5, &device).unwrap();
            assert_eq!(network.classes(), 5);
            let heads = network.forward(x.clone());
            assert_eq!(heads.cls.dims(), [2, 5, 16, 8], "{backbone:?} {neck:?}");
            assert_eq!([heads.wh.dims(), heads.reg.dims()], [[2, 2, 16, 8]; 2]);
        }
    }
}

/// Published counts, less the classifier; those of MobileNetV3 less the pointwise convolution before it as well.
#[test]
fn backbones_have_as_many_parameters_as_published() {
    let classifier = |inputs: usize| inputs * 1000 + 1000;
    let published = [
        (BackboneKind::Resnet18, 11_689_512 - classifier(512)),
        (BackboneKind::Resnet34, 21_797_672 - classifier(512)),
        (BackboneKind::Resnet50, 25_557_032 - classifier(2048)),
        (BackboneKind::RegnetX400, 5_495_976 - classifier(400)),
        (BackboneKind::RegnetX800, 7_259_656 - classifier(672)),
        (BackboneKind::RegnetY400, 4_344_144 - classifier(440)),
        (BackboneKind::RegnetY800, 6_432_512 - classifier(784)),
        (BackboneKind::MobilenetSmall, 2_542_856 - 97 * 576 - 576 - 577 * 1024 - classifier(1024)),
        (BackboneKind::MobilenetLarge, 5_483_032 - 161 * 960 - 960 - 961 * 1280 - classifier(1280)),
    ];
    let device = Device::flex();
    let parameters = |backbone| {
        let network = CenterNet::new(&config(backbone, 1.0, NeckKind::Resize), 1, &device).unwrap();
        network.backbone_parameters()
    };
    for (backbone, expected) in published {
        assert_eq!(parameters(backbone), expected, "{backbone:?}");
    }
    // The paper's table has these in millions, the classifier included.
    for (backbone, millions) in [(BackboneKind::RegnetX200, 2.7), (BackboneKind::RegnetY200, 3.2)] {
        let all = (parameters(backbone) + classifier(368)) as f64 / 1e6;
        assert!((all / millions - 1.0).abs() < 0.05, "{backbone:?}: {all}");
    }
}

#[test]
fn a_network_begins_with_few_objects() {
    let device = Device::flex();
    let config = config(BackboneKind::Resnet18, 0.125, NeckKind::Transposed);
    let network = CenterNet::new(&config, 3, &device).unwrap();
    let cls = network.forward(pixels(&[90; 32 * 32 * 3], 1, 32, 32, &device)).cls;
    let logits = cls.into_data().try_to_vec::<f32>().unwrap();
    assert!(logits.iter().all(|logit| (logit + 2.19).abs() < 0.5), "{logits:?}");
}

/// Every learned number gets a gradient: no layer is left out of the forward pass.
#[test]
fn all_layers_learn() {
    struct Gradients<'a>(&'a burn::tensor::Gradients, Vec<String>, usize);
    impl ModuleVisitor for Gradients<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let value = param.val();
            if value.is_require_grad() {
                self.2 += 1;
                if value.grad(self.0).is_none() {
                    self.1.push(format!("{:?}", value.dims()));
                }
            }
        }
    }
    let device = Device::flex().autodiff();
    for backbone in [BackboneKind::Resnet50, BackboneKind::RegnetY200, BackboneKind::MobilenetSmall] {
        for neck in [NeckKind::Transposed, NeckKind::Resize] {
            let network = CenterNet::new(&config(backbone, 0.125, neck), 2, &device).unwrap();
            let x = Tensor::<4>::random([2, 3, 32, 32], Distribution::Default, &device);
            let heads = network.forward(x);
            let sum = heads.cls.sum() + heads.wh.sum() + heads.reg.sum();
            let gradients = sum.backward();
            let mut without = Gradients(&gradients, Vec::new(), 0);
            network.visit(&mut without);
            assert!(without.2 > 20 && without.1.is_empty(), "{backbone:?} {neck:?}: {:?}", without.1);
        }
    }
}

#[test]
fn clones_share_statistics_and_the_form_for_inference_has_its_own() {
    let device = Device::flex().autodiff();
    let config = config(BackboneKind::Resnet18, 0.125, NeckKind::Resize);
    let network = CenterNet::new(&config, 1, &device).unwrap();
    let (shared, own) = (network.clone(), network.valid());
    let x = Tensor::<4>::random([2, 3, 32, 32], Distribution::Default, &device);
    let heads = |network: &CenterNet| network.valid().forward(x.clone().inner()).cls.into_data();
    let before = own.forward(x.clone().inner()).cls.into_data();
    network.forward(x.clone());
    assert_ne!(heads(&network), before);
    assert_eq!(heads(&shared), heads(&network));
    assert_eq!(own.forward(x.clone().inner()).cls.into_data(), before);
}

#[test]
fn pixels_are_normalised_by_channel() {
    let device = Device::flex();
    // Two pictures of 2x1: red and black, then white and black.
    let rgb = [255, 0, 0, 0, 0, 0, 255, 255, 255, 0, 0, 0];
    let x = pixels(&rgb, 2, 1, 2, &device);
    assert_eq!(x.dims(), [2, 3, 1, 2]);
    let values = x.into_data().try_to_vec::<f32>().unwrap();
    let of = |pixel: f32, channel: usize| (pixel - MEAN[channel]) / STD[channel];
    let expected = [
        of(255.0, 0),
        of(0.0, 0),
        of(0.0, 1),
        of(0.0, 1),
        of(0.0, 2),
        of(0.0, 2),
        of(255.0, 0),
        of(0.0, 0),
        of(255.0, 1),
        of(0.0, 1),
        of(255.0, 2),
        of(0.0, 2),
    ];
    assert!(values.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5), "{values:?}");
}
