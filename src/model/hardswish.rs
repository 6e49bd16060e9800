//! Rewrites hard-swish and hard-sigmoid written out in single steps to ONNX's `HardSwish` and `HardSigmoid`.
//!
//! MobileNetV3 (Howard et al. 2019, section 5.2) defines `h-swish(x) = x * relu6(x + 3) / 6`; exporters
//! write four nodes for it, each a pass over the whole feature map.

use std::collections::HashMap;

use super::graph::{Graph, float as float_of, op};
use super::onnx::{AttributeProto, AttributeType, NodeProto};

/// Constants this near to those of the definition leave the function what it was, within float32.
pub const EXACT: f32 = 1e-6;
/// Constants that went through float16 are off by 4e-5. To replace them as well changes the function a little:
/// scores of a real model by less than 0.001.
pub const ROUNDED: f32 = 1e-4;
/// How many multiplications one pattern spreads over at most.
const MAX_DEPTH: usize = 3;

/// What was rewritten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rewritten {
    /// Places that became `HardSwish`.
    pub hard_swish: usize,
    /// Places that became `HardSigmoid`.
    pub hard_sigmoid: usize,
    /// Nodes and weights that nobody needed afterwards.
    pub removed: usize,
}

/// Rewrites every `x * relu6(x + 3) * 1/6` to `HardSwish` and every other `relu6(x + 3) * 1/6` to
/// `HardSigmoid`, in whatever order the factors stand, and removes what is dead then. Constants may be off
/// by `tolerance`: [`EXACT`] or [`ROUNDED`].
pub fn rewrite(graph: &mut Graph, tolerance: f32) -> Rewritten {
    let before = [count(graph, "HardSwish"), count(graph, "HardSigmoid")];
    let nodes = Nodes::of(graph, tolerance);
    let found: Vec<_> = (0..nodes.list.len()).filter_map(|at| Some((at, nodes.pattern(at)?))).collect();
    for (at, (kind, x)) in found {
        let node = &mut graph.proto_mut().node[at];
        node.input = vec![x];
        (node.op_type, node.attribute) = match kind {
            Kind::HardSwish => (Some("HardSwish".to_owned()), Vec::new()),
            Kind::HardSigmoid => {
                (Some("HardSigmoid".to_owned()), vec![float("alpha", 1.0 / 6.0), float("beta", 0.5)])
            }
        };
    }
    // A gate inside a hard-swish was rewritten too; nobody reads it now, so it is not counted.
    let removed = graph.remove_dead();
    Rewritten {
        hard_swish: count(graph, "HardSwish").saturating_sub(before[0]),
        hard_sigmoid: count(graph, "HardSigmoid").saturating_sub(before[1]),
        removed,
    }
}

fn count(graph: &Graph, name: &str) -> usize {
    graph.proto().node.iter().filter(|node| op(node) == name).count()
}

fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        f: Some(value),
        r#type: Some(AttributeType::Float as i32),
        ..Default::default()
    }
}

enum Kind {
    HardSwish,
    HardSigmoid,
}

/// The graph by value: which node makes it, and which number it is if it is one.
struct Nodes<'a> {
    list: &'a [NodeProto],
    maker: HashMap<&'a str, usize>,
    number: HashMap<&'a str, f32>,
    tolerance: f32,
}

