//! Exported networks, run by OpenCV: its heads are those of the forward pass.

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use burn::module::{Module, ModuleMapper, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig, ConvTranspose2d, ConvTranspose2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, PaddingConfig2d};
use burn::tensor::{Device, Tensor, TensorData};
use centerx_train::export::caffe::{About, CaffeError, CaffeOps, export};
use centerx_train::maps::Heads;
use centerx_train::nn::ops::{Activation, Ops};
use centerx_train::nn::{BackboneKind, CenterNet, Forward, NeckKind, NetworkConfig};
use fastrand::Rng;
use serde::{Deserialize, Serialize};

/// Of what the values of a head range over.
const TOLERANCE: f32 = 1e-4;

#[derive(Serialize, Deserialize)]
struct Values {
    shape: Vec<usize>,
    data: Vec<f32>,
}

/// A network with every operation there is, none of which gets what would hide a mistake: sizes are odd and even,
/// kernels of one channel and of groups, paddings and strides differ in height and width.
#[derive(Module, Debug)]
struct Everything {
    stem: Conv2d,
    stem_norm: BatchNorm,
    grouped: Conv2d,
    grouped_norm: BatchNorm,
    squeeze: Conv2d,
    excite: Conv2d,
    dilated: Conv2d,
    up: ConvTranspose2d,
    up_norm: BatchNorm,
    uneven: ConvTranspose2d,
    cls: Conv2d,
    wh: Conv2d,
    reg: Conv2d,
}

impl Everything {
    fn new(device: &Device) -> Self {
        let conv = |channels, kernel: usize| {
            let side = kernel / 2;
            Conv2dConfig::new(channels, [kernel; 2])
                .with_padding(PaddingConfig2d::Explicit(side, side, side, side))
        };
        let uneven = PaddingConfig2d::Explicit(2, 1, 2, 1);
        let transposed = ConvTranspose2dConfig::new([8, 12], [4, 4]).with_stride([2, 2]).with_padding([1, 1]);
        Self {
            stem: conv([3, 8], 7).with_stride([2, 2]).with_bias(false).init(device),
            stem_norm: BatchNormConfig::new(8).init(device),
            grouped: conv([8, 8], 3).with_groups(4).init(device),
            grouped_norm: BatchNormConfig::new(8).init(device),
            squeeze: conv([8, 4], 1).init(device),
            excite: conv([4, 8], 1).init(device),
            dilated: conv([8, 8], 3).with_dilation([2, 1]).with_padding(uneven).init(device),
            up: transposed.with_groups(2).with_bias(false).init(device),
            up_norm: BatchNormConfig::new(12).init(device),
            uneven: ConvTranspose2dConfig::new([12, 6], [3, 2]).with_padding([1, 0]).init(device),
            cls: conv([6, 2], 1).init(device),
            wh: conv([6, 2], 3).init(device),
            reg: conv([6, 2], 1).init(device),
        }
    }

    fn run<O: Ops>(&self, ops: &mut O, x: O::Value) -> Heads<O::Value> {
        let x = ops.conv(x, &self.stem, Some(&self.stem_norm));
        let x = ops.activate(x, Activation::HardSwish);
        // Values below 0 here, which padding with 0 would hide.
        let x = ops.max_pool(x);
        let y = ops.conv(x.clone(), &self.grouped, Some(&self.grouped_norm));
        let y = ops.activate(y, Activation::Relu);
        let [hard, soft] = [Activation::HardSigmoid, Activation::Sigmoid].map(|activation| {
            let factors = ops.mean(y.clone());
            let factors = ops.conv(factors, &self.squeeze, None);
            let factors = ops.activate(factors, Activation::Relu);
            let factors = ops.conv(factors, &self.excite, None);
            ops.activate(factors, activation)
        });
        let y = ops.scale(y, hard);
        let y = ops.scale(y, soft);
        let x = ops.add(x, y);
        let x = ops.conv(x, &self.dilated, None);
        let x = ops.conv_transpose(x, &self.up, Some(&self.up_norm));
        let x = ops.double(x);
        let x = ops.conv_transpose(x, &self.uneven, None);
        let cls = ops.conv(x.clone(), &self.cls, None);
        let wh = ops.conv(x.clone(), &self.wh, None);
        Heads { cls, wh, reg: ops.conv(x, &self.reg, None) }
    }
}

