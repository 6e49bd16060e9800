//! A graph under construction: values with fresh names, nodes with typed attributes, and the check that
//! every value is made before it is used.
//!
//! What does not belong here: what the operators mean. The import, the rewrites and the decode know that.

mod ops;

use std::collections::HashSet;

use super::onnx::{
    AttributeProto, AttributeType, Dim, DimensionProto, ElementType, GraphProto, IR_VERSION, ModelProto,
    NodeProto, OPSET, OperatorSetIdProto, TensorProto, TensorShapeProto, TensorTypeProto, TypeProto,
    ValueInfoProto,
};

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
#[derive(Debug)]
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
        self.proto.node.push(NodeProto {
            input: inputs.iter().map(|&i| i.to_owned()).collect(),
            name: outputs.first().cloned(),
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
        check(&self.proto, &HashSet::new())
    }

    /// Removes nodes and weights that no output depends on; returns how many of them.
    pub fn remove_dead(&mut self) -> usize {
        let mut live: HashSet<String> =
            self.proto.output.iter().filter_map(|value| value.name.clone()).collect();
        let mut kept = Vec::new();
        let nodes = std::mem::take(&mut self.proto.node);
        let weights = self.proto.initializer.len() + self.proto.sparse_initializer.len();
        let before = nodes.len() + weights;
        for node in nodes.into_iter().rev() {
            if node.output.iter().any(|output| live.contains(output)) {
                for_each_use(&node, &mut |name| _ = live.insert(name.to_owned()));
                kept.push(node);
            }
        }
        kept.reverse();
        self.proto.node = kept;
        self.proto.initializer.retain(|weight| weight.name.as_ref().is_some_and(|n| live.contains(n)));
        self.proto.sparse_initializer.retain(|weight| {
            weight.values.as_ref().and_then(|v| v.name.as_ref()).is_some_and(|n| live.contains(n))
        });
        let weights = self.proto.initializer.len() + self.proto.sparse_initializer.len();
        before - self.proto.node.len() - weights
    }
}

fn attribute(name: &str, value: Attr<'_>) -> AttributeProto {
    let mut proto = AttributeProto { name: Some(name.to_owned()), ..Default::default() };
    let kind = match value {
        Attr::Int(i) => {
            proto.i = Some(i);
            AttributeType::Int
        }
        Attr::Float(f) => {
            proto.f = Some(f);
            AttributeType::Float
        }
        Attr::Ints(ints) => {
            proto.ints = ints.to_vec();
            AttributeType::Ints
        }
        Attr::Text(text) => {
            proto.s = Some(text.as_bytes().to_vec());
            AttributeType::String
        }
    };
    proto.r#type = Some(kind as i32);
    proto
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

/// Names of the values that exist before the first node runs.
fn given(graph: &GraphProto) -> impl Iterator<Item = &str> {
    let inputs = graph.input.iter().filter_map(|value| value.name.as_deref());
    let weights = graph.initializer.iter().filter_map(|weight| weight.name.as_deref());
    let sparse = graph.sparse_initializer.iter();
    let sparse = sparse.filter_map(|weight| weight.values.as_ref().and_then(|v| v.name.as_deref()));
    inputs.chain(weights).chain(sparse)
}

fn subgraphs(node: &NodeProto) -> impl Iterator<Item = &GraphProto> {
    node.attribute.iter().flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs))
}

fn collect_names(graph: &GraphProto, names: &mut HashSet<String>) {
    names.extend(given(graph).map(str::to_owned));
    for node in &graph.node {
        names.extend(node.output.iter().cloned());
        subgraphs(node).for_each(|inner| collect_names(inner, names));
    }
}

/// Calls `found` for each value the node reads, those that its inner graphs take from outside included
/// (and those that they make themselves, which does no harm: names are unique).
fn for_each_use(node: &NodeProto, found: &mut dyn FnMut(&str)) {
    node.input.iter().for_each(|name| found(name));
    for inner in subgraphs(node) {
        inner.output.iter().filter_map(|value| value.name.as_deref()).for_each(&mut *found);
        inner.node.iter().for_each(|node| for_each_use(node, found));
    }
}

fn check(graph: &GraphProto, outer: &HashSet<&str>) -> Result<(), GraphError> {
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

/// The node's operator if it is one of ONNX's own, else nothing.
pub(super) fn op(node: &NodeProto) -> &str {
    match node.domain.as_deref() {
        None | Some("" | "ai.onnx") => node.op_type.as_deref().unwrap_or(""),
        Some(_) => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
    }

    #[test]
    fn use_before_definition_is_found_by_node() {
        let mut graph = relu_twice();
        graph.proto_mut().node.swap(0, 1);
        let error = graph.check().unwrap_err();
        assert_eq!(error.to_string(), r#"node "b" (Relu) uses the value "a", which nothing before it makes"#);
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
