//! Pictures, what is labelled in them, and the way into batches.
//!
//! ```text
//! sources (COCO, VOC, YOLO, plain pictures, videos) -> DataSet -> Loader: decode, view, colour, flip, mosaic -> samples
//! ```
//!
//! Files are foreign: what would train a wrong network is refused, what merely looks odd is told in
//! [`DataSet::notes`].
//!
//! What does not belong here: tensors (`run` makes them), and how a teacher comes to its maps ([`MapSource`]).

use std::path::{Path, PathBuf};

use crate::maps::Labels;

mod augment;
mod boxes;
mod checked;
mod classes;
mod coco;
mod colour;
mod config;
mod decoded;
mod error;
mod files;
mod gather;
mod loader;
mod mosaic;
mod open;
mod pictures;
mod render;
mod sample;
mod seed;
mod split;
mod video;
mod voc;
mod yolo;

#[cfg(test)]
mod tests;

pub use augment::AugmentConfig;
pub use config::{Kind, SourceConfig};
pub use decoded::read;
pub use error::DataError;
pub use loader::{Epoch, Loader, MapSource, NoMaps, Settings};
pub use open::open;
pub use render::{render, to_input};
pub use sample::Sample;

/// A picture to train on or to be judged by.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Its name, the same in every run, no other's in its data set: the file as its source names it; of a video's
    /// frame the video and `#` and the frame's number.
    pub id: String,
    /// The video or the folder that it is from.
    pub group: String,
    /// Its number among a video's frames, from 0.
    pub frame: Option<u64>,
    /// The file with its pixels, which for a video's frame is in the cache.
    pub file: PathBuf,
    /// Width and height in pixels, as decoded: turned upright.
    pub size: (u32, u32),
    /// What is known of its objects, boxes in pixels of the picture; none where nobody has labelled anything.
    pub labels: Option<Labels>,
    /// How often an epoch has it.
    pub repeat: usize,
}

impl Item {
    /// Its name within its source, which stays when the source is moved: of a picture the path within its folder, of a
    /// video's frame the name of the video's file and `#` and the frame's number.
    pub fn local_name(&self) -> &str {
        let group = Path::new(&self.group);
        let place = match self.frame {
            Some(_) => group.parent().and_then(Path::to_str).unwrap_or(""),
            None => &self.group,
        };
        self.id.strip_prefix(place).unwrap_or(&self.id).trim_start_matches('/')
    }
}

/// Pictures of one or several sources.
#[derive(Clone, Debug)]
pub struct DataSet {
    /// The student's classes.
    pub classes: Vec<String>,
    /// The pictures, source after source.
    pub items: Vec<Item>,
    /// Oddities worth telling, each a sentence.
    pub notes: Vec<String>,
}
