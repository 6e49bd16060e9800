//! Ground truth in COCO's JSON: pictures, categories, and boxes of instances.
//!
//! The bytes are foreign. What would make a wrong number is refused, and what merely looks odd is told in
//! [`Annotations::notes`]. Masks and key points are not read.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::Hash;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

/// Ground truth, checked: ids are distinct, references lead somewhere, boxes have sizes.
#[derive(Clone, Debug, Default)]
pub struct Annotations {
    /// The pictures, in the file's order.
    pub images: Vec<Image>,
    /// Category ids and names, in the file's order.
    pub categories: Vec<(u64, String)>,
    /// The instances, in the file's order.
    pub instances: Vec<Instance>,
    /// Oddities worth telling, each a sentence.
    pub notes: Vec<String>,
}

/// A picture of the data set.
#[derive(Clone, Debug, Deserialize)]
pub struct Image {
    /// Its id.
    #[serde(deserialize_with = "id")]
    pub id: u64,
    /// Its file, relative to the folder of pictures.
    pub file_name: String,
    /// Width in pixels, where the file tells.
    #[serde(default)]
    pub width: Option<f64>,
    /// Height in pixels, where the file tells.
    #[serde(default)]
    pub height: Option<f64>,
}

/// One object in one picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Instance {
    /// The picture's id.
    pub image: u64,
    /// The category's id.
    pub category: u64,
    /// x, y, width, height in pixels of the picture.
    pub bbox: [f64; 4],
    /// Area in square pixels, of the mask where there is one: COCO's sizes small, medium, large go by it.
    pub area: f64,
    /// Many objects in one box: what is found there is neither right nor wrong.
    pub crowd: bool,
}

/// Why a file is no ground truth.
#[derive(Debug, thiserror::Error)]
pub enum AnnotationsError {
    /// Not JSON.
    #[error("it is not JSON: {0}; JSON has no NaN or Infinity, and comments are not part of it either")]
    NotJson(serde_json::Error),
    /// The end is missing.
    #[error("it is cut short: {0}; fetch or export it again")]
    CutShort(serde_json::Error),
    /// JSON of something else.
    #[error(
        "it is JSON but not COCO annotations: {0}. Expected an object with `images` (id, file_name), \
         `categories` (id, name) and `annotations` (image_id, category_id, bbox), as in COCO's \
         instances_*.json"
    )]
    NotCoco(serde_json::Error),
    /// A list has nothing in it.
    #[error("it has no {0}; there is nothing to compare a model with")]
    Nothing(&'static str),
    /// Some of its entries are wrong.
    #[error("{first}{}; {cure}", and_more(*more))]
    Bad {
        /// The first of them and what is wrong with it.
        first: String,
        /// How many more there are.
        more: usize,
        /// What to do.
        cure: &'static str,
    },
}

fn and_more(more: usize) -> String {
    if more == 0 { String::new() } else { format!(" (and {more} more like it)") }
}

#[derive(Deserialize)]
struct File {
    images: Vec<Image>,
    annotations: Vec<RawInstance>,
    categories: Vec<RawCategory>,
}

#[derive(Deserialize)]
struct RawCategory {
    #[serde(deserialize_with = "id")]
    id: u64,
    #[serde(default)]
    name: Option<String>,
}

#[derive(Deserialize)]
struct RawInstance {
    #[serde(default, deserialize_with = "optional_id")]
    id: Option<u64>,
    #[serde(deserialize_with = "id")]
    image_id: u64,
    #[serde(deserialize_with = "id")]
    category_id: u64,
    bbox: [f64; 4],
    #[serde(default)]
    area: Option<f64>,
    #[serde(default)]
    iscrowd: Option<Flag>,
}

/// COCO writes 0 and 1, others write booleans.
#[derive(Deserialize)]
#[serde(untagged)]
enum Flag {
    Bool(bool),
    Number(f64),
}

