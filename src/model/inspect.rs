//! What can be told of a model by looking at its graph: operators, weights, and the work of one picture.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Serialize;

use super::graph::op;
use super::onnx::{AttributeProto, Dim, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto};
use super::recipe::Recipe;

/// Facts about a graph.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Facts {
    /// Version of the file format.
    pub ir_version: i64,
    /// Version of ONNX's own operators.
    pub opset: Option<i64>,
    /// Who wrote it.
    pub producer: String,
    /// Inputs that are no weights, with type and shape.
    pub inputs: Vec<String>,
    /// Outputs, with type and shape.
    pub outputs: Vec<String>,
    /// How often each operator is used, the most frequent first.
    pub operators: Vec<(String, usize)>,
    /// Numbers in weights.
    pub parameters: u64,
    /// Bytes in weights.
    pub parameter_bytes: u64,
    /// Nodes.
    pub nodes: usize,
    /// Those of them after the heads, if it is known where those are.
    pub decode_nodes: Option<usize>,
}

/// Floating point operations of one picture, in the operators that multiply matrices.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Flops {
    /// All.
    pub total: f64,
    /// Those after the heads.
    pub decode: f64,
}

/// Looks at `model`.
pub fn facts(model: &ModelProto, recipe: Option<&Recipe>) -> Facts {
    let empty = GraphProto::default();
    let graph = model.graph.as_ref().unwrap_or(&empty);
    let mut counts = BTreeMap::<String, usize>::new();
    for node in &graph.node {
        *counts.entry(node.op_type.clone().unwrap_or_default()).or_default() += 1;
    }
    let mut operators: Vec<_> = counts.into_iter().collect();
    operators.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let constants = graph.node.iter().filter(|node| op(node) == "Constant");
    let constants = constants.flat_map(|node| &node.attribute).filter_map(|attribute| attribute.t.as_ref());
    let weights: Vec<&TensorProto> = graph.initializer.iter().chain(constants).collect();
    let producer = [&model.producer_name, &model.producer_version];
    Facts {
        ir_version: model.ir_version.unwrap_or(0),
        opset: model.opset(),
        producer: producer.into_iter().flatten().cloned().collect::<Vec<_>>().join(" "),
        inputs: graph.fed_inputs().map(ValueInfoProto::to_string).collect(),
        outputs: graph.output.iter().map(ValueInfoProto::to_string).collect(),
        operators,
        parameters: weights.iter().map(|weight| elements(weight)).sum(),
        parameter_bytes: weights
            .iter()
            .map(|w| elements(w) * element_bits(w.data_type.unwrap_or(0)) / 8)
            .sum(),
        nodes: graph.node.len(),
        decode_nodes: recipe.map(|recipe| after_heads(graph, recipe).len()),
    }
}

/// The one input of `model`: name, element type and shape, with one picture where the batch is free.
///
/// # Errors
/// There is not just one, or its size is not fixed.
pub fn only_input(model: &ModelProto) -> Result<(String, i32, Vec<usize>), String> {
    let graph = model.graph.as_ref().ok_or("there is no graph")?;
    let all: Vec<_> = graph.fed_inputs().collect();
    let &[input] = &all[..] else { return Err(format!("it has {} inputs", all.len())) };
    let tensor = input.r#type.as_ref().and_then(|kind| kind.tensor_type.as_ref());
    let dims = tensor.and_then(|tensor| tensor.shape.as_ref()).map(|shape| &shape.dim[..]);
    let [_, rest @ ..] = dims.unwrap_or(&[]) else { return Err("its input has no shape".to_owned()) };
    let size = |dim: &super::onnx::DimensionProto| match dim.value {
        Some(Dim::Value(size @ 1..=8192)) => Some(size as usize),
        _ => None,
    };
    let rest: Option<Vec<usize>> = rest.iter().map(size).collect();
    let rest = rest.ok_or_else(|| format!("the size of {input} is not fixed"))?;
    let element = tensor.and_then(|tensor| tensor.elem_type).unwrap_or(1);
    Ok((input.name.clone().unwrap_or_default(), element, [vec![1], rest].concat()))
}

