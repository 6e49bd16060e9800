//! Fetches pinned packages through the package clients of the machine, npm and pip, so that whatever proxy
//! or registry those are set up for is used here as well. What arrives is checked against a SHA-256 that is
//! part of this program.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sha2::{Digest as _, Sha256};

use super::hex;
use super::home::HomeError;
use super::unpack::UnpackError;

/// How many characters of a client's last words are shown.
const LAST_WORDS: usize = 600;

/// A package at one version with one content.
#[derive(Clone, Copy, Debug)]
pub struct Package {
    /// Its name, such as `onnxruntime`.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// SHA-256 of its archive, lower-case hex.
    pub sha256: &'static str,
    /// Which client fetches it.
    pub client: Client,
    /// How much there is to fetch, in megabytes, for messages.
    pub megabytes: u32,
}

/// A package client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// npm, for a `.tgz`.
    Npm,
    /// pip, for a wheel of these platform tags, whatever Python is installed.
    Pip {
        /// Platform tags, such as `manylinux_2_28_x86_64`.
        platforms: &'static [&'static str],
    },
}

/// Why a package was not fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The client is not installed.
    #[error(
        "{program} is needed to fetch {package} and is not installed; on Debian or Ubuntu: apt-get install {debian}"
    )]
    NoClient {
        /// The client.
        program: String,
        /// What was to be fetched.
        package: String,
        /// The Debian package that has the client.
        debian: &'static str,
    },
    /// The client could not get it.
    #[error(
        "{program} could not fetch {package} ({status}): {last_words}\nIs there a network? Proxy and registry are \
         those that {program} is set up for ({settings})"
    )]
    Failed {
        /// The client.
        program: String,
        /// What was to be fetched.
        package: String,
        /// How the client ended.
        status: String,
        /// The end of what it wrote.
        last_words: String,
        /// Where its settings are.
        settings: &'static str,
    },
    /// The client says it worked, but there is no file, or more than one.
    #[error("{program} fetched {package} without an error, but left {files} files instead of one")]
    NoFile {
        /// The client.
        program: String,
        /// What was to be fetched.
        package: String,
        /// How many files it left.
        files: usize,
    },
    /// Something else arrived.
    #[error(
        "{package} arrived with SHA-256 {found} instead of {expected}: it was damaged on the way, or the registry \
         serves another file; nothing was kept. Try again, and check the registry that is set up if it stays so"
    )]
    Checksum {
        /// What was fetched.
        package: String,
        /// The checksum of what arrived.
        found: String,
        /// The one it must have.
        expected: &'static str,
    },
    /// The archive does not hold what it should.
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    /// The cache folder does not do.
    #[error(transparent)]
    Home(#[from] HomeError),
}

/// The clients' programs; those on `PATH` unless a test brings its own.
#[derive(Clone, Debug)]
pub struct Fetcher {
    /// The npm program.
    pub npm: OsString,
    /// A Python with pip.
    pub python: OsString,
}

impl Default for Fetcher {
    fn default() -> Self {
        Self { npm: "npm".into(), python: "python3".into() }
    }
}

impl Fetcher {
    /// Fetches `package` into the empty folder `into` and returns the checked archive's path.
    ///
    /// # Errors
    /// See [`FetchError`].
    pub fn fetch(
        &self,
        package: &Package,
        into: &Path,
        report: &dyn Fn(&str),
    ) -> Result<PathBuf, FetchError> {
        let (program, mut command) = match package.client {
            Client::Npm => ("npm", npm(&self.npm, package, into)),
            Client::Pip { platforms } => ("pip", pip(&self.python, package, platforms, into)),
        };
        let name = format!("{} {}", package.name, package.version);
        report(&format!("fetching {name} with {program} ({} MB)", package.megabytes));
        run(&mut command, program, &name)?;
        let archive = the_file_in(into, program, &name)?;
        report(&format!("checking {name}"));
        let found = sha256_of(&archive)?;
        if found != package.sha256 {
            return Err(FetchError::Checksum { package: name, found, expected: package.sha256 });
        }
        Ok(archive)
    }
}

