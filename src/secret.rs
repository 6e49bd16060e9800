//! Secrets in settings: the text itself, or where it is, so that the settings need not hold it.
//!
//! What does not belong here: what a secret is for.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// A password or key is never longer.
const MAX_BYTES: u64 = 64 * 1024;

/// A secret as settings give it: `env:NAME` for a variable, `file:/path` for a file, or the text itself.
/// It shows itself to nobody but the caller of [`Secret::reveal`].
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

/// Why there is no secret where the settings say.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// No such variable, an empty one, or one that is no text.
    #[error("the variable {name} is {state}: set it in the server's environment")]
    Variable {
        /// Its name.
        name: String,
        /// What it is.
        state: &'static str,
    },
    /// The file cannot be used.
    #[error("the file {} {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

impl Secret {
    /// The secret itself, found where the settings say. Blocks on the disk.
    ///
    /// # Errors
    /// Nothing is there.
    pub fn reveal(&self) -> Result<String, SecretError> {
        if let Some(name) = self.0.strip_prefix("env:") {
            return from_variable(name);
        }
        match self.0.strip_prefix("file:") {
            Some(path) => Self::read_file(Path::new(path)),
            None => Ok(self.0.clone()),
        }
    }

    /// Whether the settings hold the secret itself.
    pub fn is_plain(&self) -> bool {
        !self.0.starts_with("env:") && !self.0.starts_with("file:")
    }

    /// The secret in a file, without the line's end. One that others can read is logged.
    ///
    /// # Errors
    /// A file that is missing, empty, too large, or no text.
    pub fn read_file(path: &Path) -> Result<String, SecretError> {
        let fail = |problem: String| SecretError::File { path: path.to_owned(), problem };
        let text = read(path).map_err(|error| fail(format!("cannot be read: {error}")))?;
        let secret = text.trim_end_matches(['\r', '\n']);
        match secret.is_empty() {
            true => Err(fail("is empty".into())),
            false => Ok(secret.to_owned()),
        }
    }
}

fn from_variable(name: &str) -> Result<String, SecretError> {
    let fail = |state| SecretError::Variable { name: name.to_owned(), state };
    match std::env::var(name) {
        Ok(value) if value.is_empty() => Err(fail("empty")),
        Ok(value) => Ok(value),
        Err(std::env::VarError::NotPresent) => Err(fail("not set")),
        Err(std::env::VarError::NotUnicode(_)) => Err(fail("not UTF-8")),
    }
}

fn read(path: &Path) -> io::Result<String> {
    let file = File::open(path)?;
    warn_if_shared(path);
    let mut text = String::new();
    if file.take(MAX_BYTES + 1).read_to_string(&mut text)? as u64 > MAX_BYTES {
        return Err(io::Error::other(format!("it has more than {MAX_BYTES} bytes")));
    }
    Ok(text)
}

/// Logs that every user of the machine can read a file with secrets in it.
pub fn warn_if_shared(path: &Path) {
    if std::fs::metadata(path).is_ok_and(|about| about.is_file() && about.mode() & 0o004 != 0) {
        tracing::warn!(
            "every user of this machine can read the secrets in {0}: chmod o-r {0}",
            path.display()
        );
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_plain() {
            true => f.write_str("Secret(***)"),
            false => write!(f, "Secret({})", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reveal(text: &str) -> Result<String, String> {
        Secret(text.into()).reveal().map_err(|error| error.to_string())
    }

    #[test]
    fn a_secret_is_found_where_the_settings_say() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        std::fs::write(&path, "p@ss word \r\n").unwrap();
        assert_eq!(reveal(&format!("file:{}", path.display())).unwrap(), "p@ss word ");
        assert_eq!(reveal("env:PATH").unwrap(), std::env::var("PATH").unwrap());
        assert_eq!(reveal("hunter2").unwrap(), "hunter2");
        assert_eq!(format!("{:?}", Secret("hunter2".into())), "Secret(***)");
    }

    #[test]
    fn what_is_not_there_is_named() {
        let text = reveal("env:CENTERX_NO_SUCH").unwrap_err();
        assert!(text.contains("CENTERX_NO_SUCH is not set"), "{text}");
        assert!(reveal("file:/no/such/file").unwrap_err().contains("/no/such/file cannot be read"));
        assert!(reveal("file:/dev/null").unwrap_err().contains("is empty"));
        assert!(reveal("file:/dev/zero").unwrap_err().contains("more than 65536 bytes"));
    }
}