fn elements(weight: &TensorProto) -> u64 {
    weight.dims.iter().map(|dim| u64::try_from(*dim).unwrap_or(0)).fold(1, u64::saturating_mul)
}

/// Bits of an element by its number in the format.
fn element_bits(number: i32) -> u64 {
    match number {
        2 | 3 | 9 | 17..=20 => 8,
        4 | 5 | 10 | 16 => 16,
        7 | 11 | 13 | 14 => 64,
        15 => 128,
        21..=23 => 4,
        _ => 32,
    }
}

/// Indices of the nodes that no head depends on.
fn after_heads(graph: &GraphProto, recipe: &Recipe) -> HashSet<usize> {
    let mut needed: HashSet<&str> = recipe.heads.all().map(|head| head.value.as_str()).collect();
    let mut after = HashSet::new();
    for (at, node) in graph.node.iter().enumerate().rev() {
        if node.output.iter().any(|output| needed.contains(output.as_str())) {
            needed.extend(node.input.iter().map(String::as_str));
        } else {
            after.insert(at);
        }
    }
    after
}

fn is_product(node: &NodeProto) -> bool {
    matches!(op(node), "Conv" | "ConvTranspose" | "Gemm" | "MatMul")
}

/// The values whose shapes [`flops`] needs and the file does not tell.
pub fn values_to_measure(model: &ModelProto) -> Vec<String> {
    let Some(graph) = &model.graph else { return Vec::new() };
    let made: HashSet<&str> = graph.node.iter().flat_map(|node| &node.output).map(String::as_str).collect();
    let products = graph.node.iter().filter(|node| is_product(node));
    let used = products.flat_map(|node| node.input.iter().take(2).chain(node.output.first()));
    let used = used.filter(|name| made.contains(name.as_str()));
    let mut seen = HashSet::new();
    used.filter(|name| seen.insert(name.as_str())).cloned().collect()
}

/// Counts the work of one picture: two operations for each product that is summed up in Conv, ConvTranspose,
/// Gemm and MatMul. `shapes` are those of a run with one picture; what has no shape there is not counted.
pub fn flops(model: &ModelProto, shapes: &HashMap<String, Vec<i64>>, recipe: Option<&Recipe>) -> Flops {
    let mut flops = Flops { total: 0.0, decode: 0.0 };
    let Some(graph) = &model.graph else { return flops };
    let weights = graph.initializer.iter().filter_map(|w| Some((w.name.as_deref()?, &w.dims[..])));
    let mut known: HashMap<&str, &[i64]> = weights.collect();
    known.extend(shapes.iter().map(|(name, shape)| (name.as_str(), &shape[..])));
    let after = recipe.map(|recipe| after_heads(graph, recipe)).unwrap_or_default();
    for (at, node) in graph.node.iter().enumerate().filter(|(_, node)| is_product(node)) {
        let work = 2.0 * products(node, &known).unwrap_or(0.0);
        flops.total += work;
        flops.decode += if after.contains(&at) { work } else { 0.0 };
    }
    flops
}

