//! Sizes that the exporter worked out from numbers it knew become numbers again.
//!
//! PyTorch writes `interpolate` to a known size, without constant folding, as a chain of `Unsqueeze`,
//! `Concat` and `Cast` over constants. Only whole numbers are folded, lists at most: that is what sizes are.

use std::collections::HashMap;

use crate::model::graph::{Graph, int, op};
use crate::model::onnx::{ElementType, NodeProto, TensorProto};

/// More elements than this are no size.
const MAX_ELEMENTS: usize = 64;

/// Whole numbers: one, or a list.
#[derive(Clone, Debug, PartialEq)]
struct Numbers {
    list: bool,
    values: Vec<i64>,
}

/// Turns nodes whose inputs are all known whole numbers into weights; returns how many.
pub(super) fn fold(graph: &mut Graph) -> usize {
    let mut known: HashMap<String, Numbers> = graph
        .proto()
        .initializer
        .iter()
        .filter_map(|weight| Some((weight.name.clone()?, numbers(weight)?)))
        .collect();
    let outputs: Vec<_> = graph.proto().output.iter().filter_map(|value| value.name.clone()).collect();
    let (mut rest, mut folded) = (Vec::new(), Vec::new());
    for node in std::mem::take(&mut graph.proto_mut().node) {
        let value = match &node.output[..] {
            [output] if !outputs.contains(output) => evaluate(&node, &known).map(|value| (output, value)),
            _ => None,
        };
        match value {
            Some((output, value)) => {
                folded.push(tensor(output, &value));
                known.insert(output.clone(), value);
            }
            None => rest.push(node),
        }
    }
    let count = folded.len();
    let proto = graph.proto_mut();
    proto.node = rest;
    proto.initializer.extend(folded);
    count
}

fn numbers(weight: &TensorProto) -> Option<Numbers> {
    let small = weight.dims.len() < 2 && weight.elements().is_some_and(|count| count <= MAX_ELEMENTS);
    let whole = weight.data_type == Some(ElementType::Int64 as i32);
    let values = if small && whole { weight.int64s()? } else { return None };
    Some(Numbers { list: weight.dims.len() == 1, values })
}

fn tensor(name: &str, value: &Numbers) -> TensorProto {
    TensorProto {
        name: Some(name.to_owned()),
        data_type: Some(ElementType::Int64 as i32),
        dims: if value.list { vec![value.values.len() as i64] } else { Vec::new() },
        raw_data: Some(value.values.iter().flat_map(|v| v.to_le_bytes()).collect()),
        ..Default::default()
    }
}

fn evaluate(node: &NodeProto, known: &HashMap<String, Numbers>) -> Option<Numbers> {
    let inputs = node.input.iter().map(|name| known.get(name)).collect::<Option<Vec<_>>>()?;
    let first = *inputs.first()?;
    let axis = int(node, "axis").unwrap_or(0);
    match op(node) {
        "Identity" => Some(first.clone()),
        "Cast" if int(node, "to") == Some(ElementType::Int64 as i64) => Some(first.clone()),
        "Unsqueeze" if !first.list => Some(Numbers { list: true, values: first.values.clone() }),
        "Squeeze" if first.list && first.values.len() == 1 => {
            Some(Numbers { list: false, values: first.values.clone() })
        }
        "Concat" if matches!(axis, 0 | -1) && inputs.iter().all(|numbers| numbers.list) => {
            let values: Vec<i64> = inputs.iter().flat_map(|numbers| numbers.values.iter().copied()).collect();
            (values.len() <= MAX_ELEMENTS).then_some(Numbers { list: true, values })
        }
        "Gather" if axis == 0 && first.list => {
            let at = |&index: &i64| {
                let from_end = if index < 0 { first.values.len() as i64 } else { 0 };
                first.values.get(usize::try_from(index + from_end).ok()?).copied()
            };
            let indices = *inputs.get(1)?;
            let values = indices.values.iter().map(at).collect::<Option<Vec<_>>>()?;
            Some(Numbers { list: indices.list, values })
        }
        "Add" => arithmetic(&inputs, i64::checked_add),
        "Sub" => arithmetic(&inputs, i64::checked_sub),
        "Mul" => arithmetic(&inputs, i64::checked_mul),
        // ONNX rounds towards zero, as Rust does.
        "Div" => arithmetic(&inputs, i64::checked_div),
        _ => None,
    }
}

/// A sum or the like of lists of one length, or of a list and a number.
fn arithmetic(inputs: &[&Numbers], of: fn(i64, i64) -> Option<i64>) -> Option<Numbers> {
    let &[a, b] = inputs else { return None };
    let count = a.values.len().max(b.values.len());
    let fits = |numbers: &Numbers| numbers.values.len() == count || numbers.values.len() == 1;
    if !fits(a) || !fits(b) {
        return None;
    }
    let at = |numbers: &Numbers, index: usize| numbers.values.get(index).or(numbers.values.first()).copied();
    let values = (0..count).map(|index| of(at(a, index)?, at(b, index)?)).collect::<Option<Vec<_>>>()?;
    Some(Numbers { list: a.list || b.list, values })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::graph::Attr;

    /// What the last node of a graph comes to.
    fn folded(make: impl FnOnce(&mut Graph) -> String) -> Option<Vec<i64>> {
        let mut graph = Graph::new("g");
        let last = make(&mut graph);
        graph.node("Reshape", &["x", &last], "y", &[]);
        fold(&mut graph);
        graph.weight(&last)?.int64s()
    }

    #[test]
    fn a_size_that_was_put_together_is_a_size() {
        let size = folded(|graph| {
            let axis = graph.int64s("axis", &[1], &[0]);
            let sides = [24, 32].map(|side| {
                let side = graph.int64s("side", &[], &[side]);
                graph.node("Unsqueeze", &[&side, &axis], "list", &[])
            });
            let both = graph.concat(&[&sides[0], &sides[1]], 0);
            graph.node("Cast", &[&both], "cast", &[("to", Attr::Int(ElementType::Int64 as i64))])
        });
        assert_eq!(size, Some(vec![24, 32]));
    }

    #[test]
    fn numbers_are_picked_and_added_as_onnx_does() {
        let picked = folded(|graph| {
            let list = graph.int64s("list", &[3], &[7, -8, 9]);
            let index = graph.int64s("index", &[2], &[-1, 1]);
            let picked = graph.node("Gather", &[&list, &index], "picked", &[]);
            let three = graph.int64s("three", &[], &[3]);
            graph.binary("Div", &picked, &three)
        });
        assert_eq!(picked, Some(vec![3, -2]));
    }

    #[test]
    fn what_is_not_known_or_makes_no_sense_is_left() {
        let cases: [fn(&mut Graph) -> String; 4] = [
            |graph| {
                let zero = graph.int64s("zero", &[1], &[0]);
                graph.binary("Div", &zero, &zero)
            },
            |graph| {
                let list = graph.int64s("list", &[1], &[1]);
                let index = graph.int64s("index", &[], &[5]);
                graph.node("Gather", &[&list, &index], "picked", &[])
            },
            |graph| {
                let [two, three] = [2, 3].map(|count| graph.int64s("list", &[count], &vec![1; count]));
                graph.binary("Add", &two, &three)
            },
            |graph| graph.node("Shape", &["x"], "shape", &[]),
        ];
        for make in cases {
            assert_eq!(folded(make), None);
        }
    }
}