impl<'a> Nodes<'a> {
    fn of(graph: &'a Graph, tolerance: f32) -> Self {
        let graph = graph.proto();
        let outputs = |(at, node): (usize, &'a NodeProto)| node.output.iter().map(move |o| (o.as_str(), at));
        let numbers = graph.initializer.iter();
        Self {
            list: &graph.node,
            maker: graph.node.iter().enumerate().flat_map(outputs).collect(),
            tolerance,
            number: numbers.filter_map(|w| Some((w.name.as_deref()?, w.as_scalar()?))).collect(),
        }
    }

    fn is(&self, value: &str, number: f32) -> bool {
        self.number.get(value).is_some_and(|v| (v - number).abs() <= self.tolerance)
    }

    /// What the node `at` computes, and of which value, if it is one of the patterns.
    fn pattern(&self, at: usize) -> Option<(Kind, String)> {
        let mut product = Product { scale: 1.0, factors: Vec::new() };
        self.multiply(at, MAX_DEPTH, &mut product)?;
        if product.scale == 1.0 {
            return match product.factors[..] {
                [a, b] if self.hard_sigmoid_of(a) == Some(b) => Some((Kind::HardSwish, b.to_owned())),
                [a, b] if self.hard_sigmoid_of(b) == Some(a) => Some((Kind::HardSwish, a.to_owned())),
                _ => None,
            };
        }
        if (product.scale - 1.0 / 6.0).abs() > self.tolerance {
            return None;
        }
        match product.factors[..] {
            [r] => Some((Kind::HardSigmoid, self.relu6_of_x_plus_3(r)?.to_owned())),
            [a, b] if self.relu6_of_x_plus_3(a) == Some(b) => Some((Kind::HardSwish, b.to_owned())),
            [a, b] if self.relu6_of_x_plus_3(b) == Some(a) => Some((Kind::HardSwish, a.to_owned())),
            _ => None,
        }
    }

    /// Splits the node into its factors, going through at most `depth` products and divisions by a number.
    fn multiply(&self, at: usize, depth: usize, product: &mut Product<'a>) -> Option<()> {
        let node = &self.list[at];
        let [a, b] = &node.input[..] else { return None };
        match op(node) {
            "Mul" => {
                self.factor(a, depth, product);
                self.factor(b, depth, product);
            }
            "Div" => {
                product.scale /= self.number.get(b.as_str())?;
                self.factor(a, depth, product);
            }
            _ => return None,
        }
        Some(())
    }

    fn factor(&self, value: &'a str, depth: usize, product: &mut Product<'a>) {
        if let Some(number) = self.number.get(value) {
            product.scale *= number;
            return;
        }
        let inner = self.maker.get(value).filter(|_| depth > 1);
        if inner.and_then(|&at| self.multiply(at, depth - 1, product)).is_none() {
            product.factors.push(value);
        }
    }

    /// The `x` if `value` is `HardSigmoid(x)` with the slope of hard-swish, which is how PyTorch exports it.
    fn hard_sigmoid_of(&self, value: &str) -> Option<&'a str> {
        let node = &self.list[*self.maker.get(value)?];
        // What an attribute is that is not there, ONNX's operator list says.
        let near = |name, default: f32, expected: f32| {
            (float_of(node, name).unwrap_or(default) - expected).abs() <= self.tolerance
        };
        let fits = op(node) == "HardSigmoid" && near("alpha", 0.2, 1.0 / 6.0) && near("beta", 0.5, 0.5);
        node.input.first().map(String::as_str).filter(|_| fits)
    }

    /// The `x` if `value` is `Clip(x + 3, 0, 6)`.
    fn relu6_of_x_plus_3(&self, value: &str) -> Option<&'a str> {
        let clip = &self.list[*self.maker.get(value)?];
        let [sum, low, high] = &clip.input[..] else { return None };
        if op(clip) != "Clip" || !self.is(low, 0.0) || !self.is(high, 6.0) {
            return None;
        }
        let add = &self.list[*self.maker.get(sum.as_str())?];
        let [a, b] = &add.input[..] else { return None };
        match op(add) {
            "Add" if self.is(b, 3.0) => Some(a),
            "Add" if self.is(a, 3.0) => Some(b),
            _ => None,
        }
    }
}