fn python() -> PathBuf {
    let given = std::env::var_os("CENTERX_TEST_PYTHON").map(PathBuf::from);
    let python =
        given.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../.cache/venv/bin/python"));
    assert!(python.exists(), "{} is missing: run bash scripts/test.sh, which makes it", python.display());
    python
}

fn random<const D: usize>(shape: [usize; D], rng: &mut Rng) -> Tensor<D> {
    let data: Vec<f32> = (0..shape.iter().product()).map(|_| 3.4 * (rng.f32() - 0.5)).collect();
    Tensor::from_data(TensorData::new(data, shape), &Device::flex())
}

/// Gives a network the numbers of one that has learnt, statistics included: kernels keep the size of what they are
/// given, and all the rest, which begins as 0 or 1, is something else.
struct Learn(Rng);

impl ModuleMapper for Learn {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|tensor| {
            let dims = tensor.dims();
            let random = random(dims, &mut self.0);
            match dims[1..].iter().product::<usize>() as f32 {
                _ if D == 1 => tensor + random * 0.3,
                inputs => random * (2.0 / inputs).sqrt(),
            }
        })
    }
}

fn values(tensor: Tensor<4>) -> Values {
    let shape = tensor.dims().to_vec();
    Values { shape, data: tensor.into_data().convert::<f32>().try_to_vec().unwrap() }
}

fn about(input: (u32, u32), classes: &[String]) -> About<'_> {
    About { name: "a test", input, classes, mean: [123.675, 116.28, 103.53], std: [58.395, 57.12, 57.375] }
}

/// Exports a network for inputs of one size into `folder`, with a random picture of the same or another size, and
/// returns the heads of its forward pass.
fn exported(
    folder: &Path,
    name: &str,
    [input, picture]: [(u32, u32); 2],
    forward: impl FnOnce(Tensor<4>) -> Heads<Tensor<4>>,
    run: impl FnOnce(&mut CaffeOps, <CaffeOps as Ops>::Value) -> Heads<<CaffeOps as Ops>::Value>,
) -> [Values; 3] {
    let classes = ["person".to_owned(), "face \"\\".to_owned()];
    let caffe = export(run, &about(input, &classes)).unwrap();
    fs::write(folder.join(format!("{name}.prototxt")), caffe.prototxt).unwrap();
    fs::write(folder.join(format!("{name}.caffemodel")), caffe.caffemodel).unwrap();
    let picture = random([1, 3, picture.1 as usize, picture.0 as usize], &mut Rng::with_seed(11));
    let json = serde_json::to_vec(&values(picture.clone())).unwrap();
    fs::write(folder.join(format!("{name}.json")), json).unwrap();
    let heads = forward(picture);
    [heads.cls, heads.wh, heads.reg].map(values)
}

fn spread(values: &[f32]) -> f32 {
    let [least, greatest] = [f32::min, f32::max].map(|of| values.iter().copied().reduce(of).unwrap());
    greatest - least
}

/// Has OpenCV run all that is in the folder, and compares.
fn compare(folder: &Path, expected: &HashMap<String, [Values; 3]>) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/caffe_heads.py");
    let output = Command::new(python()).arg(script).arg(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: HashMap<String, HashMap<String, Values>> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found.len(), expected.len());
    for (name, heads) in expected {
        for (head, expected) in ["cls", "wh", "reg"].iter().zip(heads) {
            let found = &found[name][*head];
            assert_eq!(found.shape, expected.shape, "{head} of {name}");
            let spread = spread(&expected.data);
            assert!(spread > 1e-3, "{head} of {name} says the same everywhere, which shows nothing");
            let pairs = found.data.iter().zip(&expected.data);
            let difference = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(difference <= TOLERANCE * spread, "{head} of {name} differs by {difference} of {spread}");
        }
    }
}

