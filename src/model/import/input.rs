//! The network's input: found, and put behind `images` with the normalisation the network wants.

use super::{ImportError, Normalize, Size};
use crate::model::decode;
use crate::model::graph::Graph;
use crate::model::onnx::{Dim, ElementType, GraphProto};
use crate::model::recipe::{Input, Layout};
use crate::model::{INPUT, listed};

/// The input of a foreign network.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Found {
    pub name: String,
    pub layout: Layout,
    pub element: i32,
    /// The batch it was saved with, if that is fixed.
    pub batch: Option<i64>,
    /// The size it was saved with, if that is fixed.
    pub size: Option<Size>,
}

/// Element types that a network can take pictures in.
const PICTURES: [ElementType; 4] =
    [ElementType::Float, ElementType::Float16, ElementType::Uint8, ElementType::Int32];

impl Found {
    /// The one input of the graph that is a picture.
    pub fn of(graph: &GraphProto, layout: Option<Layout>) -> Result<Self, ImportError> {
        let inputs: Vec<_> = graph.fed_inputs().collect();
        let refuse = |problem: &str| ImportError::Input {
            problem: problem.to_owned(),
            found: listed(inputs.iter().copied()),
        };
        let &[input] = &inputs[..] else { return Err(refuse("the network must have one input")) };
        let tensor = input.r#type.as_ref().and_then(|kind| kind.tensor_type.as_ref());
        let tensor = tensor.ok_or_else(|| refuse("its input must be a tensor"))?;
        let element = tensor.elem_type.unwrap_or(0);
        if !PICTURES.iter().any(|&known| known as i32 == element) {
            return Err(refuse("its input must be float32, float16, uint8 or int32"));
        }
        let dims: Vec<Option<i64>> = match &tensor.shape {
            Some(shape) => shape.dim.iter().map(|dim| fixed(dim.value.as_ref())).collect(),
            None => vec![None; 4],
        };
        let &[batch, a, b, c] = &dims[..] else {
            return Err(refuse("its input must have four axes"));
        };
        let (layout, sides) = match layout.or_else(|| guess(a, c)) {
            Some(Layout::Nchw) if matches!(a, None | Some(3)) => (Layout::Nchw, (b, c)),
            Some(Layout::Nhwc) if matches!(c, None | Some(3)) => (Layout::Nhwc, (a, b)),
            _ => return Err(refuse("its input must have 3 channels, on the second or the last axis")),
        };
        let size = match sides {
            (Some(height), Some(width)) => Size::new(width, height),
            _ => None,
        };
        let name = input.name.clone().unwrap_or_default();
        Ok(Self { name, layout, element, batch, size })
    }
}

fn fixed(dim: Option<&Dim>) -> Option<i64> {
    match dim {
        Some(&Dim::Value(size)) if size > 0 => Some(size),
        _ => None,
    }
}

/// Where three channels are; the usual place where nothing is said.
fn guess(second: Option<i64>, last: Option<i64>) -> Option<Layout> {
    match (second, last) {
        (Some(3), _) | (None, None) => Some(Layout::Nchw),
        (_, Some(3)) => Some(Layout::Nhwc),
        _ => None,
    }
}

/// Puts `images` before the network; returns how its picture is made of it, and what the value is called that
/// was its input: as before, unless that name is needed. Nodes that are added come first.
pub(super) fn replace(
    graph: &mut Graph,
    found: &Found,
    size: Size,
    normalize: &Normalize,
) -> Result<(Input, String), ImportError> {
    let other = graph.free_name(INPUT);
    let own = if found.name == INPUT { other } else { found.name.clone() };
    let recipe = normalize.recipe(found)?;
    let rest = std::mem::take(&mut graph.proto_mut().node);
    graph.proto_mut().input.clear();
    let pixels = decode::images(graph, size.height, size.width);
    let value = normalized(graph, &pixels, &recipe);
    let value = match recipe.layout {
        Layout::Nchw => value,
        Layout::Nhwc => graph.transpose(&value, &[0, 2, 3, 1]),
    };
    let value = match PICTURES.into_iter().find(|&element| element as i32 == found.element) {
        Some(element) if element != ElementType::Float => graph.cast(&value, element),
        _ => value,
    };
    graph.rename_output(&value, &own);
    graph.proto_mut().node.extend(rest);
    Ok((recipe, own))
}

fn normalized(graph: &mut Graph, pixels: &str, recipe: &Input) -> String {
    let mut value = graph.node("Identity", &[pixels], "network_input", &[]);
    if recipe.bgr {
        value = graph.pick(&value, 1, &[2, 1, 0]);
    }
    for (op, by, idle) in [("Mul", recipe.multiply, 1.0), ("Add", recipe.add, 0.0)] {
        if by.iter().any(|&v| v != idle) {
            let by = graph.floats("normalize", &[1, 3, 1, 1], &by);
            value = graph.binary(op, &value, &by);
        }
    }
    value
}

