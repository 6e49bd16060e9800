//! The server shows a certificate, the client none.

use super::clients::{channel, command, is_served, python};
use super::process::errors;
use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_listeners_speak_tls_to_foreign_clients() {
    let bench = Bench::new();
    let server = bench.start();
    assert!(server.log.contains("http=https://"), "{}", server.log);
    let said = python(&server, &[&bench.text("ca.crt")]);
    assert_eq!(said, "grpc serving\nhttps ok\n");
    assert!(is_served(server.grpc, &bench.authority.pem, None).await);
    // Whoever trusts another authority does not talk to this server.
    let other = Authority::new("somebody else");
    assert!(channel(server.grpc, &other.pem, None).await.is_err());
    std::fs::write(bench.path("other.crt"), &other.pem).unwrap();
    let said = python(&server, &[&bench.text("other.crt")]);
    assert!(said.contains("grpc UNAVAILABLE") && said.contains("CERTIFICATE_VERIFY_FAILED"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_own_clients_speak_tls_and_say_what_is_wrong() {
    let bench = Bench::new();
    let server = bench.start();
    let (url, ca) = (Bench::url(&server), bench.text("ca.crt"));
    let output = command(&["watch", "--seconds", "0"], &url, &["--ca", &ca]).await;
    assert!(output.status.success(), "{}", errors(&output));
    assert!(String::from_utf8_lossy(&output.stdout).contains("ball  0.0 s  person 0.90"));
    let output = command(&["model", "running"], &url, &["--ca", &ca]).await;
    assert!(String::from_utf8_lossy(&output.stdout).contains("tiny"), "{}", errors(&output));

    let says = async |url: &str, files: &[&str], expected: &str| {
        let output = command(&["model", "running"], url, files).await;
        let text = errors(&output);
        assert!(!output.status.success() && text.contains(expected), "expected {expected:?}: {text}");
    };
    says(&url, &[], "signed by nobody that is trusted here: give the file of its CA with --ca").await;
    std::fs::write(bench.path("other.crt"), Authority::new("somebody else").pem).unwrap();
    says(&url, &["--ca", &bench.text("other.crt")], "signed by nobody that is trusted here").await;
    says(&url.replace("https", "http"), &[], "if it speaks TLS, use an https address").await;
    says(&url, &["--ca", &bench.text("missing.crt")], "missing.crt cannot be read").await;
    drop(server);
    bench.authority.server(&["cameras.example"]).write(bench.folder.path(), "server");
    let server = bench.start();
    says(&Bench::url(&server), &["--ca", &ca], "its certificate is for another name").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_wants_tls_of_a_plain_server_is_told_so() {
    let data = tempfile::tempdir().unwrap();
    let model = Tiny::new("tiny", &["person"]).write(data.path());
    let server = ServerProcess::start(data.path(), &["--model", model.to_str().unwrap()]);
    let output = command(&["model", "running"], &Bench::url(&server), &[]).await;
    assert!(errors(&output).contains("it does not speak TLS: use an http address"), "{}", errors(&output));
}
