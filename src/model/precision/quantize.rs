//! A network in int8 by pairs of `QuantizeLinear` and `DequantizeLinear` before the nodes that multiply matrices,
//! as TensorRT wants them: activations with one scale, weights with one a channel, all zero points 0, biases and
//! everything else in float32.
//!
//! The convolutions whose outputs are the heads stay in float32: what they give is decoded to the digit. Depthwise
//! convolutions do so too: one scale is too coarse for channels that never mix. On the default model, a MobileNet,
//! the mean overlap of boxes with those of float32 is 0.958 that way, 0.926 with the heads' last convolutions in
//! int8 as well, and 0.885 with the depthwise ones; each are an eighth of the work.

use std::collections::{HashMap, HashSet};

use super::calibrate::Ranges;
use super::network::{Network, is_convolution};
use super::qdq::{quantize_weight, scale_of};
use super::{Precision, PrecisionError, close, open};
use crate::model::graph::{Attr, Graph, int, op};
use crate::model::metadata::ModelMetadata;
use crate::model::onnx::{GraphProto, ModelProto, NodeProto};

/// The opset that brought scales a channel.
const LEAST_OPSET: i64 = 13;
/// Names of nodes that a message shows before it says how many more there are.
const SHOWN: usize = 12;

/// Which nodes of a detector become int8.
#[derive(Clone, Debug)]
pub struct Plan {
    graph: Graph,
    about: ModelMetadata,
    products: Vec<Product>,
}

/// A node that multiplies by a weight.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Product {
    /// What the node is called, its first output if nothing.
    name: String,
    /// Its first output.
    output: String,
    activation: String,
    weight: String,
    /// The axis of the weight that has a scale for each index.
    axis: usize,
}

impl Plan {
    /// Plans `model`, a detector in float32. Nodes that are called as `keep` says, or make a value of that name,
    /// stay as they are.
    ///
    /// # Errors
    /// A model that is converted already, or has nothing to convert; a name that is not there.
    pub fn of(model: ModelProto, keep: &[String]) -> Result<Self, PrecisionError> {
        let (about, graph) = open(model)?;
        if graph.opset() < LEAST_OPSET {
            return Err(PrecisionError::Opset(graph.opset()));
        }
        let network = Network::of(graph.proto(), about.recipe.as_ref()).ok_or(PrecisionError::Nothing)?;
        let mut products = products(&graph, &network);
        for name in keep {
            let before = products.len();
            products.retain(|product| product.name != *name && product.output != *name);
            if products.len() == before {
                return Err(PrecisionError::Keep { name: name.clone(), have: listed(&products) });
            }
        }
        if products.is_empty() {
            return Err(PrecisionError::Nothing);
        }
        Ok(Self { graph, about, products })
    }

    /// The values whose ranges must be known, each once.
    pub fn activations(&self) -> Vec<&str> {
        let mut seen = HashSet::new();
        let all = self.products.iter().map(|product| product.activation.as_str());
        all.filter(|value| seen.insert(*value)).collect()
    }

    /// How many nodes become int8.
    pub fn nodes(&self) -> usize {
        self.products.len()
    }

    /// The detector in int8; it takes, gives and tells the same, and its metadata say so.
    ///
    /// # Errors
    /// A value without a range.
    pub fn apply(self, ranges: &Ranges) -> Result<ModelProto, PrecisionError> {
        let Self { mut graph, mut about, products } = self;
        let products: HashMap<&str, &Product> = products.iter().map(|p| (p.output.as_str(), p)).collect();
        let nodes = std::mem::take(&mut graph.proto_mut().node);
        let mut writer = Writer { graph: &mut graph, ranges, done: HashMap::new() };
        for mut node in nodes {
            if let Some(product) = node.output.first().and_then(|output| products.get(output.as_str())) {
                node.input[0] = writer.activation(&product.activation)?;
                node.input[1] = writer.weight(&product.weight, product.axis)?;
            }
            writer.graph.proto_mut().node.push(node);
        }
        about.precision = Precision::Int8;
        close(graph, &about)
    }
}

/// Adds the pairs; each value gets one.
struct Writer<'a> {
    graph: &'a mut Graph,
    ranges: &'a Ranges,
    /// The name that a value has when it comes out of int8, by its name and the axis of its scales.
    done: HashMap<(String, Option<usize>), String>,
}

