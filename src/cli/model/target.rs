//! The file that a command makes a model into.

use std::path::Path;

use anyhow::Context;

use crate::cli::UsageError;

/// Refuses an output that has nowhere to go or is there, before the work is done.
pub(super) fn check(path: &Path, force: bool) -> Result<(), UsageError> {
    let folder = folder_of(path);
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
    let folder = folder_of(path);
    let fail = || format!("cannot write {}", path.display());
    // Temporary files are for their owner alone; this one is to be read like any other.
    let for_all = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    let mut file = tempfile::Builder::new().permissions(for_all).tempfile_in(folder).with_context(fail)?;
    std::io::Write::write_all(&mut file, bytes).with_context(fail)?;
    // A power cut soon after must not leave an empty file under its name.
    file.as_file().sync_all().with_context(fail)?;
    file.persist(path).with_context(fail)?;
    Ok(())
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
