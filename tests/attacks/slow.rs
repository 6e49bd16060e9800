//! Clients that never finish their first sentence.

use std::os::unix::fs::PermissionsExt;
use std::time::Instant;

use tokio::io::AsyncWriteExt as _;
use tokio::task::JoinSet;

use super::*;
use crate::healthy::Healthy;

/// Short, so that the test is.
const FIRST_REQUEST: Duration = Duration::from_secs(2);
/// Between two bytes: all of them would take longer than the server waits.
const DRIP: Duration = Duration::from_millis(200);

const HTTP1: &[u8] = b"GET /metrics HTTP/1.1\r\nhost: centerx\r\nx-slow: yes\r\n\r\n";
/// A handshake record, and the beginning of a client's greeting (RFC 8446, section 4.1.2).
const CLIENT_HELLO: &[u8] =
    &[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7];

/// Sends a byte now and then and tells after what time the server hung up.
async fn drip(source: u8, address: std::net::SocketAddr, bytes: &'static [u8]) -> Duration {
    let stream = connect_from(source, address).await.unwrap();
    let begin = Instant::now();
    let (mut reader, mut writer) = stream.into_split();
    let mut sink = tokio::io::sink();
    let hung_up = tokio::io::copy(&mut reader, &mut sink);
    let dripping = async {
        for byte in bytes {
            if writer.write_all(&[*byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(DRIP).await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        _ = hung_up => begin.elapsed(),
        () = dripping => unreachable!(),
        () = tokio::time::sleep(PATIENCE) => panic!("the server waited for {PATIENCE:?}"),
    }
}

async fn drip_many(count: u8, targets: &[(std::net::SocketAddr, &'static [u8])]) -> Vec<Duration> {
    let mut attack = JoinSet::new();
    for source in 0..count {
        for (address, bytes) in targets {
            attack.spawn(drip(2 + source % 40, *address, bytes));
        }
    }
    attack.join_all().await
}

fn assert_hung_up_in_time(times: &[Duration]) {
    let longest = times.iter().max().unwrap();
    assert!(*longest < FIRST_REQUEST + Duration::from_secs(2), "one was heard for {longest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dripped_heads_and_greetings_hold_no_place_for_long() {
    let limits = "first_request_timeout = \"2s\"\n";
    let target = Target::start(&format!("[http]\n{limits}\n[grpc]\n{limits}"));
    let healthy = Healthy::start(&target.server).await;
    let (http, grpc) = (target.server.http, target.server.grpc);
    let times = drip_many(120, &[(http, HTTP1), (grpc, HTTP1), (grpc, wire::PREFACE)]).await;
    assert_hung_up_in_time(&times);
    healthy.stop().await.assert_served("360 slow clients");
    // Some of the many at the smaller listener lost their places even sooner.
    let closed =
        |listener| target.metric(&refused(listener, "slow")) + target.metric(&refused(listener, "displaced"));
    assert!(closed("http") >= 120.0 && target.metric(&refused("grpc", "slow")) >= 240.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dripped_tls_greetings_hold_no_place_for_long() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate =
        rcgen::CertificateParams::new(vec!["localhost".into()]).unwrap().self_signed(&key).unwrap();
    std::fs::write(path("cert.pem"), certificate.pem()).unwrap();
    std::fs::write(path("key.pem"), key.serialize_pem()).unwrap();
    std::fs::set_permissions(path("key.pem"), PermissionsExt::from_mode(0o600)).unwrap();
    let settings = format!(
        "[grpc]\nfirst_request_timeout = \"2s\"\n[grpc.tls]\ncertificate = {:?}\nkey = {:?}\n",
        path("cert.pem"),
        path("key.pem")
    );
    let target = Target::start_in(folder, &settings);
    let grpc = target.server.grpc;
    let times = drip_many(100, &[(grpc, CLIENT_HELLO), (grpc, &CLIENT_HELLO[..1])]).await;
    assert_hung_up_in_time(&times);
    assert!(target.metric(&refused("grpc", "slow")) >= 200.0);
    // One that does not speak TLS at all is told so.
    let answer = healthy::get(grpc, "/").await;
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("use an https address"), "{answer}");
    assert!(target.folder.path().exists());
}
