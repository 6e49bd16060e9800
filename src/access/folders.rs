//! Files under allowed folders.

use std::path::{Component, Path, PathBuf};

/// Folders whose files may be opened.
#[derive(Debug)]
pub(super) struct Folders {
    /// The setting's name.
    setting: &'static str,
    folders: Vec<PathBuf>,
}

impl Folders {
    pub(super) fn new(setting: &'static str, folders: &[PathBuf]) -> Self {
        Self { setting, folders: folders.to_vec() }
    }

    /// Where a file really lies, with every link followed, if that is under one of the folders. A file that is
    /// missing there passes too: what opens it has better words for that.
    ///
    /// The refusal is the same whether or not there is such a file: nobody learns what this machine holds.
    pub(super) fn real_path(&self, path: &Path) -> Result<PathBuf, String> {
        // The folders too may be links, and may have been made after the start.
        let real_folders = || self.folders.iter().filter_map(|folder| folder.canonicalize().ok());
        match path.canonicalize() {
            Ok(real) if real_folders().any(|folder| real.starts_with(folder)) => Ok(real),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && self.would_hold(path) => {
                Ok(path.to_owned())
            }
            _ => Err(self.refusal(path)),
        }
    }

    /// Whether a file that is missing would be in a folder: one that is there already, and is where it seems.
    fn would_hold(&self, path: &Path) -> bool {
        let plain = path.components().all(|part| !matches!(part, Component::ParentDir));
        let parent = path.parent().and_then(|parent| parent.canonicalize().ok());
        let real_folders = self.folders.iter().filter_map(|folder| folder.canonicalize().ok());
        let is_link = path.symlink_metadata().is_ok();
        plain
            && !is_link
            && parent.is_some_and(|parent| real_folders.into_iter().any(|f| parent.starts_with(f)))
    }

    fn refusal(&self, path: &Path) -> String {
        let shown = path.display();
        let setting = self.setting;
        if self.folders.is_empty() {
            return format!(
                "{shown} is a file, and callers of the API may open none here: name folders in [access] {setting} of \
                 the server's settings, or start it with --allow FOLDER"
            );
        }
        let folders: Vec<_> = self.folders.iter().map(|folder| folder.display().to_string()).collect();
        format!(
            "{shown} is not under the folders whose files callers of the API may open, {}: see [access] {setting} in \
             the server's settings",
            folders.join(", ")
        )
    }
}