struct Product<'a> {
    scale: f32,
    factors: Vec<&'a str>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::graph::Attr;
    use crate::model::onnx::ElementType;

    /// 1/6 after it was a float16.
    const HALF_SIXTH: f32 = 0.166_625_98;

    type Finish = fn(&mut Graph, &str, &str) -> String;

    /// Builds `x`, its `relu6(x + 3)` and whatever `finish` makes of them, and rewrites it.
    fn rewritten(finish: impl Fn(&mut Graph, &str, &str) -> String) -> (Rewritten, Vec<NodeProto>) {
        let mut graph = Graph::new("g");
        let x = graph.input("x", ElementType::Float, &[]);
        let [three, zero, six] = [3.0, 0.0, 6.0].map(|v| graph.float("c", v));
        let sum = graph.node("Add", &[&x, &three], "sum", &[]);
        let clip = graph.node("Clip", &[&sum, &zero, &six], "clip", &[]);
        let y = finish(&mut graph, &x, &clip);
        graph.output(&y, ElementType::Float, &[]);
        let done = rewrite(&mut graph, ROUNDED);
        assert_eq!(graph.check(), Ok(()));
        (done, graph.proto().node.clone())
    }

    fn ops(nodes: &[NodeProto]) -> Vec<&str> {
        nodes.iter().map(op).collect()
    }

    #[test]
    fn a_hard_sigmoid_times_its_own_input_is_one_too() {
        let times = |other: &'static str| {
            let mut graph = Graph::new("g");
            let x = graph.input("x", ElementType::Float, &[]);
            let y = graph.input("y", ElementType::Float, &[]);
            let slope = [("alpha", Attr::Float(1.0 / 6.0))];
            let gate = graph.node("HardSigmoid", &[&x], "gate", &slope);
            let out = graph.node("Mul", &[if other == "x" { &x } else { &y }, &gate], "out", &[]);
            graph.output(&out, ElementType::Float, &[]);
            (rewrite(&mut graph, ROUNDED).hard_swish, ops(&graph.proto().node).len())
        };
        assert_eq!(times("x"), (1, 1));
        assert_eq!(times("y"), (0, 2), "a squeeze-and-excite gate is none");
    }

    #[test]
    fn the_factors_of_hard_swish_may_stand_in_any_order() {
        let orders: [Finish; 4] = [
            |g, x, r| {
                let c = g.float("c", HALF_SIXTH);
                let a = g.node("Mul", &[&c, x], "a", &[]);
                g.node("Mul", &[&a, r], "y", &[])
            },
            |g, x, r| {
                let c = g.float("c", HALF_SIXTH);
                let a = g.node("Mul", &[r, &c], "a", &[]);
                g.node("Mul", &[x, &a], "y", &[])
            },
            |g, x, r| {
                let c = g.float("c", HALF_SIXTH);
                let a = g.node("Mul", &[r, x], "a", &[]);
                g.node("Mul", &[&a, &c], "y", &[])
            },
            |g, x, r| {
                let c = g.float("c", 6.0);
                let a = g.node("Mul", &[x, r], "a", &[]);
                g.node("Div", &[&a, &c], "y", &[])
            },
        ];
        for finish in orders {
            let (done, nodes) = rewritten(finish);
            assert_eq!((done.hard_swish, done.hard_sigmoid), (1, 0));
            assert_eq!(ops(&nodes), ["HardSwish"]);
            assert_eq!(
                (nodes[0].input.as_slice(), nodes[0].output.as_slice()),
                (&["x".into()][..], &["y".into()][..])
            );
            // Three nodes and the four constants are gone.
            assert_eq!(done.removed, 7);
        }
    }

    #[test]
    fn a_gate_on_another_value_becomes_hard_sigmoid() {
        let (done, nodes) = rewritten(|g, x, r| {
            let c = g.float("c", 1.0 / 6.0);
            let gate = g.node("Mul", &[&c, r], "gate", &[]);
            let other = g.node("Relu", &[x], "other", &[]);
            g.node("Mul", &[&gate, &other], "y", &[])
        });
        assert_eq!((done.hard_swish, done.hard_sigmoid), (0, 1));
        assert_eq!(ops(&nodes), ["HardSigmoid", "Relu", "Mul"]);
        let attributes: Vec<_> = nodes[0].attribute.iter().map(|a| (a.name.as_deref(), a.f)).collect();
        assert_eq!(attributes, [(Some("alpha"), Some(1.0 / 6.0)), (Some("beta"), Some(0.5))]);
    }

    #[test]
    fn other_constants_are_left_alone() {
        let (done, nodes) = rewritten(|g, x, r| {
            let c = g.float("c", 0.2);
            let a = g.node("Mul", &[&c, x], "a", &[]);
            g.node("Mul", &[&a, r], "y", &[])
        });
        assert_eq!(done, Rewritten::default());
        assert_eq!(ops(&nodes), ["Add", "Clip", "Mul", "Mul"]);
    }

    #[test]
    fn a_step_that_somebody_else_reads_stays() {
        let (done, nodes) = rewritten(|g, x, r| {
            let c = g.float("c", 1.0 / 6.0);
            let a = g.node("Mul", &[&c, x], "a", &[]);
            let y = g.node("Mul", &[&a, r], "y", &[]);
            g.node("Add", &[&y, &a], "z", &[])
        });
        assert_eq!(done.hard_swish, 1);
        assert_eq!(ops(&nodes), ["Mul", "HardSwish", "Add"]);
    }
}