/// An id, also as the whole floating point number that some exporters write.
fn id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let number = serde_json::Number::deserialize(deserializer)?;
    let whole = || number.as_f64().and_then(hotcoco::types::id_from_f64);
    number
        .as_u64()
        .or_else(whole)
        .ok_or_else(|| D::Error::custom(format!("an id is {number}, expected a whole number from 0 up")))
}

fn optional_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    id(deserializer).map(Some)
}

impl Annotations {
    /// Reads and checks a file's bytes.
    ///
    /// # Errors
    /// See [`AnnotationsError`]; each says what was found where, and what to do.
    pub fn parse(bytes: &[u8]) -> Result<Self, AnnotationsError> {
        use serde_json::error::Category;
        let file: File = serde_json::from_slice(bytes).map_err(|error| match error.classify() {
            Category::Eof => AnnotationsError::CutShort(error),
            Category::Syntax | Category::Io => AnnotationsError::NotJson(error),
            Category::Data => AnnotationsError::NotCoco(error),
        })?;
        check_images(&file.images)?;
        let categories = check_categories(file.categories)?;
        check_instances(&file.annotations, &file.images, &categories)?;
        let notes = notes(&file.annotations);
        let instances = file.annotations.into_iter().map(Instance::from).collect();
        Ok(Self { images: file.images, categories, instances, notes })
    }

    /// Keeps the first `count` pictures only, and what is in them.
    pub fn limit(&mut self, count: usize) {
        self.images.truncate(count);
        let kept: HashSet<u64> = self.images.iter().map(|image| image.id).collect();
        self.instances.retain(|instance| kept.contains(&instance.image));
    }
}

impl From<RawInstance> for Instance {
    fn from(raw: RawInstance) -> Self {
        let crowd = match raw.iscrowd {
            Some(Flag::Bool(crowd)) => crowd,
            Some(Flag::Number(number)) => number != 0.0,
            None => false,
        };
        let area = raw.area.unwrap_or(raw.bbox[2] * raw.bbox[3]);
        Self { image: raw.image_id, category: raw.category_id, bbox: raw.bbox, area, crowd }
    }
}

/// Refuses a list with entries that are wrong: the first is told, the others are counted.
fn refuse(mut wrong: impl Iterator<Item = String>, cure: &'static str) -> Result<(), AnnotationsError> {
    match wrong.next() {
        Some(first) => Err(AnnotationsError::Bad { first, more: wrong.count(), cure }),
        None => Ok(()),
    }
}

