//! What a user says of a training, in a TOML file.

use std::path::{Path, PathBuf};

use centerx::model::import::Size;
use serde::{Deserialize, Deserializer};

use crate::data::{AugmentConfig, SourceConfig};
use crate::loss::{Balance, DistillConfig, LabelLossConfig};
use crate::nn::{CenterNet, NetworkConfig};
use crate::optim::OptimConfig;
use crate::teacher::TeacherConfig;

/// Everything about a training. Paths are relative to the file's folder.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Recipe {
    /// The model's name.
    pub name: String,
    /// Its edition.
    #[serde(default = "default_version")]
    pub version: String,
    /// The student's classes, in order.
    pub classes: Vec<String>,
    /// Its input, such as `384x288`; both sides multiples of 32.
    #[serde(deserialize_with = "size")]
    pub input: Size,
    /// Folder of the run: checkpoints, logs, pictures, the exported model.
    pub output: PathBuf,
    /// Folder of what is made once and used again: teachers' outputs, frames of videos.
    #[serde(default = "default_cache")]
    pub cache: PathBuf,
    /// All that is random comes from it.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// Where the pictures come from and what is known of them.
    pub data: Vec<SourceConfig>,
    /// Share of the pictures that is kept for the evaluation.
    #[serde(default = "default_hold_out")]
    pub hold_out: f32,
    /// Models to learn from.
    #[serde(default)]
    pub teacher: Vec<TeacherConfig>,
    /// The network.
    #[serde(default)]
    pub network: NetworkConfig,
    /// A safetensors file with weights of the backbone to begin with.
    #[serde(default)]
    pub weights: Option<PathBuf>,
    /// What is lost against labels.
    #[serde(default)]
    pub labels: LabelLossConfig,
    /// What is lost against teachers.
    #[serde(default)]
    pub distill: DistillConfig,
    /// How the losses are weighed.
    #[serde(default)]
    pub balance: Balance,
    /// How weights are changed.
    #[serde(default)]
    pub optimiser: OptimConfig,
    /// How pictures are varied.
    #[serde(default)]
    pub augment: AugmentConfig,
    /// How long and in what pieces.
    #[serde(default)]
    pub train: TrainConfig,
    /// The detector that is made.
    #[serde(default)]
    pub export: ExportConfig,
}

/// How long it is trained, and in what pieces.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct TrainConfig {
    /// Steps in all.
    pub steps: usize,
    /// Steps after which the student is evaluated, kept and shown; an epoch of the data where it is 0.
    pub evaluate_every: usize,
    /// Pictures a step.
    pub batch: usize,
    /// Threads that make batches ready.
    pub loaders: usize,
    /// Decoded pictures that are kept, in megabytes.
    pub picture_cache_mb: usize,
    /// Share of the old average that each step keeps (exponential moving average of weights); 0 is none.
    pub ema: f64,
    /// Share of the steps from which on weights are averaged (SWA); none is never.
    pub swa_from: Option<f32>,
    /// From this score on a teacher's detection is the truth of the evaluation.
    pub teacher_score: f32,
    /// From this score on the student's detections count in the evaluation.
    pub score: f32,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            steps: 2000,
            evaluate_every: 0,
            batch: 8,
            loaders: 1,
            picture_cache_mb: 1024,
            ema: 0.998,
            swa_from: None,
            teacher_score: 0.4,
            score: 0.3,
        }
    }
}

/// The detector that is made of the student.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ExportConfig {
    /// Detections a picture.
    pub top_k: usize,
    /// Overlap with a better object of its class from which one is left out; none keeps all.
    pub nms: Option<f32>,
    /// Where the weights come from.
    pub source: String,
    /// Their licence, as an SPDX expression.
    pub license: String,
    /// Write a Caffe model, too.
    pub caffe: bool,
}

impl Default for ExportConfig {
    fn default() -> Self {
        Self { top_k: 100, nms: Some(0.6), source: String::new(), license: String::new(), caffe: false }
    }
}

/// Why there is no recipe.
#[derive(Debug, thiserror::Error)]
pub enum RecipeError {
    /// The file cannot be read.
    #[error("the recipe {} cannot be read: {cause}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// It is no recipe.
    #[error("the recipe {}: {cause}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong where.
        cause: Box<toml::de::Error>,
    },
    /// Its settings make no sense.
    #[error("the recipe {}: {problem}", path.display())]
    Senseless {
        /// The file.
        path: PathBuf,
        /// What and why.
        problem: String,
    },
}

