//! TensorRT's libraries, loaded at run time.

#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::{Arc, OnceLock};

use libloading::Library;

use super::error::TensorRtError;
use super::log::{Log, hear};
use super::sys::{self, Api};
use crate::engine::flavour::{Flavour, Version};

/// Names the folder with the libraries.
pub const VARIABLE: &str = "TENSORRT_LIBRARY_DIR";

/// TensorRT, loaded. Cheap to clone; what is made of it keeps it.
#[derive(Clone, Debug)]
pub struct TensorRt(Arc<Core>);

/// Code or an object that is never freed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Static(NonNull<c_void>);

// SAFETY: entry points may be called from any thread, and so may a logger; both live for ever.
unsafe impl Send for Static {}
// SAFETY: as above.
unsafe impl Sync for Static {}

impl Static {
    pub(super) fn new(pointer: *mut c_void) -> Option<Self> {
        NonNull::new(pointer).map(Self)
    }

    pub(super) fn as_ptr(self) -> *mut c_void {
        self.0.as_ptr()
    }
}

/// What there is of a loaded library.
#[derive(Debug)]
pub(super) struct Core {
    pub api: &'static Api,
    pub log: &'static Log,
    pub logger: Static,
    pub flavour: Flavour,
    pub version: Version,
    pub runtime_factory: Static,
    /// A lean or dispatch runtime has none.
    pub builder_factory: Option<Static>,
    /// Found at the first build: who only runs plans needs no parser.
    pub parser_factory: OnceLock<Static>,
    pub path: String,
    pub folder: Option<PathBuf>,
}

impl TensorRt {
    /// Loads TensorRT from `folder`, else from the folder that the environment's `TENSORRT_LIBRARY_DIR` names, else
    /// from where the system's loader looks. It stays loaded until the process ends.
    ///
    /// # Errors
    /// A flavour that this binary was built without, a library that is missing, is not TensorRT, is of the other
    /// flavour or of a version that does not fit.
    pub fn load(flavour: Flavour, folder: Option<&Path>) -> Result<Self, TensorRtError> {
        let api = sys::api(flavour).ok_or(TensorRtError::NotBuilt(flavour))?;
        let from_environment =
            || std::env::var_os(VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from);
        let folder = folder.map(Path::to_owned).or_else(from_environment);
        let wanted = headers(api);
        let (library, path) = open(flavour, flavour.libraries()[0], folder.as_deref(), wanted)?;
        let version = version(&library, &path, flavour, wanted)?;
        let refuse = |symbol| TensorRtError::NotTensorRt { flavour, library: path.clone(), symbol };
        let runtime_factory = symbol(&library, c"createInferRuntime_INTERNAL")
            .ok_or_else(|| refuse("createInferRuntime_INTERNAL"))?;
        let builder_factory = symbol(&library, c"createInferBuilder_INTERNAL");
        let (log, logger) = logger(flavour, api).ok_or_else(|| TensorRtError::Load {
            flavour,
            library: path.clone(),
            folder: None,
            wanted,
            cause: "there is no memory left for its log".to_owned(),
        })?;
        if let Some(folder) = folder.as_deref().filter(|_| flavour == Flavour::Enterprise) {
            tell_folder(&library, folder);
        }
        tracing::info!("loaded {} {version} from {path}", flavour.product());
        // Its threads and what it keeps a thread are never known to have ended.
        std::mem::forget(library);
        let parser_factory = OnceLock::new();
        Ok(Self::of(Core {
            api,
            log,
            logger,
            flavour,
            version,
            runtime_factory,
            builder_factory,
            parser_factory,
            path,
            folder,
        }))
    }

    pub(super) fn of(core: Core) -> Self {
        Self(Arc::new(core))
    }

    pub(super) fn core(&self) -> &Core {
        &self.0
    }

    /// Which TensorRT it is.
    pub fn flavour(&self) -> Flavour {
        self.0.flavour
    }

    /// The library's version.
    pub fn version(&self) -> Version {
        self.0.version
    }

    /// The library's file, or its name where the system's loader found it.
    pub fn path(&self) -> &str {
        &self.0.path
    }
}

impl Core {
    /// The entry point of the library that reads ONNX, which is loaded from where the first one came from.
    pub(super) fn parser_factory(&self) -> Result<Static, TensorRtError> {
        if let Some(factory) = self.parser_factory.get() {
            return Ok(*factory);
        }
        let name = self.flavour.libraries()[1];
        let (library, path) = open(self.flavour, name, self.folder.as_deref(), headers(self.api))?;
        let wanted = "createNvOnnxParser_INTERNAL";
        let factory = symbol(&library, c"createNvOnnxParser_INTERNAL").ok_or(TensorRtError::NotTensorRt {
            flavour: self.flavour,
            library: path,
            symbol: wanted,
        })?;
        std::mem::forget(library);
        Ok(*self.parser_factory.get_or_init(|| factory))
    }
}

