//! Which part of a detector is its network: what comes before the decode.

use std::collections::HashSet;

use crate::model::INPUT;
use crate::model::graph::{Graph, op};
use crate::model::onnx::{GraphProto, NodeProto};
use crate::model::recipe::Recipe;

/// A detector's network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Network {
    /// The value that the picture is when it enters, its axes and colours in the network's order.
    pub entry: String,
    /// Its values that the rest of the graph reads, in the order of their making.
    pub heads: Vec<String>,
    /// For each node of the graph whether it belongs to it, or comes before it.
    pub nodes: Vec<bool>,
}

/// Whether the node convolves.
pub(super) fn is_convolution(node: &NodeProto) -> bool {
    matches!(op(node), "Conv" | "ConvTranspose")
}

impl Network {
    /// Finds it in a well-formed graph: all that the recipe's heads depend on. A detector without a recipe has a
    /// decode of its own kind, which does not convolve: there it is all that convolutions depend on. None if
    /// there is nothing of the kind.
    pub fn of(graph: &GraphProto, recipe: Option<&Recipe>) -> Option<Self> {
        let mut wanted: HashSet<&str> = match recipe {
            Some(recipe) => recipe.heads.all().map(|head| head.value.as_str()).collect(),
            None => graph.node.iter().filter(|n| is_convolution(n)).flat_map(outputs).collect(),
        };
        let mut nodes = vec![false; graph.node.len()];
        for (node, mine) in graph.node.iter().zip(&mut nodes).rev() {
            if outputs(node).any(|output| wanted.contains(output)) {
                wanted.extend(node.input.iter().map(String::as_str));
                *mine = true;
            }
        }
        let entry = entry(graph, recipe)?;
        let before = graph.node.iter().position(|node| outputs(node).any(|output| output == entry))?;
        let read = read_outside(graph, &nodes);
        let network = graph.node.iter().zip(&nodes).skip(before + 1).filter(|(_, mine)| **mine);
        let made = network.flat_map(|(node, _)| outputs(node));
        let heads: Vec<String> = made.filter(|name| read.contains(name)).map(str::to_owned).collect();
        (!heads.is_empty()).then_some(Self { entry, heads, nodes })
    }

    /// Leaves the network alone in the graph and returns the other nodes, which come after it. Weights that both
    /// read become two, so that one of them may change.
    pub fn take_rest(&self, graph: &mut Graph) -> Vec<NodeProto> {
        let all = std::mem::take(&mut graph.proto_mut().node).into_iter().zip(&self.nodes);
        let (network, rest): (Vec<_>, Vec<_>) = all.partition(|(_, mine)| **mine);
        let mut rest: Vec<NodeProto> = rest.into_iter().map(|(node, _)| node).collect();
        graph.proto_mut().node = network.into_iter().map(|(node, _)| node).collect();
        let shared: Vec<String> = {
            let read: HashSet<&String> = rest.iter().flat_map(|node| &node.input).collect();
            let network = graph.proto().node.iter().flat_map(|node| &node.input);
            let both: HashSet<&String> = network.filter(|name| read.contains(name)).collect();
            both.into_iter().filter(|name| graph.weight(name).is_some()).cloned().collect()
        };
        for name in shared {
            let Some(copy) = graph.copy_weight(&name) else { continue };
            let reads = rest.iter_mut().flat_map(|node| &mut node.input);
            reads.filter(|read| **read == name).for_each(|read| read.clone_from(&copy));
        }
        rest
    }
}

fn outputs(node: &NodeProto) -> impl Iterator<Item = &str> {
    node.output.iter().map(String::as_str)
}

/// The values that nodes which do not belong to the network read, and the graph's outputs.
fn read_outside<'a>(graph: &'a GraphProto, nodes: &[bool]) -> HashSet<&'a str> {
    let rest = graph.node.iter().zip(nodes).filter(|(_, mine)| !**mine);
    let read = rest.flat_map(|(node, _)| &node.input).map(String::as_str);
    read.chain(graph.output.iter().filter_map(|value| value.name.as_deref())).collect()
}

/// The value of the recipe's input where there is one; else what the pictures are after they were cast and
/// transposed.
fn entry(graph: &GraphProto, recipe: Option<&Recipe>) -> Option<String> {
    let told = recipe.map(|recipe| recipe.input.name.as_str()).filter(|&name| name != INPUT);
    if let Some(name) = told.filter(|name| graph.node.iter().flat_map(outputs).any(|o| o == *name)) {
        return Some(name.to_owned());
    }
    let mut value = INPUT;
    loop {
        let mut readers = graph.node.iter().filter(|node| node.input.iter().any(|input| input == value));
        let next = readers.next().filter(|node| matches!(op(node), "Cast" | "Transpose" | "Identity"));
        match (next, readers.next()) {
            (Some(node), None) => value = node.output.first()?,
            _ => break,
        }
    }
    (value != INPUT).then(|| value.to_owned())
}
