//! Models that the API loaded or swapped, kept across restarts in `models.json`.
//!
//! What does not belong here: models of the config file, unless the API swapped them.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::json_file::{Fault, JsonFile};

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
#[error("the model store {}: {}", .0.path.display(), .0.problem)]
pub struct StoreError(Fault);

/// The file of models, and what it holds.
#[derive(Debug)]
pub struct ModelStore {
    file: Arc<JsonFile>,
    models: Models,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(rename = "version")]
    _version: u32,
    models: Vec<StoredModel>,
}

#[derive(Serialize)]
struct Content {
    models: Vec<StoredModel>,
}

impl ModelStore {
    /// Opens the store in `data_dir`, which is made if it is missing. Blocks on the disk.
    ///
    /// # Errors
    /// A folder that cannot be made, or a file that cannot be read or understood. Such a file is left as
    /// it is.
    pub fn open(data_dir: &Path) -> Result<Self, StoreError> {
        let file = JsonFile::new(data_dir, FILE_NAME, VERSION, "models").map_err(StoreError)?;
        let document = file.read::<Document>().map_err(StoreError)?;
        let mut models = Models::new();
        for model in document.map(|document| document.models).unwrap_or_default() {
            let name = model.name.clone();
            if models.insert(name.clone(), model).is_some() {
                return Err(StoreError(file.misunderstood(&format!("it has two models {name}"))));
            }
        }
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
        let (file, content) =
            (Arc::clone(&self.file), Content { models: models.values().cloned().collect() });
        tokio::task::spawn_blocking(move || file.write(&content)).await.map_err(io::Error::other)??;
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
        let mut store = ModelStore::open(&folder.path().join("data")).unwrap();
        assert!(store.models().is_empty());
        store.keep(models(&["yard", "coco"])).await.unwrap();
        assert_eq!(
            *ModelStore::open(&folder.path().join("data")).unwrap().models(),
            models(&["coco", "yard"])
        );
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
    fn a_file_that_cannot_be_understood_is_named() {
        for (text, expected) in [
            ("{", "damaged"),
            (r#"{"version":9}"#, "version 9"),
            (
                r#"{"version":1,"models":[{"name":"a","source":"b"},{"name":"a","source":"c"}]}"#,
                "two models a",
            ),
            (r#"{"version":1,"models":[],"x":1}"#, "unknown field"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join(FILE_NAME), text).unwrap();
            let error = ModelStore::open(folder.path()).unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains("models.json"), "{error}");
        }
    }
}
