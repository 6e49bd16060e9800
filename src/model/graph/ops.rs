//! Single operators with the constants they take as inputs, so that who builds a decode writes one line a
//! step. Axes count from 0; sizes may be 0 (as it is) or -1 (what is left) where `Reshape` allows it.

use super::{Attr, Graph};
use crate::model::onnx::ElementType;

impl Graph {
    /// `a op b`, for operators without attributes.
    pub fn binary(&mut self, op: &str, a: &str, b: &str) -> String {
        self.node(op, &[a, b], &op.to_lowercase(), &[])
    }

    /// `value op number`, element by element.
    pub fn with_number(&mut self, op: &str, value: &str, number: f32) -> String {
        let number = self.float("number", number);
        self.binary(op, value, &number)
    }

    /// The value as another element type.
    pub fn cast(&mut self, value: &str, to: ElementType) -> String {
        self.node("Cast", &[value], "cast", &[("to", Attr::Int(to as i64))])
    }

    /// The value in another shape.
    pub fn reshape(&mut self, value: &str, dims: &[i64]) -> String {
        let shape = self.int64s("shape", &[dims.len()], dims);
        self.node("Reshape", &[value, &shape], "reshaped", &[])
    }

    /// The value with a new axis of size 1.
    pub fn unsqueeze(&mut self, value: &str, axis: i64) -> String {
        let axes = self.int64s("axes", &[1], &[axis]);
        self.node("Unsqueeze", &[value, &axes], "unsqueezed", &[])
    }

    /// The value repeated along its axes of size 1 where `dims` say more; 1 leaves an axis as it is.
    pub fn expand(&mut self, value: &str, dims: &[i64]) -> String {
        let shape = self.int64s("spread", &[dims.len()], dims);
        self.node("Expand", &[value, &shape], "expanded", &[])
    }

    /// Consecutive parts of the value along `axis`.
    pub fn split(&mut self, value: &str, axis: i64, sizes: &[i64]) -> Vec<String> {
        let parts = self.int64s("sizes", &[sizes.len()], sizes);
        let outputs: Vec<_> = sizes.iter().map(|_| self.fresh("part")).collect();
        self.node_into("Split", &[value, &parts], &outputs, &[("axis", Attr::Int(axis))]);
        outputs
    }

    /// The value with its axes in another order.
    pub fn transpose(&mut self, value: &str, order: &[i64]) -> String {
        self.node("Transpose", &[value], "transposed", &[("perm", Attr::Ints(order))])
    }

    /// The values one after the other along `axis`.
    pub fn concat(&mut self, values: &[&str], axis: i64) -> String {
        self.node("Concat", values, "joined", &[("axis", Attr::Int(axis))])
    }

    /// Elements of the value by their indices along `axis`; the other axes run along.
    pub fn gather_elements(&mut self, value: &str, indices: &str, axis: i64) -> String {
        self.node("GatherElements", &[value, indices], "gathered", &[("axis", Attr::Int(axis))])
    }

    /// The slices of the value at fixed indices along `axis`, in their order.
    pub fn pick(&mut self, value: &str, axis: i64, indices: &[i64]) -> String {
        let indices = self.int64s("indices", &[indices.len()], indices);
        self.node("Gather", &[value, &indices], "picked", &[("axis", Attr::Int(axis))])
    }

    /// The greatest (`ReduceMax`) or least (`ReduceMin`) elements along `axis`, which goes. Opset 18 made the
    /// axes an input.
    pub fn reduce(&mut self, op: &str, value: &str, axis: i64) -> String {
        let keep = ("keepdims", Attr::Int(0));
        if self.opset() < 18 {
            return self.node(op, &[value], "reduced", &[("axes", Attr::Ints(&[axis])), keep]);
        }
        let axes = self.int64s("axes", &[1], &[axis]);
        self.node(op, &[value, &axes], "reduced", &[keep])
    }

    /// The `count` greatest elements along the last axis, `axis`, best first, and their indices.
    pub fn top(&mut self, values: &str, axis: i64, count: usize) -> (String, String) {
        let k = self.int64s("k", &[1], &[count as i64]);
        let outputs @ [best, index] = &["best", "best_index"].map(|hint| self.fresh(hint));
        self.node_into("TopK", &[values, &k], outputs, &[("axis", Attr::Int(axis))]);
        (best.clone(), index.clone())
    }
}
