//! Walks a TF.js graph from its heads back to its input and translates each node on the way.

use std::collections::HashMap;

use super::ImportError;
use super::manifest::{GraphModel, Node, Weight, WeightData};
use crate::model::graph::Graph;

/// No feature map of a sane model is larger in any direction; keeps all arithmetic on shapes in range.
pub(super) const MAX_SIDE: usize = 1 << 20;

/// A feature map in the ONNX graph, NCHW with any N.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs)]
pub struct Feature {
    /// The value's name in the graph.
    pub value: String,
    pub channels: usize,
    pub height: usize,
    pub width: usize,
}

impl GraphModel {
    /// Height, width and channels of the pictures that the model takes.
    ///
    /// # Errors
    /// None or several inputs, or one of another shape.
    pub fn input_shape(&self) -> Result<[usize; 3], ImportError> {
        let mut inputs = self.nodes.values().filter(|node| node.op == "Placeholder");
        match (inputs.next(), inputs.next()) {
            (Some(node), None) => node.picture_shape().map_err(|problem| node.error(problem)),
            (None, _) => Err(ImportError::Inconsistent("no node is a Placeholder, the input".to_owned())),
            (Some(_), Some(_)) => {
                Err(ImportError::Inconsistent("more than one node is a Placeholder".to_owned()))
            }
        }
    }

    /// Adds to `graph` what computes `heads` from the NCHW float32 value `pixels`.
    ///
    /// # Errors
    /// The first node that cannot be translated.
    pub fn convert(
        &self,
        graph: &mut Graph,
        pixels: &str,
        heads: &[&str],
    ) -> Result<Vec<Feature>, ImportError> {
        let [height, width, channels] = self.input_shape()?;
        let input = Feature { value: pixels.to_owned(), channels, height, width };
        let mut importer = Importer { model: self, graph, input, done: HashMap::new() };
        for node in self.in_order(heads)? {
            let feature = importer.translate(node).map_err(|problem| node.error(problem))?;
            importer.done.insert(&node.name, feature);
        }
        heads
            .iter()
            .map(|&head| importer.done.get(head).cloned().ok_or_else(|| missing(head, None)))
            .collect()
    }

    /// The nodes that `heads` depend on, each after those it reads. Constants are left out.
    fn in_order(&self, heads: &[&str]) -> Result<Vec<&Node>, ImportError> {
        let mut order = Vec::new();
        // A node is on the list as begun while what it reads is visited: meeting it again is a cycle.
        let mut begun: HashMap<&str, bool> = HashMap::new();
        let mut stack = Vec::new();
        for &head in heads.iter().rev() {
            stack.push((self.nodes.get(head).ok_or_else(|| missing(head, None))?, false));
        }
        while let Some((node, inputs_done)) = stack.pop() {
            if inputs_done {
                begun.insert(&node.name, true);
                order.push(node);
                continue;
            }
            match begun.insert(&node.name, false) {
                None => {}
                Some(true) => {
                    begun.insert(&node.name, true);
                    continue;
                }
                Some(false) => return Err(node.error("depends on itself".to_owned())),
            }
            stack.push((node, true));
            for input in &node.input {
                let source = self.nodes.get(plain(input)).ok_or_else(|| missing(input, Some(node)))?;
                if source.op != "Const" && begun.get(source.name.as_str()) != Some(&true) {
                    stack.push((source, false));
                }
            }
        }
        Ok(order)
    }
}

/// The name of the node behind a reference; `name:0` is its first output.
pub(super) fn plain(reference: &str) -> &str {
    reference.strip_suffix(":0").unwrap_or(reference)
}

fn missing(name: &str, reader: Option<&Node>) -> ImportError {
    match reader {
        Some(node) => node.error(format!("reads {name:?}, which is not a node of the model")),
        None => ImportError::Inconsistent(format!("there is no node {name:?}")),
    }
}

impl Node {
    pub(super) fn error(&self, problem: String) -> ImportError {
        ImportError::Node { node: self.name.clone(), op: self.op.clone(), problem }
    }
}

/// The state of one translation.
pub(super) struct Importer<'a> {
    model: &'a GraphModel,
    pub graph: &'a mut Graph,
    pub input: Feature,
    done: HashMap<&'a str, Feature>,
}

/// What a node reads, as an operand.
pub(super) enum Operand<'a> {
    Feature(Feature),
    Constant(&'a Weight),
}

impl<'a> Importer<'a> {
    pub fn operand(&self, node: &Node, index: usize) -> Result<Operand<'a>, String> {
        let name = plain(node.input.get(index).ok_or_else(|| format!("has no input {index}"))?);
        if let Some(feature) = self.done.get(name) {
            return Ok(Operand::Feature(feature.clone()));
        }
        let weight = self.model.weights.get(name);
        weight.map(Operand::Constant).ok_or_else(|| format!("the weight {name:?} is not in the weight file"))
    }

    pub fn feature(&self, node: &Node, index: usize) -> Result<Feature, String> {
        match self.operand(node, index)? {
            Operand::Feature(feature) => Ok(feature),
            Operand::Constant(_) => Err(format!("input {index} is a constant; expected a feature map")),
        }
    }

    pub fn floats(&self, node: &Node, index: usize) -> Result<(&'a [usize], &'a [f32]), String> {
        match self.operand(node, index)? {
            Operand::Constant(Weight { shape, data: WeightData::Floats(data) }) => Ok((shape, data)),
            _ => Err(format!("input {index} is not a float constant")),
        }
    }

    pub fn ints(&self, node: &Node, index: usize) -> Result<&'a [i32], String> {
        match self.operand(node, index)? {
            Operand::Constant(Weight { data: WeightData::Ints(data), .. }) => Ok(data),
            _ => Err(format!("input {index} is not an integer constant")),
        }
    }
}
