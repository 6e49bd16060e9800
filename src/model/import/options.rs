//! What the user says of a network, and wants of the detector.

use crate::model::decode::{Family, Heat};
use crate::model::recipe::Layout;

/// A picture's size in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs)]
pub struct Size {
    pub width: usize,
    pub height: usize,
}

impl Size {
    /// Sides from 1 to 8192, the engine contract's range; none for others.
    pub fn new(width: i64, height: i64) -> Option<Self> {
        let side = |side: i64| usize::try_from(side).ok().filter(|side| (1..=8192).contains(side));
        Some(Self { width: side(width)?, height: side(height)? })
    }
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

/// What the network wants of its pixels: `(pixel * scale - mean) / std`, a channel at a time in the
/// network's own order. Pixels are 0 to 255.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs)]
pub struct Normalize {
    pub mean: [f32; 3],
    pub std: [f32; 3],
    pub scale: f32,
    /// Blue comes first.
    pub bgr: bool,
}

impl Default for Normalize {
    fn default() -> Self {
        Self { mean: [0.0; 3], std: [1.0; 3], scale: 1.0, bgr: false }
    }
}

/// What the user says of a network, and wants of the detector.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The detector's name.
    pub name: String,
    /// Its edition; `1` if empty.
    pub version: String,
    /// The family; found by itself if none.
    pub family: Option<&'static Family>,
    /// Heads by name, each with the value in the network that holds it; inner values are allowed.
    pub heads: Vec<(String, String)>,
    /// What the heatmap holds; found by itself if none.
    pub heat: Option<Heat>,
    /// Class names in order; made up if none.
    pub labels: Option<Vec<String>>,
    /// Where the channels are; found by itself if none.
    pub layout: Option<Layout>,
    /// What the network wants of its pixels.
    pub normalize: Normalize,
    /// Input size; that of the network if none.
    pub size: Option<Size>,
    /// Input pixels a cell; worked out from the sizes if none, and checked against them.
    pub stride: Option<usize>,
    /// Detections a picture; 100 if none.
    pub top_k: Option<usize>,
    /// Overlap from which a worse object of the same class is left out; none keeps all.
    pub nms: Option<f32>,
    /// Compute in float16, the decode excepted.
    pub float16: bool,
    /// Where the weights come from.
    pub source: String,
    /// Their licence, as an SPDX expression.
    pub license: String,
}
