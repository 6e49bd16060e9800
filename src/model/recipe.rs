//! How a detector was made out of a network: enough to run the network by itself and to decode its heads by
//! other means, which is what proves the two equal.

use std::path::Path;

use prost::Message as _;
use serde::{Deserialize, Serialize};

use super::decode::Heads;
use super::graph::Graph;
use super::{DetectorModel, ModelError, decode_onnx};

/// The way from a picture to detections, in the terms of the network that was imported.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Recipe {
    /// How the network wants its picture.
    pub input: Input,
    /// The network's heads; their values have the same names in the detector and in the original.
    pub heads: Heads,
    /// Overlap from which a worse object of the same class is left out; none keeps all.
    #[serde(default)]
    pub nms: Option<f32>,
    /// The network computes in float16; its decode is float32 all the same.
    #[serde(default)]
    pub float16: bool,
}

/// How a network wants its picture.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Input {
    /// The name of its input in the original.
    pub name: String,
    /// The order of its axes.
    pub layout: Layout,
    /// The element type it had in the original, by the number in the ONNX format: 1 float32, 2 uint8, 6
    /// int32, 10 float16.
    pub element: i32,
    /// Blue comes first.
    pub bgr: bool,
    /// What each of the network's channels, in its order, is multiplied by, from 0 to 255.
    pub multiply: [f32; 3],
    /// What is added then.
    pub add: [f32; 3],
}

/// The order of a picture's axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// Channels, rows, columns.
    Nchw,
    /// Rows, columns, channels.
    Nhwc,
}

impl Input {
    /// A float32 NCHW input `name` that takes RGB from 0 to 255 as it is.
    pub fn plain(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            layout: Layout::Nchw,
            element: 1,
            bgr: false,
            multiply: [1.0; 3],
            add: [0.0; 3],
        }
    }
}

/// A detector without its decode: the bytes of an ONNX file that takes `images` and gives the heads of the
/// recipe, under the names that those have there, the heatmap first.
///
/// # Errors
/// A model without a recipe, or one whose graph does not hold those heads.
pub fn up_to_heads(detector: &DetectorModel) -> Result<Vec<u8>, ModelError> {
    let path = Path::new(&detector.metadata.name);
    let model = decode_onnx(&detector.bytes, path)?;
    let Some(recipe) = &detector.metadata.recipe else {
        return Err(ModelError::NoRecipe { name: detector.metadata.name.clone() });
    };
    let mut graph = Graph::from_model(model);
    let names: Vec<String> = recipe.heads.all().map(|head| head.value.clone()).collect();
    graph.set_outputs(&names);
    graph.remove_dead();
    graph.check()?;
    Ok(graph.into_model().encode_to_vec())
}
