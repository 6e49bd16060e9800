//! Why a network cannot be imported, and the checks of its weights.

use std::path::Path;

use super::super::{ModelError, decode, graph};
use crate::model::graph::op;
use crate::model::onnx::{ElementType, GraphProto, ModelProto, NodeProto, TensorProto};

/// Why a network cannot become a detector.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// Its input is no picture.
    #[error("{problem}; it has: {found}")]
    Input {
        /// What it must be.
        problem: String,
        /// The inputs there are.
        found: String,
    },
    /// The normalisation makes no sense.
    #[error("{problem}")]
    Normalize {
        /// Why.
        problem: String,
    },
    /// An operator cannot be brought into the form needed.
    #[error("{}{problem}", if node.is_empty() { String::new() } else { format!("node {node} ") })]
    Operator {
        /// The node and its operator.
        node: String,
        /// Why.
        problem: String,
    },
    /// A weight is not sound.
    #[error("weight {weight:?}: {problem}")]
    Weight {
        /// Its name.
        weight: String,
        /// What is wrong.
        problem: String,
    },
    /// The network cannot be run.
    #[error("the network does not run {at}: {cause}; {cure}")]
    Run {
        /// On what.
        at: String,
        /// What the runtime said.
        cause: String,
        /// What to do.
        cure: String,
    },
    /// Its heads have a size that no stride explains.
    #[error("{problem}")]
    Stride {
        /// What does not fit, and what would.
        problem: String,
    },
    /// Its outputs are the heads of no family.
    #[error("the outputs of the network are {found}; {problem}")]
    Family {
        /// Why not.
        problem: String,
        /// The outputs.
        found: String,
    },
    /// The heatmaps of a pose network cannot be decoded together.
    #[error("{problem}")]
    Heat {
        /// Why.
        problem: String,
    },
    /// There are too many or too few class names.
    #[error("{0}")]
    Labels(String),
    /// It cannot compute in float16.
    #[error("{0}; or import without --fp16")]
    Precision(#[from] crate::model::precision::PrecisionError),
    /// The heads do not go together.
    #[error(transparent)]
    Decode(#[from] decode::DecodeError),
    /// The graph is not sound: a value is used before it is made, as in a cycle.
    #[error("the graph is not in order, or runs in a circle: {0}; export the network again")]
    Graph(#[from] graph::GraphError),
}

impl ImportError {
    /// A problem of one node.
    pub(super) fn of(node: &NodeProto, problem: String) -> Self {
        let name = node.name.as_deref().unwrap_or("");
        Self::Operator { node: format!("{name:?} ({})", op(node)), problem }
    }
}

/// Checks that all weights are in the file, whole, and numbers.
pub(super) fn check_weights(model: &ModelProto, path: &Path) -> Result<(), ModelError> {
    let empty = GraphProto::default();
    let graph = model.graph.as_ref().unwrap_or(&empty);
    let constants =
        graph.node.iter().flat_map(|node| &node.attribute).filter_map(|attribute| attribute.t.as_ref());
    for weight in graph.initializer.iter().chain(constants) {
        let name = weight.name.clone().unwrap_or_default();
        if weight.is_external() {
            return Err(ModelError::ExternalData { path: path.to_owned(), tensor: name });
        }
        if let Some(problem) = problem_of(weight) {
            return Err(ImportError::Weight { weight: name, problem: problem.to_owned() }.into());
        }
    }
    Ok(())
}

fn problem_of(weight: &TensorProto) -> Option<&'static str> {
    let Some(elements) = weight.elements() else {
        return Some("its shape is impossible; the file is damaged");
    };
    let size = match weight.data_type {
        Some(kind) if kind == ElementType::Float as i32 || kind == ElementType::Int32 as i32 => 4,
        Some(kind) if kind == ElementType::Int64 as i32 => 8,
        Some(kind) if kind == ElementType::Float16 as i32 => 2,
        _ => return None,
    };
    if weight.raw_data.as_ref().is_some_and(|raw| Some(raw.len()) != elements.checked_mul(size)) {
        return Some("it has not as many elements as its shape says; the file is damaged");
    }
    if weight.data_type == Some(ElementType::Float as i32) {
        let Some(values) = weight.floats() else {
            return Some("it has not as many elements as its shape says; the file is damaged");
        };
        if values.iter().any(|v| v.is_nan()) {
            return Some(
                "it holds NaN, which is no number; the training went wrong, take an earlier checkpoint",
            );
        }
    }
    None
}
