//! A network as an ONNX graph, BatchNorm folded.

use burn::nn::conv::{Conv2d, ConvTranspose2d};
use burn::nn::{BatchNorm, PaddingConfig2d};
use burn::tensor::Tensor;
use centerx::model::graph::{Attr, Graph};
use centerx::model::onnx::{Dim, ElementType};
use prost::Message as _;

use super::ExportError;
use crate::maps::Heads;
use crate::nn::CenterNet;
use crate::nn::ops::{Activation, Ops};

/// The input: float32 `[N, 3, H, W]`, normalised by [`MEAN`](crate::nn::MEAN) and [`STD`](crate::nn::STD).
pub const INPUT: &str = "images_nchw";
/// The outputs: float32 `[N, C or 2, H/4, W/4]`, before the sigmoid.
pub const HEADS: [&str; 3] = ["cls", "wh", "reg"];

/// The network as an ONNX file; batch, height and width are free. `network` is the form for inference.
///
/// # Errors
/// Numbers that cannot be read back from the device.
pub fn network(network: &CenterNet) -> Result<Vec<u8>, ExportError> {
    let mut graph = Graph::new("centernet");
    let free = |name: &str| Dim::Param(name.to_owned());
    let x = graph.input(INPUT, ElementType::Float, &[free("N"), Dim::Value(3), free("H"), free("W")]);
    let mut ops = OnnxOps { graph, failed: None };
    let Heads { cls, wh, reg } = network.run(&mut ops, x);
    let OnnxOps { mut graph, failed } = ops;
    if let Some(error) = failed {
        return Err(error);
    }
    for ((value, name), channels) in [cls, wh, reg].iter().zip(HEADS).zip([network.classes(), 2, 2]) {
        let output = graph.fresh(name);
        graph.node_into("Identity", &[value], std::slice::from_ref(&output), &[]);
        let dims = [free("N"), Dim::Value(channels as i64), free("H4"), free("W4")];
        graph.output(&output, ElementType::Float, &dims);
    }
    graph.check()?;
    Ok(graph.into_model().encode_to_vec())
}

/// Writes nodes; values are names. After a failure it goes on, and what it made is of no use.
struct OnnxOps {
    graph: Graph,
    failed: Option<ExportError>,
}

/// A convolution's weight and bias.
pub(super) struct Folded {
    pub dims: [usize; 4],
    pub weight: Vec<f32>,
    pub bias: Vec<f32>,
}

impl OnnxOps {
    fn kept(&mut self, folded: Result<Folded, ExportError>) -> [String; 2] {
        let folded = folded.unwrap_or_else(|error| {
            self.failed.get_or_insert(error);
            Folded { dims: [0; 4], weight: Vec::new(), bias: Vec::new() }
        });
        let bias = self.graph.floats("bias", &[folded.bias.len()], &folded.bias);
        [self.graph.floats("weight", &folded.dims, &folded.weight), bias]
    }
}

impl Ops for OnnxOps {
    type Value = String;

    fn conv(&mut self, x: String, conv: &Conv2d, norm: Option<&BatchNorm>) -> String {
        let [weight, bias] = self.kept(folded_conv(conv, norm));
        let attributes = [
            ("kernel_shape", Attr::Ints(&whole(conv.kernel_size))),
            ("strides", Attr::Ints(&whole(conv.stride))),
            ("pads", Attr::Ints(&pads(conv))),
            ("dilations", Attr::Ints(&whole(conv.dilation))),
            ("group", Attr::Int(conv.groups as i64)),
        ];
        self.graph.node("Conv", &[&x, &weight, &bias], "conv", &attributes)
    }

    fn conv_transpose(&mut self, x: String, conv: &ConvTranspose2d, norm: Option<&BatchNorm>) -> String {
        let [weight, bias] = self.kept(folded_transpose(conv, norm));
        let [top, left] = whole(conv.padding);
        let attributes = [
            ("kernel_shape", Attr::Ints(&whole(conv.kernel_size))),
            ("strides", Attr::Ints(&whole(conv.stride))),
            ("pads", Attr::Ints(&[top, left, top, left])),
            ("output_padding", Attr::Ints(&whole(conv.padding_out))),
            ("dilations", Attr::Ints(&whole(conv.dilation))),
            ("group", Attr::Int(conv.groups as i64)),
        ];
        self.graph.node("ConvTranspose", &[&x, &weight, &bias], "up", &attributes)
    }

    fn max_pool(&mut self, x: String) -> String {
        let attributes = [
            ("kernel_shape", Attr::Ints(&[3, 3])),
            ("strides", Attr::Ints(&[2, 2])),
            ("pads", Attr::Ints(&[1, 1, 1, 1])),
        ];
        self.graph.node("MaxPool", &[&x], "pool", &attributes)
    }

