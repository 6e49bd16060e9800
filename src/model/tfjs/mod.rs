//! Reads TF.js graph models (`model.json` and its weight file) and rebuilds them as ONNX nodes.
//!
//! TensorFlow lays feature maps out as NHWC, ONNX as NCHW, so each operation is translated with its
//! shape known: paddings, broadcasts and axes are worked out here, once. The format is TF.js's own, see
//! <https://www.tensorflow.org/js/guide/save_load>; only the operations that real models in the zoo need
//! are translated, any other is an error with the node's name. The files come from outside: nothing in
//! them is believed before it is checked.

mod convert;
mod manifest;
mod ops;

pub use convert::Feature;
pub use manifest::GraphModel;

/// Why a TF.js model cannot be read or translated.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The description is not what TF.js writes.
    #[error("the TF.js model description cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    /// The weight file does not hold what the description says.
    #[error("weight {weight:?}: {problem}")]
    Weight {
        /// The weight's name.
        weight: String,
        /// What is wrong.
        problem: String,
    },
    /// Two nodes of one name, or bytes that no weight claims.
    #[error("the TF.js model contradicts itself: {0}")]
    Inconsistent(String),
    /// The network cannot take pictures of this size.
    #[error(
        "the network cannot take pictures of {width}x{height}: it halves them again and again, so both sides must \
         be multiples of {multiple} and at most 8192; the nearest is {}x{}",
        nearest(*width, *multiple), nearest(*height, *multiple)
    )]
    Size {
        /// The height asked for.
        height: usize,
        /// The width asked for.
        width: usize,
        /// What both must be multiples of.
        multiple: usize,
    },
    /// A node cannot be translated.
    #[error("node {node:?} ({op}): {problem}")]
    Node {
        /// The node's name.
        node: String,
        /// Its operation.
        op: String,
        /// What is wrong.
        problem: String,
    },
}

/// The multiple of `multiple` nearest to `side` that is in range.
fn nearest(side: usize, multiple: usize) -> usize {
    let side = side.clamp(multiple, manifest::MAX_SIZE);
    ((side + multiple / 2) / multiple * multiple).clamp(multiple, manifest::MAX_SIZE / multiple * multiple)
}

#[cfg(test)]
mod tests;