fn everything() -> Everything {
    Everything::new(&Device::flex()).map(&mut Learn(Rng::with_seed(7)))
}

#[test]
fn every_operation_is_the_same_in_opencv() {
    let folder = tempfile::tempdir().unwrap();
    let network = everything();
    let sizes = [(64, 32), (50, 37), (35, 66), (33, 33)].map(|size| [size; 2]);
    let other = [[(64, 32), (96, 40)]];
    let expected = sizes.into_iter().chain(other).map(|sizes| {
        let name = format!("{sizes:?}");
        let forward = |x| network.run(&mut Forward, x);
        let heads = exported(folder.path(), &name, sizes, forward, |ops, x| network.run(ops, x));
        (name, heads)
    });
    compare(folder.path(), &expected.collect());
}

fn thin(backbone: BackboneKind, neck: NeckKind) -> CenterNet {
    let config = NetworkConfig { backbone, neck, width: 0.125, skips: true, head_channels: 8 };
    CenterNet::new(&config, 2, &Device::flex()).unwrap().map(&mut Learn(Rng::with_seed(7)))
}

#[test]
fn every_backbone_and_neck_is_the_same_in_opencv() {
    let folder = tempfile::tempdir().unwrap();
    let necks = [NeckKind::Transposed, NeckKind::Resize];
    let kinds = BackboneKind::ALL.into_iter().enumerate();
    let expected = kinds.map(|(index, backbone)| {
        let neck = necks[index % 2];
        let network = thin(backbone, neck);
        let name = format!("{backbone:?} {neck:?}");
        let heads = exported(
            folder.path(),
            &name,
            [(96, 64); 2],
            |x| network.forward(x),
            |ops, x| network.run(ops, x),
        );
        (name, heads)
    });
    let expected = expected.collect();
    compare(folder.path(), &expected);
}

#[test]
fn the_text_tells_how_pictures_go_in_and_what_comes_out() {
    let network = everything();
    let classes = ["person".to_owned(), "two\nlines".to_owned()];
    let text = export(|ops, x| network.run(ops, x), &about((64, 32), &classes)).unwrap().prototxt;
    let comment: Vec<_> = text.lines().take_while(|line| line.starts_with("# ")).collect();
    let comment = comment.join("\n");
    for part in ["1 x 3 x 32 x 64", "123.675", "58.395", "red, green, blue", "person, two", "# lines"] {
        assert!(comment.contains(part), "{part} in {comment}");
    }
}

#[test]
fn what_caffe_cannot_say_is_refused() {
    let device = Device::flex();
    let network = everything();
    let classes = ["person".to_owned()];
    let refused =
        |network: &Everything| export(|ops, x| network.run(ops, x), &about((64, 32), &classes)).unwrap_err();
    let mut uneven = network.clone();
    uneven.wh.padding = PaddingConfig2d::Explicit(1, 1, 0, 1);
    assert!(matches!(refused(&uneven), CaffeError::Padding { .. }));
    let mut out = network.clone();
    let config = ConvTranspose2dConfig::new([8, 12], [3, 3]).with_stride([2, 2]).with_padding_out([1, 1]);
    out.up = config.init(&device);
    assert!(matches!(refused(&out), CaffeError::PaddingOut { padding: [1, 1] }));
    let no_head = export(|_, x| Heads { cls: x.clone(), wh: x.clone(), reg: x }, &about((64, 32), &classes));
    assert!(matches!(no_head.unwrap_err(), CaffeError::Head { head: "cls" }));
    let no_input = export(|ops, x| network.run(ops, x), &about((0, 32), &classes));
    assert!(matches!(no_input.unwrap_err(), CaffeError::Input(0, 32)));
}
