//! Detectors as teachers: what they say about views of pictures, in the student's cells, kept on disk.
//!
//! Any model that centerx can run and that tells its heads is one: they are read before its decode, brought to
//! [`Maps`](crate::maps::Maps) on its own grid (`heads`), and from there to the student's (`regrid`). [`Cached`]
//! does so once for each view.

mod cache;
mod classes;
mod error;
mod file;
mod heads;
mod lane;
mod open;
mod regrid;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::Deserialize;

pub use cache::{Cached, Look, Prepared, bar};
pub use classes::check_owners;
pub use error::TeacherError;
pub use lane::{Grid, Render, TeacherLane};
pub use open::Teacher;

/// Settings of a teacher.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct TeacherConfig {
    /// The model: the name of a pulled one, such as `coco` or `coco@512x384`, or the path of an ONNX file.
    pub model: String,
    /// The student's classes that it is to teach, each with what the teacher calls it. Where nothing is told, those
    /// that both have by name; upper and lower case are the same.
    #[serde(default)]
    pub classes: BTreeMap<String, String>,
    /// What the losses against it are multiplied by, or held at; 0 or more.
    #[serde(default = "one")]
    pub weight: f32,
    /// Scores below this one, 0 to 1, count as 0.
    #[serde(default)]
    pub score_floor: f32,
}

fn one() -> f32 {
    1.0
}

impl TeacherConfig {
    /// A teacher with the usual settings.
    pub fn new(model: &str) -> Self {
        Self { model: model.to_owned(), classes: BTreeMap::new(), weight: one(), score_floor: 0.0 }
    }

    /// Checks the ranges.
    fn validate(&self) -> Result<(), TeacherError> {
        let refuse = |problem| Err(TeacherError::Setting { teacher: self.model.clone(), problem });
        if !(0.0..f32::INFINITY).contains(&self.weight) {
            return refuse(format!("weight: {} is not a number of 0 or more", self.weight));
        }
        if !(0.0..=1.0).contains(&self.score_floor) {
            return refuse(format!("score-floor: {} is not a number from 0 to 1", self.score_floor));
        }
        Ok(())
    }
}
