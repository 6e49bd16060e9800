//! A graph under construction: values with fresh names, nodes with typed attributes, and the check that
//! every value is made before it is used.
//!
//! What does not belong here: what the operators mean. The import, the rewrites and the decode know that.

mod attributes;
mod ops;
mod walk;

use std::collections::{HashMap, HashSet};

pub(super) use attributes::{attribute, float, int, ints, op, set_attribute, take_attribute};
pub use walk::GraphError;
use walk::{collect_names, for_each_use, replace_uses};

use super::onnx::{
    Dim, DimensionProto, ElementType, GraphProto, IR_VERSION, ModelProto, NodeProto, OPSET,
    OperatorSetIdProto, TensorProto, TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
};

/// The value of a node's attribute.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(missing_docs)]
pub enum Attr<'a> {
    Int(i64),
    Float(f32),
    Ints(&'a [i64]),
    Text(&'a str),
}

/// A graph under construction. Values are called by name; the methods that make one return its name.
#[derive(Clone, Debug)]
pub struct Graph {
    proto: GraphProto,
    names: HashSet<String>,
    frame: ModelProto,
}

impl Graph {
    /// An empty graph.
    pub fn new(name: &str) -> Self {
        Self::from_proto(GraphProto { name: Some(name.to_owned()), ..Default::default() })
    }

    /// A graph that exists already, in operators of [`OPSET`], to be edited.
    pub fn from_proto(proto: GraphProto) -> Self {
        let opset = OperatorSetIdProto { domain: Some(String::new()), version: Some(OPSET) };
        let frame =
            ModelProto { ir_version: Some(IR_VERSION), opset_import: vec![opset], ..Default::default() };
        Self::from_model(ModelProto { graph: Some(proto), ..frame })
    }

    /// The graph of a foreign model, to be edited; what else the model holds is kept.
    pub fn from_model(mut model: ModelProto) -> Self {
        let proto = model.graph.take().unwrap_or_default();
        let mut names = HashSet::new();
        collect_names(&proto, &mut names);
        Self { proto, names, frame: model }
    }

    /// What the model holds beside the graph.
    pub(super) fn frame(&self) -> &ModelProto {
        &self.frame
    }

    /// Makes these values the outputs, whatever they are.
    pub(super) fn set_outputs(&mut self, names: &[String]) {
        let value = |name: &String| ValueInfoProto { name: Some(name.clone()), ..Default::default() };
        self.proto.output = names.iter().map(value).collect();
    }

    /// Declares the graph's one input to have another height and width, which are its second and third axis.
    pub(super) fn resize_input(&mut self, height: usize, width: usize) {
        let tensors =
            self.proto.input.iter_mut().filter_map(|value| value.r#type.as_mut()?.tensor_type.as_mut());
        for dims in tensors.filter_map(|tensor| tensor.shape.as_mut()).map(|shape| &mut shape.dim) {
            for (at, size) in [(1, height), (2, width)] {
                if let Some(dim) = dims.get_mut(at) {
                    dim.value = Some(Dim::Value(size as i64));
                }
            }
        }
    }

    /// The version of ONNX's own operators that the graph is written in.
    pub fn opset(&self) -> i64 {
        self.frame.opset().unwrap_or(OPSET)
    }

    /// What was built so far.
    pub fn proto(&self) -> &GraphProto {
        &self.proto
    }

    /// The parts, for rewrites. Names that are added behind the graph's back are not known to be taken.
    pub(super) fn proto_mut(&mut self) -> &mut GraphProto {
        &mut self.proto
    }

    /// Says that the nodes are those of another version of ONNX's own operators. The format's version goes
    /// along where it must.
    pub(super) fn set_opset(&mut self, version: i64) {
        let others = |set: &OperatorSetIdProto| !matches!(set.domain.as_deref(), None | Some("" | "ai.onnx"));
        self.frame.opset_import.retain(others);
        let own = OperatorSetIdProto { domain: Some(String::new()), version: Some(version) };
        self.frame.opset_import.push(own);
        self.frame.ir_version = self.frame.ir_version.max(Some(IR_VERSION));
    }

    /// The weight called `name`.
    pub(super) fn weight(&self, name: &str) -> Option<&TensorProto> {
        self.proto.initializer.iter().find(|weight| weight.name.as_deref() == Some(name))
    }

    /// The node that makes a value.
    pub(super) fn maker(&self, value: &str) -> Option<&NodeProto> {
        self.proto.node.iter().find(|node| node.output.iter().any(|output| output == value))
    }

    /// Calls the value `name`, if there is one, something else, so that the name is free; returns what it is
    /// called now.
    pub(super) fn free_name(&mut self, name: &str) -> String {
        if !self.names.contains(name) {
            return name.to_owned();
        }
        let other = self.fresh(name);
        self.rename_value(name, &other);
        self.names.remove(name);
        other
    }

    /// Gives a value another name, which [`Graph::fresh`] made, wherever it is made and read.
    pub(super) fn rename_value(&mut self, old: &str, new: &str) {
        let swap = |name: &mut String| {
            if name == old {
                new.clone_into(name);
            }
        };
        self.replace_uses(&HashMap::from([(old.to_owned(), new.to_owned())]));
        let proto = &mut self.proto;
        proto.node.iter_mut().flat_map(|node| &mut node.output).for_each(swap);
        proto
            .input
            .iter_mut()
            .chain(&mut proto.output)
            .filter_map(|value| value.name.as_mut())
            .for_each(swap);
        proto.initializer.iter_mut().filter_map(|weight| weight.name.as_mut()).for_each(swap);
    }

    /// Gives the output of a node a name that its readers know already.
    pub(super) fn rename_output(&mut self, old: &str, new: &str) {
        let outputs = self.proto.node.iter_mut().flat_map(|node| &mut node.output);
        outputs.filter(|name| *name == old).for_each(|name| new.clone_into(name));
    }

    /// How many nodes and outputs read each value.
    pub(super) fn readers(&self) -> HashMap<String, usize> {
        let mut readers = HashMap::new();
        let mut count = |name: &str| *readers.entry(name.to_owned()).or_insert(0) += 1;
        self.proto.node.iter().for_each(|node| for_each_use(node, &mut count));
        self.proto.output.iter().filter_map(|value| value.name.as_deref()).for_each(count);
        readers
    }

    /// Lets all nodes that read a value of the map read the one it is mapped to, inner graphs included.
    pub(super) fn replace_uses(&mut self, instead: &HashMap<String, String>) {
        self.proto.node.iter_mut().for_each(|node| replace_uses(node, instead));
    }

    /// The graph as a model, of [`IR_VERSION`] and [`OPSET`] unless it came in a newer one.
    pub fn into_model(self) -> ModelProto {
        ModelProto {
            producer_name: Some("centerx".to_owned()),
            producer_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            graph: Some(self.proto),
            ..self.frame
        }
    }

    /// A name that no value has, `hint` itself if it is free.
    pub fn fresh(&mut self, hint: &str) -> String {
        let mut name = hint.to_owned();
        let mut number = 1;
        while !self.names.insert(name.clone()) {
            number += 1;
            name = format!("{hint}_{number}");
        }
        name
    }

    /// Adds a float32 weight; `data` in row-major order, as many as `dims` multiply to.
    pub fn floats(&mut self, hint: &str, dims: &[usize], data: &[f32]) -> String {
        debug_assert_eq!(dims.iter().product::<usize>(), data.len(), "{hint}");
        let raw = data.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.initializer(hint, ElementType::Float, dims, raw)
    }

    /// Adds an int64 constant; `data` in row-major order, as many as `dims` multiply to.
    pub fn int64s(&mut self, hint: &str, dims: &[usize], data: &[i64]) -> String {
        debug_assert_eq!(dims.iter().product::<usize>(), data.len(), "{hint}");
        let raw = data.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.initializer(hint, ElementType::Int64, dims, raw)
    }

    /// Adds a float32 number without dimensions.
    pub fn float(&mut self, hint: &str, value: f32) -> String {
        self.floats(hint, &[], &[value])
    }

    /// Adds an int8 weight; `data` in row-major order, as many as `dims` multiply to.
    pub fn int8s(&mut self, hint: &str, dims: &[usize], data: &[i8]) -> String {
        debug_assert_eq!(dims.iter().product::<usize>(), data.len(), "{hint}");
        let raw = data.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.initializer(hint, ElementType::Int8, dims, raw)
    }

    /// Adds the weight `name` a second time and returns what the copy is called; none if there is no such weight.
    pub(super) fn copy_weight(&mut self, name: &str) -> Option<String> {
        let mut copy = self.weight(name)?.clone();
        let called = self.fresh(name);
        copy.name = Some(called.clone());
        self.proto.initializer.push(copy);
        Some(called)
    }

    fn initializer(&mut self, hint: &str, element: ElementType, dims: &[usize], raw: Vec<u8>) -> String {
        let name = self.fresh(hint);
        self.proto.initializer.push(TensorProto {
            dims: dims.iter().map(|&d| d as i64).collect(),
            data_type: Some(element as i32),
            name: Some(name.clone()),
            raw_data: Some(raw),
            ..Default::default()
        });
        name
    }

    /// Adds a node with one output, whose name is made from `hint`.
    pub fn node(&mut self, op: &str, inputs: &[&str], hint: &str, attributes: &[(&str, Attr<'_>)]) -> String {
        let output = self.fresh(hint);
        self.node_into(op, inputs, std::slice::from_ref(&output), attributes);
        output
    }

    /// Adds a node with the outputs given, names that [`Graph::fresh`] made.
    pub fn node_into(
        &mut self,
        op: &str,
        inputs: &[&str],
        outputs: &[String],
        attributes: &[(&str, Attr<'_>)],
    ) {
        // ONNX Runtime wants nodes' names to be unique, and a foreign graph has its own.
        let name = outputs.first().map(|output| self.fresh(&format!("centerx/{output}")));
        self.proto.node.push(NodeProto {
            input: inputs.iter().map(|&i| i.to_owned()).collect(),
            name,
            output: outputs.to_vec(),
            op_type: Some(op.to_owned()),
            attribute: attributes.iter().map(|&(name, value)| attribute(name, value)).collect(),
            ..Default::default()
        });
    }

    /// Declares an input of the graph.
    pub fn input(&mut self, name: &str, element: ElementType, dims: &[Dim]) -> String {
        let name = self.fresh(name);
        self.proto.input.push(value_info(&name, element, dims));
        name
    }

    /// Declares the value `name` an output of the graph.
    pub fn output(&mut self, name: &str, element: ElementType, dims: &[Dim]) {
        self.proto.output.push(value_info(name, element, dims));
    }

    /// Checks that every value is made once and before it is used, in this graph and in the graphs of its
    /// nodes' attributes.
    ///
    /// # Errors
    /// The first violation.
    pub fn check(&self) -> Result<(), GraphError> {
        walk::check(&self.proto, &HashSet::new())
    }

    /// Removes nodes and weights that no output depends on; returns how many of them.
    pub fn remove_dead(&mut self) -> usize {
        walk::remove_dead(&mut self.proto)
    }
}

fn value_info(name: &str, element: ElementType, dims: &[Dim]) -> ValueInfoProto {
    let dim = dims.iter().map(|d| DimensionProto { value: Some(d.clone()), denotation: None }).collect();
    let tensor = TensorTypeProto { elem_type: Some(element as i32), shape: Some(TensorShapeProto { dim }) };
    ValueInfoProto {
        name: Some(name.to_owned()),
        r#type: Some(TypeProto { tensor_type: Some(tensor), ..Default::default() }),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::onnx::AttributeProto;
    use proptest::prelude::*;

    fn relu_twice() -> Graph {
        let mut graph = Graph::new("g");
        let x = graph.input("x", ElementType::Float, &[Dim::Param("N".into())]);
        let a = graph.node("Relu", &[&x], "a", &[]);
        let b = graph.node("Relu", &[&a], "b", &[]);
        graph.output(&b, ElementType::Float, &[Dim::Param("N".into())]);
        graph
    }

    #[test]
    fn names_never_collide() {
        let mut graph = relu_twice();
        assert_eq!([graph.fresh("a"), graph.fresh("a"), graph.fresh("z")], ["a_2", "a_3", "z"]);
        let mut again = Graph::from_proto(graph.proto().clone());
        assert_eq!(again.fresh("x"), "x_2");
        again.node("Relu", &["b"], "c", &[]);
        again.rename_value("b", "inner");
        again.node_into("Relu", &["inner"], &["b".to_owned()], &[]);
        let nodes: HashSet<_> = again.proto().node.iter().map(|node| &node.name).collect();
        assert_eq!(nodes.len(), again.proto().node.len(), "nodes have names of their own too");
    }

    #[test]
    fn use_before_definition_is_found_by_node() {
        let mut graph = relu_twice();
        graph.proto_mut().node.swap(0, 1);
        let error = graph.check().unwrap_err();
        assert_eq!(
            error.to_string(),
            r#"node "centerx/b" (Relu) uses the value "a", which nothing before it makes"#
        );
    }

    #[test]
    fn a_value_made_twice_is_found() {
        let mut graph = relu_twice();
        let copy = graph.proto().node[0].clone();
        graph.proto_mut().node.push(copy);
        assert!(matches!(graph.check(), Err(GraphError::Twice { value, .. }) if value == "a"));
    }

    #[test]
    fn dead_nodes_and_weights_go_and_what_inner_graphs_use_stays() {
        let mut graph = relu_twice();
        let dead = graph.float("dead", 1.0);
        graph.node("Add", &["a", &dead], "unused", &[]);
        let captured = graph.float("captured", 1.0);
        let inner = NodeProto { input: vec![captured], output: vec!["i".into()], ..Default::default() };
        let inner = GraphProto { node: vec![inner], ..Default::default() };
        graph.proto_mut().node[1].attribute.push(AttributeProto { g: Some(inner), ..Default::default() });
        assert_eq!(graph.check(), Ok(()));
        assert_eq!(graph.remove_dead(), 2);
        assert_eq!(graph.proto().initializer.len(), 1);
        assert_eq!(graph.proto().node.len(), 2);
    }

    proptest! {
        /// Whatever is built by the methods alone is well-formed, and stays so without its dead parts.
        #[test]
        fn built_graphs_are_well_formed(picks in prop::collection::vec((0usize..100, 0usize..100), 1..40), out in 0usize..100) {
            let mut graph = Graph::new("g");
            let mut values = vec![graph.input("x", ElementType::Float, &[])];
            for (a, b) in picks {
                let (a, b) = (values[a % values.len()].clone(), values[b % values.len()].clone());
                values.push(match a.len() % 3 {
                    0 => graph.float("v", 2.0),
                    1 => graph.node("Add", &[&a, &b], "v", &[]),
                    _ => graph.node("Relu", &[&a], "r", &[("axis", Attr::Int(1))]),
                });
            }
            graph.output(&values[out % values.len()], ElementType::Float, &[]);
            prop_assert_eq!(graph.check(), Ok(()));
            graph.remove_dead();
            prop_assert_eq!(graph.check(), Ok(()));
            prop_assert_eq!(graph.remove_dead(), 0);
        }
    }
}