/// Products that one node sums up.
fn products(node: &NodeProto, shapes: &HashMap<&str, &[i64]>) -> Option<f64> {
    let shape = |name: Option<&String>| shapes.get(name?.as_str()).copied();
    let count = |dims: &[i64]| dims.iter().map(|dim| *dim as f64).product::<f64>();
    let (first, second) = (shape(node.input.first()), shape(node.input.get(1)));
    let output = shape(node.output.first());
    match op(node) {
        "Conv" => Some(count(output?) * count(second?.get(1..)?)),
        "ConvTranspose" => Some(count(first?) * count(second?.get(1..)?)),
        "Gemm" => {
            let flag = |a: &AttributeProto| a.name.as_deref() == Some("transA") && a.i == Some(1);
            let inner = if node.attribute.iter().any(flag) { 0 } else { 1 };
            Some(count(output?) * *first?.get(inner)? as f64)
        }
        _ => Some(count(output?) * *first?.last()? as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::decode::{Head, Heads, Heat};
    use crate::model::graph::{Attr, Graph};
    use crate::model::onnx::ElementType;
    use crate::model::recipe::Input;

    /// x -> Conv -> hm, ConvTranspose -> up, MatMul after it.
    fn model() -> (ModelProto, Recipe) {
        let mut graph = Graph::new("g");
        let x = graph.input(
            "x",
            ElementType::Float,
            &[Dim::Param("N".into()), Dim::Value(3), Dim::Value(8), Dim::Value(8)],
        );
        let kernel = graph.floats("w", &[2, 3, 3, 3], &[0.0; 54]);
        let hm = graph.node("Conv", &[&x, &kernel], "hm", &[("pads", Attr::Ints(&[1; 4]))]);
        let square = graph.floats("m", &[8, 8], &[0.0; 64]);
        let out = graph.node("MatMul", &[&hm, &square], "out", &[]);
        graph.output(&out, ElementType::Float, &[Dim::Param("N".into())]);
        let head = Head { value: hm, channels: 2, height: 8, width: 8 };
        let heads = Heads { heatmap: head, heat: Heat::Logits, regressions: Vec::new(), stride: 1.0 };
        let recipe = Recipe { input: Input::plain("x"), heads, nms: None, float16: false };
        (graph.into_model(), recipe)
    }

    #[test]
    fn operators_weights_and_the_decode_are_counted() {
        let (model, recipe) = model();
        let facts = facts(&model, Some(&recipe));
        assert_eq!((facts.parameters, facts.parameter_bytes), (118, 472));
        assert_eq!((facts.nodes, facts.decode_nodes), (2, Some(1)));
        assert_eq!(facts.operators, [("Conv".to_owned(), 1), ("MatMul".to_owned(), 1)]);
        assert_eq!(facts.inputs, ["x float32 [N,3,8,8]"]);
        assert_eq!(only_input(&model), Ok(("x".to_owned(), 1, vec![1, 3, 8, 8])));
    }

    #[test]
    fn work_is_counted_by_shapes() {
        let (model, recipe) = model();
        assert_eq!(values_to_measure(&model), ["hm", "out"]);
        let shapes = ["hm", "out"].map(|name| (name.to_owned(), vec![1, 2, 8, 8]));
        let flops = flops(&model, &HashMap::from(shapes), Some(&recipe));
        assert_eq!(flops, Flops { total: 2.0 * (128.0 * 27.0 + 128.0 * 8.0), decode: 2.0 * 128.0 * 8.0 });
    }

    #[test]
    fn transposed_convolutions_and_gemm_are_counted() {
        let node = |op: &str, attribute: Vec<AttributeProto>| NodeProto {
            op_type: Some(op.to_owned()),
            input: vec!["a".into(), "b".into()],
            output: vec!["c".into()],
            attribute,
            ..Default::default()
        };
        let shapes = HashMap::from([("a", &[1, 4, 2, 2][..]), ("b", &[4, 3, 2, 2]), ("c", &[1, 3, 4, 4])]);
        assert_eq!(products(&node("ConvTranspose", Vec::new()), &shapes), Some(16.0 * 12.0));
        let shapes = HashMap::from([("a", &[5, 7][..]), ("b", &[7, 2]), ("c", &[5, 2])]);
        assert_eq!(products(&node("Gemm", Vec::new()), &shapes), Some(70.0));
        let turned = AttributeProto { name: Some("transA".into()), i: Some(1), ..Default::default() };
        assert_eq!(products(&node("Gemm", vec![turned]), &shapes), Some(50.0));
        assert_eq!(products(&node("Conv", Vec::new()), &HashMap::new()), None);
    }

    #[test]
    fn inputs_of_no_fixed_size_are_told() {
        let mut graph = Graph::new("g");
        graph.input("x", ElementType::Float, &[Dim::Value(1), Dim::Value(3), Dim::Param("H".into())]);
        let model = graph.into_model();
        assert_eq!(only_input(&model), Err("the size of x float32 [1,3,H] is not fixed".to_owned()));
        assert_eq!(only_input(&ModelProto::default()), Err("there is no graph".to_owned()));
    }
}