/// The version of the headers that the shim was built with.
fn headers(api: &Api) -> Version {
    // SAFETY: it takes nothing and returns a constant.
    Version::of_library(unsafe { (api.header_version)() }).1
}

/// Opens `name` with the wanted major version at its end, or else by its bare name, which may be any version.
fn open(
    flavour: Flavour,
    name: &str,
    folder: Option<&Path>,
    wanted: Version,
) -> Result<(Library, String), TensorRtError> {
    let versioned = format!("{name}.{}", wanted.major);
    let place = |name: &str| folder.map_or_else(|| PathBuf::from(name), |folder| folder.join(name));
    let load = |path: &Path| {
        // SAFETY: NVIDIA's libraries may be loaded at any time and from any thread; that a file by their name is one
        // of them is what the user answers for, who names the folder or installs it.
        unsafe { Library::new(path) }
    };
    let first = place(&versioned);
    let refused = match load(&first) {
        Ok(library) => return Ok((library, first.display().to_string())),
        Err(error) => error,
    };
    let bare = place(name);
    load(&bare).map(|library| (library, bare.display().to_string())).map_err(|_| TensorRtError::Load {
        flavour,
        library: versioned,
        folder: folder.map(Path::to_owned),
        wanted,
        cause: reason(&refused),
    })
}

/// What the system's loader said, which the error only has as its source.
fn reason(error: &libloading::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}

fn symbol(library: &Library, name: &CStr) -> Option<Static> {
    // SAFETY: only the address is taken; the shim knows the function's type.
    let symbol = unsafe { library.get::<*mut c_void>(name.to_bytes_with_nul()) };
    Static::new(symbol.ok().map_or(std::ptr::null_mut(), |symbol| *symbol))
}

fn version(
    library: &Library,
    path: &str,
    flavour: Flavour,
    wanted: Version,
) -> Result<Version, TensorRtError> {
    // SAFETY: this is the function's type in every TensorRT.
    let get = unsafe { library.get::<unsafe extern "C" fn() -> i32>(b"getInferLibVersion\0") };
    let get = get.map_err(|_| TensorRtError::NotTensorRt {
        flavour,
        library: path.to_owned(),
        symbol: "getInferLibVersion",
    })?;
    // SAFETY: it takes nothing and returns a constant.
    let (found, version) = Version::of_library(unsafe { get() });
    if found != flavour {
        return Err(TensorRtError::WrongFlavour {
            library: path.to_owned(),
            found,
            version,
            wanted: flavour,
        });
    }
    if !version.serves(wanted) {
        return Err(TensorRtError::Version { library: path.to_owned(), found: version, wanted });
    }
    Ok(version)
}

/// The enterprise builder loads more libraries when it builds. It looks for them where the system's loader does, unless
/// it is told a folder.
fn tell_folder(library: &Library, folder: &Path) {
    let Ok(text) = CString::new([folder.as_os_str().as_bytes(), b"/"].concat()) else { return };
    // SAFETY: this is the function's type where there is one.
    let set =
        unsafe { library.get::<unsafe extern "C" fn(*const c_char) -> bool>(b"setInternalLibraryPath\0") };
    // SAFETY: a string that ends with a zero, which is copied.
    if set.is_ok_and(|set| !unsafe { set(text.as_ptr()) }) {
        tracing::warn!("TensorRT does not look for its builder's libraries in {}", folder.display());
    }
}

/// The one logger of a flavour.
fn logger(flavour: Flavour, api: &'static Api) -> Option<(&'static Log, Static)> {
    static LOGS: [Log; 2] = [Log::new(Flavour::Enterprise), Log::new(Flavour::Rtx)];
    static LOGGERS: [OnceLock<Option<Static>>; 2] = [OnceLock::new(), OnceLock::new()];
    let log = &LOGS[flavour as usize];
    let make = || {
        // SAFETY: the log lives for ever, and `hear` takes it.
        Static::new(unsafe { (api.logger_new)(hear, std::ptr::from_ref(log).cast_mut().cast()) })
    };
    LOGGERS[flavour as usize].get_or_init(make).map(|logger| (log, logger))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(tensorrt_rtx)]
    #[test]
    fn a_missing_library_is_told_with_where_it_was_looked_for_and_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let error = TensorRt::load(Flavour::Rtx, Some(folder.path())).unwrap_err().to_string();
        let place = folder.path().display().to_string();
        for part in
            ["TensorRT-RTX cannot be loaded from ", &place, "libtensorrt_rtx.so.1", "install", VARIABLE]
        {
            assert!(error.contains(part), "{part} is missing in: {error}");
        }
    }

    #[cfg(tensorrt_rtx)]
    #[test]
    fn a_file_that_is_no_library_is_told() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("libtensorrt_rtx.so.1"), "hello").unwrap();
        let error = TensorRt::load(Flavour::Rtx, Some(folder.path())).unwrap_err().to_string();
        assert!(error.contains("file too short") || error.contains("invalid ELF header"), "{error}");
    }
}
