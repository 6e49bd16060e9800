//! Ways through a graph: who makes, reads and holds which values.

use std::collections::{HashMap, HashSet};

use super::{GraphError, op};
use crate::model::onnx::{GraphProto, NodeProto};

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
