//! Where cameras added by the API are kept across restarts: one JSON file, written whole and atomically.
//!
//! What does not belong here: cameras of the config file. They are kept there.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::camera::{CameraId, CameraSpec};
use crate::json_file::{Fault, JsonFile};
use crate::secret;

use super::Error;

const FILE_NAME: &str = "cameras.json";

/// The version of the file's format. A change that older servers would misread needs a new one.
const VERSION: u32 = 1;

/// The cameras by id.
pub type Cameras = BTreeMap<CameraId, CameraSpec>;

/// The file of cameras, with passwords: only its owner may read it.
#[derive(Debug)]
pub struct Store {
    file: JsonFile,
    found: Cameras,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(rename = "version")]
    _version: u32,
    cameras: Vec<CameraSpec>,
}

#[derive(Serialize)]
struct Content<'a> {
    cameras: Vec<&'a CameraSpec>,
}

impl From<Fault> for Error {
    fn from(Fault { path, problem }: Fault) -> Self {
        Self::Store { path, problem }
    }
}

impl Store {
    /// Opens the store in `data_dir`, which is made if it is missing. Blocks on the disk.
    ///
    /// # Errors
    /// A folder that cannot be made, or a file that cannot be read or understood. Such a file is left as
    /// it is.
    pub fn open(data_dir: &Path) -> Result<Self, Error> {
        let file = JsonFile::new(data_dir, FILE_NAME, VERSION, "cameras")?;
        // Written private, it may have been restored from a backup in another way.
        secret::warn_if_shared(file.path());
        let found = match file.read::<Document>()? {
            Some(document) => by_id(document.cameras).map_err(|problem| file.misunderstood(&problem))?,
            None => Cameras::new(),
        };
        Ok(Self { file, found })
    }

    /// The cameras found when the store was opened.
    pub fn found(&self) -> &Cameras {
        &self.found
    }

    /// Replaces the file, see [`JsonFile::write`].
    pub(super) fn write(&self, cameras: &Cameras) -> io::Result<()> {
        self.file.write(&Content { cameras: cameras.values().collect() })
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        self.file.path()
    }
}

fn by_id(specs: Vec<CameraSpec>) -> Result<Cameras, String> {
    let mut cameras = Cameras::new();
    for spec in specs {
        let id = spec.id.clone();
        spec.validate().map_err(|error| format!("camera {id} has a bad setting: {error}"))?;
        if cameras.insert(id.clone(), spec).is_some() {
            return Err(format!("it has two cameras {id}"));
        }
    }
    Ok(cameras)
}

#[cfg(test)]
mod tests {
    use std::fs;
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
