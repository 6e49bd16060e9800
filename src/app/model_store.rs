//! Models that the API loaded or swapped, kept across restarts in `models.json`.
//!
//! What does not belong here: models of the config file, unless the API swapped them.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::json_file::{Entry, Fault, JsonFile};

const FILE_NAME: &str = "models.json";

/// The version of the file's format. A change that older servers would misread needs a new one.
const VERSION: u32 = 1;

/// The models by name.
pub type Models = BTreeMap<String, StoredModel>;

/// A model that the API loaded, or swapped for one of the config file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredModel {
    /// The name cameras refer to it by.
    pub name: String,
    /// A pulled model's name or the absolute path of an ONNX file.
    pub source: String,
    /// The source that the config file told when the model was swapped. It tells another one now? Then its
    /// owner had a later thought, which wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instead_of: Option<String>,
}

/// The file of models cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the model store {0}")]
pub struct StoreError(Fault);

/// The file of models, and what it holds.
#[derive(Debug)]
pub struct ModelStore {
    file: Arc<JsonFile>,
    models: Models,
}

impl Entry for StoredModel {
    fn key(&self) -> &str {
        &self.name
    }
}

impl ModelStore {
    /// Opens the store in `data_dir`, a folder that is there. Blocks on the disk. What of the file cannot be
    /// understood is logged and set aside, see [`JsonFile::load`].
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn open(data_dir: &Path) -> Result<Self, StoreError> {
        let file = JsonFile::new(data_dir, FILE_NAME, VERSION, "models");
        let models = file.load::<StoredModel>().map_err(StoreError)?;
        let models = models.into_iter().map(|model| (model.name.clone(), model)).collect();
        Ok(Self { file: Arc::new(file), models })
    }

    /// What the file holds.
    pub fn models(&self) -> &Models {
        &self.models
    }

    /// Keeps `models` from now on: on the disk first, so that a failure changes nothing.
    ///
    /// # Errors
    /// The disk's.
    pub async fn keep(&mut self, models: Models) -> io::Result<()> {
        if models == self.models {
            return Ok(());
        }
        let file = Arc::clone(&self.file);
        let entries: Vec<_> = models.values().cloned().collect();
        let written = tokio::task::spawn_blocking(move || file.write(&entries)).await;
        written.map_err(io::Error::other)?.map_err(io::Error::other)?;
        self.models = models;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn models(names: &[&str]) -> Models {
        let model = |name: &str| StoredModel {
            name: name.into(),
            source: format!("/models/{name}.onnx"),
            instead_of: (name == "coco").then(|| "coco".into()),
        };
        names.iter().map(|name| ((*name).to_owned(), model(name))).collect()
    }

    #[tokio::test]
    async fn what_is_kept_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = ModelStore::open(folder.path()).unwrap();
        assert!(store.models().is_empty());
        store.keep(models(&["yard", "coco"])).await.unwrap();
        assert_eq!(*ModelStore::open(folder.path()).unwrap().models(), models(&["coco", "yard"]));
    }

    #[tokio::test]
    async fn a_failed_write_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = ModelStore::open(folder.path()).unwrap();
        store.keep(models(&["yard"])).await.unwrap();
        std::fs::create_dir(folder.path().join("models.json.tmp")).unwrap();
        store.keep(Models::new()).await.unwrap_err();
        assert_eq!(*store.models(), models(&["yard"]));
        assert_eq!(*ModelStore::open(folder.path()).unwrap().models(), models(&["yard"]));
    }

    #[test]
    fn one_bad_model_does_not_cost_the_others() {
        let text = r#"{"version":1,"models":[{"name":"a","source":"b"},{"name":"a","source":"c"},{"name":"d"},
                       {"name":"e","source":"f"}]}"#;
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE_NAME), text).unwrap();
        let store = ModelStore::open(folder.path()).unwrap();
        let sources: Vec<_> = store.models().values().map(|model| model.source.as_str()).collect();
        assert_eq!(sources, ["b", "f"]);
        assert_eq!(std::fs::read_to_string(folder.path().join("models.json.unread-1")).unwrap(), text);
    }
}