/// What occurs again in `items`, as `(again, first)`.
fn repeated<'a, T: 'a, K: Eq + Hash>(
    items: impl IntoIterator<Item = &'a T>,
    key: impl Fn(&'a T) -> K,
) -> impl Iterator<Item = (&'a T, &'a T)> {
    let mut seen = HashMap::new();
    items.into_iter().filter_map(move |item| seen.insert(key(item), item).map(|first| (item, first)))
}

fn check_images(images: &[Image]) -> Result<(), AnnotationsError> {
    if images.is_empty() {
        return Err(AnnotationsError::Nothing("images"));
    }
    let nameless = images.iter().filter(|image| image.file_name.trim().is_empty());
    refuse(nameless.map(|image| format!("image {} has an empty file_name", image.id)), "name its file")?;
    let twice = repeated(images, |image| image.id);
    let told = twice.map(|(b, a)| format!("{} and {} both have the id {}", a.file_name, b.file_name, a.id));
    refuse(told, "give each image an id of its own")?;
    let twice = repeated(images, |image| image.file_name.as_str());
    let told = twice.map(|(b, a)| format!("images {} and {} are both the file {}", a.id, b.id, a.file_name));
    refuse(told, "list each picture once, with all its annotations")
}

fn check_categories(raw: Vec<RawCategory>) -> Result<Vec<(u64, String)>, AnnotationsError> {
    if raw.is_empty() {
        return Err(AnnotationsError::Nothing("categories"));
    }
    let name = |category: &RawCategory| category.name.clone().unwrap_or_default().trim().to_owned();
    let nameless = raw.iter().filter(|category| name(category).is_empty());
    let told = nameless.map(|category| format!("category {} has no name", category.id));
    refuse(told, "classes are matched by name: give each category the model's name for it")?;
    let categories: Vec<_> = raw.iter().map(|category| (category.id, name(category))).collect();
    let twice = repeated(&categories, |(id, _)| *id);
    let told = twice.map(|((id, b), (_, a))| format!("categories {a:?} and {b:?} both have the id {id}"));
    refuse(told, "give each category an id of its own")?;
    let twice = repeated(&categories, |(_, name)| name.to_lowercase());
    let told = twice.map(|((b, name), (a, _))| format!("categories {a} and {b} are both named {name:?}"));
    refuse(told, "classes are matched by name, whatever its case: merge the two or rename one")?;
    Ok(categories)
}

fn check_instances(
    instances: &[RawInstance],
    images: &[Image],
    categories: &[(u64, String)],
) -> Result<(), AnnotationsError> {
    if instances.is_empty() {
        return Err(AnnotationsError::Nothing("annotations"));
    }
    let names: HashMap<u64, &str> = images.iter().map(|image| (image.id, image.file_name.as_str())).collect();
    let known: HashSet<u64> = categories.iter().map(|(id, _)| *id).collect();
    let numbered = || instances.iter().enumerate();
    let lost = numbered().filter(|(_, instance)| !names.contains_key(&instance.image_id));
    let told =
        lost.map(|(at, one)| format!("{} is of image {}, which is not listed", Name(at, one), one.image_id));
    refuse(told, "the lists `images` and `annotations` are of different sets: export them together")?;
    let lost = numbered().filter(|(_, instance)| !known.contains(&instance.category_id));
    let told = lost.map(|(at, one)| {
        format!("{} is of category {}, which is not listed", Name(at, one), one.category_id)
    });
    refuse(told, "list the category with its name, or remove its annotations")?;
    let wrong = numbered().filter(|(_, instance)| !is_sound(instance));
    let told = wrong.map(|(at, one)| {
        let (b, file) = (one.bbox, names.get(&one.image_id).copied().unwrap_or_default());
        let area = one.area.map(|area| format!(" and area {area}")).unwrap_or_default();
        format!("{} in {file} has the box {b:?}{area}", Name(at, one))
    });
    refuse(told, "a box is [x, y, width, height] in pixels, sizes and area not below 0 (nor x2, y2)")
}

/// An annotation, for messages: by its id, or by its place.
struct Name<'a>(usize, &'a RawInstance);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1.id {
            Some(id) => write!(f, "annotation {id}"),
            None => write!(f, "the annotation at position {}", self.0),
        }
    }
}

fn is_sound(instance: &RawInstance) -> bool {
    let [_, _, width, height] = instance.bbox;
    let area = instance.area.unwrap_or(0.0);
    // The product, too: 1e200 is a number, its square is not.
    let is_finite = instance.bbox.iter().all(|value| value.is_finite()) && (width * height).is_finite();
    is_finite && width >= 0.0 && height >= 0.0 && area >= 0.0
}

/// What is odd but does no harm, or is the data set's own matter.
fn notes(instances: &[RawInstance]) -> Vec<String> {
    let with_ids: Vec<&RawInstance> = instances.iter().filter(|one| one.id.is_some()).collect();
    let ids = repeated(with_ids, |one: &RawInstance| one.id).count();
    let place = |one: &RawInstance| (one.image_id, one.category_id, one.bbox.map(f64::to_bits));
    let boxes = repeated(instances, place).count();
    let empty = instances.iter().filter(|one| one.bbox[2] * one.bbox[3] == 0.0).count();
    let note = |count: usize, what: &str, so: &str| {
        (count > 0).then(|| format!("annotations {what}: {count}; {so}"))
    };
    [
        note(ids, "with the id of an earlier one", "each counts by itself"),
        note(boxes, "with an earlier one's picture, category and box", "each counts as an object"),
        note(empty, "with a box without area", "no detection can match them"),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
#[path = "annotations_tests.rs"]
mod tests;
