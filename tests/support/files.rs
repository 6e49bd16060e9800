//! Where the tests' real inputs are.

// Each test uses its own part of this.
#![allow(dead_code)]

use std::path::PathBuf;

fn from_env(name: &str, default: &str) -> PathBuf {
    std::env::var_os(name)
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(default), PathBuf::from)
}

/// A sample picture or video.
pub fn sample(name: &str) -> PathBuf {
    let path = from_env("CENTERX_TEST_DATA", ".cache/data").join(name);
    assert!(path.is_file(), "{} is missing: run bash scripts/test.sh, which fetches it", path.display());
    path
}

/// `CENTERX_HOME` with the default model and the runtime in it.
pub fn centerx_home() -> PathBuf {
    let home = from_env("CENTERX_HOME", ".cache/centerx");
    assert!(home.join("models").is_dir(), "no models under {}: run bash scripts/test.sh", home.display());
    home
}

/// The Python that has the foreign clients' packages.
pub fn python() -> PathBuf {
    let python = from_env("CENTERX_TEST_PYTHON", ".cache/venv/bin/python");
    assert!(python.exists(), "{} is missing: run bash scripts/test.sh, which makes it", python.display());
    python
}
