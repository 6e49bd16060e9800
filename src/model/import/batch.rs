//! A graph saved for one batch and one size, set free: what was written down as a number is worked out from
//! the input again.

use std::collections::HashMap;

use super::{ImportError, Probed};
use crate::model::graph::{Graph, op, take_attribute};
use crate::model::onnx::NodeProto;

/// Shapes that were written down for the old size, and the first axis of `Reshape`s that held the old batch.
pub(super) fn free_batch(graph: &mut Graph, batch: Option<i64>) {
    let proto = graph.proto_mut();
    proto.value_info.clear();
    for output in &mut proto.output {
        if let Some(tensor) = output.r#type.as_mut().and_then(|kind| kind.tensor_type.as_mut()) {
            tensor.shape = None;
        }
    }
    let Some(batch) = batch else { return };
    let mut free: HashMap<usize, Vec<i64>> = HashMap::new();
    for (at, node) in graph.proto().node.iter().enumerate().filter(|(_, node)| op(node) == "Reshape") {
        let shape = node.input.get(1).and_then(|name| graph.weight(name)?.int64s());
        if let Some([first, rest @ ..]) = shape.as_deref()
            && *first == batch
            && !rest.is_empty()
        {
            // 0 says: as many as the input has.
            free.insert(at, [&[0], rest].concat());
        }
    }
    for (at, shape) in free {
        let shape = graph.int64s("free_shape", &[shape.len()], &shape);
        let node = &mut graph.proto_mut().node[at];
        node.input[1] = shape;
        // Else 0 would be a size.
        take_attribute(node, "allowzero");
    }
}

/// The values that `Resize` nodes with a fixed target size read.
pub(super) fn fixed_resizes(graph: &Graph) -> Vec<String> {
    let fixed =
        graph.proto().node.iter().filter(|node| op(node) == "Resize" && target(graph, node).is_some());
    fixed.filter_map(|node| node.input.first().cloned()).collect()
}

/// Height and width that a `Resize` is told, if they are numbers: in a constant, or in one joined to the batch
/// and channels worked out at run time, as PyTorch exports `interpolate(size=...)`.
fn target(graph: &Graph, node: &NodeProto) -> Option<[i64; 2]> {
    let told = node.input.get(3)?;
    let last_two = |name: &String| graph.weight(name)?.int64s()?.last_chunk().copied();
    let joined = || {
        let concat = graph.maker(told)?;
        concat.input.last().filter(|_| op(concat) == "Concat").and_then(last_two)
    };
    last_two(told).or_else(joined)
}

/// Gives `Resize` nodes factors instead of target sizes; `shapes` are those of what they read at the size the
/// targets were written for.
pub(super) fn free_resizes(graph: &mut Graph, shapes: &[Probed]) -> Result<(), ImportError> {
    for at in 0..graph.proto().node.len() {
        let node = &graph.proto().node[at];
        if op(node) != "Resize" {
            continue;
        }
        let Some(target) = target(graph, node) else { continue };
        let read = shapes.iter().find(|probed| Some(&probed.name) == node.input.first());
        let Some(&[_, _, height, width]) = read.map(|probed| &probed.shape[..]) else {
            return Err(ImportError::of(node, "resizes something other than a feature map".to_owned()));
        };
        let factor = |to: i64, from: i64| to as f32 / from.max(1) as f32;
        let factors = [1.0, 1.0, factor(target[0], height), factor(target[1], width)];
        let factors = graph.floats("resize_factors", &[4], &factors);
        let node = &mut graph.proto_mut().node[at];
        node.input.truncate(2);
        node.input.resize(2, String::new());
        node.input.push(factors);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::onnx::{Dim, ElementType};

    #[test]
    fn reshapes_take_the_batch_from_their_input() {
        let mut graph = Graph::new("g");
        let x = graph.input("x", ElementType::Float, &[Dim::Value(4), Dim::Value(3)]);
        let y = graph.reshape(&x, &[4, -1]);
        let z = graph.reshape(&y, &[-1]);
        graph.output(&z, ElementType::Float, &[Dim::Value(12)]);
        free_batch(&mut graph, Some(4));
        graph.remove_dead();
        let shape = |at: usize| graph.weight(&graph.proto().node[at].input[1]).unwrap().int64s().unwrap();
        assert_eq!([shape(0), shape(1)], [vec![0, -1], vec![-1]]);
        assert_eq!(graph.proto().output[0].to_string(), "reshaped_2 float32 of any shape");
    }

    #[test]
    fn a_target_may_be_joined_to_a_shape() {
        let mut graph = Graph::new("g");
        let x = graph.input("x", ElementType::Float, &[]);
        let kept = graph.input("kept", ElementType::Int64, &[Dim::Value(2)]);
        let sizes = graph.int64s("sizes", &[2], &[32, 48]);
        let sizes = graph.concat(&[&kept, &sizes], 0);
        let y = graph.node("Resize", &[&x, "", "", &sizes], "y", &[]);
        graph.output(&y, ElementType::Float, &[]);
        assert_eq!(target(&graph, &graph.proto().node[1]), Some([32, 48]));
    }

    #[test]
    fn target_sizes_become_factors() {
        let mut graph = Graph::new("g");
        let x = graph.input("x", ElementType::Float, &[]);
        let sizes = graph.int64s("sizes", &[4], &[1, 8, 32, 48]);
        let y = graph.node("Resize", &[&x, "", "", &sizes], "y", &[]);
        graph.output(&y, ElementType::Float, &[]);
        assert_eq!(fixed_resizes(&graph), ["x"]);
        let probed = Probed { name: x, element: 1, shape: vec![1, 8, 16, 16], least: 0.0, greatest: 1.0 };
        free_resizes(&mut graph, &[probed]).unwrap();
        let node = &graph.proto().node[0];
        assert_eq!(graph.weight(&node.input[2]).unwrap().floats().unwrap(), [1.0, 1.0, 2.0, 3.0]);
        assert!(fixed_resizes(&graph).is_empty());
    }
}
