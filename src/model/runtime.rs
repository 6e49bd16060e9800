//! Finds ONNX Runtime's shared library, and fetches it where the machine has none.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use super::fetch::{Client, FetchError, Fetcher, Package};
use super::home::{Home, HomeError};
use super::unpack::{self, Wanted};

/// The version that is fetched.
pub const VERSION: &str = "1.32.0";
/// Minor version of the oldest 1.x library whose interface is used here.
const OLDEST_MINOR: u32 = 24;
/// Names the library outright.
const VARIABLE: &str = "ORT_DYLIB_PATH";
const LIBRARY: &str = "libonnxruntime.so";

const FILES: &[Wanted] = &[
    Wanted { path: "onnxruntime/capi/libonnxruntime.so.1.32.0", name: "libonnxruntime.so.1.32.0" },
    Wanted { path: "onnxruntime/LICENSE", name: "LICENSE" },
    Wanted { path: "onnxruntime/ThirdPartyNotices.txt", name: "ThirdPartyNotices.txt" },
];

/// Why there is no library.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// None was found.
    #[error(
        "ONNX Runtime's library is not on this machine{too_old}; run: centerx runtime pull\n(or let {VARIABLE} name \
         a libonnxruntime.so of version 1.{OLDEST_MINOR} or newer)"
    )]
    NotFound {
        /// A library that was found but passed over, for the message; empty if there is none.
        too_old: String,
    },
    /// The variable names something else.
    #[error("{VARIABLE} names {}, which is not a file; correct or unset it, or run: centerx runtime pull", path.display())]
    NotAFile {
        /// What it names.
        path: PathBuf,
    },
    /// There is nothing to fetch for this kind of machine.
    #[error(
        "no pinned ONNX Runtime for {0}; install version 1.{OLDEST_MINOR} or newer and let {VARIABLE} name its libonnxruntime.so"
    )]
    NoPackage(String),
    /// It cannot be fetched.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The cache folder does not do.
    #[error(transparent)]
    Home(#[from] HomeError),
}

/// Finds the library: what `ORT_DYLIB_PATH` names, else the one that was fetched, else one of the system.
///
/// # Errors
/// There is none, with the command that fetches one.
pub fn locate() -> Result<PathBuf, RuntimeError> {
    let named = std::env::var_os(VARIABLE).filter(|value| !value.is_empty());
    locate_in(named.as_deref(), &Home::from_env()?, &system_folders())
}

fn locate_in(named: Option<&OsStr>, home: &Home, system: &[PathBuf]) -> Result<PathBuf, RuntimeError> {
    if let Some(path) = named.map(PathBuf::from) {
        return if path.is_file() { Ok(path) } else { Err(RuntimeError::NotAFile { path }) };
    }
    let fetched = fetched(home);
    if fetched.is_file() {
        return Ok(fetched);
    }
    let found = system.iter().flat_map(|folder| libraries(folder)).collect::<Vec<_>>();
    let newest = found.into_iter().max_by_key(|(version, _)| *version);
    match newest {
        Some((version, path)) if version >= (1, OLDEST_MINOR) => Ok(path),
        Some(((major, minor), path)) => {
            let too_old = format!(" ({} is {major}.{minor}, which is too old)", path.display());
            Err(RuntimeError::NotFound { too_old })
        }
        None => Err(RuntimeError::NotFound { too_old: String::new() }),
    }
}

/// Fetches the library, unless it is there already and `force` is not set, and returns its path. `report`
/// is told what is going on.
///
/// # Errors
/// What keeps it from being fetched.
pub fn pull(force: bool, report: &dyn Fn(&str)) -> Result<PathBuf, RuntimeError> {
    pull_into(&Home::from_env()?, &Fetcher::default(), force, report)
}

fn pull_into(
    home: &Home,
    fetcher: &Fetcher,
    force: bool,
    report: &dyn Fn(&str),
) -> Result<PathBuf, RuntimeError> {
    let package = package(std::env::consts::OS, std::env::consts::ARCH)?;
    home.install(&folder(home), force, report, |content, scraps| {
        let archive = fetcher.fetch(&package, scraps, report)?;
        unpack::wheel(&archive, FILES, content).map_err(FetchError::from)?;
        Ok::<_, RuntimeError>(())
    })?;
    Ok(fetched(home))
}

