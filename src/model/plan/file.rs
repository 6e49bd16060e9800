//! A plan as a file, with its record beside it.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use super::Record;
use crate::model::{self, ModelError, ModelMetadata, load, sha256};

/// No plan is larger.
const MAX_BYTES: u64 = 1 << 33;

/// A plan that was read.
#[derive(Clone, Debug)]
pub struct PlanFile {
    /// The plan.
    pub bytes: Vec<u8>,
    /// What its detector is.
    pub metadata: ModelMetadata,
    /// What it fits, if centerx made it.
    pub record: Option<Record>,
    /// SHA-256 of the plan, lower-case hex.
    pub sha256: String,
}

/// Whether `path` is that of a plan: it ends in `.plan` or `.engine`.
pub fn is_plan(path: &Path) -> bool {
    let is = |end: &OsStr| end.eq_ignore_ascii_case("plan") || end.eq_ignore_ascii_case("engine");
    path.extension().is_some_and(is)
}

/// Where the record of the plan at `path` lies.
pub fn record_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".json");
    name.into()
}

/// The record of the plan at `path`; none if there is none.
///
/// # Errors
/// One that cannot be read.
pub fn record(path: &Path) -> Result<Option<Record>, ModelError> {
    let beside = record_path(path);
    match fs::read(&beside) {
        Ok(text) => Record::parse(&text)
            .map(Some)
            .map_err(|problem| ModelError::PlanRecord { path: beside.clone(), problem }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(ModelError::Read { path: beside, cause }),
    }
}

/// Reads a plan. What it detects is told by its record, or by the fused ONNX file of the same name that it was built
/// from.
///
/// # Errors
/// A file that cannot be read, is not what its record says, or has neither beside it.
pub fn open(path: &Path) -> Result<PlanFile, ModelError> {
    let unreadable = |cause| ModelError::Read { path: path.to_owned(), cause };
    let length = fs::metadata(path).map_err(unreadable)?.len();
    let damaged = |problem: String| ModelError::Plan { path: path.to_owned(), problem };
    if length > MAX_BYTES {
        return Err(damaged("it is larger than 8 GiB".to_owned()));
    }
    let record = record(path)?;
    if let Some(record) = record.as_ref().filter(|record| record.bytes != length) {
        return Err(damaged(format!(
            "it has {length} bytes, but {} says {}: it was cut short or replaced; rebuild it: {}",
            record_path(path).display(),
            record.bytes,
            record.rebuild(Some(path))
        )));
    }
    let metadata = match &record {
        Some(record) => record.metadata.clone(),
        None => of_sibling(path)?,
    };
    let bytes = fs::read(path).map_err(unreadable)?;
    let digest = sha256(&bytes);
    match record.as_ref().filter(|record| record.sha256 != digest) {
        Some(record) => Err(damaged(format!(
            "its content is not what {} says; rebuild it: {}",
            record_path(path).display(),
            record.rebuild(Some(path))
        ))),
        None => Ok(PlanFile { bytes, metadata, record, sha256: digest }),
    }
}

/// The metadata in the ONNX file of the same name.
fn of_sibling(path: &Path) -> Result<ModelMetadata, ModelError> {
    let onnx = path.with_extension("onnx");
    if onnx.is_file() {
        return Ok(load(&onnx)?.metadata);
    }
    let problem = format!(
        "nothing tells what it detects: put the fused ONNX file it was built from beside it as {}, or build it by \
         `centerx model compile`, which writes {}",
        onnx.display(),
        record_path(path).display()
    );
    Err(ModelError::Plan { path: path.to_owned(), problem })
}

/// Writes a plan to `path` and its record beside it; each appears whole or not at all, and the record last, so that no
/// record ever speaks of a plan that is not there.
///
/// # Errors
/// A folder that cannot be written.
pub fn write(path: &Path, plan: &[u8], record: &Record) -> std::io::Result<()> {
    let beside = record_path(path);
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => model::write(path, plan)?,
    }
    model::write(&beside, &serde_json::to_vec_pretty(record)?)
}