fn npm(program: &OsString, package: &Package, into: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(["pack", "--loglevel=error", "--ignore-scripts", "--pack-destination"]);
    // In the folder itself, so that no project's .npmrc has a say.
    command.arg(into).arg("--").arg(format!("{}@{}", package.name, package.version)).current_dir(into);
    command
}

fn pip(python: &OsString, package: &Package, platforms: &[&str], into: &Path) -> Command {
    let mut command = Command::new(python);
    command.args(["-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"]);
    command.args(["--no-deps", "--only-binary=:all:"]);
    command.args(["--implementation", "cp", "--python-version", "3.11", "--abi", "cp311"]);
    platforms.iter().for_each(|platform| _ = command.args(["--platform", platform]));
    command.arg("--dest").arg(into).arg(format!("{}=={}", package.name, package.version));
    command
}

fn run(command: &mut Command, program: &str, package: &str) -> Result<(), FetchError> {
    let (program, package) = (program.to_owned(), package.to_owned());
    let (debian, settings) = match program.as_str() {
        "npm" => ("npm", "npm config list"),
        _ => ("python3-pip", "python3 -m pip config list"),
    };
    let output = match command.stdin(Stdio::null()).output() {
        Ok(output) => output,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(FetchError::NoClient { program, package, debian });
        }
        Err(error) => {
            let (status, last_words) = ("it cannot be run".to_owned(), error.to_string());
            return Err(FetchError::Failed { program, package, status, last_words, settings });
        }
    };
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    if program == "pip" && words.contains("No module named pip") {
        return Err(FetchError::NoClient { program, package, debian });
    }
    let (status, last_words) = (output.status.to_string(), last_words(&words));
    Err(FetchError::Failed { program, package, status, last_words, settings })
}

/// The end of a client's message, with no user and password of a registry or proxy in it, and without the
/// places in npm's own code.
fn last_words(text: &str) -> String {
    let is_place = |line: &str| line.trim_start_matches("npm error").trim_start().starts_with("at ");
    let lines: Vec<_> = text.trim().lines().filter(|line| !is_place(line)).collect();
    let text = lines.join("\n");
    let words: Vec<_> = text.split_inclusive(char::is_whitespace).map(without_credentials).collect();
    let text = words.concat();
    text.chars().skip(text.chars().count().saturating_sub(LAST_WORDS)).collect()
}

/// `scheme://user:password@host` without what is between `//` and `@`.
fn without_credentials(word: &str) -> String {
    let Some((scheme, rest)) = word.split_once("://") else { return word.to_owned() };
    let authority = rest.find('/').unwrap_or(rest.len());
    match rest[..authority].rfind('@') {
        Some(at) => format!("{scheme}://***{}", &rest[at..]),
        None => word.to_owned(),
    }
}

fn the_file_in(folder: &Path, program: &str, package: &str) -> Result<PathBuf, FetchError> {
    let entries = fs::read_dir(folder).map_err(HomeError::io("read", folder))?;
    let mut files: Vec<_> =
        entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    match (files.pop(), files.len()) {
        (Some(file), 0) => Ok(file),
        (last, others) => {
            let files = others + usize::from(last.is_some());
            Err(FetchError::NoFile { program: program.to_owned(), package: package.to_owned(), files })
        }
    }
}

