//! From settings to a teacher.

use std::sync::Arc;

use centerx::engine::onnx::OnnxRuntime;
use centerx::model::decode::{Head, Heads};
use centerx::model::{self, DetectorModel, ModelError, recipe};

use super::classes::{Taught, taught};
use super::heads::Reader;
use super::lane::{Render, TeacherLane};
use super::{TeacherConfig, TeacherError};

/// A detector up to its heads, and how to read those.
pub(super) struct Network {
    pub runtime: OnnxRuntime,
    pub onnx: Vec<u8>,
    /// The teacher's name, for messages.
    pub name: String,
    /// Width and height in pixels.
    pub input: (u32, u32),
    pub reader: Reader,
    pub heads: Heads,
    /// The teacher's classes that are learnt, in the order of the student's.
    pub classes: Vec<usize>,
}

impl Network {
    pub fn failed(&self, error: &ort::Error) -> TeacherError {
        TeacherError::Run { teacher: self.name.clone(), cause: error.to_string() }
    }

    pub fn misfit(&self, head: &Head, problem: String) -> TeacherError {
        TeacherError::Head { teacher: self.name.clone(), head: head.value.clone(), problem }
    }
}

/// A detector that the student learns from.
pub struct Teacher {
    config: TeacherConfig,
    sha256: String,
    owns: Vec<usize>,
    network: Arc<Network>,
}

impl Teacher {
    /// Finds and reads the model. It is looked at through its recipe's heads, at the input size that it was made for; of
    /// a pulled one there may be others, such as `coco@512x384`.
    ///
    /// # Errors
    /// A model that is missing, is no detector or does not tell its heads; classes that do not fit the student's.
    pub fn open(
        runtime: &OnnxRuntime,
        config: &TeacherConfig,
        student_classes: &[String],
    ) -> Result<Self, TeacherError> {
        config.validate()?;
        let refuse = |cause| TeacherError::model(&config.model, cause);
        let path = model::zoo::resolve(&config.model).map_err(refuse)?;
        let detector = model::load(&path).map_err(refuse)?;
        Self::of(runtime, config, student_classes, detector)
    }

    fn of(
        runtime: &OnnxRuntime,
        config: &TeacherConfig,
        student_classes: &[String],
        detector: DetectorModel,
    ) -> Result<Self, TeacherError> {
        let name = config.model.clone();
        let onnx = recipe::up_to_heads(&detector);
        let onnx = onnx.map_err(|cause| TeacherError::model(&name, cause))?;
        let about = detector.metadata;
        let Some(recipe) = about.recipe else {
            return Err(TeacherError::model(&name, ModelError::NoRecipe { name: about.name }));
        };
        let Some(reader) = Reader::of(&about.family) else {
            return Err(TeacherError::Family {
                teacher: name,
                family: about.family,
                have: Reader::families(),
            });
        };
        let taught = taught(&name, &config.classes, student_classes, &about.classes)?;
        let network = Network {
            runtime: runtime.clone(),
            onnx,
            name,
            input: (about.input_width, about.input_height),
            reader,
            heads: recipe.heads,
            classes: taught.iter().map(|Taught { teacher, .. }| *teacher).collect(),
        };
        let owns = taught.iter().map(|Taught { student, .. }| *student).collect();
        Ok(Self { config: config.clone(), sha256: detector.sha256, owns, network: Arc::new(network) })
    }

    /// Its model, as the settings name it.
    pub fn name(&self) -> &str {
        &self.config.model
    }

    /// Its settings.
    pub fn config(&self) -> &TeacherConfig {
        &self.config
    }

    /// The student's classes that it teaches, by index, rising.
    pub fn owns(&self) -> &[usize] {
        &self.owns
    }

    /// SHA-256 of its model's file, lower-case hex.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// The teacher's classes that it teaches, by index.
    pub fn classes(&self) -> &[usize] {
        &self.network.classes
    }

    /// Opens a session on one thread, which sees pictures as `render` draws them.
    ///
    /// # Errors
    /// A network that the runtime does not take.
    pub fn lane(&self, render: Render) -> Result<TeacherLane, TeacherError> {
        TeacherLane::open(&self.network, render)
    }
}
