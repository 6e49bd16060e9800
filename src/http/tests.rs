//! The pages over real sockets.

use std::sync::Mutex;

use prometheus::IntCounter;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;
use crate::auth;
use crate::listen::MAX_HEAD_BYTES;

struct Served {
    address: SocketAddr,
    reason: Arc<Mutex<Option<String>>>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

async fn serve_pages() -> Served {
    serve_guarded(Guard::open()).await
}

async fn serve_guarded(guard: Guard) -> Served {
    let registry = Registry::new();
    let counter = IntCounter::new("centerx_test_total", "A test.").unwrap();
    registry.register(Box::new(counter)).unwrap();
    let reason = Arc::new(Mutex::new(Some("the engine warms up".to_owned())));
    let told = Arc::clone(&reason);
    let config = Config { listen: ([127, 0, 0, 1], 0).into(), ..Config::default() };
    let listener = bind(&config).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let warnings: Warnings = Arc::new(|| vec!["the disk is nearly full".into()]);
    let router = router(registry, Arc::new(move || told.lock().unwrap().clone()), warnings, guard);
    let task = tokio::spawn(async move {
        serve(&config, listener, router, async {
            let _ = stopped.await;
        })
        .await;
    });
    Served { address, reason, stop, task }
}

async fn ask(address: SocketAddr, head: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("{head}\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn readiness_follows_the_reason() {
    let served = serve_pages().await;
    let answer = ask(served.address, "GET /readyz HTTP/1.1").await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.ends_with("not ready: the engine warms up\n"));
    *served.reason.lock().unwrap() = None;
    let answer = ask(served.address, "GET /readyz HTTP/1.1").await;
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("ready\nwarning: the disk is nearly full\n")
    );
}

#[tokio::test]
async fn pages_have_their_types() {
    let served = serve_pages().await;
    let metrics = ask(served.address, "GET /metrics HTTP/1.1").await;
    assert!(metrics.contains("content-type: text/plain; version=0.0.4"), "{metrics}");
    assert!(metrics.contains("\ncenterx_test_total 0\n"), "{metrics}");
    assert!(ask(served.address, "GET /healthz HTTP/1.1").await.ends_with("ok\n"));
    let page = ask(served.address, "GET / HTTP/1.1").await;
    assert!(page.contains("content-type: text/html") && page.ends_with("</html>\n"), "{page}");
    let schema = ask(served.address, "GET /assets/schema.json HTTP/1.1").await;
    assert!(schema.contains("content-type: application/json") && schema.contains("\"centerx.v1.Camera\""));
    for name in ["main.js", "none.js", "%2e%2e%2fassets.rs", "../mod.rs"] {
        let answer = ask(served.address, &format!("GET /assets/{name} HTTP/1.1")).await;
        assert_eq!(answer.starts_with("HTTP/1.1 200"), name == "main.js", "{name}: {answer}");
    }
    assert!(ask(served.address, "GET /nothing HTTP/1.1").await.starts_with("HTTP/1.1 404"));
    assert!(ask(served.address, "POST /metrics HTTP/1.1").await.starts_with("HTTP/1.1 405"));
}

#[tokio::test]
async fn metrics_want_a_token_and_the_rest_does_not() {
    let tokens = r#"token = [{ name = "grafana", role = "read", sha256 = "SHA" }]"#;
    let tokens = tokens.replace("SHA", &auth::Digest::of(b"centerx_x").to_string());
    let guard = Guard::new(toml::from_str(&tokens).unwrap(), &Registry::new()).unwrap();
    let served = serve_guarded(guard).await;
    let answer = ask(served.address, "GET /metrics HTTP/1.1").await;
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    assert!(answer.contains("www-authenticate: Bearer realm=\"centerx\"\r\n"), "{answer}");
    let wrong = ask(served.address, "GET /metrics HTTP/1.1\r\nauthorization: Bearer y").await;
    assert!(wrong.contains("401") && wrong.contains("error=\"invalid_token\""), "{wrong}");
    let right = ask(served.address, "GET /metrics HTTP/1.1\r\nauthorization: Bearer centerx_x").await;
    assert!(right.starts_with("HTTP/1.1 200"));
    assert!(ask(served.address, "GET / HTTP/1.1").await.starts_with("HTTP/1.1 200"));
    assert!(ask(served.address, "GET /healthz HTTP/1.1").await.starts_with("HTTP/1.1 200"));
    assert!(ask(served.address, "GET /readyz HTTP/1.1").await.starts_with("HTTP/1.1 503"));
}

#[tokio::test]
async fn the_page_is_guarded_and_asked_for_again() {
    let served = serve_pages().await;
    let page = ask(served.address, "GET / HTTP/1.1").await;
    for header in
        ["cache-control: no-cache", "x-content-type-options: nosniff", "referrer-policy: no-referrer"]
    {
        assert!(page.contains(&format!("{header}\r\n")), "{header}: {page}");
    }
    let policy = page.lines().find_map(|line| line.strip_prefix("content-security-policy: ")).unwrap();
    assert!(policy.starts_with("default-src 'self';") && !policy.contains("unsafe"), "{policy}");
    let tag = page.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap();
    let again = ask(served.address, &format!("GET / HTTP/1.1\r\nif-none-match: \"x\", {tag}")).await;
    assert!(again.starts_with("HTTP/1.1 304") && again.ends_with("\r\n\r\n"), "{again}");
    let other = ask(served.address, "GET / HTTP/1.1\r\nif-none-match: \"x\"").await;
    assert!(other.starts_with("HTTP/1.1 200"), "{other}");
}

#[tokio::test]
async fn a_head_too_large_is_refused() {
    let served = serve_pages().await;
    let head = format!("GET / HTTP/1.1\r\nx: {}", "y".repeat(MAX_HEAD_BYTES));
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    // One read: the server closes with bytes of ours unread, which may reset what comes after.
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 431");
}

#[tokio::test]
async fn shutdown_closes_connections_that_are_kept_open() {
    let served = serve_pages().await;
    let mut idle = TcpStream::connect(served.address).await.unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut byte = [0];
    idle.read_exact(&mut byte).await.unwrap();
    served.stop.send(()).unwrap();
    served.task.await.unwrap();
    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).await.unwrap();
    assert!(TcpStream::connect(served.address).await.is_err(), "nobody listens any more");
}

#[test]
fn an_unknown_key_is_a_config_error() {
    assert!(toml::from_str::<Config>("port = 80").is_err());
    assert_eq!(toml::from_str::<Config>("").unwrap(), Config::default());
}
