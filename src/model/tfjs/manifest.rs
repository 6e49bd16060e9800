//! The files of a TF.js graph model: nodes with attributes, and weights out of the weight file.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use half::f16;
use serde::Deserialize;
use serde_json::Value;

use super::ImportError;

/// A TF.js graph model, read but not yet translated.
#[derive(Debug)]
pub struct GraphModel {
    pub(super) nodes: HashMap<String, Node>,
    pub(super) weights: HashMap<String, Weight>,
}

/// The largest height or width of a picture.
pub(super) const MAX_SIZE: usize = 8192;

/// What pictures a model takes.
pub(super) struct PictureShape {
    /// Height and width, if they are fixed.
    pub size: Option<[usize; 2]>,
    pub channels: usize,
}

/// One operation of the graph.
#[derive(Debug, Deserialize)]
pub(super) struct Node {
    pub name: String,
    pub op: String,
    #[serde(default)]
    pub input: Vec<String>,
    #[serde(default)]
    attr: HashMap<String, Value>,
}

/// A constant of the graph, in TensorFlow's layout.
#[derive(Debug)]
pub(super) struct Weight {
    pub shape: Vec<usize>,
    pub data: WeightData,
}

#[derive(Debug)]
pub(super) enum WeightData {
    Floats(Vec<f32>),
    Ints(Vec<i32>),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Description {
    model_topology: Topology,
    weights_manifest: Vec<WeightGroup>,
}

#[derive(Deserialize)]
struct Topology {
    node: Vec<Node>,
}

#[derive(Deserialize)]
struct WeightGroup {
    weights: Vec<WeightEntry>,
}

#[derive(Deserialize)]
struct WeightEntry {
    name: String,
    shape: Vec<usize>,
    dtype: String,
    quantization: Option<Quantization>,
}

#[derive(Deserialize)]
struct Quantization {
    dtype: String,
}

impl GraphModel {
    /// Reads a model from its description and its weights, which are the bytes of all weight files one
    /// after the other in the order of the description.
    ///
    /// # Errors
    /// A description that is not TF.js's, or weights that do not fit it.
    pub fn parse(description: &[u8], weights: &[u8]) -> Result<Self, ImportError> {
        let description: Description = serde_json::from_slice(description)?;
        let mut nodes = HashMap::new();
        for node in description.model_topology.node {
            if let Some(twin) = nodes.insert(node.name.clone(), node) {
                return Err(ImportError::Inconsistent(format!("two nodes are called {:?}", twin.name)));
            }
        }
        let entries = description.weights_manifest.into_iter().flat_map(|group| group.weights);
        Ok(Self { nodes, weights: read_weights(entries, weights)? })
    }
}

fn read_weights(
    entries: impl Iterator<Item = WeightEntry>,
    mut bytes: &[u8],
) -> Result<HashMap<String, Weight>, ImportError> {
    let mut weights = HashMap::new();
    for entry in entries {
        let (weight, rest) = read_weight(&entry, bytes)
            .map_err(|problem| ImportError::Weight { weight: entry.name.clone(), problem })?;
        bytes = rest;
        if weights.insert(entry.name.clone(), weight).is_some() {
            return Err(ImportError::Inconsistent(format!("two weights are called {:?}", entry.name)));
        }
    }
    if bytes.is_empty() {
        return Ok(weights);
    }
    Err(ImportError::Inconsistent(format!("{} bytes of the weight file belong to no weight", bytes.len())))
}

/// The weight at the beginning of `bytes`, and the bytes after it.
fn read_weight<'a>(entry: &WeightEntry, bytes: &'a [u8]) -> Result<(Weight, &'a [u8]), String> {
    let stored = entry.quantization.as_ref().map_or(&entry.dtype, |q| &q.dtype);
    let size = match (entry.dtype.as_str(), stored.as_str()) {
        ("float32", "float16") => 2,
        ("float32", "float32") | ("int32", "int32") => 4,
        (kind, stored) => return Err(format!("{kind} stored as {stored} is not supported")),
    };
    let elements = entry.shape.iter().try_fold(1usize, |product, &d| product.checked_mul(d));
    let length = elements.and_then(|n| n.checked_mul(size));
    let Some((own, rest)) = length.and_then(|length| bytes.split_at_checked(length)) else {
        return Err(format!("shape {:?} needs more than the {} bytes left", entry.shape, bytes.len()));
    };
    let data = match (entry.dtype.as_str(), size) {
        ("int32", _) => WeightData::Ints(words(own).map(i32::from_le_bytes).collect()),
        (_, 2) => WeightData::Floats(words(own).map(|b| f16::from_le_bytes(b).to_f32()).collect()),
        _ => WeightData::Floats(words(own).map(f32::from_le_bytes).collect()),
    };
    Ok((Weight { shape: entry.shape.clone(), data }, rest))
}