    fn mean(&mut self, x: String) -> String {
        self.graph.node("GlobalAveragePool", &[&x], "mean", &[])
    }

    fn double(&mut self, x: String) -> String {
        let scales = self.graph.floats("scales", &[4], &[1.0, 1.0, 2.0, 2.0]);
        let attributes = [
            ("mode", Attr::Text("nearest")),
            ("coordinate_transformation_mode", Attr::Text("asymmetric")),
            ("nearest_mode", Attr::Text("floor")),
        ];
        self.graph.node("Resize", &[&x, "", &scales], "doubled", &attributes)
    }

    fn activate(&mut self, x: String, activation: Activation) -> String {
        match activation {
            Activation::Relu => self.graph.node("Relu", &[&x], "relu", &[]),
            Activation::Sigmoid => self.graph.node("Sigmoid", &[&x], "sigmoid", &[]),
            Activation::HardSigmoid => {
                let attributes = [("alpha", Attr::Float(1.0 / 6.0)), ("beta", Attr::Float(0.5))];
                self.graph.node("HardSigmoid", &[&x], "hard_sigmoid", &attributes)
            }
            Activation::HardSwish => self.graph.node("HardSwish", &[&x], "hard_swish", &[]),
        }
    }

    fn add(&mut self, a: String, b: String) -> String {
        self.graph.binary("Add", &a, &b)
    }

    fn times(&mut self, x: String, number: f32) -> String {
        self.graph.with_number("Mul", &x, number)
    }

    fn scale(&mut self, x: String, factors: String) -> String {
        self.graph.binary("Mul", &x, &factors)
    }
}

fn whole(sizes: [usize; 2]) -> [i64; 2] {
    sizes.map(|size| size as i64)
}

/// Top, left, bottom, right.
fn pads(conv: &Conv2d) -> [i64; 4] {
    let [height, width] = [0, 1].map(|axis| conv.dilation[axis] * (conv.kernel_size[axis] - 1));
    let pads = match conv.padding {
        PaddingConfig2d::Valid => [0; 4],
        PaddingConfig2d::Explicit(top, left, bottom, right) => [top, left, bottom, right],
        PaddingConfig2d::Same => [height / 2, width / 2, height.div_ceil(2), width.div_ceil(2)],
    };
    pads.map(|pad| pad as i64)
}

/// What a BatchNorm does to each channel once it is trained: times a factor, plus a shift.
struct Affine {
    factors: Vec<f64>,
    shifts: Vec<f64>,
}

impl Affine {
    fn of(norm: Option<&BatchNorm>, channels: usize) -> Result<Self, ExportError> {
        let Some(norm) = norm else {
            return Ok(Self { factors: vec![1.0; channels], shifts: vec![0.0; channels] });
        };
        let [gamma, beta] = [values(norm.gamma.val())?, values(norm.beta.val())?];
        let mean = values(norm.running_mean.value_sync())?;
        let variance = values(norm.running_var.value_sync())?;
        let factor = |(gamma, variance): (&f32, &f32)| {
            f64::from(*gamma) / (f64::from(*variance) + norm.epsilon).sqrt()
        };
        let factors: Vec<f64> = gamma.iter().zip(&variance).map(factor).collect();
        let shift =
            |((beta, mean), factor): ((&f32, &f32), &f64)| f64::from(*beta) - f64::from(*mean) * factor;
        let shifts = beta.iter().zip(&mean).zip(&factors).map(shift).collect();
        Ok(Self { factors, shifts })
    }

    /// `channel` tells which channel of the output an element of the weight makes.
    fn fold(
        &self,
        weight: &Tensor<4>,
        bias: Option<Tensor<1>>,
        channel: impl Fn(usize) -> usize,
    ) -> Result<Folded, ExportError> {
        let scaled = |(at, value): (usize, &f32)| (f64::from(*value) * self.factors[channel(at)]) as f32;
        let bias = bias.map(values).transpose()?.unwrap_or_else(|| vec![0.0; self.factors.len()]);
        let moved =
            |((bias, factor), shift): ((&f32, &f64), &f64)| (f64::from(*bias) * factor + shift) as f32;
        Ok(Folded {
            dims: weight.dims(),
            weight: values(weight.clone())?.iter().enumerate().map(scaled).collect(),
            bias: bias.iter().zip(&self.factors).zip(&self.shifts).map(moved).collect(),
        })
    }
}

