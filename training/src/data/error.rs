//! Why there is nothing to train on.

use std::error::Error;
use std::path::{Path, PathBuf};

/// Why data cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The settings do not make sense, whatever is in the files.
    #[error("{0}")]
    Settings(String),
    /// A file or folder is not what its source should be.
    #[error("{}: {problem}", path.display())]
    Source {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong and what would mend it.
        problem: String,
    },
    /// A source and the student know no class by the same name.
    #[error(
        "{}: it labels none of the student's classes. The student has: {}; it has: {}. Map its names with `rename`, or \
         use it without labels (kind \"pictures\")",
        path.display(), student.join(", "), data.join(", ")
    )]
    NoSharedClass {
        /// The source.
        path: PathBuf,
        /// The student's classes.
        student: Vec<String>,
        /// The source's.
        data: Vec<String>,
    },
    /// A picture or a video is missing or damaged.
    #[error(
        "{}: {cause}; mend it, or leave such files out with `skip-unreadable = true`", path.display()
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// The cache cannot be written: a full disk, as a rule.
    #[error("the cache {} cannot be written: {cause}; make room, or choose another folder", path.display())]
    Cache {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        cause: String,
    },
    /// A teacher's maps of a picture are missing or do not fit.
    #[error("teachers' maps of {item}: {cause}")]
    Maps {
        /// The picture's id.
        item: String,
        /// Why.
        cause: Box<dyn Error + Send + Sync>,
    },
    /// A fault of ours.
    #[error("a thread that loads pictures panicked, which is a fault in centerx-train; please report it")]
    Panicked,
}

impl DataError {
    pub(super) fn source(path: &Path, problem: impl ToString) -> Self {
        Self::Source { path: path.to_owned(), problem: problem.to_string() }
    }

    pub(super) fn unreadable(path: &Path, cause: impl ToString) -> Self {
        Self::Unreadable { path: path.to_owned(), cause: cause.to_string() }
    }

    pub(super) fn cache(path: &Path, cause: impl ToString) -> Self {
        Self::Cache { path: path.to_owned(), cause: cause.to_string() }
    }
}
