//! One server a data directory.

use super::*;

#[test]
fn a_second_server_is_turned_away_and_a_killed_one_is_in_nobodys_way() {
    let (models, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let arguments = ["--model", &quick_model(models.path())];
    let first = ServerProcess::start(data.path(), &arguments);
    let output = process::serve(&[], process::ANY_PORT, data.path(), &arguments).output().unwrap();
    let message = errors(&output);
    assert_eq!(output.status.code(), Some(5), "{message}");
    for told in [data.path().to_str().unwrap(), &format!("process {}", first.pid()), "--data-dir"] {
        assert!(message.contains(told), "{told} in {message}");
    }
    first.signal("KILL");
    drop(first);
    ServerProcess::start(data.path(), &arguments);
}

#[test]
fn a_data_directory_that_cannot_be_made_is_named() {
    let models = tempfile::tempdir().unwrap();
    // Nobody makes a folder there, not even root.
    let output = process::serve(
        &[],
        process::ANY_PORT,
        Path::new("/proc/centerx"),
        &["--model", &quick_model(models.path())],
    )
    .output()
    .unwrap();
    let message = errors(&output);
    assert!(output.status.code() == Some(5) && message.contains("/proc/centerx cannot be made"), "{message}");
}
