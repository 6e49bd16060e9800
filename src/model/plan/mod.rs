//! Plans: detectors that TensorRT compiled, and what must be known of each to run it.
//!
//! A plan says neither what it detects nor what it fits, so a [`Record`] lies beside it as JSON: its detector's
//! metadata and all that must be the same where it runs. Those made here are kept in the cache folder
//! ([`Plans`]), so that a server compiles a model once.
//!
//! Nothing here knows TensorRT: a plan is bytes.

mod file;
mod store;

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::ModelMetadata;

pub use file::{PlanFile, is_plan, open, record, record_path, write};
pub use store::Plans;

/// The record's own format. Another one is not read.
const FORMAT: u32 = 1;

/// Pictures in a batch that one profile of a plan takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
pub struct Batches {
    /// At least.
    pub min: usize,
    /// What it is tuned for.
    pub opt: usize,
    /// At most.
    pub max: usize,
}

impl fmt::Display for Batches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{} (best {})", self.min, self.max, self.opt)
    }
}

/// All that decides whether a plan is the right one: the same detector, for the same library and GPU, and the same
/// batches.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Key {
    /// SHA-256 of the detector's ONNX file, lower-case hex.
    pub onnx_sha256: String,
    /// The library that made it: `TensorRT` or `TensorRT-RTX`.
    pub library: String,
    /// Its version, such as `11.4.0`.
    pub version: String,
    /// The compute capabilities of the GPUs it is for, such as `8.9`, sorted.
    pub capabilities: Vec<String>,
    /// The profiles, in the plan's order.
    pub profiles: Vec<Batches>,
}

/// What lies beside a plan.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Record {
    format: u32,
    /// What it fits.
    pub key: Key,
    /// What its detector is.
    pub metadata: ModelMetadata,
    /// The detector it was made of, as its maker named it: a pulled model's name or a path.
    pub source: String,
    /// Bytes of the plan.
    pub bytes: u64,
    /// SHA-256 of the plan, lower-case hex.
    pub sha256: String,
}

impl Record {
    /// What to know of `plan`, made of the detector called `source`.
    pub fn of(plan: &[u8], key: Key, metadata: ModelMetadata, source: String) -> Self {
        let (bytes, sha256) = (plan.len() as u64, super::sha256(plan));
        Self { format: FORMAT, key, metadata, source, bytes, sha256 }
    }

    /// Reads what lies beside a plan.
    ///
    /// # Errors
    /// What does not fit.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        // The format first: another one may have other entries.
        let value: serde_json::Value = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        match value["format"].as_u64() {
            Some(format) if format == u64::from(FORMAT) => {}
            Some(format) => return Err(format!("its format is {format}, known is {FORMAT}")),
            None => return Err("it has no format".to_owned()),
        }
        serde_json::from_value(value).map_err(|error| error.to_string())
    }

    /// Whether the plan at `path` was made of the ONNX file of the same name, if there is one.
    ///
    /// # Errors
    /// It was made of another one.
    pub fn check_source(&self, path: &Path) -> Result<(), Unfit> {
        let onnx = path.with_extension("onnx");
        match super::read(&onnx) {
            Ok(bytes) if super::sha256(&bytes) != self.key.onnx_sha256 => Err(Unfit::Model { path: onnx }),
            // One that cannot be read is of no use to anybody, and no reason to refuse the plan.
            _ => Ok(()),
        }
    }

    /// The command that makes this plan anew for the machine it is given on; into the cache folder, or into `path`.
    pub fn rebuild(&self, path: Option<&Path>) -> String {
        let most = self.key.profiles.iter().map(|profile| profile.max).max().unwrap_or(1);
        let best: Vec<_> = self.key.profiles.iter().map(|profile| profile.opt.to_string()).collect();
        let best = best.join(",");
        let place = path.map(|path| format!(" -o {} --force", path.display())).unwrap_or_default();
        format!("centerx model compile {} --max-batch {most} --best {best}{place}", self.source)
    }
}

/// The machine that a plan is to run on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// The library that is here.
    pub library: String,
    /// Its version.
    pub version: String,
    /// The GPU's compute capability; none where there is no GPU, which fits any.
    pub capability: Option<String>,
}

/// What keeps a plan from running on a machine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Made by another TensorRT.
    #[error("it was built by {built}, but this machine has {here}")]
    Library {
        /// Flavour and version that built it.
        built: String,
        /// Those that are here.
        here: String,
    },
    /// Made of another detector.
    #[error("it was built from another model than {} beside it", path.display())]
    Model {
        /// The ONNX file.
        path: PathBuf,
    },
    /// Made for another GPU.
    #[error("it was built for GPUs of compute capability {built}, but this one's is {here}")]
    Capability {
        /// Those it was built for.
        built: String,
        /// The one here.
        here: String,
    },
}

impl Key {
    /// Whether a plan with this key runs on `machine`.
    ///
    /// # Errors
    /// The first thing that differs.
    pub fn check(&self, machine: &Machine) -> Result<(), Unfit> {
        if (&self.library, &self.version) != (&machine.library, &machine.version) {
            let (built, here) = (self.product(), format!("{} {}", machine.library, machine.version));
            return Err(Unfit::Library { built, here });
        }
        match &machine.capability {
            Some(here) if !self.capabilities.contains(here) => {
                Err(Unfit::Capability { built: self.capabilities.join(", "), here: here.clone() })
            }
            _ => Ok(()),
        }
    }

    /// The library's name and version, for people.
    pub fn product(&self) -> String {
        format!("{} {}", self.library, self.version)
    }

    /// A name for a folder: another one for every key.
    fn digest(&self) -> String {
        // A value of strings and numbers always has a JSON.
        super::sha256(serde_json::json!(self).to_string().as_bytes())[..24].to_owned()
    }
}

/// The profiles for batches of 1 to `max`, one tuned for each size in `best`.
///
/// # Errors
/// Sizes that are not from 1 to `max`, for the user to read.
pub fn profiles(max: usize, best: &[usize]) -> Result<Vec<Batches>, String> {
    let mut best = best.to_vec();
    best.sort_unstable();
    best.dedup();
    if let Some(wrong) = best.iter().find(|&&opt| opt == 0 || opt > max) {
        return Err(format!("{wrong} is not a batch size from 1 to the greatest, {max}"));
    }
    if best.is_empty() {
        best.push(max);
    }
    Ok(best.into_iter().map(|opt| Batches { min: 1, opt, max }).collect())
}

#[cfg(test)]
mod tests;
