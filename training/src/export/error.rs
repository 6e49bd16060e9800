//! Why there is no detector.

use centerx::model::ModelError;
use centerx::model::graph::GraphError;

/// Why a network was not exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// Names do not fit.
    #[error(
        "{names} class names were given for a network of {classes}; export it with the recipe that it was trained with"
    )]
    Classes {
        /// How many names there are.
        names: usize,
        /// How many classes the network has.
        classes: usize,
    },
    /// No such input.
    #[error(
        "the input is {width}x{height}; both sides must be multiples of {}",
        crate::nn::CenterNet::MULTIPLE
    )]
    Input {
        /// In pixels.
        width: u32,
        /// In pixels.
        height: u32,
    },
    /// The graph came out broken, which is a mistake in the export.
    #[error("the exported graph is not well-formed: {0}")]
    Graph(#[from] GraphError),
    /// It did not become a detector.
    #[error("the exported network does not become a detector: {0}")]
    Model(#[from] ModelError),
    /// A weight cannot be read back from the device.
    #[error("cannot read the network's numbers back: {cause}")]
    Read {
        /// Why.
        cause: String,
    },
    /// The runtime refuses it.
    #[error("ONNX Runtime does not run the exported {what}: {cause}")]
    Run {
        /// The network, or the detector up to its heads.
        what: &'static str,
        /// In the runtime's words.
        cause: String,
    },
    /// It computes something else.
    #[error(
        "the exported {what} is not the network that was trained: its head {head} differs by {difference} of its value, \
         {} is the most; nothing was written. If the weights hold very large numbers, train with a smaller learning rate \
         or gradient clipping",
        crate::export::parity::LIMIT
    )]
    Parity {
        /// The network, or the detector up to its heads.
        what: &'static str,
        /// The head.
        head: &'static str,
        /// The greatest difference.
        difference: f32,
    },
}