impl Normalize {
    /// `(pixel * scale - mean) / std` as one multiplication and one addition a channel.
    fn recipe(&self, found: &Found) -> Result<Input, ImportError> {
        let refuse = |problem: String| ImportError::Normalize { problem };
        let all = [self.scale].into_iter().chain(self.mean).chain(self.std);
        if let Some(bad) = all.into_iter().find(|v| !v.is_finite()) {
            return Err(refuse(format!("{bad} is not a number")));
        }
        if self.std.contains(&0.0) || self.scale == 0.0 {
            return Err(refuse("--std and --scale must not be 0".to_owned()));
        }
        let whole = [ElementType::Uint8, ElementType::Int32].iter().any(|&e| e as i32 == found.element);
        let idle = Self { bgr: self.bgr, ..Self::default() };
        if whole && *self != idle {
            let problem = "the network takes whole numbers and normalises by itself; leave --mean, --std and --scale out";
            return Err(refuse(problem.to_owned()));
        }
        let per_channel = |f: fn(&Self, usize) -> f32| [0, 1, 2].map(|c| f(self, c));
        Ok(Input {
            name: found.name.clone(),
            layout: found.layout,
            element: found.element,
            bgr: self.bgr,
            multiply: per_channel(|n, c| n.scale / n.std[c]),
            add: per_channel(|n, c| 0.0 - n.mean[c] / n.std[c]),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(dims: &[Option<i64>], element: ElementType) -> Graph {
        let mut graph = Graph::new("g");
        let dims: Vec<_> = dims.iter().map(|d| d.map_or(Dim::Param("?".into()), Dim::Value)).collect();
        let x = graph.input("x", element, &dims);
        let y = graph.node("Relu", &[&x], "y", &[]);
        graph.output(&y, ElementType::Float, &[]);
        graph
    }

    fn found(dims: &[Option<i64>], element: ElementType) -> Result<Found, ImportError> {
        Found::of(graph(dims, element).proto(), None)
    }

    #[test]
    fn the_layout_is_where_the_three_channels_are() {
        let f = found(&[Some(10), Some(3), Some(32), Some(64)], ElementType::Float).unwrap();
        assert_eq!((f.layout, f.batch, f.size), (Layout::Nchw, Some(10), Size::new(64, 32)));
        let f = found(&[Some(1), Some(384), Some(512), Some(3)], ElementType::Uint8).unwrap();
        assert_eq!((f.layout, f.size), (Layout::Nhwc, Size::new(512, 384)));
        let f = found(&[None, Some(3), None, None], ElementType::Float).unwrap();
        assert_eq!((f.layout, f.batch, f.size), (Layout::Nchw, None, None));
    }

    #[test]
    fn inputs_that_are_no_pictures_are_refused_with_what_was_found() {
        for (dims, element, expected) in [
            (&[Some(1), Some(4), Some(8), Some(8)][..], ElementType::Float, "3 channels"),
            (&[Some(1), Some(3)], ElementType::Float, "four axes"),
            (&[Some(1), Some(3), Some(8), Some(8)], ElementType::Int64, "float32, float16, uint8 or int32"),
        ] {
            let error = found(dims, element).unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains("x "), "{error}");
        }
    }

    #[test]
    fn the_normalisation_is_one_product_and_one_sum_a_channel() {
        let mut graph = graph(&[Some(1), Some(3), Some(8), Some(8)], ElementType::Float);
        let found = Found::of(graph.proto(), None).unwrap();
        let normalize =
            Normalize { mean: [0.5, 0.4, 0.3], std: [0.25, 0.5, 0.5], scale: 1.0 / 255.0, bgr: true };
        let (recipe, _) = replace(&mut graph, &found, Size { width: 32, height: 16 }, &normalize).unwrap();
        graph.check().unwrap();
        assert_eq!(recipe.multiply, [4.0 / 255.0, 2.0 / 255.0, 2.0 / 255.0]);
        assert_eq!(recipe.add, [-2.0, -0.8, -0.6]);
        let ops: Vec<_> = graph.proto().node.iter().filter_map(|node| node.op_type.as_deref()).collect();
        assert_eq!(ops, ["Cast", "Transpose", "Identity", "Gather", "Mul", "Add", "Relu"]);
        assert_eq!(graph.proto().node.last().unwrap().input, ["x"]);
        assert_eq!(graph.proto().input[0].to_string(), "images uint8 [N,16,32,3]");
    }

    #[test]
    fn a_network_that_takes_bytes_normalises_by_itself() {
        let mut graph = graph(&[Some(1), Some(8), Some(8), Some(3)], ElementType::Uint8);
        let found = Found::of(graph.proto(), None).unwrap();
        let scaled = Normalize { scale: 0.1, ..Normalize::default() };
        let size = Size { width: 8, height: 8 };
        let error = replace(&mut graph, &found, size, &scaled).unwrap_err().to_string();
        assert!(error.contains("takes whole numbers"), "{error}");
    }
}
