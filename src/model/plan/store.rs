//! Plans made on this machine, one folder each, named by their key.

use std::path::PathBuf;

use super::super::home::{Home, HomeError};
use super::super::{ModelError, sha256};
use super::file::{self, PlanFile};
use super::{Key, Record};

/// The plan's name in its folder.
const NAME: &str = "model.plan";
/// What a library learnt while it built, to build the next one sooner.
const TIMING: &str = "timing.cache";

/// The plans of one cache folder.
#[derive(Clone, Debug)]
pub struct Plans {
    home: Home,
}

impl Plans {
    /// Those in the user's cache folder, see [`Home::from_env`].
    ///
    /// # Errors
    /// There is no cache folder.
    pub fn from_env() -> Result<Self, HomeError> {
        Ok(Self::new(Home::from_env()?))
    }

    /// Those in `home`.
    pub fn new(home: Home) -> Self {
        Self { home }
    }

    fn folder(&self, key: &Key) -> PathBuf {
        self.home.plans().join(key.digest())
    }

    /// Where the plan with this key lies, or would.
    pub fn path(&self, key: &Key) -> PathBuf {
        self.folder(key).join(NAME)
    }

    /// The plan with this key, if it is there and whole. One that is damaged is told and counts as missing, so that
    /// it is made anew.
    pub fn find(&self, key: &Key) -> Option<PlanFile> {
        let path = self.path(key);
        if !path.is_file() {
            return None;
        }
        match file::open(&path) {
            Ok(plan) if plan.record.as_ref().is_some_and(|record| record.key == *key) => Some(plan),
            Ok(_) => None,
            Err(error) => {
                tracing::warn!("a compiled model is not usable and is made anew: {error}");
                None
            }
        }
    }

    /// Keeps a plan; returns where it lies. One with the same key is replaced.
    ///
    /// # Errors
    /// A cache folder that cannot be written.
    pub fn put(&self, record: &Record, plan: &[u8]) -> Result<PathBuf, ModelError> {
        let folder = self.folder(&record.key);
        self.home.install(&folder, true, &|_| (), |content, _| {
            file::write(&content.join(NAME), plan, record).map_err(HomeError::io("write", content))
        })?;
        Ok(folder.join(NAME))
    }

    /// What the library of this name and version learnt on GPUs called `gpu`; empty at first.
    pub fn timing(&self, library: &str, version: &str, gpu: &str) -> Vec<u8> {
        std::fs::read(self.timing_folder(library, version, gpu).join(TIMING)).unwrap_or_default()
    }

    /// Keeps what it learnt.
    ///
    /// # Errors
    /// A cache folder that cannot be written.
    pub fn put_timing(&self, of: [&str; 3], learnt: &[u8]) -> Result<(), HomeError> {
        let [library, version, gpu] = of;
        let folder = self.timing_folder(library, version, gpu);
        self.home.install(&folder, true, &|_| (), |content, _| {
            std::fs::write(content.join(TIMING), learnt).map_err(HomeError::io("write", content))
        })
    }

    /// Where kernels are kept that this plan had compiled on GPUs called `gpu`; none if the folder cannot be made.
    pub fn kernels(&self, plan: &[u8], gpu: &str, version: &str) -> Option<PathBuf> {
        let name = sha256(format!("{}\n{gpu}\n{version}", sha256(plan)).as_bytes());
        let folder = self.home.plans().join("kernels");
        let made = std::fs::create_dir_all(&folder).map_err(HomeError::io("create", &folder));
        match made {
            Ok(()) => Some(folder.join(&name[..24])),
            Err(error) => {
                tracing::warn!("kernels compiled for this GPU cannot be kept: {error}");
                None
            }
        }
    }

    fn timing_folder(&self, library: &str, version: &str, gpu: &str) -> PathBuf {
        let name = sha256(format!("{library}\n{version}\n{gpu}").as_bytes());
        self.home.plans().join(format!("timing-{}", &name[..24]))
    }
}