fn folder(home: &Home) -> PathBuf {
    home.library(&format!("onnxruntime-{VERSION}"))
}

fn fetched(home: &Home) -> PathBuf {
    folder(home).join(format!("{LIBRARY}.{VERSION}"))
}

/// The wheel for a kind of machine.
fn package(os: &str, arch: &str) -> Result<Package, RuntimeError> {
    let (sha256, platforms): (_, &[&str]) = match (os, arch) {
        ("linux", "x86_64") => (
            "5a34fc4dfeb5a7b4a74c95dcba1e773d722abda720b474edf1b0c419dc6d163d",
            &["manylinux_2_28_x86_64", "manylinux_2_27_x86_64"],
        ),
        ("linux", "aarch64") => (
            "2303372a85299b6757b0e11e1cbf13e410ddf7e10c37f4b37e99d1c90e7daf7c",
            &["manylinux_2_28_aarch64", "manylinux_2_27_aarch64"],
        ),
        _ => return Err(RuntimeError::NoPackage(format!("{os} on {arch}"))),
    };
    let client = Client::Pip { platforms };
    Ok(Package { name: "onnxruntime", version: VERSION, sha256, client, megabytes: 28 })
}

/// Where the system's linker looks, the user's own folders first.
fn system_folders() -> Vec<PathBuf> {
    let own = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let multiarch = format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    let usual = ["/usr/local/lib", "/usr/local/lib64", &multiarch, "/usr/lib64", "/usr/lib"];
    let own = std::env::split_paths(&own).filter(|path| path.is_absolute()).collect::<Vec<_>>();
    own.into_iter().chain(usual.map(PathBuf::from)).collect()
}

/// The libraries in `folder` whose names tell their version.
fn libraries(folder: &Path) -> Vec<((u32, u32), PathBuf)> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let versioned = |path: PathBuf| Some((version(path.file_name()?.to_str()?)?, path));
    entries.flatten().filter_map(|entry| versioned(entry.path())).filter(|(_, path)| path.is_file()).collect()
}

/// Major and minor version of `libonnxruntime.so.1.32.0`; a bare `libonnxruntime.so.1` tells too little.
fn version(file_name: &str) -> Option<(u32, u32)> {
    let mut numbers = file_name.strip_prefix(LIBRARY)?.strip_prefix('.')?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(path: &Path) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }

    #[test]
    fn the_variable_comes_first_then_the_fetched_then_the_system() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path().join("home"));
        let system = [folder.path().join("lib"), folder.path().join("none")];
        let error = locate_in(None, &home, &system).unwrap_err().to_string();
        assert!(error.contains("run: centerx runtime pull\n") && error.contains("ORT_DYLIB_PATH"), "{error}");

        touch(&system[0].join("libonnxruntime.so.1.9.1"));
        touch(&system[0].join("libonnxruntime.so.1"));
        let error = locate_in(None, &home, &system).unwrap_err().to_string();
        assert!(error.contains("libonnxruntime.so.1.9.1 is 1.9, which is too old"), "{error}");

        let new = system[0].join("libonnxruntime.so.1.30.0");
        touch(&new);
        assert_eq!(locate_in(None, &home, &system).unwrap(), new);

        touch(&fetched(&home));
        assert_eq!(locate_in(None, &home, &system).unwrap(), fetched(&home));
        assert_eq!(locate_in(Some(new.as_os_str()), &home, &system).unwrap(), new);
        let gone = folder.path().join("gone.so");
        let error = locate_in(Some(gone.as_os_str()), &home, &system).unwrap_err();
        assert!(matches!(error, RuntimeError::NotAFile { path } if path == gone));
    }

    #[test]
    fn machines_without_a_pinned_library_are_told() {
        assert!(package("linux", "aarch64").is_ok());
        let error = package("macos", "aarch64").unwrap_err().to_string();
        assert!(error.contains("macos on aarch64") && error.contains("ORT_DYLIB_PATH"), "{error}");
    }

    #[test]
    fn a_failed_pull_leaves_no_library() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path());
        let fetcher = Fetcher { python: "/nowhere/python3".into(), ..Fetcher::default() };
        let error = pull_into(&home, &fetcher, false, &|_| ()).unwrap_err().to_string();
        assert!(error.contains("apt-get install python3-pip"), "{error}");
        assert!(!fetched(&home).exists());
    }
}
