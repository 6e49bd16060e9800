//! Clean-up worth its keep: constants out of nodes, nodes that do nothing, batch normalisation folded into
//! the convolution before it, hard-swish as one operator.

use std::collections::HashMap;

use crate::model::graph::{Graph, float, int, op};
use crate::model::hardswish;
use crate::model::onnx::{AttributeProto, ElementType, NodeProto, TensorProto};

/// What was cleaned up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Simplified {
    /// Batch normalisations folded into convolutions.
    pub batch_norms: usize,
    /// Hard-swish and hard-sigmoid written out in steps that became one operator.
    pub hard_swishes: usize,
    /// Nodes and weights that were removed, all in all.
    pub removed: usize,
}

/// Simplifies the graph. The values named in `keep`, and the outputs, keep their names.
pub(super) fn simplify(graph: &mut Graph, keep: &[String]) -> Simplified {
    let count = |graph: &Graph| graph.proto().node.len() + graph.proto().initializer.len();
    let before = count(graph);
    idle_nodes(graph, keep);
    let batch_norms = fold_batch_norms(graph, keep);
    let swish = hardswish::rewrite(graph, hardswish::EXACT);
    graph.remove_dead();
    Simplified {
        batch_norms,
        hard_swishes: swish.hard_swish + swish.hard_sigmoid,
        removed: before.saturating_sub(count(graph)),
    }
}

/// Makes weights of the `Constant` nodes, so that who looks for a number finds it in one place.
pub(super) fn constants(graph: &mut Graph) {
    let proto = graph.proto_mut();
    let (constants, rest): (Vec<_>, Vec<_>) =
        std::mem::take(&mut proto.node).into_iter().partition(|node| op(node) == "Constant");
    proto.node = rest;
    let mut left = Vec::new();
    for mut node in constants {
        match node.attribute.first().and_then(constant) {
            Some(tensor) if node.output.len() == 1 => {
                proto.initializer.push(TensorProto { name: node.output.pop(), ..tensor });
            }
            _ => left.push(node),
        }
    }
    // They need nothing, so they may come first.
    proto.node.splice(0..0, left);
}

fn constant(attribute: &AttributeProto) -> Option<TensorProto> {
    let tensor = |element: ElementType, dims: Vec<i64>, raw: Vec<u8>| TensorProto {
        data_type: Some(element as i32),
        dims,
        raw_data: Some(raw),
        ..Default::default()
    };
    match attribute.name.as_deref()? {
        "value" => attribute.t.clone(),
        "value_float" => Some(tensor(ElementType::Float, vec![], attribute.f?.to_le_bytes().to_vec())),
        "value_int" => Some(tensor(ElementType::Int64, vec![], attribute.i?.to_le_bytes().to_vec())),
        "value_floats" => {
            let raw = attribute.floats.iter().flat_map(|v| v.to_le_bytes()).collect();
            Some(tensor(ElementType::Float, vec![attribute.floats.len() as i64], raw))
        }
        "value_ints" => {
            let raw = attribute.ints.iter().flat_map(|v| v.to_le_bytes()).collect();
            Some(tensor(ElementType::Int64, vec![attribute.ints.len() as i64], raw))
        }
        _ => None,
    }
}

/// Takes out `Identity`, and `Dropout`, which does nothing outside of training.
fn idle_nodes(graph: &mut Graph, keep: &[String]) {
    let kept = kept_names(graph, keep);
    let idle = |node: &NodeProto| {
        matches!(op(node), "Identity" | "Dropout")
            && node.output.iter().skip(1).all(String::is_empty)
            && node.output.first().is_some_and(|name| !kept.contains(name))
    };
    let mut instead: HashMap<String, String> = HashMap::new();
    for node in graph.proto().node.iter().filter(|node| idle(node)) {
        let (Some(input), Some(output)) = (node.input.first(), node.output.first()) else { continue };
        // Nodes stand in order, so what the input stands for is known already.
        let source = instead.get(input).unwrap_or(input).clone();
        instead.insert(output.clone(), source);
    }
    graph.replace_uses(&instead);
}

fn kept_names(graph: &Graph, keep: &[String]) -> Vec<String> {
    let outputs = graph.proto().output.iter().filter_map(|value| value.name.clone());
    outputs.chain(keep.iter().cloned()).collect()
}