impl Recipe {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// See [`RecipeError`].
    pub fn read(path: &Path) -> Result<Self, RecipeError> {
        let text = std::fs::read_to_string(path)
            .map_err(|cause| RecipeError::Read { path: path.to_owned(), cause })?;
        let mut recipe: Self = toml::from_str(&text)
            .map_err(|cause| RecipeError::Parse { path: path.to_owned(), cause: Box::new(cause) })?;
        recipe.check().map_err(|problem| RecipeError::Senseless { path: path.to_owned(), problem })?;
        recipe.resolve(path.parent().unwrap_or(Path::new("")));
        Ok(recipe)
    }

    /// The input's width and height in pixels.
    pub fn input(&self) -> (u32, u32) {
        (self.input.width as u32, self.input.height as u32)
    }

    fn check(&self) -> Result<(), String> {
        let Size { width, height } = self.input;
        let multiple = CenterNet::MULTIPLE;
        if !width.is_multiple_of(multiple) || !height.is_multiple_of(multiple) {
            let next = |side: usize| side.next_multiple_of(multiple);
            let (w, h) = (next(width), next(height));
            return Err(format!(
                "input: {width}x{height}: both sides must be multiples of {multiple}; try {w}x{h}"
            ));
        }
        check_classes(&self.classes)?;
        if self.data.is_empty() {
            return Err("there is no [[data]]; name at least one data set".to_owned());
        }
        if !(0.0..0.9).contains(&self.hold_out) {
            return Err(format!("hold-out: {} is not a share from 0 to 0.9", self.hold_out));
        }
        self.optimiser.check().map_err(|error| error.to_string())?;
        self.labels.check().map_err(|error| error.to_string())?;
        self.distill.check().map_err(|error| error.to_string())?;
        self.augment.check().map_err(|error| error.to_string())?;
        self.network.check(self.classes.len()).map_err(|error| error.to_string())?;
        self.train.check()
    }

    fn resolve(&mut self, folder: &Path) {
        self.output = folder.join(&self.output);
        self.cache = folder.join(&self.cache);
        self.weights = self.weights.take().map(|weights| folder.join(weights));
        self.data =
            std::mem::take(&mut self.data).into_iter().map(|source| source.relative_to(folder)).collect();
        // A name is that of a pulled model, whatever lies in the folder.
        for teacher in self.teacher.iter_mut().filter(|teacher| teacher.model.contains('/')) {
            teacher.model = folder.join(&teacher.model).to_string_lossy().into_owned();
        }
    }
}

fn check_classes(classes: &[String]) -> Result<(), String> {
    if classes.is_empty() {
        return Err("classes: there is none; name at least one, such as [\"person\"]".to_owned());
    }
    for (at, class) in classes.iter().enumerate() {
        if class.trim().is_empty() {
            return Err(format!("classes: the name at position {at} is empty"));
        }
        if classes[..at].iter().any(|other| other.eq_ignore_ascii_case(class)) {
            return Err(format!(
                "classes: {class:?} is there twice; class names are compared whatever their case"
            ));
        }
    }
    Ok(())
}

impl TrainConfig {
    fn check(&self) -> Result<(), String> {
        if self.batch < 2 {
            return Err(format!("train.batch: {}: BatchNorm needs at least 2 pictures a step", self.batch));
        }
        if self.steps == 0 {
            return Err("train.steps: 0: there must be a step at least".to_owned());
        }
        let shares = [("ema", self.ema), ("swa-from", self.swa_from.map_or(0.0, f64::from))];
        let scores = [("teacher-score", self.teacher_score), ("score", self.score)];
        let all = shares.into_iter().chain(scores.map(|(name, score)| (name, f64::from(score))));
        for (name, value) in all {
            if !(0.0..1.0).contains(&value) {
                return Err(format!("train.{name}: {value} is not a number from 0 to less than 1"));
            }
        }
        Ok(())
    }
}

fn default_version() -> String {
    "1".to_owned()
}

fn default_cache() -> PathBuf {
    PathBuf::from("cache")
}

fn default_seed() -> u64 {
    1
}

fn default_hold_out() -> f32 {
    0.1
}

fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Size, D::Error> {
    let text = String::deserialize(deserializer)?;
    let sides = text.split_once('x').and_then(|(w, h)| Size::new(w.parse().ok()?, h.parse().ok()?));
    sides.ok_or_else(|| {
        serde::de::Error::custom(format!("{text:?} is no size; expected WIDTHxHEIGHT, such as 384x288"))
    })
}
