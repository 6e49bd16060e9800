//! `centerx model remove`, and variants in `list` and `pull`, in a folder of the test's own.

use std::path::Path;
use std::process::Output;

use super::*;

fn centerx(home: &Path, arguments: &[&str]) -> Output {
    process::centerx(arguments).env("CENTERX_HOME", home).output().unwrap()
}

/// A folder with what the models of one package are made of, and nothing else.
fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(centerx_home().join("packages"), home.path().join("packages")).unwrap();
    home
}

#[test]
fn a_variant_is_made_without_a_network_listed_and_removed() {
    let home = home();
    let made = centerx(home.path(), &["model", "pull", "coco@256x192"]);
    let version = model::zoo::ENTRIES[0].version;
    let path = home.path().join("models/coco@256x192").join(version).join("coco@256x192.onnx");
    assert_eq!(String::from_utf8(made.stdout).unwrap().trim(), path.to_str().unwrap());
    assert!(model::load(&path).is_ok());
    let listed = String::from_utf8(centerx(home.path(), &["model", "list"]).stdout).unwrap();
    assert!(listed.contains("coco@256x192.onnx") && listed.contains("centerx model pull pose"), "{listed}");

    let failed = centerx(home.path(), &["model", "remove", "coco"]);
    let message = process::errors(&failed);
    assert!(!failed.status.success() && message.contains("there is: coco@256x192"), "{message}");

    // The package's files are another folder's: out of the way before the last model goes.
    std::fs::remove_file(home.path().join("packages")).unwrap();
    assert!(centerx(home.path(), &["model", "remove", "coco@256x192"]).status.success());
    assert!(!path.exists());
}

#[test]
fn what_cannot_be_made_leaves_nothing() {
    let home = home();
    let failed = centerx(home.path(), &["model", "pull", "pose@500x256"]);
    assert!(process::errors(&failed).contains("the nearest is 512x256"), "{}", process::errors(&failed));
    let failed = centerx(home.path(), &["model", "inspect", "pose@512"]);
    assert!(process::errors(&failed).contains("coco@512x384"), "{}", process::errors(&failed));
    assert_eq!(std::fs::read_dir(home.path().join("models")).unwrap().count(), 0);
}
