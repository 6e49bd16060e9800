//! The client shows a certificate as well.

use super::clients::{command, is_served, python};
use super::process::errors;
use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_clients_with_a_certificate_of_the_right_authority_get_in() {
    let bench = Bench::mutual();
    let server = bench.start();
    let (ca, own) = (bench.text("ca.crt"), bench.client());
    let said = python(&server, &[&ca, &bench.text("client.crt"), &bench.text("client.key")]);
    assert_eq!(said, "grpc serving\nhttps ok\n");
    assert!(is_served(server.grpc, &bench.authority.pem, own.as_ref()).await);

    let said = python(&server, &[&ca]);
    assert!(said.contains("grpc UNAVAILABLE") && said.contains("https refused"), "{said}");
    assert!(!is_served(server.grpc, &bench.authority.pem, None).await);

    let stranger = Authority::new("somebody else").client();
    let (certificate, key) = stranger.write(bench.folder.path(), "stranger");
    let said = python(&server, &[&ca, certificate.to_str().unwrap(), key.to_str().unwrap()]);
    assert!(said.contains("grpc UNAVAILABLE") && said.contains("https refused"), "{said}");
    assert!(!is_served(server.grpc, &bench.authority.pem, Some(&stranger)).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_own_clients_show_a_certificate_or_are_told_to() {
    let bench = Bench::mutual();
    let server = bench.start();
    let (url, ca) = (Bench::url(&server), bench.text("ca.crt"));
    let own = [&bench.text("client.crt"), &bench.text("client.key")];
    let output =
        command(&["model", "running"], &url, &["--ca", &ca, "--cert", own[0], "--key", own[1]]).await;
    assert!(String::from_utf8_lossy(&output.stdout).contains("tiny"), "{}", errors(&output));
    let output = command(&["model", "running"], &url, &["--ca", &ca]).await;
    assert!(
        errors(&output).contains("asks for a certificate: give one with --cert and --key"),
        "{}",
        errors(&output)
    );
    let stranger = Authority::new("somebody else").client();
    let (certificate, key) = stranger.write(bench.folder.path(), "stranger");
    let files = ["--ca", &ca, "--cert", certificate.to_str().unwrap(), "--key", key.to_str().unwrap()];
    let output = command(&["watch", "--seconds", "0"], &url, &files).await;
    assert!(errors(&output).contains("does not accept the certificate of --cert"), "{}", errors(&output));
}
