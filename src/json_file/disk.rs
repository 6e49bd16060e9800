//! What a [`JsonFile`](super::JsonFile) asks of a disk, so that tests can cut its power.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use crate::data_dir::sync_folder;

/// A disk. Names are on it for good after [`Disk::sync_names`] only: until then a power cut may undo any of
/// the changes to them.
pub trait Disk {
    /// All of a file.
    ///
    /// # Errors
    /// The disk's.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// Makes a new file, which only its owner may read, with this content. The content is on the disk for good
    /// when this returns; its name is not yet.
    ///
    /// # Errors
    /// A name that is taken, or the disk's.
    fn create(&self, path: &Path, content: &[u8]) -> io::Result<()>;

    /// Gives a file another name, in the place of what had it.
    ///
    /// # Errors
    /// The disk's.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives a file one more name.
    ///
    /// # Errors
    /// A name that is taken, or the disk's.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file, if there is one.
    ///
    /// # Errors
    /// The disk's.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Brings the names in a folder to the disk.
    ///
    /// # Errors
    /// The disk's.
    fn sync_names(&self, folder: &Path) -> io::Result<()>;
}

/// The disks of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemDisk;

impl Disk for SystemDisk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn create(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(content)?;
        file.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        match fs::remove_file(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }

    fn sync_names(&self, folder: &Path) -> io::Result<()> {
        sync_folder(folder)
    }
}