fn sha256_of(path: &Path) -> Result<String, HomeError> {
    let hash = || -> io::Result<String> {
        let (mut file, mut hasher) = (BufReader::with_capacity(1 << 16, File::open(path)?), Sha256::new());
        loop {
            let piece = file.fill_buf()?;
            if piece.is_empty() {
                return Ok(hex(&hasher.finalize()));
            }
            let length = piece.len();
            hasher.update(piece);
            file.consume(length);
        }
    };
    hash().map_err(HomeError::io("read", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKAGE: Package = Package {
        name: "thing",
        version: "1.2.3",
        // Of "hello\n".
        sha256: "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03",
        client: Client::Npm,
        megabytes: 1,
    };

    /// Fetches with a script in place of both clients.
    fn fetch(script: &str, client: Client) -> Result<Vec<u8>, FetchError> {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("client");
        // Written by another process: a file that this one holds open for writing, even in the instant in which
        // another test's thread forks, cannot be run.
        let write = r#"printf '#!/bin/sh\n%s\n' "$1" > "$2" && chmod +x "$2""#;
        let written = Command::new("sh").args(["-c", write, "sh", script]).arg(&program).status();
        assert!(written.unwrap().success());
        let into = folder.path().join("into");
        fs::create_dir(&into).unwrap();
        let fetcher = Fetcher { npm: program.clone().into(), python: program.into() };
        let archive = fetcher.fetch(&Package { client, ..PACKAGE }, &into, &|_| ())?;
        Ok(fs::read(archive).unwrap())
    }

    const PIP: Client = Client::Pip { platforms: &["manylinux_2_28_x86_64"] };

    #[test]
    fn the_right_content_is_kept() {
        let npm = r#"[ "$*" = "pack --loglevel=error --ignore-scripts --pack-destination $PWD -- thing@1.2.3" ] && echo hello > thing.tgz"#;
        assert_eq!(fetch(npm, Client::Npm).unwrap(), b"hello\n");
        let pip = r#"case "$*" in *"--platform manylinux_2_28_x86_64 --dest "*" thing==1.2.3") for last; do dest=$prev; prev=$last; done; echo hello > "$dest/thing.whl";; *) exit 9;; esac"#;
        assert_eq!(fetch(pip, PIP).unwrap(), b"hello\n");
    }

    #[test]
    fn other_content_is_refused() {
        let error = fetch("echo HELLO > thing.tgz", Client::Npm).unwrap_err();
        assert!(matches!(error, FetchError::Checksum { .. }));
        assert!(error.to_string().starts_with("thing 1.2.3 arrived with SHA-256 "), "{error}");
    }

    #[test]
    fn a_client_that_fails_is_quoted_without_passwords() {
        let script = "echo 'npm error   at f (x.js:1:2)' >&2; echo 'E: connecting to http://me:s3cret@proxy:3128/x failed' >&2; exit 7";
        let error = fetch(script, Client::Npm).unwrap_err().to_string();
        assert!(error.contains("npm could not fetch thing 1.2.3 (exit status: 7)"), "{error}");
        assert!(error.contains("http://***@proxy:3128/x failed") && !error.contains("s3cret"), "{error}");
        assert!(!error.contains("x.js"), "{error}");
        assert!(error.contains("npm config list"), "{error}");
    }

    #[test]
    fn a_missing_client_is_told_with_its_package() {
        let fetcher = Fetcher { npm: "/nowhere/npm".into(), ..Fetcher::default() };
        let folder = tempfile::tempdir().unwrap();
        let error = fetcher.fetch(&PACKAGE, folder.path(), &|_| ()).unwrap_err().to_string();
        assert!(error.ends_with("apt-get install npm"), "{error}");
        let error = fetch("echo 'python3: No module named pip' >&2; exit 1", PIP).unwrap_err().to_string();
        assert!(error.ends_with("apt-get install python3-pip"), "{error}");
    }

    #[test]
    fn a_client_that_leaves_nothing_is_noticed() {
        assert!(matches!(fetch("exit 0", Client::Npm), Err(FetchError::NoFile { files: 0, .. })));
        let two = fetch("touch a b", Client::Npm);
        assert!(matches!(two, Err(FetchError::NoFile { files: 2, .. })));
    }

    #[test]
    fn long_messages_are_cut_to_their_end() {
        let text = format!("{}é the end", "x".repeat(2000));
        assert!(last_words(&text).ends_with("xé the end"));
        assert!(last_words(&text).len() <= LAST_WORDS + 4);
    }
}