impl Writer<'_> {
    fn activation(&mut self, value: &str) -> Result<String, PrecisionError> {
        let key = (value.to_owned(), None);
        if let Some(done) = self.done.get(&key) {
            return Ok(done.clone());
        }
        let range = self.ranges.get(value).ok_or_else(|| PrecisionError::NoRange(value.to_owned()))?;
        let scale = self.graph.float(&format!("{value}_scale"), scale_of(range));
        let zero = self.graph.int8s(&format!("{value}_zero"), &[], &[0]);
        let inputs = [value, &scale, &zero];
        let int8 = self.graph.node("QuantizeLinear", &inputs, &format!("{value}_int8"), &[]);
        let back = format!("{value}_of_int8");
        let back = self.graph.node("DequantizeLinear", &[&int8, &scale, &zero], &back, &[]);
        self.done.insert(key, back.clone());
        Ok(back)
    }

    fn weight(&mut self, name: &str, axis: usize) -> Result<String, PrecisionError> {
        let key = (name.to_owned(), Some(axis));
        if let Some(done) = self.done.get(&key) {
            return Ok(done.clone());
        }
        let (values, dims) = float_weight(self.graph, name).unwrap_or_default();
        if values.iter().any(|value| !value.is_finite()) {
            let problem = "it holds numbers that are not finite";
            return Err(PrecisionError::Weight { weight: name.to_owned(), problem });
        }
        let weight = quantize_weight(&values, &dims, axis).ok_or_else(|| PrecisionError::Weight {
            weight: name.to_owned(),
            problem: "its elements do not match its shape",
        })?;
        let channels = [weight.scales.len()];
        let int8 = self.graph.int8s(&format!("{name}_int8"), &dims, &weight.values);
        let scale = self.graph.floats(&format!("{name}_scale"), &channels, &weight.scales);
        let zero = self.graph.int8s(&format!("{name}_zero"), &channels, &vec![0; channels[0]]);
        let axis = [("axis", Attr::Int(axis as i64))];
        let back = format!("{name}_of_int8");
        let back = self.graph.node("DequantizeLinear", &[&int8, &scale, &zero], &back, &axis);
        self.done.insert(key, back.clone());
        Ok(back)
    }
}

/// The nodes of the network that multiply by a float32 weight, and after which another one does.
fn products(graph: &Graph, network: &Network) -> Vec<Product> {
    let last = last_products(graph.proto());
    let nodes = graph.proto().node.iter().zip(&network.nodes).enumerate();
    nodes
        .filter(|(at, (_, mine))| **mine && !last.contains(at))
        .filter_map(|(_, (node, _))| product(graph, node))
        .collect()
}

fn product(graph: &Graph, node: &NodeProto) -> Option<Product> {
    let [activation, weight, ..] = &node.input[..] else { return None };
    let (_, dims) = float_weight(graph, weight)?;
    let output = node.output.first()?;
    let name = node.name.as_ref().filter(|name| !name.is_empty()).unwrap_or(output);
    Some(Product {
        name: name.clone(),
        output: output.clone(),
        activation: activation.clone(),
        weight: weight.clone(),
        axis: channel_axis(node, &dims)?,
    })
}

/// The axis of the weight's outputs; none where int8 is not for it.
fn channel_axis(node: &NodeProto, dims: &[usize]) -> Option<usize> {
    let groups = int(node, "group").unwrap_or(1);
    match (op(node), dims) {
        ("Conv", [_, 1, _, ..]) if groups > 1 => None,
        ("Conv", [_, _, _, ..]) => Some(0),
        // In groups they mostly do no more than enlarge, which is depthwise too.
        ("ConvTranspose", [_, _, _, ..]) if groups == 1 => Some(1),
        ("Gemm", [_, _]) => Some(if int(node, "transB") == Some(1) { 0 } else { 1 }),
        ("MatMul", [_, _]) => Some(1),
        _ => None,
    }
}

/// Elements and shape of a float32 weight.
fn float_weight(graph: &Graph, name: &str) -> Option<(Vec<f32>, Vec<usize>)> {
    let weight = graph.weight(name)?;
    let dims = weight.dims.iter().map(|&dim| usize::try_from(dim).ok()).collect::<Option<Vec<_>>>()?;
    Some((weight.floats()?, dims))
}

/// Indices of the nodes that multiply matrices and whose outcome goes into no other: they make the heads.
fn last_products(graph: &GraphProto) -> HashSet<usize> {
    // Values that a convolution follows.
    let mut inner: HashSet<&str> = HashSet::new();
    let mut last = HashSet::new();
    for (at, node) in graph.node.iter().enumerate().rev() {
        let followed = node.output.iter().any(|output| inner.contains(output.as_str()));
        let multiplies = is_convolution(node) || matches!(op(node), "Gemm" | "MatMul");
        if multiplies && !followed {
            last.insert(at);
        }
        // A product in the decode, of which there may be some, does not count.
        if followed || is_convolution(node) {
            inner.extend(node.input.iter().map(String::as_str));
        }
    }
    last
}

fn listed(products: &[Product]) -> String {
    let (first, rest) = products.split_at(products.len().min(SHOWN));
    let names: Vec<&str> = first.iter().map(|product| product.name.as_str()).collect();
    let more = if rest.is_empty() { String::new() } else { format!(", and {} more", rest.len()) };
    format!("{}{more}", names.join(", "))
}
