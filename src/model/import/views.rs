//! `Reshape`s that hold the sides of a feature map, of a network that is to run at another size.
//!
//! `x.view(b, 2, c // 2, h, w)` comes out of an exporter as the numbers it had. Next to the shape of what is
//! reshaped they can be read again: axes that were kept, split or joined, from left to right.

use super::Probed;
use crate::model::graph::{Graph, op, take_attribute};

/// Where a size in a target comes from.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Axis {
    /// The number itself.
    Number(i64),
    /// As long as this axis of what is reshaped.
    Kept(usize),
    /// What is left; stands for several axes joined.
    Joined,
}

/// The values that `Reshape` nodes with numbers for a target read.
pub(super) fn fixed_reshapes(graph: &Graph) -> Vec<String> {
    let fixed = (0..graph.proto().node.len()).filter(|&at| target(graph, at).is_some());
    fixed.filter_map(|at| graph.proto().node[at].input.first().cloned()).collect()
}

fn target(graph: &Graph, at: usize) -> Option<Vec<i64>> {
    let node = &graph.proto().node[at];
    let shape = graph.weight(node.input.get(1)?)?.int64s()?;
    (op(node) == "Reshape" && shape.len() > 2 && shape.iter().filter(|&&size| size > 0).count() > 1)
        .then_some(shape)
}

/// Lets those `Reshape`s take sizes from what they reshape; `shapes` are those of what they read, at the size
/// that the targets were written for. A target that cannot be read stays as it is.
pub(super) fn free_reshapes(graph: &mut Graph, shapes: &[Probed]) {
    let mut at = 0;
    while at < graph.proto().node.len() {
        let read = shapes.iter().find(|probed| Some(&probed.name) == graph.proto().node[at].input.first());
        let axes = read.zip(target(graph, at)).and_then(|(read, target)| axes(&read.shape, &target));
        if let Some(axes) = axes {
            at += set_target(graph, at, &axes);
        }
        at += 1;
    }
}

/// How the axes of `target` come from those of `from`.
fn axes(from: &[i64], target: &[i64]) -> Option<Vec<Axis>> {
    let target = &whole(from, target)?[..];
    let mut axes = Vec::new();
    let (mut i, mut j) = (0, 0);
    while let (Some(&old), Some(&new)) = (from.get(i), target.get(j)) {
        if old == new {
            axes.push(Axis::Kept(i));
            (i, j) = (i + 1, j + 1);
        } else if old > new {
            // One axis became several.
            let length = run(&target[j..], old)?;
            axes.extend(target[j..j + length].iter().map(|&size| Axis::Number(size)));
            (i, j) = (i + 1, j + length);
        } else {
            i += run(&from[i..], new)?;
            axes.push(Axis::Joined);
            j += 1;
        }
    }
    let rest_is_one = |rest: &[i64]| rest.iter().all(|&size| size == 1);
    axes.extend(target[j..].iter().map(|&size| Axis::Number(size)));
    let joined = axes.iter().filter(|axis| **axis == Axis::Joined).count();
    (joined < 2 && rest_is_one(&from[i..]) && rest_is_one(&target[j..])).then_some(axes)
}

/// The target with its 0 (as long as that axis was) and its -1 (what is left) worked out.
fn whole(from: &[i64], target: &[i64]) -> Option<Vec<i64>> {
    let copied = |(at, &size): (usize, &i64)| if size == 0 { from.get(at).copied() } else { Some(size) };
    let mut sizes = target.iter().enumerate().map(copied).collect::<Option<Vec<_>>>()?;
    let product = |sizes: &[i64]| {
        sizes.iter().filter(|&&size| size != -1).try_fold(1i64, |product, &size| product.checked_mul(size))
    };
    let (all, told) = (product(from)?, product(&sizes)?);
    sizes.iter_mut().filter(|size| **size == -1).for_each(|size| *size = all.checked_div(told).unwrap_or(0));
    (sizes.iter().all(|&size| size > 0) && product(&sizes) == Some(all)).then_some(sizes)
}

/// How many of the first sizes multiply to `product`.
fn run(sizes: &[i64], product: i64) -> Option<usize> {
    let mut so_far = 1i64;
    for (at, &size) in sizes.iter().enumerate() {
        so_far = so_far.checked_mul(size).filter(|&so_far| (1..=product).contains(&so_far))?;
        if so_far == product {
            return Some(at + 1);
        }
    }
    None
}

