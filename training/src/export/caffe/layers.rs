//! The operations of a network as Caffe's layers.

use burn::nn::conv::{Conv2d, ConvTranspose2d};
use burn::nn::{BatchNorm, PaddingConfig2d};

use super::CaffeError;
use super::messages::{
    BlobProto, BlobShape, ConvolutionParameter, EltwiseOp, EltwiseParameter, FlattenParameter,
    LayerParameter, PoolMethod, PoolingParameter, PowerParameter, ScaleParameter,
};
use crate::export::onnx::{Folded, folded_conv, folded_transpose};
use crate::nn::ops::{Activation, Ops};

/// What a layer makes.
#[derive(Clone, Debug)]
pub struct Blob {
    pub(super) name: String,
    channels: usize,
}

/// Writes down what a network does, in layers that the first Caffe has and OpenCV reads.
///
/// [`Ops`] has no errors; the first one is kept for the end.
#[derive(Debug, Default)]
pub struct CaffeOps {
    pub(super) layers: Vec<LayerParameter>,
    pub(super) error: Option<CaffeError>,
}

impl CaffeOps {
    /// Adds a layer, of the parameters and weights in `layer`, and returns what it makes.
    pub(super) fn add(
        &mut self,
        r#type: &str,
        bottoms: &[&Blob],
        channels: usize,
        layer: LayerParameter,
    ) -> Blob {
        let name = format!("{}{}", r#type.to_lowercase(), self.layers.len());
        self.layers.push(LayerParameter {
            name: Some(name.clone()),
            r#type: Some(r#type.to_owned()),
            bottom: bottoms.iter().map(|bottom| bottom.name.clone()).collect(),
            top: vec![name.clone()],
            ..layer
        });
        Blob { name, channels }
    }

    /// What is made of an error: nothing, and the error is kept.
    fn or_keep<T: Default>(&mut self, made: Result<T, CaffeError>) -> T {
        made.unwrap_or_else(|error| {
            self.error.get_or_insert(error);
            T::default()
        })
    }

    fn relu(&mut self, x: &Blob) -> Blob {
        self.add("ReLU", &[x], x.channels, LayerParameter::default())
    }

    /// `scale * x + shift`
    fn power(&mut self, x: &Blob, scale: f32, shift: f32) -> Blob {
        let power_param = Some(PowerParameter { scale: Some(scale), shift: Some(shift) });
        self.add("Power", &[x], x.channels, LayerParameter { power_param, ..Default::default() })
    }

    fn eltwise(&mut self, a: &Blob, b: &Blob, operation: EltwiseOp) -> Blob {
        let eltwise_param = Some(EltwiseParameter { operation: Some(operation.into()) });
        self.add("Eltwise", &[a, b], a.channels, LayerParameter { eltwise_param, ..Default::default() })
    }

    fn pool(&mut self, x: &Blob, pooling: PoolingParameter) -> Blob {
        let pooling_param = Some(pooling);
        self.add("Pooling", &[x], x.channels, LayerParameter { pooling_param, ..Default::default() })
    }

    /// `max(min(x / 6 + 1/2, 1), 0)` of what Caffe has: `1 - y` where it is positive is `1 - min(y, 1)`.
    fn hard_sigmoid(&mut self, x: &Blob) -> Blob {
        let rest = self.power(x, -1.0 / 6.0, 0.5);
        let rest = self.relu(&rest);
        let least = self.power(&rest, -1.0, 1.0);
        self.relu(&least)
    }
}

impl Ops for CaffeOps {
    type Value = Blob;

    fn conv(&mut self, x: Blob, conv: &Conv2d, norm: Option<&BatchNorm>) -> Blob {
        let layer = convolution(conv, norm);
        let layer = self.or_keep(layer);
        self.add("Convolution", &[&x], conv.weight.dims()[0], layer)
    }

    fn conv_transpose(&mut self, x: Blob, conv: &ConvTranspose2d, norm: Option<&BatchNorm>) -> Blob {
        let layer = deconvolution(conv, norm);
        let layer = self.or_keep(layer);
        self.add("Deconvolution", &[&x], conv.channels[1], layer)
    }

    /// Caffe rounds the number of cells up, which makes one too many of an even size: so the greatest of the
    /// neighbourhood of every cell first, then every second one by a convolution, which rounds down.
    fn max_pool(&mut self, x: Blob) -> Blob {
        let pool = Some(PoolMethod::Max.into());
        let pooling = PoolingParameter {
            pool,
            kernel_size: Some(3),
            stride: Some(1),
            pad: Some(1),
            global_pooling: None,
        };
        let greatest = self.pool(&x, pooling);
        self.add("Convolution", &[&greatest], x.channels, each_by_itself(x.channels, 1))
    }

    fn mean(&mut self, x: Blob) -> Blob {
        let pool = Some(PoolMethod::Ave.into());
        self.pool(&x, PoolingParameter { pool, global_pooling: Some(true), ..Default::default() })
    }

