//! Why a teacher does not teach.

use std::path::{Path, PathBuf};

use centerx::eval::listed;
use centerx::model::ModelError;

/// Why a teacher does not teach.
#[derive(Debug, thiserror::Error)]
pub enum TeacherError {
    /// Its model is not there, is no detector, or does not tell its heads.
    #[error("teacher {teacher}: {cause}")]
    Model {
        /// The teacher.
        teacher: String,
        /// What is wrong and what to do.
        cause: Box<ModelError>,
    },
    /// Its heads are of a kind that is not known here.
    #[error("teacher {teacher}: heads of the family {family} cannot be learnt from; those of {have} can")]
    Family {
        /// The teacher.
        teacher: String,
        /// Its family.
        family: String,
        /// The families that are known.
        have: String,
    },
    /// A setting out of range.
    #[error("teacher {teacher}: {problem}")]
    Setting {
        /// The teacher.
        teacher: String,
        /// The setting and what would be right.
        problem: String,
    },
    /// It has nothing to teach.
    #[error(
        "teacher {teacher} and the student have no class name in common. The teacher has: {}; the student has: {}. \
         Tell which is which, as in classes = {{ {} = {} }}",
        listed(theirs),
        listed(student),
        quoted(student),
        quoted(theirs)
    )]
    NoSharedClass {
        /// The teacher.
        teacher: String,
        /// Its classes.
        theirs: Vec<String>,
        /// The student's.
        student: Vec<String>,
    },
    /// The settings name a class that is not there.
    #[error("teacher {teacher}: classes: {whose} has no class {class:?}; it has: {}", listed(have))]
    NoSuchClass {
        /// The teacher.
        teacher: String,
        /// Whose class it should be.
        whose: &'static str,
        /// The name.
        class: String,
        /// The classes there are.
        have: Vec<String>,
    },
    /// Two teachers for one class.
    #[error(
        "the class {class} has two teachers, {first} and {second}: take it from one of them by naming under its \
         classes those that it is to teach"
    )]
    TwoTeachers {
        /// The class.
        class: String,
        /// The first teacher.
        first: String,
        /// The other.
        second: String,
    },
    /// Nothing to learn a class from.
    #[error(
        "the class {class} has neither labels nor a teacher: leave it out, add a data set or a teacher that has it, or \
         tell under a teacher's classes what it is called there"
    )]
    NoTeacher {
        /// The class.
        class: String,
    },
    /// The runtime does not take its network, or fails to run it.
    #[error("teacher {teacher} does not run: {cause}")]
    Run {
        /// The teacher.
        teacher: String,
        /// What the runtime says.
        cause: String,
    },
    /// A head is not what the model's metadata tell.
    #[error("teacher {teacher}: its head {head} {problem}; pull or import the model again")]
    Head {
        /// The teacher.
        teacher: String,
        /// The head's name in the graph.
        head: String,
        /// What is wrong.
        problem: String,
    },
    /// A picture cannot be looked at.
    #[error("{} cannot be shown to the teachers: {cause}; put it right or leave it out", file.display())]
    Picture {
        /// The picture's file.
        file: PathBuf,
        /// Why.
        cause: String,
    },
    /// The folder with what teachers said cannot be used.
    #[error(
        "the folder {} for what the teachers say cannot be used: {cause}; make room in it or choose another one",
        folder.display()
    )]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Why.
        cause: String,
    },
    /// What a teacher said was not kept, or was damaged since.
    #[error(
        "what teacher {teacher} said of {item} cannot be read from {}: {problem}; begin again, and it is asked anew",
        file.display()
    )]
    Unprepared {
        /// The teacher.
        teacher: String,
        /// The picture.
        item: String,
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

impl TeacherError {
    pub(super) fn model(teacher: &str, cause: ModelError) -> Self {
        Self::Model { teacher: teacher.to_owned(), cause: Box::new(cause) }
    }

    pub(super) fn folder(folder: &Path, cause: &std::io::Error) -> Self {
        Self::Folder { folder: folder.to_owned(), cause: cause.to_string() }
    }

    pub(super) fn picture(file: &Path, cause: &dyn std::fmt::Display) -> Self {
        Self::Picture { file: file.to_owned(), cause: cause.to_string() }
    }
}

/// The first name, as TOML has it.
fn quoted(names: &[String]) -> String {
    format!("{:?}", names.first().map_or("", String::as_str))
}
