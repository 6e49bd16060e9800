//! Where cameras added by the API are kept across restarts: one JSON file, written whole and atomically.
//!
//! What does not belong here: cameras of the config file. They are kept there.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::camera::{CameraId, CameraSpec};

use super::Error;

const FILE_NAME: &str = "cameras.json";

/// The version of the file's format. A change that older servers would misread needs a new one.
const VERSION: u32 = 1;

/// The cameras by id.
pub type Cameras = BTreeMap<CameraId, CameraSpec>;

/// The file of cameras, with passwords: only its owner may read it.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    found: Cameras,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    cameras: Vec<CameraSpec>,
}

/// Read before the rest, whose form depends on it.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

impl Store {
    /// Opens the store in `data_dir`, which is made if it is missing. Blocks on the disk.
    ///
    /// # Errors
    /// A folder that cannot be made, or a file that cannot be read or understood. Such a file is left as
    /// it is.
    pub fn open(data_dir: &Path) -> Result<Self, Error> {
        let path = data_dir.join(FILE_NAME);
        let fault = |problem: String| Error::Store { path: path.clone(), problem };
        fs::create_dir_all(data_dir).map_err(|error| {
            fault(format!("its folder cannot be made: {error}; choose another data_dir or allow it"))
        })?;
        let found = match fs::read_to_string(&path) {
            Ok(text) => parse(&text).map_err(|problem| {
                fault(format!("{problem}; mend the file, or move it away to start without its cameras"))
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Cameras::new(),
            Err(error) => {
                return Err(fault(format!(
                    "it cannot be read: {error}; allow it, or move the file away to start without its cameras"
                )));
            }
        };
        Ok(Self { path, found })
    }

    /// The cameras found when the store was opened.
    pub fn found(&self) -> &Cameras {
        &self.found
    }

    /// Replaces the file: after a return without error the cameras are on the disk, after one with error
    /// the old file is. Blocks on the disk.
    pub(super) fn write(&self, cameras: &Cameras) -> io::Result<()> {
        let document = Document { version: VERSION, cameras: cameras.values().cloned().collect() };
        let text = serde_json::to_string_pretty(&document)?;
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

fn parse(text: &str) -> Result<Cameras, String> {
    let damaged = |error: serde_json::Error| format!("it is damaged: {error}");
    let Versioned { version } = serde_json::from_str(text).map_err(damaged)?;
    if version != VERSION {
        return Err(format!("it has version {version}, this server knows {VERSION}: use a newer server"));
    }
    let document: Document = serde_json::from_str(text).map_err(damaged)?;
    let mut cameras = Cameras::new();
    for spec in document.cameras {
        let id = spec.id.clone();
        spec.validate().map_err(|error| format!("camera {id} has a bad setting: {error}"))?;
        if cameras.insert(id.clone(), spec).is_some() {
            return Err(format!("it has two cameras {id}"));
        }
    }
    Ok(cameras)
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::camera::CameraUrl;

    fn cameras(ids: &[&str]) -> Cameras {
        let spec = |id: &str| {
            let url = CameraUrl::parse("rtsp://admin:s%40cret@10.0.0.9/live").unwrap();
            CameraSpec { max_fps: Some(5.0), ..CameraSpec::new(CameraId::new(id).unwrap(), url) }
        };
        ids.iter().map(|id| (CameraId::new(id).unwrap(), spec(id))).collect()
    }

    #[test]
    fn cameras_come_back_with_their_passwords_from_a_private_file() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("data")).unwrap();
        assert!(store.found().is_empty());
        store.write(&cameras(&["yard", "street"])).unwrap();
        store.write(&cameras(&["yard", "hall"])).unwrap();
        let again = Store::open(&folder.path().join("data")).unwrap();
        assert_eq!(*again.found(), cameras(&["yard", "hall"]));
        let mode = fs::metadata(again.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path().join("data")).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn a_file_that_cannot_be_understood_is_named_and_left_alone() {
        let two =
            r#"{"version":1,"cameras":[{"id":"a","url":"test://ball"},{"id":"a","url":"test://ball"}]}"#;
        for (text, expected) in [
            ("{\"version\":1,\"cameras\":[", "damaged"),
            ("", "damaged"),
            (r#"{"version":2,"cams":7}"#, "version 2"),
            (r#"{"version":1,"cameras":[{"id":"a","url":"test://ball","max_fps":-1}]}"#, "max_fps"),
            (two, "two cameras a"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join(FILE_NAME);
            fs::write(&path, text).unwrap();
            let error = Store::open(folder.path()).unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains("cameras.json"), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn a_failed_write_leaves_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        store.write(&cameras(&["yard"])).unwrap();
        // A folder where the scratch file goes cannot be replaced by a file, not even by root.
        fs::create_dir(folder.path().join("cameras.json.tmp")).unwrap();
        store.write(&cameras(&[])).unwrap_err();
        assert_eq!(*Store::open(folder.path()).unwrap().found(), cameras(&["yard"]));
    }
}
