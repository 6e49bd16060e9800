//! One JSON file that is written whole and atomically, and that only its owner may read.
//!
//! What does not belong here: what is in the file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The file, and which version of its format this server writes.
#[derive(Debug)]
pub struct JsonFile {
    path: PathBuf,
    version: u32,
    /// What is lost without the file, for messages.
    what: &'static str,
}

/// Why a file cannot be used: which, and what would mend it.
#[derive(Debug)]
pub struct Fault {
    /// The file.
    pub path: PathBuf,
    /// What is wrong and what to do.
    pub problem: String,
}

/// Read before the rest, whose form depends on it.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// The version first, then the content's own fields.
#[derive(Serialize)]
struct Document<'a, T> {
    version: u32,
    #[serde(flatten)]
    content: &'a T,
}

impl JsonFile {
    /// The file `name` in `folder`, which is made if it is missing. A change that older servers would
    /// misread needs a new `version`; `what` is what the file holds, as "cameras".
    ///
    /// # Errors
    /// A folder that cannot be made.
    pub fn new(folder: &Path, name: &str, version: u32, what: &'static str) -> Result<Self, Fault> {
        let file = Self { path: folder.join(name), version, what };
        fs::create_dir_all(folder).map_err(|error| {
            file.fault(format!("its folder cannot be made: {error}; choose another data_dir or allow it"))
        })?;
        Ok(file)
    }

    /// What the file holds; none if there is no file. `T` holds all of its fields, `version` too. Blocks on
    /// the disk.
    ///
    /// # Errors
    /// A file that cannot be read or understood. It is left as it is.
    pub fn read<T: DeserializeOwned>(&self) -> Result<Option<T>, Fault> {
        match fs::read_to_string(&self.path) {
            Ok(text) => self.parse(&text).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.fault(format!(
                "it cannot be read: {error}; allow it, or move the file away to start without its {}",
                self.what
            ))),
        }
    }

    fn parse<T: DeserializeOwned>(&self, text: &str) -> Result<T, Fault> {
        let damaged = |error: serde_json::Error| self.misunderstood(&format!("it is damaged: {error}"));
        let Versioned { version } = serde_json::from_str(text).map_err(damaged)?;
        if version != self.version {
            let known = self.version;
            return Err(self.misunderstood(&format!(
                "it has version {version}, this server knows {known}: use a newer server"
            )));
        }
        serde_json::from_str(text).map_err(damaged)
    }

    /// A fault of what the file holds.
    pub fn misunderstood(&self, problem: &str) -> Fault {
        let what = self.what;
        self.fault(format!("{problem}; mend the file, or move it away to start without its {what}"))
    }

    fn fault(&self, problem: String) -> Fault {
        Fault { path: self.path.clone(), problem }
    }

    /// Replaces the file: after a return without error the content is on the disk, after one with error the
    /// old file is. Blocks on the disk.
    ///
    /// # Errors
    /// The disk's.
    pub fn write<T: Serialize>(&self, content: &T) -> io::Result<()> {
        let text = serde_json::to_string_pretty(&Document { version: self.version, content })?;
        let scratch = self.path.with_extension("json.tmp");
        write_private(&scratch, &text)?;
        fs::rename(&scratch, &self.path)?;
        // The new name itself must survive a power cut.
        let folder = self.path.parent().unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn write_private(path: &Path, text: &str) -> io::Result<()> {
    // One left by a crash may have any permissions: begin with a fresh one.
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()
}
