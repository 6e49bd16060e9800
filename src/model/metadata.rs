//! What a reader must know of a detector, kept in its ONNX file's `metadata_props`.

use serde::{Deserialize, Serialize};

use super::onnx::{ModelProto, StringStringEntryProto};
use super::precision::Precision;
use super::recipe::Recipe;

/// Keys start with this, so that they meet nobody else's.
const PREFIX: &str = "centerx.";

/// Facts about a detector that its graph does not tell.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct ModelMetadata {
    /// The name the model is known by, such as `coco`.
    pub name: String,
    /// Which edition of it this is.
    pub version: String,
    /// The family its decode is of, such as `ttf`.
    pub family: String,
    /// Class names; the class in a detection is an index into them.
    pub classes: Vec<String>,
    /// Names of the landmarks of each detection, in order; most detectors have none.
    pub landmarks: Vec<String>,
    /// Pairs of landmarks, by index, between which a drawing of the object has a line.
    pub skeleton: Vec<[u32; 2]>,
    /// Detections a picture, K.
    pub top_k: u32,
    /// Input width in pixels.
    pub input_width: u32,
    /// Input height in pixels.
    pub input_height: u32,
    /// Where the weights come from.
    pub source: String,
    /// The weights' licence, as an SPDX expression.
    pub license: String,
    /// What its network computes in; float32 where its maker did not tell.
    pub precision: Precision,
    /// How it was made, if its maker told.
    pub recipe: Option<Recipe>,
}

/// What is wrong with a model's metadata.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// An entry is not there.
    #[error("the metadata entry {PREFIX}{0} is missing")]
    Missing(&'static str),
    /// An entry cannot be read.
    #[error("the metadata entry {PREFIX}{key} is {value:?}; expected {expected}")]
    Unreadable {
        /// Its key, without the prefix.
        key: &'static str,
        /// What it holds.
        value: String,
        /// What it should hold.
        expected: &'static str,
    },
}

impl ModelMetadata {
    /// Writes the metadata into `model`, over any that is there.
    pub fn write_to(&self, model: &mut ModelProto) {
        model.metadata_props.retain(|entry| !entry.key.as_deref().is_some_and(|k| k.starts_with(PREFIX)));
        let list = |names: &[String]| serde_json::Value::from(names.to_vec()).to_string();
        let entries = [
            ("name", self.name.clone()),
            ("version", self.version.clone()),
            ("family", self.family.clone()),
            ("classes", list(&self.classes)),
            ("landmarks", list(&self.landmarks)),
            ("skeleton", serde_json::json!(self.skeleton).to_string()),
            ("top_k", self.top_k.to_string()),
            ("input_width", self.input_width.to_string()),
            ("input_height", self.input_height.to_string()),
            ("source", self.source.clone()),
            ("license", self.license.clone()),
        ];
        let precision =
            (self.precision != Precision::Float32).then(|| ("precision", self.precision.to_string()));
        let recipe = self.recipe.as_ref().map(|recipe| ("recipe", serde_json::json!(recipe).to_string()));
        model.metadata_props.extend(entries.into_iter().chain(precision).chain(recipe).map(
            |(key, value)| StringStringEntryProto { key: Some(format!("{PREFIX}{key}")), value: Some(value) },
        ));
    }

    /// Reads the metadata of `model`.
    ///
    /// # Errors
    /// The first entry that is missing or cannot be read.
    pub fn read_from(model: &ModelProto) -> Result<Self, MetadataError> {
        let entries = Entries(model);
        let recipe = entries.recipe()?;
        Ok(Self {
            name: entries.text("name")?,
            version: entries.text("version")?,
            family: entries.text("family")?,
            classes: entries.names("classes").and_then(not_empty)?,
            landmarks: entries.names("landmarks").or_else(absent_is_empty)?,
            skeleton: entries.pairs("skeleton").or_else(absent_is_empty)?,
            top_k: entries.number("top_k")?,
            input_width: entries.number("input_width")?,
            input_height: entries.number("input_height")?,
            source: entries.text("source")?,
            license: entries.text("license")?,
            precision: entries.precision(recipe.as_ref())?,
            recipe,
        })
    }
}

fn not_empty(names: Vec<String>) -> Result<Vec<String>, MetadataError> {
    if names.is_empty() {
        let (key, expected) = ("classes", "at least one class name");
        return Err(MetadataError::Unreadable { key, value: "[]".to_owned(), expected });
    }
    Ok(names)
}

fn absent_is_empty<T>(error: MetadataError) -> Result<Vec<T>, MetadataError> {
    match error {
        MetadataError::Missing(_) => Ok(Vec::new()),
        MetadataError::Unreadable { .. } => Err(error),
    }
}

struct Entries<'a>(&'a ModelProto);

