//! One JSON file with a list of entries, that is written whole and atomically, and that only its owner may read.
//!
//! At every moment, kill or power cut included, the file is the one before a change or the one after it, and the
//! one after it once the change was answered. What is damaged nevertheless is set aside under a name of its own,
//! and the good entries are kept.
//!
//! What does not belong here: what the entries are.

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;
use serde_json::Value;

use crate::data_dir::explain;

mod disk;
mod entries;

pub use disk::{Disk, SystemDisk};
pub use entries::{Entry, Read, read};

/// Damaged files that are kept of one name; a disk that damages more has lost its owner's interest.
const MAX_ASIDE: u32 = 1000;

/// The file, and which version of its format this server writes.
#[derive(Debug)]
pub struct JsonFile<D = SystemDisk> {
    path: PathBuf,
    version: u32,
    /// The field of the list, and what is lost without the file.
    list: &'static str,
    disk: D,
    /// What the file holds could not be read whole, nor set aside yet: it must be before it is replaced.
    keep_old: AtomicBool,
}

/// Why a file cannot be used: which, and what would mend it.
#[derive(Debug)]
pub struct Fault {
    /// The file.
    pub path: PathBuf,
    /// What is wrong and what to do.
    pub problem: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.problem)
    }
}

impl std::error::Error for Fault {}

impl JsonFile {
    /// The file `name` in `folder`. A change that older servers would misread needs a new `version`; `list` is
    /// the field of the entries and what they are, as "cameras".
    pub fn new(folder: &Path, name: &str, version: u32, list: &'static str) -> Self {
        Self::on(SystemDisk, folder, name, version, list)
    }
}

impl<D: Disk> JsonFile<D> {
    fn on(disk: D, folder: &Path, name: &str, version: u32, list: &'static str) -> Self {
        Self { path: folder.join(name), version, list, disk, keep_old: AtomicBool::new(false) }
    }

    /// The good entries of the file; none if there is no file. If it holds anything else, that is logged, and the
    /// file set aside as `NAME.unread-N`. Blocks on the disk.
    ///
    /// # Errors
    /// A file that the disk does not give.
    pub fn load<T: Entry>(&self) -> Result<Vec<T>, Fault> {
        let bytes = match self.disk.read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => {
                let list = self.list;
                return Err(self.fault(format!(
                    "it cannot be read: {}; or move it away to start without its {list}",
                    explain(&error, &self.path)
                )));
            }
        };
        let Read { entries, problems } = read(&bytes, self.version, self.list);
        if !problems.is_empty() {
            self.rescue(&entries, &problems);
        }
        Ok(entries)
    }

    /// Tells what is wrong, and puts a clean file in the place of the bad one, which is kept.
    fn rescue<T: Entry>(&self, entries: &[T], problems: &[String]) {
        let (path, list, kept) = (self.path.display(), self.list, entries.len());
        tracing::error!("{path} could not be read whole, {kept} of its {list} were: {}", problems.join("; "));
        self.keep_old.store(true, Ordering::Relaxed);
        if let Err(fault) = self.write(entries) {
            tracing::error!("it is left as it is until there is a change of {list}: {fault}");
        }
    }

    /// Replaces the file: after a return without error the entries are on the disk for good, after one with
    /// error the old ones are, or the new ones if the disk failed at the very last step. Blocks on the disk.
    ///
    /// # Errors
    /// The disk's, with the cure.
    pub fn write<T: Serialize>(&self, entries: &[T]) -> Result<(), Fault> {
        self.replace(entries).map_err(|error| self.fault(explain(&error, &self.path)))
    }

    fn replace<T: Serialize>(&self, entries: &[T]) -> io::Result<()> {
        let mut text =
            serde_json::to_vec_pretty(&Document { version: self.version, list: self.list, entries })?;
        text.push(b'\n');
        if self.keep_old.load(Ordering::Relaxed) {
            self.set_aside()?;
        }
        let scratch = self.path.with_added_extension("tmp");
        // One left by a crash may have any permissions: begin with a fresh one.
        self.disk.remove(&scratch)?;
        let made = self.disk.create(&scratch, &text).and_then(|()| self.disk.rename(&scratch, &self.path));
        if let Err(error) = made {
            // On a full disk half a file would be in the way of better times.
            let _ = self.disk.remove(&scratch);
            return Err(error);
        }
        self.disk.sync_names(self.folder())
    }

    /// Gives the file a second name that no other had, so that it outlives being replaced.
    fn set_aside(&self) -> io::Result<()> {
        for number in 1..=MAX_ASIDE {
            let aside = self.path.with_added_extension(format!("unread-{number}"));
            match self.link_or_copy(&aside) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
                Ok(()) => {
                    self.disk.sync_names(self.folder())?;
                    self.keep_old.store(false, Ordering::Relaxed);
                    tracing::error!("it is kept as {}: mend it, or remove it", aside.display());
                    return Ok(());
                }
            }
        }
        Err(io::Error::other(format!("there are {MAX_ASIDE} files {}.unread-* already", self.path.display())))
    }

    /// A link needs no room on a full disk; not every disk has them.
    fn link_or_copy(&self, aside: &Path) -> io::Result<()> {
        match self.disk.link(&self.path, aside) {
            Err(error) if matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::PermissionDenied) => {
                let copied = self.disk.create(aside, &self.disk.read(&self.path)?);
                if copied.as_ref().is_err_and(|error| error.kind() != ErrorKind::AlreadyExists) {
                    // Half a copy is none.
                    let _ = self.disk.remove(aside);
                }
                copied
            }
            done => done,
        }
    }

    fn fault(&self, problem: String) -> Fault {
        Fault { path: self.path.clone(), problem }
    }

    fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The version first, then the list under its own name.
struct Document<'a, T> {
    version: u32,
    list: &'static str,
    entries: &'a [T],
}

impl<T: Serialize> Serialize for Document<'_, T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap as _;
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("version", &Value::from(self.version))?;
        map.serialize_entry(self.list, self.entries)?;
        map.end()
    }
}

/// The files in a folder that were set aside because they could not be read whole, now or earlier.
pub fn set_aside_in(folder: &Path) -> Vec<PathBuf> {
    let names = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut aside: Vec<_> =
        names.filter(|path| path.to_str().is_some_and(|path| path.contains(".json.unread-"))).collect();
    aside.sort();
    aside
}

#[cfg(test)]
mod tests;
