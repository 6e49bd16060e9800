//! The precision that a network computes in. TensorRT takes it from the graph (since version 11 only from there),
//! so that is where it is written: a float16 graph, or int8 by pairs of `QuantizeLinear` and `DequantizeLinear`.
//!
//! What comes in is a detector: pictures of bytes in, detections out. Its decode stays in float32 whatever the
//! network is: the test for peaks multiplies by numbers that float16 does not have, and two peaks must not become
//! equal. Everything here is pure; [`calibrate`] is fed with tensors, whoever runs the network.

pub mod calibrate;
pub(in crate::model) mod half;
mod network;
mod qdq;
pub mod quantize;

use std::fmt;
use std::str::FromStr;

use ::half::f16;

use super::graph::{Graph, GraphError, op};
use super::metadata::{MetadataError, ModelMetadata};
use super::onnx::{GraphProto, ModelProto, NodeProto};
use calibrate::Calibrator;
use network::{Network, is_convolution};

/// What a network computes in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
pub enum Precision {
    /// float32.
    #[default]
    #[serde(rename = "fp32")]
    Float32,
    /// float16, the decode excepted.
    #[serde(rename = "fp16")]
    Float16,
    /// int8 where it multiplies matrices, float32 elsewhere.
    #[serde(rename = "int8")]
    Int8,
}

impl Precision {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Float32, Self::Float16, Self::Int8];

    fn as_str(self) -> &'static str {
        match self {
            Self::Float32 => "fp32",
            Self::Float16 => "fp16",
            Self::Int8 => "int8",
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|precision| precision.as_str() == text);
        known.ok_or_else(|| format!("{text:?} is no precision; there are fp32, fp16 and int8"))
    }
}

/// Why a network keeps the precision it has.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PrecisionError {
    /// It was converted already.
    #[error("it is in {0} already; start from the float32 model that it was made of")]
    Converted(Precision),
    /// It hides its operators.
    #[error(
        "the graph is made of functions, which are not rewritten; inline them first \
         (onnx.inliner.inline_local_functions)"
    )]
    Functions,
    /// It is written in operators too old.
    #[error("it is of opset {0}; scales a channel came with opset 13: import the network again")]
    Opset(i64),
    /// One of its nodes is in the way.
    #[error("node {node} {problem}")]
    Operator {
        /// The node and its operator.
        node: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// One of its weights is in the way.
    #[error("weight {weight:?}: {problem}")]
    Weight {
        /// Its name.
        weight: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// There is nothing to convert.
    #[error("there is no convolution with weights of its own between {input} and the heads, so nothing would change", input = super::INPUT)]
    Nothing,
    /// A node to keep is not there.
    #[error("--keep: there is no node {name:?} to quantise; there are: {have}")]
    Keep {
        /// The name.
        name: String,
        /// Those there are.
        have: String,
    },
    /// Nobody saw a value.
    #[error("the value {0:?} was not calibrated; run the network over pictures first")]
    NoRange(String),
    /// The network gives what are no numbers.
    #[error("the value {0:?} of the network holds numbers that are not finite; is the float32 model sound?")]
    NotFinite(String),
    /// A value leaves float16's range.
    #[error(
        "the value {value:?} comes to {greatest:e}, and float16 ends at 65504: on a GPU it would be infinite; leave \
         the network in float32 or make it int8"
    )]
    TooGreat {
        /// The value.
        value: String,
        /// The greatest magnitude it was seen to have.
        greatest: f32,
    },
    /// The model does not describe itself.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// The graph is not sound.
    #[error("the graph is not well-formed: {0}")]
    Graph(#[from] GraphError),
}

impl PrecisionError {
    fn of(node: &NodeProto, problem: &'static str) -> Self {
        let name = node.name.as_deref().unwrap_or("");
        Self::Operator { node: format!("{name:?} ({})", op(node)), problem }
    }
}

/// Whether some of the graph is quantised.
pub fn is_quantized(graph: &GraphProto) -> bool {
    graph.node.iter().any(|node| matches!(op(node), "QuantizeLinear" | "DequantizeLinear"))
}

/// The detector `model` with its network in float16: it takes, gives and tells the same, and its metadata say so.
///
/// # Errors
/// One that is not in float32, or cannot be in float16.
pub fn to_float16(model: ModelProto) -> Result<ModelProto, PrecisionError> {
    let (mut about, mut graph) = open(model)?;
    let network = Network::of(graph.proto(), about.recipe.as_ref()).ok_or(PrecisionError::Nothing)?;
    let rest = network.take_rest(&mut graph);
    half::to_half(&mut graph, &network.entry, &network.heads)?;
    graph.proto_mut().node.extend(rest);
    about.precision = Precision::Float16;
    if let Some(recipe) = &mut about.recipe {
        recipe.float16 = true;
    }
    close(graph, &about)
}

/// What the convolutions of a detector's network make: sums, so as a rule the greatest values there are.
///
/// # Errors
/// A model that does not describe itself, or does not convolve.
pub fn convolved(model: &ModelProto) -> Result<Vec<String>, PrecisionError> {
    let about = ModelMetadata::read_from(model)?;
    let graph = model.graph.as_ref().ok_or(PrecisionError::Nothing)?;
    let network = Network::of(graph, about.recipe.as_ref()).ok_or(PrecisionError::Nothing)?;
    let nodes = graph.node.iter().zip(&network.nodes).filter(|(node, mine)| **mine && is_convolution(node));
    Ok(nodes.filter_map(|(node, _)| node.output.first().cloned()).collect())
}

/// Sees that what was calibrated stays in the range of float16.
///
/// # Errors
/// The value that does not, the greatest if there are several.
pub fn check_float16(seen: &Calibrator) -> Result<(), PrecisionError> {
    match seen.greatest() {
        Some((value, greatest)) if greatest > f16::MAX.to_f32() => {
            Err(PrecisionError::TooGreat { value: value.to_owned(), greatest })
        }
        _ => Ok(()),
    }
}

/// A detector in float32, to be edited.
fn open(model: ModelProto) -> Result<(ModelMetadata, Graph), PrecisionError> {
    let about = ModelMetadata::read_from(&model)?;
    if about.precision != Precision::Float32 {
        return Err(PrecisionError::Converted(about.precision));
    }
    if model.graph.as_ref().is_some_and(is_quantized) {
        return Err(PrecisionError::Converted(Precision::Int8));
    }
    if !model.functions.is_empty() {
        return Err(PrecisionError::Functions);
    }
    let mut graph = Graph::from_model(model);
    graph.check()?;
    // Notes on types and shapes along the way would no longer be true.
    graph.proto_mut().value_info.clear();
    Ok((about, graph))
}

fn close(mut graph: Graph, about: &ModelMetadata) -> Result<ModelProto, PrecisionError> {
    graph.remove_dead();
    graph.check()?;
    let mut model = graph.into_model();
    about.write_to(&mut model);
    Ok(model)
}

#[cfg(test)]
mod tests;
