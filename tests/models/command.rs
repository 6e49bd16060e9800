//! `centerx model` against a running server.

use std::process::Output;

use super::process::{centerx, errors};
use super::*;

/// Runs a command for a server, in a folder.
fn ask(server: &ServerProcess, folder: &std::path::Path, arguments: &[&str]) -> Output {
    let url = format!("http://{}", server.grpc);
    centerx(&["model"]).args(arguments).args(["--server", &url]).current_dir(folder).output().unwrap()
}

#[test]
fn models_are_loaded_swapped_and_unloaded_by_command() {
    let data = tempfile::tempdir().unwrap();
    let day = Tiny::new("day", &["person"]).write(data.path());
    Tiny::new("night", &["fox", "owl"]).write(data.path());
    let server = ServerProcess::start(data.path(), &["--model", day.to_str().unwrap()]);
    let told = |arguments: &[&str]| {
        let output = ask(&server, data.path(), arguments);
        assert!(output.status.success(), "{}", errors(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    // The server runs in another folder.
    let night = data.path().join("night.onnx").display().to_string();
    let table = told(&["load", "night", "night.onnx"]);
    assert!(table.contains(&night) && table.contains("64x64"), "{table}");
    let table = told(&["swap", "day", "./night.onnx"]);
    assert!(table.contains("day (default)") && table.contains(&night), "{table}");
    told(&["unload", "night"]);
    let table = told(&["running"]);
    assert!(table.contains("day (default)") && !table.contains("\n night"), "{table}");

    let (broken, why) = tiny_model::broken(data.path()).remove(2);
    let cases = [
        (vec!["swap", "day", broken.to_str().unwrap()], 3, why),
        (vec!["load", "night", "no-such-model"], 3, "no model \"no-such-model\""),
        (vec!["load", "a night", "night.onnx"], 2, "is not a model's name"),
        (vec!["unload", "day"], 1, "is the default"),
        (vec!["unload", "dusk"], 1, "there is no model \"dusk\"; models here: day"),
    ];
    for (arguments, code, expected) in cases {
        let output = ask(&server, data.path(), &arguments);
        let text = errors(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
        assert!(text.starts_with("error: ") && text.contains(expected), "{arguments:?}: {text}");
    }
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let output = centerx(&["model", "running", "--server", &format!("http://{nobody}")]).output().unwrap();
    assert!(output.status.code() == Some(1) && errors(&output).contains(&nobody.to_string()));
}
