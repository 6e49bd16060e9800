//! What a source of pictures is, as a user writes it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// How a source's labels are written.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// COCO's JSON beside a folder of pictures.
    Coco,
    /// Pascal VOC: an XML file a picture.
    Voc,
    /// YOLO: a text file a picture, class and box a line.
    Yolo,
    /// No labels: folders of pictures, single pictures, videos.
    #[default]
    Pictures,
}

/// One source of pictures.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SourceConfig {
    /// How it is labelled.
    #[serde(default)]
    pub kind: Kind,
    /// Where it is. `pictures`: any number of folders (with what is in them), pictures and videos. `coco`: the folder
    /// of pictures. `voc`: the folder with `JPEGImages` and `Annotations`, or with pictures and XML files side by side.
    /// `yolo`: a `data.yaml`, or a folder with `images` and `labels`.
    pub paths: Vec<PathBuf>,
    /// `coco`: the JSON file. `voc`: the folder of XML files where it is another one.
    #[serde(default)]
    pub annotations: Option<PathBuf>,
    /// `yolo`: which part of a `data.yaml`, `train` unless told. `voc`: the list `ImageSets/Main/SPLIT.txt`.
    #[serde(default)]
    pub split: Option<String>,
    /// `yolo`: the classes' names where no file tells. `voc`: the classes that are labelled, as a class that is in no
    /// picture cannot be seen in the files.
    #[serde(default)]
    pub names: Vec<String>,
    /// From the source's class names to the student's.
    #[serde(default)]
    pub rename: BTreeMap<String, String>,
    /// The source's classes whose objects are not to be judged: what the student finds there is neither right nor
    /// wrong, whatever class it says.
    #[serde(default)]
    pub ignore: Vec<String>,
    /// Every Nth frame of videos, from the first on.
    #[serde(default = "one")]
    pub every: u64,
    /// How often an epoch has each picture: more than once for what is rare.
    #[serde(default = "once")]
    pub repeat: usize,
    /// So many pictures at most, the first ones, of each path: of each folder's pictures, of each video's frames.
    #[serde(default)]
    pub limit: Option<usize>,
    /// Leave pictures out that are missing or damaged, and note it, rather than to stop.
    #[serde(default)]
    pub skip_unreadable: bool,
}

fn one() -> u64 {
    1
}

fn once() -> usize {
    1
}

impl SourceConfig {
    /// A source of this kind with nothing else said.
    pub fn new(kind: Kind, paths: impl IntoIterator<Item = impl Into<PathBuf>>) -> Self {
        Self {
            kind,
            paths: paths.into_iter().map(Into::into).collect(),
            annotations: None,
            split: None,
            names: Vec::new(),
            rename: BTreeMap::new(),
            ignore: Vec::new(),
            every: 1,
            repeat: 1,
            limit: None,
            skip_unreadable: false,
        }
    }

    /// Paths that are not absolute become those of files under `folder`.
    pub fn relative_to(mut self, folder: &Path) -> Self {
        for path in self.paths.iter_mut().chain(&mut self.annotations) {
            *path = folder.join(&path);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_read_in_kebab_case() {
        let text = "kind = 'coco'\npaths = ['a']\nannotations = '/b.json'\nskip-unreadable = true\n\
                    rename = { human = 'person' }\nignore = ['sign']";
        let source: SourceConfig = toml::from_str(text).unwrap();
        assert_eq!((source.kind, source.every, source.limit), (Kind::Coco, 1, None));
        assert!(source.skip_unreadable);
        assert_eq!(source.rename["human"], "person");
        let source = source.relative_to(Path::new("/data"));
        assert_eq!(source.paths, [Path::new("/data/a")]);
        assert_eq!(source.annotations.as_deref(), Some(Path::new("/b.json")));
    }

    #[test]
    fn what_is_misspelt_is_refused() {
        let error = toml::from_str::<SourceConfig>("paths = ['a']\nskip_unreadable = true").unwrap_err();
        assert!(error.to_string().contains("skip_unreadable"), "{error}");
        assert!(toml::from_str::<SourceConfig>("kind = 'imagenet'\npaths = ['a']").is_err());
        assert!(toml::from_str::<SourceConfig>("kind = 'coco'").is_err(), "paths are needed");
    }
}
