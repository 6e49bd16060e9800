//! The folder of what the server must remember: made so that a power cut does not lose it, held by one server
//! at a time, and watched for room.
//!
//! What does not belong here: what is in its files (`json_file`, and the stores made of it).

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

const LOCK: &str = "lock";

/// Room under which the server warns, in bytes. What it remembers takes kilobytes, but whatever eats the
/// disk does not stop there.
pub const LOW_WATER: u64 = 64 * 1024 * 1024;

/// Why the folder cannot be used: which, the cause, and what would mend it.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another server is at work in it.
    #[error(
        "the data directory {} is used by another centerx{}: end that one, or give this one a folder of its own \
         (--data-dir, or data_dir in the settings)",
        path.display(),
        pid.as_ref().map(|pid| format!(" (process {pid})")).unwrap_or_default()
    )]
    InUse {
        /// The folder.
        path: PathBuf,
        /// The other server's process, if it could be told.
        pid: Option<String>,
    },
    /// It is missing and cannot be made.
    #[error("the data directory {} cannot be made: {problem}", path.display())]
    Make {
        /// The folder.
        path: PathBuf,
        /// What is wrong and what would mend it.
        problem: String,
    },
}

/// The folder, held for as long as this lives. The system lets go of it when the process dies, however it
/// does: a server that was killed leaves nothing in the way of the next one.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: Option<File>,
}

impl DataDir {
    /// Makes the folder if it is missing, and takes hold of it. Blocks on the disk.
    ///
    /// A disk that takes no lock, being full, read-only or a network's, does not keep the server from its work:
    /// that is logged, and nothing keeps a second server away then.
    ///
    /// # Errors
    /// Another server in it, or a folder that cannot be made.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        make(path).map_err(|(path, error)| DataDirError::Make { problem: explain(&error, &path), path })?;
        match lock(path) {
            Ok(lock) => Ok(Self { path: path.to_owned(), _lock: Some(lock) }),
            Err(TryLockError::WouldBlock) => {
                Err(DataDirError::InUse { path: path.to_owned(), pid: holder(path) })
            }
            Err(TryLockError::Error(error)) => {
                tracing::warn!(
                    "the data directory {} cannot be locked, so make sure that no other centerx uses it: {}",
                    path.display(),
                    explain(&error, path)
                );
                Ok(Self { path: path.to_owned(), _lock: None })
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Room on a folder's disk, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// What is left for this user.
    pub free: u64,
    /// All there is.
    pub size: u64,
}

/// Room on a folder's disk. Blocks on the disk.
///
/// # Errors
/// The disk's.
pub fn room(folder: &Path) -> io::Result<Room> {
    let disk = rustix::fs::statvfs(folder)?;
    let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
    Ok(Room { free: bytes(disk.f_bavail), size: bytes(disk.f_blocks) })
}

/// Makes a folder and those above it, whose names then survive a power cut; tells which one failed.
fn make(folder: &Path) -> Result<(), (PathBuf, io::Error)> {
    if folder.is_dir() {
        return Ok(());
    }
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if parent != Path::new(".") {
        make(parent)?;
    }
    let failed = |error| (folder.to_owned(), error);
    match fs::create_dir(folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists || !folder.is_dir() => Err(failed(error)),
        _ => sync_folder(parent).map_err(failed),
    }
}

/// Brings the names in a folder to the disk. Some network disks cannot, and need not.
///
/// # Errors
/// The disk's.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder)?.sync_all() {
        Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => Ok(()),
        done => done,
    }
}

fn lock(folder: &Path) -> Result<File, TryLockError> {
    let path = folder.join(LOCK);
    let both = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    // A file that is there already can be locked on a read-only disk as well.
    let mut file = both.or_else(|error| File::open(&path).map_err(|_| error)).map_err(TryLockError::Error)?;
    file.try_lock()?;
    // For whoever is turned away. A disk too full for it is still locked.
    let told =
        file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
    if let Err(error) = told {
        tracing::debug!("the lock {} does not name this process: {error}", path.display());
    }
    Ok(file)
}

/// The process that holds a folder, as it wrote it.
fn holder(folder: &Path) -> Option<String> {
    let mut text = String::new();
    File::open(folder.join(LOCK)).ok()?.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse::<u32>().ok().map(|pid| pid.to_string())
}

/// What a disk's error means for a file or folder, and what mends it.
pub fn explain(error: &io::Error, path: &Path) -> String {
    let cure = match error.kind() {
        ErrorKind::StorageFull => match room(path.parent().unwrap_or(path)) {
            Ok(Room { free, .. }) => format!("its disk has {free} bytes left: free some space"),
            Err(_) => "its disk is full: free some space".into(),
        },
        ErrorKind::QuotaExceeded => "the user's quota of the disk is used up: free some space or raise it".into(),
        ErrorKind::FileTooLarge => {
            "the process may not write files that large: raise its limit (ulimit -f, LimitFSIZE)".into()
        }
        ErrorKind::ReadOnlyFilesystem => {
            "its disk is read-only, as systems make one that fails: see the kernel's log, mend it, mount it writable"
                .into()
        }
        ErrorKind::PermissionDenied => "allow it to this user, or choose another data_dir".into(),
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => "a file is in the way: move it, or choose another data_dir".into(),
        _ => "mend the disk, or choose another data_dir".into(),
    };
    format!("{error}; {cure}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_server_holds_the_folder_until_it_lets_go() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/er");
        let first = DataDir::open(&path).unwrap();
        let refusal = DataDir::open(&path).unwrap_err().to_string();
        let process = format!("process {}", std::process::id());
        for told in [path.to_str().unwrap(), &process, "--data-dir"] {
            assert!(refusal.contains(told), "{refusal}");
        }
        drop(first);
        // What a killed server leaves is in nobody's way.
        fs::write(path.join(LOCK), "12345678901234567890 and more").unwrap();
        let again = DataDir::open(&path).unwrap();
        assert_eq!(holder(again.path()), Some(std::process::id().to_string()));
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named_with_the_cure() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for path in [file.path().to_owned(), file.path().join("data")] {
            let error = DataDir::open(&path).unwrap_err().to_string();
            assert!(error.contains(file.path().to_str().unwrap()) && error.contains("in the way"), "{error}");
        }
        // No file can be made here, not even by root.
        let error = DataDir::open(Path::new("/proc/centerx")).unwrap_err().to_string();
        assert!(error.contains("/proc/centerx") && error.contains("cannot be made"), "{error}");
    }

    #[test]
    fn errors_of_disks_come_with_what_mends_them() {
        let folder = tempfile::tempdir().unwrap();
        for (kind, cure) in [
            (ErrorKind::StorageFull, "bytes left: free some space"),
            (ErrorKind::QuotaExceeded, "quota"),
            (ErrorKind::ReadOnlyFilesystem, "read-only"),
            (ErrorKind::PermissionDenied, "allow it"),
            (ErrorKind::FileTooLarge, "LimitFSIZE"),
        ] {
            let text = explain(&kind.into(), &folder.path().join("cameras.json"));
            assert!(text.contains(cure), "{text}");
        }
        let room = room(folder.path()).unwrap();
        assert!(room.free > 0 && room.free <= room.size, "{room:?}");
    }
}
