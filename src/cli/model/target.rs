//! The file that a command makes a model into.

use std::path::Path;

use anyhow::Context;

use crate::cli::UsageError;
use crate::model;

/// Refuses an output that has nowhere to go or is there, before the work is done.
pub(super) fn check(path: &Path, force: bool) -> Result<(), UsageError> {
    let folder = model::folder_of(path);
    let problem = if !folder.is_dir() {
        format!("there is no folder {}", folder.display())
    } else if path.exists() && !force {
        format!("{} is there already; --force writes over it", path.display())
    } else {
        return Ok(());
    };
    Err(UsageError(format!("--output: {problem}")))
}

/// The file appears whole or not at all.
pub(super) fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    model::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}