/// Folds each `BatchNormalization` after a `Conv` or `ConvTranspose` that nobody else reads into its weights
/// (Ioffe & Szegedy 2015, with the statistics fixed): `w * g / sqrt(v + e)`, `(b - m) * g / sqrt(v + e) + t`.
fn fold_batch_norms(graph: &mut Graph, keep: &[String]) -> usize {
    let kept = kept_names(graph, keep);
    let readers = graph.readers();
    let mut maker: HashMap<String, usize> = HashMap::new();
    let mut folds = Vec::new();
    for (at, node) in graph.proto().node.iter().enumerate() {
        if op(node) == "BatchNormalization"
            && let Some(&conv) = node.input.first().and_then(|name| maker.get(name))
            && readers.get(node.input[0].as_str()) == Some(&1)
            && !kept.contains(&node.input[0])
            && let Some(fold) = Fold::of(graph, conv, at)
        {
            folds.push(fold);
        }
        maker.extend(node.output.iter().map(|name| (name.clone(), at)));
    }
    let done = folds.len();
    folds.into_iter().for_each(|fold| fold.apply(graph));
    done
}

/// One folding: the nodes by index, and the new weights.
struct Fold {
    conv: usize,
    norm: usize,
    dims: Vec<usize>,
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl Fold {
    fn of(graph: &Graph, conv_at: usize, norm_at: usize) -> Option<Self> {
        let (conv, norm) = (&graph.proto().node[conv_at], &graph.proto().node[norm_at]);
        let weights = |name: &String| graph.weight(name)?.floats();
        let [_, scale, shift, mean, variance] = &norm.input[..] else { return None };
        let [scale, shift, mean, variance] =
            [weights(scale)?, weights(shift)?, weights(mean)?, weights(variance)?];
        let epsilon = float(norm, "epsilon").unwrap_or(1e-5);
        let gains = scale.iter().zip(&variance).map(|(g, v)| g / (v + epsilon).sqrt()).collect::<Vec<_>>();
        let kernel = graph.weight(conv.input.get(1)?)?;
        let dims = kernel.dims.iter().map(|&d| usize::try_from(d)).collect::<Result<Vec<_>, _>>().ok()?;
        let channel = Channel::of(conv, &dims)?;
        let channels = gains.len();
        if channel.count != channels || [&shift, &mean, &variance].iter().any(|list| list.len() != channels) {
            return None;
        }
        let weight = kernel.floats()?.iter().enumerate().map(|(at, w)| w * gains[channel.at(at)]).collect();
        let old = match conv.input.get(2).filter(|name| !name.is_empty()) {
            Some(bias) => weights(bias).filter(|bias| bias.len() == channels)?,
            None => vec![0.0; channels],
        };
        let bias = (0..channels).map(|c| (old[c] - mean[c]) * gains[c] + shift[c]).collect();
        Some(Self { conv: conv_at, norm: norm_at, dims, weight, bias })
    }

    fn apply(self, graph: &mut Graph) {
        let hint = graph.proto().node[self.conv].input[1].clone();
        let weight = graph.floats(&format!("{hint}_folded"), &self.dims, &self.weight);
        let bias = graph.floats(&format!("{hint}_bias"), &[self.bias.len()], &self.bias);
        let nodes = &mut graph.proto_mut().node;
        let folded = std::mem::take(&mut nodes[self.norm].output);
        let conv = &mut nodes[self.conv];
        conv.input.truncate(1);
        conv.input.extend([weight, bias]);
        conv.output = folded;
    }
}

/// Which output channel an element of a kernel belongs to.
struct Channel {
    count: usize,
    transposed: bool,
    /// Elements of one slice of the first and of the second axis.
    first: usize,
    second: usize,
    per_group: usize,
    inputs_per_group: usize,
}

impl Channel {
    fn of(conv: &NodeProto, dims: &[usize]) -> Option<Self> {
        let [a, b, rest @ ..] = dims else { return None };
        let second: usize = rest.iter().product();
        let group = usize::try_from(int(conv, "group").unwrap_or(1)).ok().filter(|&g| g > 0)?;
        let transposed = match op(conv) {
            "Conv" => false,
            "ConvTranspose" => true,
            _ => return None,
        };
        let count = if transposed { b * group } else { *a };
        let inputs_per_group = (a / group).max(1);
        Some(Self {
            count,
            transposed,
            first: (b * second).max(1),
            second: second.max(1),
            per_group: *b,
            inputs_per_group,
        })
    }

    fn at(&self, element: usize) -> usize {
        let first = element / self.first;
        if !self.transposed {
            return first;
        }
        // Kernels of transposed convolutions are [inputs, outputs a group, ...].
        (first / self.inputs_per_group) * self.per_group + element % self.first / self.second
    }
}
