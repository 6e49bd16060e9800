//! Where cameras added by the API are kept across restarts: one JSON file, written whole and atomically.
//!
//! What does not belong here: cameras of the config file. They are kept there.

use std::collections::BTreeMap;
use std::path::Path;

use crate::camera::{CameraId, CameraSpec};
use crate::json_file::{Entry, Fault, JsonFile};
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

impl Entry for CameraSpec {
    fn key(&self) -> &str {
        self.id.as_str()
    }

    fn check(&self) -> Result<(), String> {
        self.validate().map_err(|error| error.to_string())
    }
}

impl From<Fault> for Error {
    fn from(Fault { path, problem }: Fault) -> Self {
        Self::Store { path, problem }
    }
}

impl Store {
    /// Opens the store in `data_dir`, a folder that is there. Blocks on the disk. What of the file cannot be
    /// understood is logged and set aside, see [`JsonFile::load`].
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn open(data_dir: &Path) -> Result<Self, Error> {
        let file = JsonFile::new(data_dir, FILE_NAME, VERSION, "cameras");
        // Written private, it may have been restored from a backup in another way.
        secret::warn_if_shared(file.path());
        let found = file.load::<CameraSpec>()?.into_iter().map(|spec| (spec.id.clone(), spec)).collect();
        Ok(Self { file, found })
    }

    /// The cameras found when the store was opened.
    pub fn found(&self) -> &Cameras {
        &self.found
    }

    /// Replaces the file, see [`JsonFile::write`].
    pub(super) fn write(&self, cameras: &Cameras) -> Result<(), Fault> {
        self.file.write(&cameras.values().collect::<Vec<_>>())
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        self.file.path()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

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
    fn cameras_come_back_with_their_passwords() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        assert!(store.found().is_empty());
        store.write(&cameras(&["yard", "street"])).unwrap();
        store.write(&cameras(&["yard", "hall"])).unwrap();
        assert_eq!(*Store::open(folder.path()).unwrap().found(), cameras(&["yard", "hall"]));
    }

    #[test]
    fn one_bad_camera_does_not_cost_the_others() {
        let camera = |rest: &str| format!(r#"{{"id":"{rest},"url":"test://ball"}}"#);
        let entries = [
            camera(r#"a""#),
            camera(r#"b","max_fps":-1"#),
            camera(r#"c d""#),
            camera(r#"e","colour":"red""#),
            camera(r#"a","name":"again""#),
            camera(r#"f""#),
        ];
        let text = format!(r#"{{"version":1,"cameras":[{}]}}"#, entries.join(","));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE_NAME);
        fs::write(&path, &text).unwrap();
        let store = Store::open(folder.path()).unwrap();
        let ids: Vec<_> = store.found().keys().map(CameraId::as_str).collect();
        assert_eq!((ids, &*store.found()[&CameraId::new("a").unwrap()].name), (vec!["a", "f"], ""));
        assert_eq!(fs::read_to_string(folder.path().join("cameras.json.unread-1")).unwrap(), text);
    }
}
