//! Listeners over real sockets.

use axum::Router;
use axum::routing::get;
use prometheus::TextEncoder;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, timeout};

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);
const FIRST_REQUEST: Duration = Duration::from_millis(150);
const IDLE: Duration = Duration::from_millis(600);
/// What HTTP/2 begins with, and a SETTINGS frame that changes nothing.
const GREETING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";

struct Served {
    address: SocketAddr,
    registry: Registry,
}

impl Served {
    async fn start(protocol: Protocol) -> Self {
        let limits = Limits { connections: 8, per_peer: 8, first_request: FIRST_REQUEST, idle: IDLE };
        let address = ([127, 0, 0, 1], 0).into();
        let setup = Setup { what: "HTTP", label: "test", address, limits, tls: None, protocol };
        let listener = Listener::open(setup).await.unwrap();
        let (address, registry) = (listener.local_addr().unwrap(), Registry::new());
        listener.register(&registry).unwrap();
        let router = Router::new().route("/", get(|| async { "ok" }));
        tokio::spawn(listener.serve(router, std::future::pending()));
        Self { address, registry }
    }

    fn refused(&self, reason: &str) -> Option<f64> {
        let text = TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap();
        let labels = format!("{{listener=\"test\",reason=\"{reason}\"}} ");
        let series = format!("centerx_connections_refused_total{labels}");
        text.lines().find_map(|line| line.strip_prefix(&series)?.parse().ok())
    }

    /// Sends this and tells what came back, and after what time the connection was closed.
    async fn say(&self, words: &[u8]) -> (Vec<u8>, Duration) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let begin = Instant::now();
        stream.write_all(words).await.unwrap();
        let mut answer = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
        (answer, begin.elapsed())
    }
}

fn http2() -> Protocol {
    let (call_buffer, connection_buffer) = (1 << 16, 1 << 16);
    Protocol::Http2(Http2 { keep_alive: PATIENCE, calls: 10, call_buffer, connection_buffer })
}

#[tokio::test]
async fn a_connection_that_made_its_request_has_more_time_than_one_that_has_not() {
    let served = Served::start(Protocol::Http1).await;
    let (answer, time) = served.say(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(answer.starts_with(b"HTTP/1.1 200") && time >= IDLE, "{time:?}");
    let (answer, time) = served.say(b"GET / HTTP/1.1\r\nhost: ").await;
    assert!(answer.is_empty() && time >= FIRST_REQUEST && time < IDLE, "{time:?}");
    assert_eq!(served.refused("slow"), Some(1.0));
}

#[tokio::test]
async fn a_client_of_http2_may_wait_with_its_first_call_and_is_told_to_go() {
    let served = Served::start(http2()).await;
    let (answer, time) = served.say(GREETING).await;
    assert!(time >= IDLE, "{time:?}");
    // Frames: three bytes of length, then the type; 7 is GOAWAY.
    let mut types = Vec::new();
    let mut rest = &answer[..];
    while let [a, b, c, kind, ..] = *rest {
        types.push(kind);
        rest = &rest[9 + u32::from_be_bytes([0, a, b, c]) as usize..];
    }
    assert!(types.contains(&7), "{types:?}");
    assert_eq!(served.refused("idle"), Some(1.0));
    let (_, time) = served.say(&GREETING[..30]).await;
    assert!(time >= FIRST_REQUEST && time < IDLE, "{time:?}");
    assert_eq!(served.refused("slow"), Some(1.0));
}

#[tokio::test]
async fn a_port_in_use_names_the_address_and_the_cure() {
    let first = bind("gRPC", ([127, 0, 0, 1], 0).into()).await.unwrap();
    let address = first.local_addr().unwrap();
    let text = bind("gRPC", address).await.unwrap_err().to_string();
    assert!(text.starts_with(&format!("gRPC cannot listen on {address}: ")), "{text}");
    assert!(text.contains("choose another port"), "{text}");
}

#[tokio::test]
async fn an_address_of_another_machine_is_explained() {
    let text = bind("HTTP", ([192, 0, 2, 1], 0).into()).await.unwrap_err().to_string();
    assert!(text.contains("use an address of this machine"), "{text}");
}
