//! What happens to a model file before it serves: reading and checking it, making one out of foreign
//! files, and keeping those that were fetched.
//!
//! [`load`] is what a server calls, [`zoo`] and [`runtime`] fetch what is pinned here. `onnx`, `graph`,
//! `tfjs`, `hardswish`, `decode`, `metadata`, `precision`, `variant`, `movenet`,
//! `coco` and `pose` are pure: bytes and values in, values out.

pub mod coco;
mod contract;
pub mod decode;
pub mod face;
pub mod fetch;
pub mod graph;
pub mod hardswish;
pub mod home;
pub mod import;
pub mod inspect;
pub mod metadata;
pub mod movenet;
pub mod onnx;
pub mod plan;
pub mod pose;
pub mod precision;
pub mod recipe;
pub mod reference;
pub mod runtime;
pub mod tfjs;
mod unpack;
pub mod variant;
pub mod verify;
pub mod zoo;

use std::fs;
use std::path::{Path, PathBuf};

use prost::Message as _;
use sha2::{Digest as _, Sha256};

pub use metadata::ModelMetadata;
use onnx::{ModelProto, ValueInfoProto};

/// The input of every detector: uint8 `[N, H, W, 3]`, RGB, letterboxed to the top left with zeros.
pub const INPUT: &str = "images";
/// The output of every detector: float32 `[N, K, 6 + 3 * P]`, see [`DetectorModel`].
pub const OUTPUT: &str = "detections";
/// No protobuf file can be larger.
const MAX_BYTES: u64 = 1 << 31;

/// A model file that keeps the engine contract.
///
/// It takes [`INPUT`] and gives [`OUTPUT`]: for each picture K rows, best first, of x1, y1, x2, y2 in
/// pixels of the input, score and class, then x, y, score of each of P landmarks. N may be any.
#[derive(Clone, Debug)]
pub struct DetectorModel {
    /// The ONNX file, as it was read.
    pub bytes: Vec<u8>,
    /// What its metadata says, and its shapes agree with.
    pub metadata: ModelMetadata,
    /// SHA-256 of `bytes`, lower-case hex.
    pub sha256: String,
}

