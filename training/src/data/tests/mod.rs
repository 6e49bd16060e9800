//! Data sets in files: read, refused, loaded.

mod coco;
mod loading;
mod plain;
mod video;
mod voc;
mod yolo;

use std::path::{Path, PathBuf};

use image::{Rgb, RgbImage};

use super::{DataError, DataSet, SourceConfig, open};

/// Writes a picture of one colour.
pub(super) fn write_picture(path: &Path, (width, height): (u32, u32), colour: [u8; 3]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    RgbImage::from_pixel(width, height, Rgb(colour)).save(path).unwrap();
}

/// A folder for a data set and its cache.
pub(super) struct Folder(tempfile::TempDir);

impl Folder {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file, with the folders above it.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    /// Writes a picture of 100 x 50 pixels.
    pub fn picture(&self, name: &str) -> PathBuf {
        write_picture(&self.path(name), (100, 50), [90, 120, 150]);
        self.path(name)
    }

    pub fn open(&self, sources: &[SourceConfig], classes: &[&str]) -> Result<DataSet, DataError> {
        let classes: Vec<String> = classes.iter().map(ToString::to_string).collect();
        open(sources, &classes, &self.path("cache"))
    }

    /// The message with which it is refused, without the folder's name.
    pub fn refused(&self, source: &SourceConfig, classes: &[&str]) -> String {
        let error = self.open(std::slice::from_ref(source), classes).unwrap_err();
        self.short(&error.to_string())
    }

    /// Text without the folder's name.
    pub fn short(&self, text: &str) -> String {
        text.replace(&format!("{}/", self.0.path().display()), "")
    }
}

/// Class, corners, whether not to be judged, of a picture's objects.
pub(super) fn objects(set: &DataSet, at: usize) -> Vec<(usize, [f32; 4], bool)> {
    let labels = set.items[at].labels.as_ref().unwrap();
    let tell = |object: &crate::maps::Object| {
        let b = object.bbox;
        (object.class, [b.x1, b.y1, b.x2, b.y2], object.ignore)
    };
    labels.objects.iter().map(tell).collect()
}
