//! Certificates that are renewed while the server runs.

use std::os::unix::fs::symlink;

use centerx::api::v1::SubscribeRequest;
use centerx::api::v1::detection_service_client::DetectionServiceClient;
use centerx::api::v1::subscribe_response::Event;
use tokio::time::timeout;
use tonic::Streaming;

use super::clients::{channel, is_served};
use super::*;

type Detections = Streaming<centerx::api::v1::SubscribeResponse>;

async fn next_frame(stream: &mut Detections) -> u64 {
    let next = async {
        loop {
            let message = stream.message().await.unwrap().expect("the subscription goes on");
            if let Some(Event::Detections(frame)) = message.event {
                return frame.sequence;
            }
        }
    };
    timeout(PATIENCE, next).await.expect("detections come")
}

/// As Kubernetes does it: the files are links through `..data`, which is exchanged in one step.
fn publish(folder: &Path, version: &str, pair: &Pair) {
    let target = folder.join(version);
    std::fs::create_dir_all(&target).unwrap();
    pair.write(&target, "server");
    symlink(version, folder.join("..data_tmp")).unwrap();
    std::fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
    for name in ["server.crt", "server.key"] {
        if !folder.join(name).exists() {
            symlink(Path::new("..data").join(name), folder.join(name)).unwrap();
        }
    }
}

async fn until_served(server: &ServerProcess, ca: &str) {
    let mut looks = tokio::time::interval(Duration::from_millis(100));
    let served = async {
        while !is_served(server.grpc, ca, None).await {
            looks.tick().await;
        }
    };
    timeout(PATIENCE, served).await.expect("the new certificate is taken into use");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_connections_get_the_new_certificate_and_old_ones_stay() {
    let bench = Bench::new();
    let secrets = bench.path("secrets");
    publish(&secrets, "first", &bench.authority.server_until(2095));
    let mut server = bench.start_with(&secrets);
    let old = &bench.authority.pem;
    let plain = channel(server.grpc, old, None).await.unwrap();
    let mut client = DetectionServiceClient::new(plain);
    let mut stream = client.subscribe(SubscribeRequest::default()).await.unwrap().into_inner();
    let before = next_frame(&mut stream).await;

    let new = Authority::new("the next CA");
    publish(&secrets, "second", &new.server_until(2097));
    until_served(&server, &new.pem).await;
    assert!(!is_served(server.grpc, old, None).await);
    assert!(next_frame(&mut stream).await > before);
    server.wait_for_line("new connections get the new certificate", PATIENCE);

    // A key of another certificate: all goes on, and it is told.
    let stranger = Authority::new("somebody else").server_until(2098);
    let bad = Pair { certificate: new.server_until(2099).certificate, key: stranger.key };
    publish(&secrets, "third", &bad);
    let mut told = server.wait_for_line("goes on with the old certificate", PATIENCE);
    told += &server.wait_for_line("goes on with the old certificate", PATIENCE);
    assert!(told.contains("gRPC goes on") && told.contains("HTTP goes on"), "{told}");
    assert!(told.contains("server.key does not belong to the certificate"), "{told}");
    assert!(is_served(server.grpc, &new.pem, None).await);
    let last = next_frame(&mut stream).await;

    let metrics = https_get(&server, "/metrics", &new.pem).await;
    let value = |series: &str| -> f64 {
        let found = metrics.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok());
        found.unwrap_or_else(|| panic!("no {series} in\n{metrics}"))
    };
    assert_eq!(value("centerx_tls_reload_failures_total{listener=\"grpc\"}"), 1.0);
    assert_eq!(value("centerx_tls_certificate_expiry_seconds{listener=\"http\"}"), 4_007_836_800.0); // 2097

    // And mended.
    publish(&secrets, "fourth", &bench.authority.server_until(2096));
    until_served(&server, old).await;
    assert!(next_frame(&mut stream).await > last);
}

/// A page over TLS, by rustls itself.
async fn https_get(server: &ServerProcess, path: &str, ca: &str) -> String {
    use std::sync::Arc;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio_rustls::TlsConnector;
    use tokio_rustls::rustls::crypto::ring;
    use tokio_rustls::rustls::pki_types::pem::PemObject as _;
    use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
    use tokio_rustls::rustls::{ClientConfig, RootCertStore};
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = tokio::net::TcpStream::connect(server.http).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    // Some servers close without TLS's own farewell.
    let _ = stream.read_to_string(&mut answer).await;
    answer
}