/// Gives the `Reshape` at an index its new target; returns how many nodes came before it.
fn set_target(graph: &mut Graph, at: usize, axes: &[Axis]) -> usize {
    let number = |(at, axis): (usize, &Axis)| match *axis {
        Axis::Number(size) => Some(size),
        Axis::Kept(from) if from == at => Some(0),
        Axis::Kept(_) => None,
        Axis::Joined => Some(-1),
    };
    let mut sizes: Vec<Option<i64>> = axes.iter().enumerate().map(number).collect();
    let moved: Vec<usize> = (0..sizes.len()).filter(|&at| sizes[at].is_none()).collect();
    if let (&[only], false) = (&moved[..], axes.contains(&Axis::Joined)) {
        sizes[only] = Some(-1);
    }
    take_attribute(&mut graph.proto_mut().node[at], "allowzero");
    let rest = graph.proto_mut().node.split_off(at);
    let before = graph.proto().node.len();
    let target = match sizes.iter().copied().collect::<Option<Vec<i64>>>() {
        Some(sizes) => graph.int64s("free_shape", &[sizes.len()], &sizes),
        None => {
            let read = rest[0].input[0].clone();
            let shape = graph.node("Shape", &[&read], "shape_of", &[]);
            let parts: Vec<String> = sizes
                .iter()
                .zip(axes)
                .map(|(size, axis)| match (size, axis) {
                    (None, &Axis::Kept(from)) => graph.pick(&shape, 0, &[from as i64]),
                    (size, _) => graph.int64s("size", &[1], &[size.unwrap_or(-1)]),
                })
                .collect();
            graph.concat(&parts.iter().map(String::as_str).collect::<Vec<_>>(), 0)
        }
    };
    let added = graph.proto().node.len() - before;
    graph.proto_mut().node.extend(rest);
    graph.proto_mut().node[at + added].input[1] = target;
    added
}

#[cfg(test)]
mod tests {
    use Axis::{Joined, Kept, Number};

    use super::*;
    use crate::model::onnx::ElementType;

    #[test]
    fn axes_are_kept_split_and_joined() {
        for (from, target, expected) in [
            (
                &[1, 32, 24, 40][..],
                &[0, 2, 16, 24, 40][..],
                Some(vec![Kept(0), Number(2), Number(16), Kept(2), Kept(3)]),
            ),
            (&[1, 16, 2, 24, 40], &[1, 32, 24, 40], Some(vec![Kept(0), Joined, Kept(3), Kept(4)])),
            (&[1, 32, 24, 40], &[1, 32, 960], Some(vec![Kept(0), Kept(1), Joined])),
            (&[1, 32, 1, 1], &[1, 32], Some(vec![Kept(0), Kept(1)])),
            (&[1, 32], &[1, 32, 1, 1], Some(vec![Kept(0), Kept(1), Number(1), Number(1)])),
            (&[1, 16, 2, 24, 40], &[1, -1, 24, 40], Some(vec![Kept(0), Joined, Kept(3), Kept(4)])),
            (&[1, 8, 24, 40], &[-1, 8, 24, 40], Some(vec![Kept(0), Kept(1), Kept(2), Kept(3)])),
            (&[1, 6, 10], &[1, 4, 15], None),
            (&[1, 6, 10], &[1, -1, -1], None),
            (&[1, 6, 10], &[1, 7, 9], None),
            (&[4, 5, 4, 5], &[20, 20], None),
        ] {
            assert_eq!(axes(from, target), expected, "{from:?} {target:?}");
        }
    }

    fn freed(from: &[i64], target: &[i64]) -> Graph {
        let mut graph = Graph::new("g");
        let x = graph.input("x", ElementType::Float, &[]);
        let y = graph.reshape(&x, target);
        graph.output(&y, ElementType::Float, &[]);
        assert_eq!(fixed_reshapes(&graph), ["x"]);
        let probed = Probed { name: x, element: 1, shape: from.to_vec(), least: 0.0, greatest: 1.0 };
        free_reshapes(&mut graph, &[probed]);
        graph.check().unwrap();
        graph
    }

    fn shape(graph: &Graph) -> Option<Vec<i64>> {
        graph.weight(&graph.proto().node.last().unwrap().input[1])?.int64s()
    }

    #[test]
    fn one_side_that_moved_is_left_to_be_worked_out_and_two_are_read() {
        assert_eq!(shape(&freed(&[1, 32, 24, 40], &[1, 32, 960])), Some(vec![0, 0, -1]));
        assert_eq!(shape(&freed(&[1, 32, 7], &[1, 4, 8, 7])), Some(vec![0, 4, 8, -1]));
        let graph = freed(&[1, 32, 24, 40], &[1, 2, 16, 24, 40]);
        let ops: Vec<_> = graph.proto().node.iter().map(op).collect();
        assert_eq!(ops, ["Shape", "Gather", "Gather", "Concat", "Reshape"]);
        assert_eq!(shape(&freed(&[1, 6, 10], &[1, 4, 15])), Some(vec![1, 4, 15]), "left as it was");
    }
}
