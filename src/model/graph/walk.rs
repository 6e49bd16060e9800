//! Ways through a graph: who makes, reads and holds which values.

use std::collections::{HashMap, HashSet};

use super::op;
use crate::model::onnx::{GraphProto, NodeProto};

/// Why a graph is not well-formed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// A node or an output uses a value that nothing before it makes.
    #[error("{user} uses the value {value:?}, which nothing before it makes")]
    Undefined {
        /// The node or output.
        user: String,
        /// The value.
        value: String,
    },
    /// Two inputs, weights or nodes make a value of one name.
    #[error("{maker} makes the value {value:?}, which exists already")]
    Twice {
        /// The second one.
        maker: String,
        /// The value.
        value: String,
    },
}

/// Names of the values that exist before the first node runs.
pub(super) fn given(graph: &GraphProto) -> impl Iterator<Item = &str> {
    let inputs = graph.input.iter().filter_map(|value| value.name.as_deref());
    let weights = graph.initializer.iter().filter_map(|weight| weight.name.as_deref());
    let sparse = graph.sparse_initializer.iter();
    let sparse = sparse.filter_map(|weight| weight.values.as_ref().and_then(|v| v.name.as_deref()));
    inputs.chain(weights).chain(sparse)
}

fn subgraphs(node: &NodeProto) -> impl Iterator<Item = &GraphProto> {
    node.attribute.iter().flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs))
}

pub(super) fn collect_names(graph: &GraphProto, names: &mut HashSet<String>) {
    names.extend(given(graph).map(str::to_owned));
    for node in &graph.node {
        names.extend(node.output.iter().cloned());
        // ONNX Runtime wants nodes' names to be unique as well.
        names.extend(node.name.iter().cloned());
        subgraphs(node).for_each(|inner| collect_names(inner, names));
    }
}

/// Calls `found` for each value the node reads, those that its inner graphs take from outside included
/// (and those that they make themselves, which does no harm: names are unique).
pub(super) fn for_each_use(node: &NodeProto, found: &mut dyn FnMut(&str)) {
    node.input.iter().for_each(|name| found(name));
    for inner in subgraphs(node) {
        inner.output.iter().filter_map(|value| value.name.as_deref()).for_each(&mut *found);
        inner.node.iter().for_each(|node| for_each_use(node, found));
    }
}

pub(super) fn replace_uses(node: &mut NodeProto, instead: &HashMap<String, String>) {
    let swap = |name: &mut String| {
        if let Some(other) = instead.get(name.as_str()) {
            name.clone_from(other);
        }
    };
    node.input.iter_mut().for_each(swap);
    for attribute in &mut node.attribute {
        for inner in attribute.g.iter_mut().chain(&mut attribute.graphs) {
            inner.node.iter_mut().for_each(|node| replace_uses(node, instead));
            inner.output.iter_mut().filter_map(|value| value.name.as_mut()).for_each(swap);
        }
    }
}

pub(super) fn check(graph: &GraphProto, outer: &HashSet<&str>) -> Result<(), GraphError> {
    let mut defined = outer.clone();
    let inputs: HashSet<&str> = graph.input.iter().filter_map(|value| value.name.as_deref()).collect();
    let mut own: HashSet<&str> = HashSet::new();
    for name in given(graph) {
        // Before IR version 4, weights were listed among the inputs as well.
        if !own.insert(name) && !inputs.contains(name) {
            return Err(GraphError::Twice { maker: "a weight".to_owned(), value: name.to_owned() });
        }
        defined.insert(name);
    }
    for node in &graph.node {
        let user = || format!("node {:?} ({})", node.name.as_deref().unwrap_or(""), op(node));
        for name in node.input.iter().filter(|name| !name.is_empty()) {
            if !defined.contains(name.as_str()) {
                return Err(GraphError::Undefined { user: user(), value: name.clone() });
            }
        }
        subgraphs(node).try_for_each(|inner| check(inner, &defined))?;
        for name in node.output.iter().filter(|name| !name.is_empty()) {
            if !defined.insert(name) {
                return Err(GraphError::Twice { maker: user(), value: name.clone() });
            }
        }
    }
    for value in &graph.output {
        let name = value.name.as_deref().unwrap_or("");
        if !defined.contains(name) {
            return Err(GraphError::Undefined { user: "an output".to_owned(), value: name.to_owned() });
        }
    }
    Ok(())
}

/// Removes nodes and weights that no output depends on; returns how many of them.
pub(super) fn remove_dead(graph: &mut GraphProto) -> usize {
    let mut live: HashSet<String> = graph.output.iter().filter_map(|value| value.name.clone()).collect();
    let weights = |graph: &GraphProto| graph.initializer.len() + graph.sparse_initializer.len();
    let before = graph.node.len() + weights(graph);
    let mut kept = Vec::new();
    for node in std::mem::take(&mut graph.node).into_iter().rev() {
        if node.output.iter().any(|output| live.contains(output)) {
            for_each_use(&node, &mut |name| _ = live.insert(name.to_owned()));
            kept.push(node);
        }
    }
    kept.reverse();
    graph.node = kept;
    graph.initializer.retain(|weight| weight.name.as_ref().is_some_and(|name| live.contains(name)));
    graph.sparse_initializer.retain(|weight| {
        weight.values.as_ref().and_then(|values| values.name.as_ref()).is_some_and(|name| live.contains(name))
    });
    before - graph.node.len() - weights(graph)
}