fn words<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; N]> {
    bytes.as_chunks().0.iter().copied()
}

/// Numbers are written as JSON numbers or, being 64 bits wide, as strings.
fn int(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

fn text(value: &Value) -> Option<String> {
    String::from_utf8(STANDARD.decode(value.as_str()?).ok()?).ok()
}

/// Attributes by name; an error says which one is missing or of another kind.
impl Node {
    fn attribute<T>(&self, name: &str, read: impl FnOnce(&Value) -> Option<T>) -> Result<T, String> {
        let value = self.attr.get(name).ok_or_else(|| format!("has no attribute {name:?}"))?;
        read(value).ok_or_else(|| format!("attribute {name:?} cannot be read"))
    }

    /// A string, which TF.js writes in base64.
    pub fn text(&self, name: &str) -> Result<String, String> {
        self.attribute(name, |value| text(value.get("s")?))
    }

    /// The name of an element type, such as `DT_FLOAT`.
    pub fn element(&self, name: &str) -> Result<String, String> {
        self.attribute(name, |value| Some(value.get("type")?.as_str()?.to_owned()))
    }

    /// A set of axes, as a number with a bit for each; empty if absent.
    pub fn axes(&self, name: &str) -> Result<i64, String> {
        if !self.attr.contains_key(name) {
            return Ok(0);
        }
        self.attribute(name, |value| value.get("i").map_or(Some(0), int))
    }

    /// A list of strings; empty if absent.
    pub fn texts(&self, name: &str) -> Result<Vec<String>, String> {
        if !self.attr.contains_key(name) {
            return Ok(Vec::new());
        }
        self.attribute(name, |value| match value.get("list")?.get("s") {
            Some(list) => list.as_array()?.iter().map(text).collect(),
            None => Some(Vec::new()),
        })
    }

    /// A truth value; false if absent, as protobuf leaves it out then.
    pub fn flag(&self, name: &str) -> Result<bool, String> {
        if !self.attr.contains_key(name) {
            return Ok(false);
        }
        self.attribute(name, |value| value.get("b").map_or(Some(false), Value::as_bool))
    }

    /// The numbers for height and width out of a list for N, H, W, C, in which those for N and C are 1.
    pub fn height_and_width(&self, name: &str) -> Result<[usize; 2], String> {
        let list = self.attribute(name, |value| {
            value.get("list")?.get("i")?.as_array()?.iter().map(int).collect::<Option<Vec<i64>>>()
        })?;
        match list[..] {
            [1, h @ 1..=64, w @ 1..=64, 1] => Ok([h as usize, w as usize]),
            _ => Err(format!("attribute {name:?} is {list:?}; expected [1, h, w, 1] with 1 to 64 each")),
        }
    }

    /// The shape of a placeholder: one NHWC picture.
    pub fn picture_shape(&self) -> Result<PictureShape, String> {
        let dims = self.attribute("shape", |value| {
            let dims = value.get("shape")?.get("dim")?.as_array()?;
            dims.iter().map(|dim| int(dim.get("size")?)).collect::<Option<Vec<i64>>>()
        })?;
        const MAX: i64 = MAX_SIZE as i64;
        let (size, channels) = match dims[..] {
            [-1 | 1, h @ 1..=MAX, w @ 1..=MAX, c @ 1..=4] => (Some([h as usize, w as usize]), c),
            [-1 | 1, -1, -1, c @ 1..=4] => (None, c),
            _ => {
                return Err(format!("shape {dims:?} is not that of one NHWC picture of at most {MAX}x{MAX}"));
            }
        };
        Ok(PictureShape { size, channels: channels as usize })
    }
}
