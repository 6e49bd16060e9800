//! Caffe's messages, as far as networks here need them, by the field numbers of its public format:
//! <https://github.com/BVLC/caffe/blob/master/src/caffe/proto/caffe.proto>.

use prost::{Enumeration, Message};

/// A network.
#[derive(Clone, PartialEq, Message)]
pub struct NetParameter {
    #[prost(string, optional, tag = "1")]
    pub name: Option<String>,
    #[prost(message, repeated, tag = "100")]
    pub layer: Vec<LayerParameter>,
}

/// A layer: what it takes (`bottom`), what it makes (`top`), its weights (`blobs`) and the parameters of its type.
#[derive(Clone, PartialEq, Message)]
pub struct LayerParameter {
    #[prost(string, optional, tag = "1")]
    pub name: Option<String>,
    #[prost(string, optional, tag = "2")]
    pub r#type: Option<String>,
    #[prost(string, repeated, tag = "3")]
    pub bottom: Vec<String>,
    #[prost(string, repeated, tag = "4")]
    pub top: Vec<String>,
    #[prost(message, repeated, tag = "7")]
    pub blobs: Vec<BlobProto>,
    #[prost(message, optional, tag = "106")]
    pub convolution_param: Option<ConvolutionParameter>,
    #[prost(message, optional, tag = "110")]
    pub eltwise_param: Option<EltwiseParameter>,
    #[prost(message, optional, tag = "121")]
    pub pooling_param: Option<PoolingParameter>,
    #[prost(message, optional, tag = "122")]
    pub power_param: Option<PowerParameter>,
    #[prost(message, optional, tag = "135")]
    pub flatten_param: Option<FlattenParameter>,
    #[prost(message, optional, tag = "142")]
    pub scale_param: Option<ScaleParameter>,
    #[prost(message, optional, tag = "143")]
    pub input_param: Option<InputParameter>,
}

/// Weights, row by row.
#[derive(Clone, PartialEq, Message)]
pub struct BlobProto {
    #[prost(float, repeated, tag = "5")]
    pub data: Vec<f32>,
    #[prost(message, optional, tag = "7")]
    pub shape: Option<BlobShape>,
}

#[derive(Clone, PartialEq, Message)]
pub struct BlobShape {
    #[prost(int64, repeated, tag = "1")]
    pub dim: Vec<i64>,
}

/// Of `Convolution` and `Deconvolution`; weights are `[out, in / group, h, w]` and `[in, out / group, h, w]`.
#[derive(Clone, PartialEq, Message)]
pub struct ConvolutionParameter {
    #[prost(uint32, optional, tag = "1")]
    pub num_output: Option<u32>,
    #[prost(bool, optional, tag = "2")]
    pub bias_term: Option<bool>,
    #[prost(uint32, optional, tag = "5")]
    pub group: Option<u32>,
    #[prost(uint32, optional, tag = "9")]
    pub pad_h: Option<u32>,
    #[prost(uint32, optional, tag = "10")]
    pub pad_w: Option<u32>,
    #[prost(uint32, optional, tag = "11")]
    pub kernel_h: Option<u32>,
    #[prost(uint32, optional, tag = "12")]
    pub kernel_w: Option<u32>,
    #[prost(uint32, optional, tag = "13")]
    pub stride_h: Option<u32>,
    #[prost(uint32, optional, tag = "14")]
    pub stride_w: Option<u32>,
    /// Height, width; for both where there is one. Empty for 1, which it is nearly always.
    #[prost(uint32, repeated, packed = "false", tag = "18")]
    pub dilation: Vec<u32>,
}

#[derive(Clone, PartialEq, Message)]
pub struct EltwiseParameter {
    #[prost(enumeration = "EltwiseOp", optional, tag = "1")]
    pub operation: Option<i32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Enumeration)]
pub enum EltwiseOp {
    Prod = 0,
    Sum = 1,
}

#[derive(Clone, PartialEq, Message)]
pub struct PoolingParameter {
    #[prost(enumeration = "PoolMethod", optional, tag = "1")]
    pub pool: Option<i32>,
    #[prost(uint32, optional, tag = "2")]
    pub kernel_size: Option<u32>,
    #[prost(uint32, optional, tag = "3")]
    pub stride: Option<u32>,
    #[prost(uint32, optional, tag = "4")]
    pub pad: Option<u32>,
    #[prost(bool, optional, tag = "12")]
    pub global_pooling: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Enumeration)]
pub enum PoolMethod {
    Max = 0,
    Ave = 1,
}

/// `(shift + scale * x) ^ power`, the power being 1 unless it is told.
#[derive(Clone, PartialEq, Message)]
pub struct PowerParameter {
    #[prost(float, optional, tag = "2")]
    pub scale: Option<f32>,
    #[prost(float, optional, tag = "3")]
    pub shift: Option<f32>,
}

#[derive(Clone, PartialEq, Message)]
pub struct FlattenParameter {
    #[prost(int32, optional, tag = "1")]
    pub axis: Option<i32>,
}

/// `axis` of the first bottom is where the second one's shape begins.
#[derive(Clone, PartialEq, Message)]
pub struct ScaleParameter {
    #[prost(int32, optional, tag = "1")]
    pub axis: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
pub struct InputParameter {
    #[prost(message, repeated, tag = "1")]
    pub shape: Vec<BlobShape>,
}
