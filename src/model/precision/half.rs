//! A network in float16. TensorRT takes precision from the graph (since version 11 only from there), so that
//! is where it is written. What decides about peaks stays in float32: heads are cast before the decode.

use std::collections::HashSet;

use half::f16;

use super::PrecisionError;
use crate::model::graph::{Attr, Graph, attribute, op, set_attribute};
use crate::model::onnx::{ElementType, NodeProto, TensorProto};

/// Inputs that the operators want as float32 whatever the rest is: `Resize`'s regions and factors.
fn stays_float(node: &NodeProto, input: usize) -> bool {
    matches!(op(node), "Resize" | "Upsample") && input > 0
}

/// Rewrites everything from the value `input` on to float16, and casts `heads` back: they keep their names,
/// and are float32.
///
/// # Errors
/// What cannot be rewritten: functions, inner graphs, quantised nodes, weights that float16 cannot hold.
pub(in crate::model) fn to_half(
    graph: &mut Graph,
    input: &str,
    heads: &[String],
) -> Result<(), PrecisionError> {
    if !graph.frame().functions.is_empty() {
        return Err(PrecisionError::Functions);
    }
    let before = network_begins(graph, input);
    let float = float_weights(graph, before);
    for weight in &mut graph.proto_mut().initializer {
        if weight.name.as_ref().is_some_and(|name| float.contains(name)) {
            halve(weight)?;
        }
    }
    for node in &mut graph.proto_mut().node[before..] {
        halve_attributes(node)?;
    }
    let entry = graph.fresh("network_half");
    let to = ("to", Attr::Int(ElementType::Float16 as i64));
    rename_reads(graph, before, input, &entry);
    let rest = graph.proto_mut().node.split_off(before);
    graph.node_into("Cast", &[input], &[entry], &[to]);
    graph.proto_mut().node.extend(rest);
    heads_to_float(graph, heads);
    Ok(())
}

/// Casts float16 heads to float32; they keep their names.
pub(in crate::model) fn heads_to_float(graph: &mut Graph, heads: &[String]) {
    for head in heads {
        let inner = graph.fresh(&format!("{head}_half"));
        graph.rename_value(head, &inner);
        let to = ("to", Attr::Int(ElementType::Float as i64));
        graph.node_into("Cast", &[&inner], std::slice::from_ref(head), &[to]);
    }
}

/// The index of the first node after the one that makes `input`.
fn network_begins(graph: &Graph, input: &str) -> usize {
    graph.proto().node.iter().position(|node| node.output.iter().any(|o| o == input)).map_or(0, |at| at + 1)
}

/// The float32 weights that the network's nodes read as numbers to compute with.
fn float_weights(graph: &Graph, from: usize) -> HashSet<String> {
    let float =
        |name: &&String| graph.weight(name).is_some_and(|w| w.data_type == Some(ElementType::Float as i32));
    let (before, network) = graph.proto().node.split_at(from);
    let other: HashSet<&String> = before
        .iter()
        .flat_map(|node| &node.input)
        .chain(network.iter().flat_map(|node| {
            node.input.iter().enumerate().filter(|&(at, _)| stays_float(node, at)).map(|(_, name)| name)
        }))
        .collect();
    network
        .iter()
        .flat_map(|node| &node.input)
        .filter(|name| !other.contains(name))
        .filter(float)
        .cloned()
        .collect()
}

fn halve(weight: &mut TensorProto) -> Result<(), PrecisionError> {
    let name = weight.name.clone().unwrap_or_default();
    let refuse = |problem| PrecisionError::Weight { weight: name.clone(), problem };
    let values = weight.floats().ok_or_else(|| refuse("its elements do not match its shape"))?;
    let half: Vec<f16> = values.iter().map(|&v| f16::from_f32(v)).collect();
    if half.iter().any(|v| v.is_infinite()) {
        return Err(refuse(
            "it holds numbers over 65504, which float16 cannot; leave the network in float32",
        ));
    }
    weight.raw_data = Some(half.iter().flat_map(|v| v.to_le_bytes()).collect());
    weight.float_data.clear();
    weight.data_type = Some(ElementType::Float16 as i32);
    Ok(())
}

fn halve_attributes(node: &mut NodeProto) -> Result<(), PrecisionError> {
    if node.attribute.iter().any(|attribute| attribute.g.is_some()) {
        return Err(PrecisionError::of(node, "has inner graphs, which are not rewritten"));
    }
    match op(node) {
        "Cast" if node.attribute.iter().any(|a| a.i == Some(ElementType::Float as i64)) => {
            set_attribute(node, attribute("to", Attr::Int(ElementType::Float16 as i64)));
            Ok(())
        }
        "QuantizeLinear" | "DequantizeLinear" => {
            Err(PrecisionError::of(node, "is quantised already; start from the network as it was before"))
        }
        _ => node.attribute.iter_mut().filter_map(|a| a.t.as_mut()).try_for_each(|tensor| {
            if tensor.data_type == Some(ElementType::Float as i32) { halve(tensor) } else { Ok(()) }
        }),
    }
}

fn rename_reads(graph: &mut Graph, from: usize, old: &str, new: &str) {
    let reads = graph.proto_mut().node[from..].iter_mut().flat_map(|node| &mut node.input);
    reads.filter(|name| *name == old).for_each(|name| *name = new.to_owned());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::onnx::Dim;

    #[test]
    fn the_network_is_half_and_its_heads_are_float() {
        let mut graph = Graph::new("g");
        let x = graph.input("x", ElementType::Float, &[Dim::Value(1)]);
        let x = graph.with_number("Mul", &x, 2.0);
        let w = graph.float("w", 0.5);
        let factors = graph.floats("factors", &[4], &[1.0; 4]);
        let y = graph.node("Mul", &[&x, &w], "y", &[]);
        let y = graph.node("Resize", &[&y, "", &factors], "head", &[]);
        to_half(&mut graph, &x, std::slice::from_ref(&y)).unwrap();
        graph.output(&y, ElementType::Float, &[]);
        graph.check().unwrap();
        let kind = |name: &str| graph.weight(name).unwrap().data_type;
        assert_eq!([kind("number"), kind("w"), kind("factors")], [Some(1), Some(10), Some(1)]);
        let ops: Vec<_> = graph.proto().node.iter().map(op).collect();
        assert_eq!(ops, ["Mul", "Cast", "Mul", "Resize", "Cast"]);
        assert_eq!(graph.proto().node[4].output, ["head"]);
        assert_eq!(graph.proto().node[3].output, ["head_half"]);
        let names: HashSet<_> = graph.proto().node.iter().map(|node| &node.name).collect();
        assert_eq!(names.len(), ops.len(), "ONNX Runtime refuses two nodes of one name");
    }

    #[test]
    fn numbers_too_great_for_float16_are_named() {
        let mut graph = Graph::new("g");
        let x = graph.input("x", ElementType::Float, &[]);
        let y = graph.with_number("Mul", &x, 1e9);
        graph.output(&y, ElementType::Float, &[]);
        let error = to_half(&mut graph, &x, &[y]).unwrap_err().to_string();
        assert!(error.contains("\"number\"") && error.contains("65504"), "{error}");
    }
}