/// Why there is no model.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The file cannot be read.
    #[error("cannot read the model {}: {cause}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// It is something else.
    #[error("{} is not an ONNX file", path.display())]
    NotOnnx {
        /// The file.
        path: PathBuf,
    },
    /// It was ONNX once.
    #[error("{} is damaged or cut short: {problem}; fetch or export it again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        problem: String,
    },
    /// Its weights lie elsewhere.
    #[error("{} keeps weight {tensor:?} in another file; save the model as one file", path.display())]
    ExternalData {
        /// The file.
        path: PathBuf,
        /// A weight that is not in it.
        tensor: String,
    },
    /// It is ONNX, but breaks the engine contract.
    #[error(
        "{} is an ONNX model but not a centerx detector: {problem}. It has input {inputs} and output {outputs}; \
         expected input {INPUT} uint8 [N,H,W,3] and output {OUTPUT} float32 [N,K,6 + 3 a landmark], the decode \
         being part of the graph. `centerx model import` makes a detector of a CenterNet, `centerx model pull coco` \
         fetches one",
        path.display()
    )]
    NotDetector {
        /// The file.
        path: PathBuf,
        /// What breaks the contract.
        problem: String,
        /// The inputs it has.
        inputs: String,
        /// The outputs it has.
        outputs: String,
    },
    /// It looks like a detector, but does not say what it detects.
    #[error("{} does not describe itself: {cause}; export it again with centerx's metadata", path.display())]
    Metadata {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        cause: metadata::MetadataError,
    },
    /// No such name.
    #[error("there is no model {name:?}: it is neither an .onnx file nor one of the models to pull ({have})")]
    Unknown {
        /// The name asked for.
        name: String,
        /// The names there are.
        have: String,
    },
    /// Known, but not on this machine yet.
    #[error("the model {name} is not on this machine; run: centerx model pull {name}")]
    NotPulled {
        /// Its name.
        name: String,
    },
    /// There is nothing to remove.
    #[error("the model {name} is not on this machine, so there is nothing to remove; there is: {have}")]
    NotThere {
        /// Its name.
        name: String,
        /// The models there are.
        have: String,
    },
    /// It does not say how it was made.
    #[error(
        "{name} does not say which values are its heads: its decode is one of a kind, or it is an older file, to be \
         pulled or imported again"
    )]
    NoRecipe {
        /// Its name.
        name: String,
    },
    /// A compiled model cannot be used.
    #[error("the plan {} cannot be used: {problem}", path.display())]
    Plan {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// What lies beside a compiled model cannot be read.
    #[error("{} does not describe its plan: {problem}; run `centerx model compile` again", path.display())]
    PlanRecord {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        problem: String,
    },
    /// A TF.js model cannot be translated.
    #[error(transparent)]
    Import(#[from] tfjs::ImportError),
    /// A detector keeps the precision it has.
    #[error(transparent)]
    Precision(#[from] precision::PrecisionError),
    /// A network cannot become a detector.
    #[error(transparent)]
    Network(#[from] import::ImportError),
    /// Heads cannot be decoded.
    #[error(transparent)]
    Decode(#[from] decode::DecodeError),
    /// A graph came out broken.
    #[error("the graph is not well-formed: {0}")]
    Graph(#[from] graph::GraphError),
    /// What is pinned cannot be fetched.
    #[error(transparent)]
    Fetch(#[from] fetch::FetchError),
    /// The cache folder does not do.
    #[error(transparent)]
    Home(#[from] home::HomeError),
}

/// Reads a detector and checks that it keeps the engine contract.
///
/// # Errors
/// A file that cannot be read, is not ONNX, is damaged, is no detector or does not describe itself; each
/// says what was found, what was expected and what to do.
pub fn load(path: &Path) -> Result<DetectorModel, ModelError> {
    parse(read(path)?, path)
}

/// Reads an ONNX file, detector or not.
///
/// # Errors
/// A file that cannot be read, is not ONNX, is damaged, or keeps weights in another file.
pub fn read_onnx(path: &Path) -> Result<ModelProto, ModelError> {
    parse_onnx(&read(path)?, path)
}

/// As [`read_onnx`], of bytes that were read already; `path` is for messages only.
///
/// # Errors
/// See [`read_onnx`].
pub fn parse_onnx(bytes: &[u8], path: &Path) -> Result<ModelProto, ModelError> {
    let model = decode_onnx(bytes, path)?;
    let weights = model.graph.iter().flat_map(|graph| &graph.initializer);
    match weights.into_iter().find(|weight| weight.is_external()) {
        Some(weight) => {
            let tensor = weight.name.clone().unwrap_or_default();
            Err(ModelError::ExternalData { path: path.to_owned(), tensor })
        }
        None => Ok(model),
    }
}

/// The bytes of a model file.
///
/// # Errors
/// A file that cannot be read, or is larger than an ONNX file can be.
pub fn read(path: &Path) -> Result<Vec<u8>, ModelError> {
    let read = |cause| ModelError::Read { path: path.to_owned(), cause };
    if fs::metadata(path).map_err(read)?.len() > MAX_BYTES {
        let problem = "it is larger than the 2 GiB that an ONNX file can have".to_owned();
        return Err(ModelError::Damaged { path: path.to_owned(), problem });
    }
    fs::read(path).map_err(read)
}

/// Writes a model file: it appears whole or not at all, and what was there before is replaced.
///
/// # Errors
/// A folder that cannot be written.
pub fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    // Temporary files are for their owner alone; this one is to be read like any other.
    let for_all = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    let mut file = tempfile::Builder::new().permissions(for_all).tempfile_in(folder_of(path))?;
    std::io::Write::write_all(&mut file, bytes)?;
    // A power cut soon after must not leave an empty file under its name.
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

/// Whether `path` is called like a model's file: it ends in `.onnx`, or is a [plan](plan::is_plan).
pub fn is_called_model(path: &Path) -> bool {
    path.extension().is_some_and(|end| end.eq_ignore_ascii_case("onnx")) || plan::is_plan(path)
}

/// The folder that a file lies in.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// As [`load`], of bytes that were read already; `path` is for messages only.
///
/// # Errors
/// See [`load`].
pub fn parse(bytes: Vec<u8>, path: &Path) -> Result<DetectorModel, ModelError> {
    let model = parse_onnx(&bytes, path)?;
    let metadata = contract::check(&model, path)?;
    let sha256 = sha256(&bytes);
    Ok(DetectorModel { bytes, metadata, sha256 })
}

/// Reads the ONNX file at `bytes`.
///
/// # Errors
/// Not ONNX, or damaged.
fn decode_onnx(bytes: &[u8], path: &Path) -> Result<ModelProto, ModelError> {
    let damaged = |problem| ModelError::Damaged { path: path.to_owned(), problem };
    match ModelProto::decode(bytes) {
        Ok(ModelProto { ir_version: Some(_), graph: None, .. }) => Err(damaged("it has no graph".to_owned())),
        Ok(model) if model.ir_version.is_some() => Ok(model),
        // All writers begin with field 1, the format's version, a small number.
        Err(error) if matches!(bytes, [0x08, 1..=31, ..]) => Err(damaged(error.to_string())),
        _ => Err(ModelError::NotOnnx { path: path.to_owned() }),
    }
}

/// Values for messages, as `images uint8 [N,512,512,3]`.
fn listed<'a>(values: impl IntoIterator<Item = &'a ValueInfoProto>) -> String {
    let values: Vec<_> = values.into_iter().map(ValueInfoProto::to_string).collect();
    if values.is_empty() { "none".to_owned() } else { values.join(", ") }
}

/// SHA-256 of `bytes`, lower-case hex.
fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
