//! Certificates that keep the server from starting, and those that are warned of.

use super::process::{errors, run};
use super::*;

#[test]
fn a_certificate_that_cannot_be_used_ends_the_start_with_the_cure() {
    let bench = Bench::new();
    let model = Tiny::new("tiny", &["person"]).write(bench.folder.path());
    let config = bench.settings(bench.folder.path());
    let fails = |check: bool, expected: &str| {
        let mut arguments = vec!["serve", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"];
        arguments.extend(["--config", config.to_str().unwrap(), "--model", model.to_str().unwrap()]);
        arguments.extend(check.then_some("--check"));
        let output = run(&arguments);
        let text = errors(&output);
        assert!(output.status.code() == Some(2) && text.contains(expected), "expected {expected:?}: {text}");
    };
    Authority::new("somebody else").server(&["localhost"]).write(bench.folder.path(), "other");
    std::fs::rename(bench.path("other.key"), bench.path("server.key")).unwrap();
    for check in [true, false] {
        fails(check, "server.key does not belong to the certificate");
    }
    std::fs::remove_file(bench.path("server.key")).unwrap();
    fails(false, "server.key cannot be read: No such file");
}

#[test]
fn an_expired_certificate_is_warned_of() {
    let bench = Bench::new();
    bench.authority.server_until(2020).write(bench.folder.path(), "server");
    let server = bench.start();
    let warnings: Vec<_> = server.log.lines().filter(|line| line.contains("WARN")).collect();
    let expired = |what: &str| warnings.iter().any(|line| line.contains(what) && line.contains("expired"));
    assert!(expired("gRPC: ") && expired("HTTP: "), "{}", server.log);
}