    fn double(&mut self, x: Blob) -> Blob {
        self.add("Deconvolution", &[&x], x.channels, each_by_itself(x.channels, 2))
    }

    fn activate(&mut self, x: Blob, activation: Activation) -> Blob {
        match activation {
            Activation::Relu => self.relu(&x),
            Activation::Sigmoid => self.add("Sigmoid", &[&x], x.channels, LayerParameter::default()),
            Activation::HardSigmoid => self.hard_sigmoid(&x),
            Activation::HardSwish => {
                let gate = self.hard_sigmoid(&x);
                self.eltwise(&x, &gate, EltwiseOp::Prod)
            }
        }
    }

    fn add(&mut self, a: Blob, b: Blob) -> Blob {
        self.eltwise(&a, &b, EltwiseOp::Sum)
    }

    fn times(&mut self, x: Blob, number: f32) -> Blob {
        self.power(&x, number, 0.0)
    }

    /// Caffe's layer wants factors of the shape `[N, C]`, which are those of the axes from 0 on.
    fn scale(&mut self, x: Blob, factors: Blob) -> Blob {
        let flatten_param = Some(FlattenParameter { axis: Some(1) });
        let flat = LayerParameter { flatten_param, ..Default::default() };
        let flat = self.add("Flatten", &[&factors], factors.channels, flat);
        let scale_param = Some(ScaleParameter { axis: Some(0) });
        self.add("Scale", &[&x, &flat], x.channels, LayerParameter { scale_param, ..Default::default() })
    }
}

/// A (transposed) convolution of stride 2 with a kernel of ones for each channel.
fn each_by_itself(channels: usize, kernel: usize) -> LayerParameter {
    let parameter = ConvolutionParameter {
        num_output: Some(channels as u32),
        bias_term: Some(false),
        group: Some(channels as u32),
        ..kernel_of([kernel; 2], [2; 2], [0; 2], [1; 2])
    };
    let blobs = vec![blob(&[channels, 1, kernel, kernel], vec![1.0; channels * kernel * kernel])];
    LayerParameter { convolution_param: Some(parameter), blobs, ..Default::default() }
}

fn convolution(conv: &Conv2d, norm: Option<&BatchNorm>) -> Result<LayerParameter, CaffeError> {
    let padding = padding(conv)?;
    let parameter = ConvolutionParameter {
        num_output: Some(conv.weight.dims()[0] as u32),
        group: Some(conv.groups as u32),
        ..kernel_of(conv.kernel_size, conv.stride, padding, conv.dilation)
    };
    Ok(layer_of(parameter, folded_conv(conv, norm)?))
}

fn deconvolution(conv: &ConvTranspose2d, norm: Option<&BatchNorm>) -> Result<LayerParameter, CaffeError> {
    if conv.padding_out != [0, 0] {
        return Err(CaffeError::PaddingOut { padding: conv.padding_out });
    }
    let parameter = ConvolutionParameter {
        num_output: Some(conv.channels[1] as u32),
        group: Some(conv.groups as u32),
        ..kernel_of(conv.kernel_size, conv.stride, conv.padding, conv.dilation)
    };
    Ok(layer_of(parameter, folded_transpose(conv, norm)?))
}

fn layer_of(parameter: ConvolutionParameter, folded: Folded) -> LayerParameter {
    let blobs = vec![blob(&folded.dims, folded.weight), blob(&[folded.bias.len()], folded.bias)];
    LayerParameter { convolution_param: Some(parameter), blobs, ..Default::default() }
}

fn blob(shape: &[usize], data: Vec<f32>) -> BlobProto {
    BlobProto { data, shape: Some(BlobShape { dim: shape.iter().map(|&side| side as i64).collect() }) }
}

/// Each as height, width.
fn kernel_of(
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
    dilation: [usize; 2],
) -> ConvolutionParameter {
    let number = |value: usize| Some(value as u32);
    let dilation = if dilation == [1, 1] { Vec::new() } else { dilation.map(|side| side as u32).into() };
    ConvolutionParameter {
        kernel_h: number(kernel[0]),
        kernel_w: number(kernel[1]),
        stride_h: number(stride[0]),
        stride_w: number(stride[1]),
        pad_h: number(padding[0]),
        pad_w: number(padding[1]),
        dilation,
        ..Default::default()
    }
}

/// Height, width.
fn padding(conv: &Conv2d) -> Result<[usize; 2], CaffeError> {
    match conv.padding {
        PaddingConfig2d::Valid => Ok([0, 0]),
        PaddingConfig2d::Explicit(top, left, bottom, right) if (top, left) == (bottom, right) => {
            Ok([top, left])
        }
        _ => Err(CaffeError::Padding { padding: format!("{:?}", conv.padding) }),
    }
}
