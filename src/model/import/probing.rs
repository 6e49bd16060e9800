//! What a network gives is found by running it, at one picture and at two.

use std::collections::HashSet;

use prost::Message as _;

use super::{Import, ImportError, Size};
use crate::model::graph::Graph;
use crate::model::onnx::{ElementType, element_name};

/// A value of a network after a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Probed {
    /// Its name.
    pub name: String,
    /// Its element type's number in the ONNX format.
    pub element: i32,
    /// Its shape.
    pub shape: Vec<i64>,
    /// The least of its elements; NaN if any is, or if they are no floats.
    pub least: f32,
    /// The greatest.
    pub greatest: f32,
}

impl Probed {
    /// Whether it holds float32 or float16 numbers.
    pub(super) fn is_float(&self) -> bool {
        [ElementType::Float, ElementType::Float16].iter().any(|&element| element as i32 == self.element)
    }
}

impl std::fmt::Display for Probed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let dims: Vec<_> = self.shape.iter().map(i64::to_string).collect();
        write!(f, "{} {} [{}]", self.name, element_name(self.element), dims.join(","))
    }
}

/// Runs a model, the bytes of an ONNX file with the one input `images` (uint8 `[N, H, W, 3]`), over a batch of
/// so many pictures of noise of that size, and tells its outputs; or why it cannot be run.
pub type Probe<'a> = &'a dyn Fn(&[u8], usize, Size) -> Result<Vec<Probed>, String>;

impl Import<'_> {
    /// Runs the graph with `outputs` as its outputs.
    pub(super) fn run_at(
        &self,
        graph: &Graph,
        outputs: &[String],
        batch: usize,
        size: Size,
    ) -> Result<Vec<Probed>, String> {
        let mut copy = graph.clone();
        copy.set_outputs(outputs);
        copy.resize_input(size.height, size.width);
        copy.remove_dead();
        (self.probe)(&copy.into_model().encode_to_vec(), batch, size)
    }

    /// What may be heads, after a run at batch 1; a run at batch 2 shows that any will do.
    pub(super) fn probe_heads(
        &self,
        graph: &Graph,
        saved: Option<Size>,
        size: Size,
    ) -> Result<Vec<Probed>, ImportError> {
        let made: HashSet<&String> = graph.proto().node.iter().flat_map(|node| &node.output).collect();
        let outputs = graph.proto().output.iter().filter_map(|value| value.name.clone());
        let named = self.options.heads.iter().map(|(_, value)| value.clone());
        let mut names: Vec<String> = Vec::new();
        for name in outputs.chain(named.filter(|name| made.contains(name))) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let one = self.run_at(graph, &names, 1, size).map_err(|cause| ImportError::Run {
            at: format!("at {size}"),
            cause,
            cure: look_into_functions(graph).to_owned() + &cure(saved, size),
        })?;
        if let Some(bad) = one.iter().find(|probed| probed.is_float() && probed.least.is_nan()) {
            return Err(ImportError::Run {
                at: format!("at {size}"),
                cause: format!("{bad} holds NaN, which is no number"),
                cure: "look at its weights; the training may have gone wrong".to_owned(),
            });
        }
        let free = |two: &[Probed]| {
            one.iter()
                .zip(two)
                .all(|(a, b)| a.shape.first() == Some(&1) && b.shape == [&[2], &a.shape[1..]].concat())
        };
        match self.run_at(graph, &names, 2, size) {
            Ok(two) if free(&two) => Ok(one),
            Ok(_) => Err(fixed_batch(graph, "its outputs stay at the size for one".to_owned())),
            Err(cause) => Err(fixed_batch(graph, cause)),
        }
    }
}

/// What to do about a network that does not run, if that may be because of what is hidden in functions.
fn look_into_functions(graph: &Graph) -> &'static str {
    if graph.frame().functions.is_empty() {
        return "";
    }
    "its operators are hidden in functions, as PyTorch's newer exporter writes them, which are not looked into: \
     inline them first (onnx.inliner.inline_local_functions), or export it by torch.onnx.export without dynamo; \
     else "
}

/// What to do about a network that does not run at a size.
fn cure(saved: Option<Size>, size: Size) -> String {
    let by_size = match saved.filter(|&saved| saved != size) {
        Some(saved) => format!(
            "it was saved for {saved}, and may hold sizes of that inside: import it with --size {saved}, or export \
             it again with dynamic height and width; both sides must be multiples of its greatest stride, often 32"
        ),
        None => {
            "both sides must be multiples of its greatest stride, often 32: try --size 512x512".to_owned()
        }
    };
    format!("{by_size}; if an operator is not known, export the network without it")
}

fn fixed_batch(graph: &Graph, cause: String) -> ImportError {
    ImportError::Run {
        at: "on two pictures at once".to_owned(),
        cause,
        cure: format!(
            "{}a batch of one is written down somewhere inside it: export it again with a dynamic batch axis",
            look_into_functions(graph)
        ),
    }
}
