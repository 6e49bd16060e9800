//! The folder of a run: what lies where.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use centerx::cli::UsageError;

use super::Begin;

/// The folder of a run.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

/// What a run leaves, and only that is removed when it begins anew.
const CHECKPOINTS: &str = "checkpoints";
const PREVIEWS: &str = "previews";
const LOG: &str = "log.csv";
const PLOT: &str = "losses.svg";
const CANDIDATE: &str = "candidate.onnx";

/// What the names of checkpoints begin with until they are whole.
pub const UNFINISHED: &str = ".unfinished-";

impl Folder {
    /// The run's folder as it is.
    pub fn of(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// The folder of a run that is to begin so. Nothing in it is changed yet.
    ///
    /// # Errors
    /// A folder that holds a run already, or none to go on with.
    pub fn open(path: &Path, begin: Begin) -> anyhow::Result<Self> {
        let folder = Self::of(path);
        folder.recover()?;
        let holds_run = folder.log().exists() || folder.last().exists();
        let shown = path.display();
        match begin {
            Begin::Fresh if holds_run => Err(UsageError(format!(
                "{shown} holds a run already: go on with it by --resume, begin it anew by --force, or name \
                     another folder with --output"
            ))
            .into()),
            Begin::Resume if !folder.last().exists() => Err(UsageError(format!(
                "{shown} holds no checkpoint to go on from; leave --resume out to begin"
            ))
            .into()),
            Begin::Fresh | Begin::Resume | Begin::Anew => Ok(folder),
        }
    }

    /// Makes the folder ready, once there is nothing else that could keep the run from beginning.
    ///
    /// # Errors
    /// A folder that cannot be made, or cleared of the run that it holds.
    pub fn make_ready(&self, begin: Begin) -> anyhow::Result<()> {
        if begin == Begin::Anew {
            self.clear()?;
        }
        for needed in [self.0.join(CHECKPOINTS), self.0.join(PREVIEWS)] {
            fs::create_dir_all(&needed)
                .with_context(|| format!("cannot make the folder {}", needed.display()))?;
        }
        self.remove_unfinished()
    }

    /// Checkpoints that a kill left half written.
    fn remove_unfinished(&self) -> anyhow::Result<()> {
        let folder = self.0.join(CHECKPOINTS);
        let told = || format!("cannot look through {}", folder.display());
        for entry in folder.read_dir().with_context(told)? {
            let entry = entry.with_context(told)?;
            if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
                gone(&entry.path(), |path| fs::remove_dir_all(path))?;
            }
        }
        Ok(())
    }

    /// A kill between two renames leaves the last checkpoint under its old name.
    fn recover(&self) -> anyhow::Result<()> {
        let last = self.last();
        let old = replaced(&last);
        if old.exists() && !last.exists() {
            fs::rename(&old, &last).with_context(|| format!("cannot rename {}", old.display()))?;
        }
        Ok(())
    }

    fn clear(&self) -> anyhow::Result<()> {
        for name in [CHECKPOINTS, PREVIEWS] {
            gone(&self.0.join(name), |path| fs::remove_dir_all(path))?;
        }
        for name in [LOG, PLOT, CANDIDATE] {
            gone(&self.0.join(name), |path| fs::remove_file(path))?;
        }
        Ok(())
    }

    /// The checkpoint of the last evaluation.
    pub fn last(&self) -> PathBuf {
        self.0.join(CHECKPOINTS).join("last")
    }

    /// The weights of the best student so far.
    pub fn best(&self) -> PathBuf {
        self.0.join(CHECKPOINTS).join("best.safetensors")
    }

    /// The log of losses.
    pub fn log(&self) -> PathBuf {
        self.0.join(LOG)
    }

    /// The plot of the log.
    pub fn plot(&self) -> PathBuf {
        self.0.join(PLOT)
    }

    /// Samples of the first batch with what is to be learned from them.
    pub fn first_batch(&self) -> PathBuf {
        self.0.join(PREVIEWS).join("first-batch.jpg")
    }

    /// The picture of predictions beside targets after so many steps.
    pub fn preview(&self, step: usize) -> PathBuf {
        self.0.join(PREVIEWS).join(format!("{step:06}.jpg"))
    }

    /// The detector that is being evaluated.
    pub fn candidate(&self) -> PathBuf {
        self.0.join(CANDIDATE)
    }

    /// The best student so far as a Caffe model, without its endings.
    pub fn caffe(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The best detector so far.
    pub fn detector(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.onnx"))
    }
}

/// Where a checkpoint is while another one takes its place.
pub fn replaced(checkpoint: &Path) -> PathBuf {
    checkpoint.with_extension("old")
}

fn gone(path: &Path, remove: impl Fn(&Path) -> std::io::Result<()>) -> anyhow::Result<()> {
    match remove(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}