/// `[O, I / groups, kh, kw]`.
pub(super) fn folded_conv(conv: &Conv2d, norm: Option<&BatchNorm>) -> Result<Folded, ExportError> {
    let weight = conv.weight.val();
    let [outputs, inputs, height, width] = weight.dims();
    let bias = conv.bias.as_ref().map(|bias| bias.val());
    Affine::of(norm, outputs)?.fold(&weight, bias, |at| at / (inputs * height * width))
}

/// `[I, O / groups, kh, kw]`.
pub(super) fn folded_transpose(
    conv: &ConvTranspose2d,
    norm: Option<&BatchNorm>,
) -> Result<Folded, ExportError> {
    let weight = conv.weight.val();
    let [inputs, outputs, height, width] = weight.dims();
    let bias = conv.bias.as_ref().map(|bias| bias.val());
    let cells = height * width;
    let channel = |at: usize| {
        let group = at / (outputs * cells) / (inputs / conv.groups);
        group * outputs + at / cells % outputs
    };
    Affine::of(norm, outputs * conv.groups)?.fold(&weight, bias, channel)
}

/// A tensor's numbers, row by row.
pub(super) fn values<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, ExportError> {
    let data = tensor.try_into_data().map_err(|error| ExportError::Read { cause: error.to_string() })?;
    data.convert::<f32>()
        .try_into_vec::<f32>()
        .map_err(|error| ExportError::Read { cause: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::Forward;
    use burn::module::Module as _;
    use burn::nn::BatchNormConfig;
    use burn::nn::conv::{Conv2dConfig, ConvTranspose2dConfig};
    use burn::tensor::{Device, Distribution, TensorData};

    /// A BatchNorm whose statistics and factors are all different.
    fn norm(channels: usize, device: &Device) -> BatchNorm {
        let range = |from: f32, step: f32| {
            let values: Vec<f32> = (0..channels).map(|at| from + step * at as f32).collect();
            Tensor::<1>::from_data(TensorData::new(values, [channels]), device)
        };
        let mut norm = BatchNormConfig::new(channels).init(device);
        norm.gamma = burn::module::Param::from_tensor(range(0.5, 0.25));
        norm.beta = burn::module::Param::from_tensor(range(-1.0, 0.5));
        norm.running_mean = burn::module::RunningState::new(range(0.3, -0.2));
        norm.running_var = burn::module::RunningState::new(range(0.2, 0.3));
        norm
    }

    fn as_tensors(folded: Folded, device: &Device) -> (Tensor<4>, Tensor<1>) {
        let bias = [folded.bias.len()];
        (
            Tensor::from_data(TensorData::new(folded.weight, folded.dims), device),
            Tensor::from_data(TensorData::new(folded.bias, bias), device),
        )
    }

    fn assert_near(a: Tensor<4>, b: Tensor<4>) {
        assert_eq!(a.dims(), b.dims());
        let most = (a - b).abs().max().into_scalar::<f32>();
        assert!(most < 1e-5, "{most}");
    }

    #[test]
    fn folded_convolutions_do_what_the_two_did() {
        let device = Device::flex();
        for groups in [1, 2] {
            let conv = Conv2dConfig::new([4, 6], [3, 3]).with_groups(groups).init(&device);
            let norm = norm(6, &device);
            let x = Tensor::<4>::random([2, 4, 7, 5], Distribution::Default, &device);
            let both = Forward.conv(x.clone(), &conv, Some(&norm));
            let (weight, bias) = as_tensors(folded_conv(&conv, Some(&norm)).unwrap(), &device);
            let mut one = conv.clone();
            one.weight = burn::module::Param::from_tensor(weight);
            one.bias = Some(burn::module::Param::from_tensor(bias));
            assert_near(both, one.valid().forward(x));
        }
    }

    #[test]
    fn folded_transposed_convolutions_do_what_the_two_did() {
        let device = Device::flex();
        for groups in [1, 2] {
            let conv = ConvTranspose2dConfig::new([4, 6], [4, 4])
                .with_stride([2, 2])
                .with_padding([1, 1])
                .with_groups(groups)
                .init(&device);
            let norm = norm(6, &device);
            let x = Tensor::<4>::random([2, 4, 5, 3], Distribution::Default, &device);
            let both = Forward.conv_transpose(x.clone(), &conv, Some(&norm));
            let (weight, bias) = as_tensors(folded_transpose(&conv, Some(&norm)).unwrap(), &device);
            let mut one = conv.clone();
            one.weight = burn::module::Param::from_tensor(weight);
            one.bias = Some(burn::module::Param::from_tensor(bias));
            assert_near(both, one.valid().forward(x));
        }
    }
}
