//! Walks a TF.js graph from its heads back to its input and translates each node on the way.

use std::collections::HashMap;

use super::ImportError;
use super::manifest::{GraphModel, MAX_SIZE, Node, PictureShape, Weight, WeightData};
use crate::model::decode::Head;
use crate::model::graph::Graph;

/// No feature map of a sane model is larger in any direction; keeps all arithmetic on shapes in range.
pub(super) const MAX_SIDE: usize = 1 << 20;
/// Where a model was saved for any size, its strides are found out at this one.
const NOMINAL_SIZE: [usize; 2] = [1024; 2];

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

impl From<&Feature> for Head {
    fn from(feature: &Feature) -> Self {
        let &Feature { channels, height, width, .. } = feature;
        Self { value: feature.value.clone(), channels, height, width }
    }
}

impl GraphModel {
    /// Height and width that the model was saved for; none if it was saved for any.
    ///
    /// # Errors
    /// None or several inputs, or one that is not a picture.
    pub fn saved_size(&self) -> Result<Option<[usize; 2]>, ImportError> {
        Ok(self.picture()?.size)
    }

    fn picture(&self) -> Result<PictureShape, ImportError> {
        let mut inputs = self.nodes.values().filter(|node| node.op == "Placeholder");
        match (inputs.next(), inputs.next()) {
            (Some(node), None) => node.picture_shape().map_err(|problem| node.error(problem)),
            (None, _) => Err(ImportError::Inconsistent("no node is a Placeholder, the input".to_owned())),
            (Some(_), Some(_)) => {
                Err(ImportError::Inconsistent("more than one node is a Placeholder".to_owned()))
            }
        }
    }

    /// Adds to `graph` what computes `heads` from the NCHW float32 value `pixels` of this height and width,
    /// which need not be those that the model was saved for: what it resizes to a fixed size is resized by
    /// the same factor instead.
    ///
    /// # Errors
    /// The first node that cannot be translated, or a size that its strides do not divide.
    pub fn convert(
        &self,
        graph: &mut Graph,
        pixels: &str,
        heads: &[&str],
        size: [usize; 2],
    ) -> Result<Vec<Feature>, ImportError> {
        let saved = self.saved_size()?.unwrap_or(NOMINAL_SIZE);
        let mut scratch = Graph::new("shapes");
        let as_saved = self.import(&mut scratch, pixels, heads, saved, HashMap::new())?;
        let multiple = as_saved.multiple();
        if size != saved && size.iter().any(|side| !(1..=MAX_SIZE).contains(side) || side % multiple != 0) {
            return Err(ImportError::Size { height: size[0], width: size[1], multiple });
        }
        let factors = as_saved.factors;
        let done = self.import(graph, pixels, heads, size, factors)?.done;
        heads
            .iter()
            .map(|&head| match done.get(head) {
                Some(Value::Feature(feature)) => Ok(feature.clone()),
                _ => Err(ImportError::Inconsistent(format!("{head:?} is not a feature map"))),
            })
            .collect()
    }

    /// Translates at one size of the input.
    fn import<'a>(
        &'a self,
        graph: &'a mut Graph,
        pixels: &str,
        heads: &[&str],
        [height, width]: [usize; 2],
        factors: HashMap<&'a str, [Factor; 2]>,
    ) -> Result<Importer<'a>, ImportError> {
        let channels = self.picture()?.channels;
        let input = Feature { value: pixels.to_owned(), channels, height, width };
        let mut importer = Importer { model: self, graph, input, done: HashMap::new(), factors };
        for node in self.in_order(heads)? {
            let value = importer.translate(node).map_err(|problem| node.error(problem))?;
            importer.done.insert(&node.name, value);
        }
        Ok(importer)
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

/// How much larger a feature map becomes in one direction: the side it gets and the side it had.
#[derive(Clone, Copy, Debug)]
pub(super) struct Factor {
    pub to: usize,
    pub from: usize,
}

/// What a node computes.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Feature(Feature),
    /// Numbers that follow from shapes alone, and so are known at once.
    Ints(Vec<i32>),
}

/// The state of one translation.
pub(super) struct Importer<'a> {
    model: &'a GraphModel,
    pub graph: &'a mut Graph,
    pub input: Feature,
    done: HashMap<&'a str, Value>,
    /// By how much the nodes that resize to a fixed size do it in the model as it was saved.
    pub factors: HashMap<&'a str, [Factor; 2]>,
}

/// What a node reads, as an operand.
pub(super) enum Operand<'a> {
    Feature(Feature),
    Constant(&'a Weight),
    Ints(Vec<i32>),
}

impl<'a> Importer<'a> {
    /// What the input's sides must be multiples of so that every stride on the way divides its feature map:
    /// then what is made larger again by the same factor fits what it is joined with.
    fn multiple(&self) -> usize {
        let mut multiple = 1;
        for value in self.done.values() {
            let Value::Feature(feature) = value else { continue };
            // Those of one cell are means over all.
            if (feature.height, feature.width) != (1, 1) {
                let shrunk = |whole: usize, part: usize| (whole / part.max(1)).max(1);
                let reduction =
                    shrunk(self.input.height, feature.height).max(shrunk(self.input.width, feature.width));
                multiple = multiple.max(reduction);
            }
        }
        multiple
    }

    pub fn operand(&self, node: &Node, index: usize) -> Result<Operand<'a>, String> {
        let name = plain(node.input.get(index).ok_or_else(|| format!("has no input {index}"))?);
        match self.done.get(name) {
            Some(Value::Feature(feature)) => return Ok(Operand::Feature(feature.clone())),
            Some(Value::Ints(ints)) => return Ok(Operand::Ints(ints.clone())),
            None => {}
        }
        let weight = self.model.weights.get(name);
        weight.map(Operand::Constant).ok_or_else(|| format!("the weight {name:?} is not in the weight file"))
    }

    pub fn feature(&self, node: &Node, index: usize) -> Result<Feature, String> {
        match self.operand(node, index)? {
            Operand::Feature(feature) => Ok(feature),
            _ => Err(format!("input {index} is a constant; expected a feature map")),
        }
    }

    pub fn floats(&self, node: &Node, index: usize) -> Result<(&'a [usize], &'a [f32]), String> {
        match self.operand(node, index)? {
            Operand::Constant(Weight { shape, data: WeightData::Floats(data) }) => Ok((shape, data)),
            _ => Err(format!("input {index} is not a float constant")),
        }
    }

    pub fn ints(&self, node: &Node, index: usize) -> Result<Vec<i32>, String> {
        match self.operand(node, index)? {
            Operand::Constant(Weight { data: WeightData::Ints(data), .. }) => Ok(data.clone()),
            Operand::Ints(ints) => Ok(ints),
            _ => Err(format!("input {index} is neither an integer constant nor made from shapes")),
        }
    }
}
