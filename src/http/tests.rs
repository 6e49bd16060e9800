//! The pages over real sockets.

use std::sync::Mutex;
use std::time::{Instant, SystemTime};

use futures_util::{StreamExt as _, stream};
use prometheus::IntCounter;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;
use crate::auth;
use crate::camera::{
    CameraError, CameraId, CameraOrigin, CameraSpec, CameraState, CameraStatus, CameraUrl, CameraView,
};
use crate::detection::{FrameDetections, Published};
use crate::frame::{CaptureQuality, CaptureTime};
use crate::ledger::Balance;
use crate::listen::MAX_HEAD_BYTES;
use crate::view::{LivePicture, LiveStream, View, ViewError};

/// Its only camera, a disabled one, is `yard`; the others are shown when they are not there.
struct Yard;

impl Cameras for Yard {
    fn camera(&self, id: &CameraId) -> Result<CameraView, CameraError> {
        if id.as_str() == "nowhere" {
            return Err(CameraError::Unknown(id.clone()));
        }
        let url = CameraUrl::parse("rtsp://10.0.0.9/live").unwrap();
        let spec = CameraSpec { enabled: id.as_str() != "disabled", ..CameraSpec::new(id.clone(), url) };
        let status = Arc::new(CameraStatus {
            state: CameraState::Backoff,
            reason: "the camera refuses connections".into(),
            failure: None,
            since: SystemTime::UNIX_EPOCH,
            retry_at: None,
            frame_size: None,
        });
        let origin = CameraOrigin::Config;
        Ok(CameraView { spec, origin, status, balance: Balance::default(), reconnects: 0 })
    }

    /// The pictures say which they are, and what was asked.
    fn watch(&self, view: View) -> Result<LiveStream, ViewError> {
        if view.camera.as_str() == "dark" {
            return Ok(Box::pin(stream::pending()));
        }
        let picture = move |number: u64| LivePicture {
            found: Arc::new(Published::new(Arc::new(frame(&view.camera, number)), 1)),
            jpeg: format!("{number} {} {} {:?}", view.boxes, view.side.pixels(), view.max_fps).into(),
            width: 4,
            height: 2,
            age: Duration::ZERO,
            skipped: 0,
        };
        let end = stream::iter([Err(ViewError::ShuttingDown)]);
        Ok(Box::pin(stream::iter(1..=3).map(picture).map(Ok).chain(end)))
    }
}

fn frame(camera: &CameraId, sequence: u64) -> FrameDetections {
    let capture = CaptureTime {
        wall: SystemTime::UNIX_EPOCH,
        monotonic: Instant::now(),
        quality: CaptureQuality::Arrival,
    };
    let (camera, model) = (camera.clone(), "coco".into());
    FrameDetections { camera, sequence, capture, width: 4, height: 2, model, detections: Vec::new() }
}

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
    let not_ready: NotReady = Arc::new(move || told.lock().unwrap().clone());
    let router = router(registry, not_ready, warnings, Arc::new(Yard), guard);
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
    for page in ["/metrics", "/cameras/yard/snapshot.jpg", "/cameras/yard/live.mjpg"] {
        let answer = ask(served.address, &format!("GET {page} HTTP/1.1")).await;
        assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
        assert!(answer.contains("www-authenticate: Bearer realm=\"centerx\"\r\n"), "{answer}");
        let wrong = ask(served.address, &format!("GET {page} HTTP/1.1\r\nauthorization: Bearer y")).await;
        assert!(wrong.contains("401") && wrong.contains("error=\"invalid_token\""), "{wrong}");
        let right = format!("GET {page} HTTP/1.1\r\nauthorization: Bearer centerx_x");
        assert!(ask(served.address, &right).await.starts_with("HTTP/1.1 200"));
    }
    assert!(ask(served.address, "GET / HTTP/1.1").await.starts_with("HTTP/1.1 200"));
    assert!(ask(served.address, "GET /healthz HTTP/1.1").await.starts_with("HTTP/1.1 200"));
    assert!(ask(served.address, "GET /readyz HTTP/1.1").await.starts_with("HTTP/1.1 503"));
}

#[tokio::test]
async fn a_snapshot_is_a_picture_without_boxes_unless_they_are_asked_for() {
    let served = serve_pages().await;
    let answer = ask(served.address, "GET /cameras/yard/snapshot.jpg HTTP/1.1").await;
    assert!(answer.contains("content-type: image/jpeg\r\n"), "{answer}");
    assert!(answer.contains("cache-control: no-store\r\n"), "{answer}");
    assert!(answer.contains("cross-origin-resource-policy: same-origin\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n1 false 640 None"), "{answer}");
    let answer = ask(served.address, "GET /cameras/yard/snapshot.jpg?boxes=1&max_side=1281 HTTP/1.1").await;
    assert!(answer.ends_with("1 true 1920 None"), "{answer}");
}

#[tokio::test]
async fn live_pictures_are_parts_that_end_with_the_server() {
    let served = serve_pages().await;
    let answer = ask(served.address, "GET /cameras/yard/live.mjpg?max_fps=2 HTTP/1.0").await;
    assert!(
        answer.contains("content-type: multipart/x-mixed-replace; boundary=centerx-picture\r\n"),
        "{answer}"
    );
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    let part = |number| {
        format!("Content-Type: image/jpeg\r\nContent-Length: 20\r\n\r\n{number} true 640 Some(2.0)\r\n")
    };
    let boundary = "--centerx-picture\r\n";
    let whole: Vec<_> = (1..=3).map(part).collect();
    assert_eq!(body, format!("{boundary}{}{boundary}", whole.join(boundary)));
}

#[tokio::test]
async fn cameras_without_a_picture_are_told_of_in_words() {
    let served = serve_pages().await;
    let ask = async |path| ask(served.address, &format!("GET /cameras/{path} HTTP/1.1")).await;
    for page in ["snapshot.jpg", "live.mjpg"] {
        let answer = ask(format!("nowhere/{page}")).await;
        assert!(answer.contains("404") && answer.ends_with("nowhere\n"), "{answer}");
        assert!(ask(format!("no%20id/{page}")).await.starts_with("HTTP/1.1 404"));
        let answer = ask(format!("disabled/{page}")).await;
        assert!(answer.starts_with("HTTP/1.1 409") && answer.contains("enable it"), "{answer}");
        assert!(ask(format!("yard/{page}?boxes=maybe")).await.starts_with("HTTP/1.1 400"));
    }
    let answer = ask("dark/snapshot.jpg".into()).await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.ends_with("within 5 s; it is backoff: the camera refuses connections\n"), "{answer}");
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