impl Entries<'_> {
    fn text(&self, key: &'static str) -> Result<String, MetadataError> {
        let is_it = |k: &str| k.strip_prefix(PREFIX) == Some(key);
        let entry = self.0.metadata_props.iter().find(|entry| entry.key.as_deref().is_some_and(is_it));
        entry.and_then(|entry| entry.value.clone()).ok_or(MetadataError::Missing(key))
    }

    fn number(&self, key: &'static str) -> Result<u32, MetadataError> {
        let value = self.text(key)?;
        let expected = "a number of 1 or more";
        let number = value.parse().ok().filter(|&n| n > 0);
        number.ok_or(MetadataError::Unreadable { key, value, expected })
    }

    fn names(&self, key: &'static str) -> Result<Vec<String>, MetadataError> {
        let value = self.text(key)?;
        let expected = "a JSON list of strings";
        serde_json::from_str(&value).map_err(|_| MetadataError::Unreadable { key, value, expected })
    }

    /// Files from before there was the entry tell of float16 in their recipe alone.
    fn precision(&self, recipe: Option<&Recipe>) -> Result<Precision, MetadataError> {
        let key = "precision";
        match self.text(key) {
            Ok(value) => {
                let expected = "fp32, fp16 or int8";
                value.parse().map_err(|_| MetadataError::Unreadable { key, value, expected })
            }
            Err(_) if recipe.is_some_and(|recipe| recipe.float16) => Ok(Precision::Float16),
            Err(_) => Ok(Precision::Float32),
        }
    }

    fn recipe(&self) -> Result<Option<Recipe>, MetadataError> {
        let key = "recipe";
        let value = match self.text(key) {
            Ok(value) => value,
            Err(_) => return Ok(None),
        };
        let expected = "a recipe as `centerx model import` writes it";
        let recipe = serde_json::from_str(&value).map(Some);
        recipe.map_err(|_| MetadataError::Unreadable { key, value, expected })
    }

    fn pairs(&self, key: &'static str) -> Result<Vec<[u32; 2]>, MetadataError> {
        let value = self.text(key)?;
        let expected = "a JSON list of pairs of numbers";
        serde_json::from_str(&value).map_err(|_| MetadataError::Unreadable { key, value, expected })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(in crate::model) fn example() -> ModelMetadata {
        ModelMetadata {
            name: "yard".into(),
            version: "1".into(),
            family: "ttf".into(),
            classes: vec!["person".into(), "fire hydrant".into()],
            landmarks: Vec::new(),
            skeleton: Vec::new(),
            top_k: 100,
            input_width: 640,
            input_height: 384,
            source: "trained here".into(),
            license: "MIT".into(),
            precision: Precision::Float32,
            recipe: None,
        }
    }

    #[test]
    fn written_metadata_is_read_back_and_foreign_entries_stay() {
        let foreign = StringStringEntryProto { key: Some("names".into()), value: Some("{}".into()) };
        let mut model = ModelProto { metadata_props: vec![foreign.clone()], ..Default::default() };
        ModelMetadata { top_k: 5, ..example() }.write_to(&mut model);
        example().write_to(&mut model);
        assert_eq!(ModelMetadata::read_from(&model), Ok(example()));
        assert_eq!(model.metadata_props[0], foreign);
        assert_eq!(model.metadata_props.len(), 12);
    }

    #[test]
    fn float32_is_not_told_and_other_precisions_are() {
        let of = |precision| {
            let mut model = ModelProto::default();
            ModelMetadata { precision, ..example() }.write_to(&mut model);
            let entry = model.metadata_props.iter().find(|e| e.key.as_deref() == Some("centerx.precision"));
            (entry.and_then(|e| e.value.clone()), ModelMetadata::read_from(&model).unwrap().precision)
        };
        assert_eq!(of(Precision::Float32), (None, Precision::Float32));
        assert_eq!(of(Precision::Float16), (Some("fp16".into()), Precision::Float16));
        assert_eq!(of(Precision::Int8), (Some("int8".into()), Precision::Int8));
    }

    #[test]
    fn bad_entries_are_named() {
        let read = |key: &str, value: Option<&str>| {
            let mut model = ModelProto::default();
            example().write_to(&mut model);
            let at = model.metadata_props.iter().position(|e| e.key.as_deref() == Some(key)).unwrap();
            match value {
                Some(value) => model.metadata_props[at].value = Some(value.into()),
                None => _ = model.metadata_props.remove(at),
            }
            ModelMetadata::read_from(&model).map_err(|error| error.to_string())
        };
        assert_eq!(
            read("centerx.classes", None).unwrap_err(),
            "the metadata entry centerx.classes is missing"
        );
        assert!(read("centerx.classes", Some("[]")).unwrap_err().contains("at least one class name"));
        assert!(read("centerx.classes", Some("person")).unwrap_err().contains("a JSON list of strings"));
        assert!(read("centerx.top_k", Some("0")).unwrap_err().contains("a number of 1 or more"));
        assert_eq!(read("centerx.landmarks", None), Ok(example()));
        assert_eq!(read("centerx.skeleton", None), Ok(example()));
        assert!(read("centerx.skeleton", Some("[[0]]")).unwrap_err().contains("pairs of numbers"));
    }

    proptest! {
        #[test]
        fn any_class_names_survive(classes in prop::collection::vec(".*", 1..5)) {
            let mut model = ModelProto::default();
            let metadata = ModelMetadata { classes, ..example() };
            metadata.write_to(&mut model);
            prop_assert_eq!(ModelMetadata::read_from(&model), Ok(metadata));
        }
    }
}
