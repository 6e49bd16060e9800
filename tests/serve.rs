//! The whole server as a process: real RTSP cameras in, a real engine, gRPC and HTTP clients out.

// A test that fails is to panic.
#![allow(clippy::unwrap_used)]

use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use centerx::api::v1::camera_service_client::CameraServiceClient;
use centerx::api::v1::detection_service_client::DetectionServiceClient;
use centerx::api::v1::model_service_client::ModelServiceClient;
use centerx::api::v1::subscribe_response::Event;
use centerx::api::v1::{
    AddCameraRequest, Camera, CameraInfo, CameraOrigin, CameraState, DetectRequest, FrameDetections,
    ListCamerasRequest, ListModelsRequest, RemoveCameraRequest, SubscribeRequest,
};
use tokio::time::timeout;
use tonic::transport::Channel;

#[path = "support/files.rs"]
mod files;
#[path = "support/process.rs"]
mod process;
#[path = "support/rtsp_camera/mod.rs"]
mod rtsp_camera;

use files::{python, sample};
use process::{ServerProcess, errors, run};
use rtsp_camera::Clip;

const PATIENCE: Duration = Duration::from_secs(30);

/// An RTSP server on this machine that plays `vtest.avi` for ever.
fn yard() -> (rtsp_camera::Server, String) {
    static CLIP: OnceLock<Arc<Clip>> = OnceLock::new();
    let server = rtsp_camera::Server::start("127.0.0.1", 0, None).unwrap();
    let clip = CLIP.get_or_init(|| {
        let cache = std::env::temp_dir().join("centerx-test-clips");
        Arc::new(Clip::from_file(&sample("vtest.avi"), &cache, |_| ()).unwrap())
    });
    server.mount("yard", Arc::clone(clip), 0, None).unwrap();
    let url = server.url("yard");
    (server, url)
}

async fn connect(server: &ServerProcess) -> Channel {
    Channel::from_shared(format!("http://{}", server.grpc)).unwrap().connect().await.unwrap()
}

async fn cameras(channel: &Channel) -> Vec<CameraInfo> {
    let mut client = CameraServiceClient::new(channel.clone());
    client.list_cameras(ListCamerasRequest {}).await.unwrap().into_inner().cameras
}

/// Subscribes to everything and returns the next `count` frames' detections.
async fn watch(channel: &Channel, count: usize) -> Vec<FrameDetections> {
    let mut client = DetectionServiceClient::new(channel.clone());
    let mut stream = client.subscribe(SubscribeRequest::default()).await.unwrap().into_inner();
    let mut frames = Vec::new();
    let collect = async {
        while frames.len() < count {
            if let Some(Event::Detections(frame)) = stream.message().await.unwrap().unwrap().event {
                frames.push(frame);
            }
        }
    };
    timeout(PATIENCE, collect).await.expect("detections come");
    frames
}

fn assert_balanced(camera: &CameraInfo) {
    let accounts = camera.accounts.as_ref().unwrap();
    let dropped: u64 = accounts.dropped.values().sum();
    assert_eq!(accounts.received, accounts.published + dropped + accounts.in_flight, "{accounts:?}");
    assert_eq!(accounts.dropped["lost"], 0, "{accounts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn people_are_detected_in_live_video_and_every_frame_is_accounted_for() {
    let (_camera, url) = yard();
    let data = tempfile::tempdir().unwrap();
    let server = ServerProcess::start(data.path(), &["--camera", &format!("yard={url}")]);
    let channel = connect(&server).await;
    let frames = watch(&channel, 20).await;
    let people = frames.iter().flat_map(|frame| &frame.detections).filter(|found| found.label == "person");
    assert!(people.count() >= 20, "several people walk in every frame");
    for pair in frames.windows(2) {
        assert!(pair[0].sequence < pair[1].sequence, "frames come in order");
    }
    for frame in &frames {
        assert_eq!((frame.camera_id.as_str(), frame.model.as_str()), ("yard", "coco"));
        assert_eq!((frame.frame_width, frame.frame_height), (768, 576));
        for found in &frame.detections {
            let b = found.r#box.unwrap();
            assert!(
                0.0 <= b.x1 && b.x1 < b.x2 && b.x2 <= 768.0 && 0.0 <= b.y1 && b.y1 < b.y2 && b.y2 <= 576.0
            );
        }
    }
    for _ in 0..50 {
        let camera = cameras(&channel).await.remove(0);
        assert_balanced(&camera);
        assert_eq!(camera.status.unwrap().state, CameraState::Live as i32);
    }
    let metrics = server.get("/metrics");
    for name in [
        "centerx_frames_received_total",
        "centerx_frames_published_total",
        "centerx_frames_dropped_total",
        "centerx_frames_in_flight",
        "centerx_detections_total",
        "centerx_decode_seconds",
        "centerx_queue_seconds",
        "centerx_preprocess_seconds",
        "centerx_infer_seconds",
        "centerx_publish_seconds",
        "centerx_age_at_publish_seconds",
        "centerx_batch_size",
        "centerx_camera_state",
        "centerx_camera_reconnects_total",
        "centerx_subscribers",
        "centerx_build_info",
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
    ] {
        assert!(metrics.contains(&format!("# TYPE {name} ")), "{name} is missing in:\n{metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_and_models_are_served_too() {
    let data = tempfile::tempdir().unwrap();
    let server = ServerProcess::start(data.path(), &[]);
    let channel = connect(&server).await;
    let image = std::fs::read(sample("messi5.jpg")).unwrap();
    let mut client = DetectionServiceClient::new(channel.clone());
    let request = DetectRequest { image: image.clone(), min_score: Some(0.3), ..Default::default() };
    let found = client.detect(request).await.unwrap().into_inner();
    assert_eq!((found.frame_width, found.frame_height), (548, 342));
    assert_eq!(found.detections[0].label, "person");

    let request = DetectRequest { image, classes: vec!["tractor".into()], ..Default::default() };
    let status = client.detect(request).await.unwrap_err();
    assert!(status.message().contains("tractor"), "{status:?}");

    let models =
        ModelServiceClient::new(channel).list_models(ListModelsRequest {}).await.unwrap().into_inner().models;
    assert_eq!((models[0].name.as_str(), models[0].classes.len(), models[0].top_k), ("coco", 80, 100));
    assert!(models[0].engine.contains("onnxruntime") && models[0].sha256.len() == 64);
    assert!(server.get("/healthz").contains("ok") && server.get("/readyz").contains("ready"));
}

#[tokio::test(flavor = "multi_thread")]
async fn cameras_added_by_api_survive_a_restart_even_a_crash() {
    let (_camera, url) = yard();
    let data = tempfile::tempdir().unwrap();
    let first = ServerProcess::start(data.path(), &[]);
    let channel = connect(&first).await;
    let mut client = CameraServiceClient::new(channel.clone());
    let add = |id: &str| AddCameraRequest {
        camera: Some(Camera { id: id.into(), url: url.clone(), max_fps: Some(5.0), ..Default::default() }),
    };
    client.add_camera(add("gone")).await.unwrap();
    client.add_camera(add("kept")).await.unwrap();
    let status = client.add_camera(add("kept")).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::AlreadyExists);
    client.remove_camera(RemoveCameraRequest { id: "gone".into() }).await.unwrap();
    let tractor = AddCameraRequest {
        camera: Some(Camera {
            id: "x".into(),
            url: url.clone(),
            classes: vec!["tractor".into()],
            ..Default::default()
        }),
    };
    let status = client.add_camera(tractor).await.unwrap_err();
    assert!(
        status.code() == tonic::Code::InvalidArgument && status.message().contains("tractor"),
        "{status:?}"
    );
    first.signal("KILL");
    drop(first);

    let second = ServerProcess::start(data.path(), &[]);
    let channel = connect(&second).await;
    let cameras = cameras(&channel).await;
    let ids: Vec<_> = cameras.iter().map(|info| info.camera.as_ref().unwrap().id.as_str()).collect();
    assert_eq!(ids, ["kept"]);
    assert_eq!(cameras[0].origin, CameraOrigin::Api as i32);
    assert_eq!(cameras[0].camera.as_ref().unwrap().max_fps, Some(5.0));
    assert_eq!(watch(&channel, 3).await[0].camera_id, "kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_that_comes_back_is_detected_in_within_three_seconds() {
    let (camera, url) = yard();
    let data = tempfile::tempdir().unwrap();
    let server = ServerProcess::start(data.path(), &["--camera", &format!("yard={url}")]);
    let channel = connect(&server).await;
    watch(&channel, 2).await;
    camera.stop();
    let begin = Instant::now();
    loop {
        let status = cameras(&channel).await.remove(0).status.unwrap();
        if status.state == CameraState::Backoff as i32 {
            assert!(!status.reason.is_empty());
            break;
        }
        assert!(begin.elapsed() < PATIENCE, "the loss is noticed: {status:?}");
        tokio::task::yield_now().await;
    }
    camera.listen().unwrap();
    let back = Instant::now();
    watch(&channel, 1).await;
    let took = back.elapsed();
    println!("from the camera's return to its first detection: {:.2} s", took.as_secs_f64());
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert_balanced(&cameras(&channel).await[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_drains_within_two_seconds_and_ends_streams() {
    let (_camera, url) = yard();
    let data = tempfile::tempdir().unwrap();
    let mut server = ServerProcess::start(data.path(), &["--camera", &format!("yard={url}")]);
    let channel = connect(&server).await;
    let mut client = DetectionServiceClient::new(channel.clone());
    let mut stream = client.subscribe(SubscribeRequest::default()).await.unwrap().into_inner();
    watch(&channel, 2).await;
    server.signal("TERM");
    let ended = timeout(PATIENCE, async {
        loop {
            match stream.message().await {
                Ok(Some(_)) => {}
                other => return other,
            }
        }
    });
    let status = ended.await.unwrap().unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unavailable, "{status:?}");
    let (code, took) = server.wait();
    assert_eq!(code, Some(0), "{}", server.log);
    assert!(took < Duration::from_millis(2500), "{took:?}");
    assert!(!server.log.contains("abandoned") && !server.log.contains("panicked"), "{}", server.log);
}

#[test]
fn the_server_says_ready_soon_and_obeys_ctrl_c() {
    let data = tempfile::tempdir().unwrap();
    let mut server = ServerProcess::start(data.path(), &["--camera", "bars=test://smpte"]);
    println!("from start to ready: {:.2} s", server.time_to_ready.as_secs_f64());
    server.signal("INT");
    assert_eq!(server.wait().0, Some(0), "{}", server.log);
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_appear_in_no_log_metric_or_answer() {
    let data = tempfile::tempdir().unwrap();
    let camera = "yard=rtsp://admin:hunter2@127.0.0.1:9/live";
    let mut server = ServerProcess::start(data.path(), &["--log", "debug", "--camera", camera]);
    let channel = connect(&server).await;
    server.wait_for_line("retry", PATIENCE);
    let answer = format!("{:?}", cameras(&channel).await);
    assert!(answer.contains("admin:***@127.0.0.1"), "{answer}");
    let metrics = server.get("/metrics");
    server.signal("TERM");
    server.wait();
    for text in [&answer, &metrics, &server.log] {
        assert!(!text.contains("hunter2"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_python_client_receives_detections() {
    let (_camera, url) = yard();
    let data = tempfile::tempdir().unwrap();
    let server = ServerProcess::start(data.path(), &["--camera", &format!("yard={url}")]);
    let root = env!("CARGO_MANIFEST_DIR");
    let stubs = tempfile::tempdir().unwrap();
    let made = Command::new(python())
        .args(["-m", "grpc_tools.protoc", "-I", "proto", "--python_out"])
        .arg(stubs.path())
        .arg("--grpc_python_out")
        .arg(stubs.path())
        .args(["cameras", "detections", "models"].map(|name| format!("proto/centerx/v1/{name}.proto")))
        .current_dir(root)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", errors(&made));
    let watched = Command::new(python())
        .arg("docs/clients/python/subscribe.py")
        .arg(server.grpc.to_string())
        .args(["--camera", "yard", "--min-score", "0.4", "--count", "10", "--timeout", "30"])
        .env("PYTHONPATH", stubs.path())
        .current_dir(root)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&watched.stdout);
    assert!(watched.status.success(), "{text}\n{}", errors(&watched));
    assert!(
        text.lines().filter(|line| line.starts_with("yard") && line.contains("person")).count() >= 5,
        "{text}"
    );
}

#[test]
fn a_real_prometheus_scrapes_the_metrics() {
    let (_camera, url) = yard();
    let folder = tempfile::tempdir().unwrap();
    let server = ServerProcess::start(&folder.path().join("data"), &["--camera", &format!("yard={url}")]);
    let config = folder.path().join("prometheus.yml");
    let scrape = format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: centerx\n  static_configs:\n  - targets: ['{}']\n",
        server.http
    );
    std::fs::write(&config, scrape).unwrap();
    // Prometheus does not tell which port it took, so a free one is looked for first.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut prometheus = Command::new("prometheus")
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", folder.path().join("tsdb").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("Debian's prometheus is installed: run bash scripts/test.sh");
    let query = |text: &str| -> Option<f64> {
        let mut url = url::Url::parse(&format!("http://127.0.0.1:{port}/api/v1/query")).unwrap();
        url.query_pairs_mut().append_pair("query", text);
        let body = ureq::get(url.as_str()).call().ok()?.body_mut().read_to_string().ok()?;
        let answer: serde_json::Value = serde_json::from_str(&body).ok()?;
        answer["data"]["result"][0]["value"][1].as_str()?.parse().ok()
    };
    let begin = Instant::now();
    let published = loop {
        match query("centerx_frames_published_total{camera=\"yard\"}").filter(|value| *value > 0.0) {
            Some(value) => break value,
            None => assert!(begin.elapsed() < PATIENCE, "published frames are scraped"),
        }
        std::thread::yield_now();
    };
    assert!(published > 0.0);
    // One scrape is one moment: the books balance exactly, whatever is in flight.
    let difference = query(
        "sum(centerx_frames_received_total) - sum(centerx_frames_published_total) \
         - sum(centerx_frames_dropped_total) - sum(centerx_frames_in_flight)",
    );
    assert_eq!(difference, Some(0.0));
    let health = query("up{job=\"centerx\"}");
    prometheus.kill().unwrap();
    prometheus.wait().unwrap();
    assert_eq!(health, Some(1.0));
    let checked = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn();
    let mut checked = checked.expect("promtool comes with prometheus");
    std::io::Write::write_all(&mut checked.stdin.take().unwrap(), server.get("/metrics").as_bytes()).unwrap();
    let checked = checked.wait_with_output().unwrap();
    assert!(checked.status.success(), "promtool: {}", errors(&checked));
}

#[test]
fn a_port_in_use_is_named_with_the_cure() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for flag in ["--grpc", "--http"] {
        let other = if flag == "--grpc" { "--http" } else { "--grpc" };
        let output = run(&["serve", flag, &address, other, "127.0.0.1:0"]);
        let message = errors(&output);
        assert!(
            output.status.code() == Some(4) && message.contains(&address) && message.contains("in use"),
            "{message}"
        );
    }
}

#[test]
fn settings_are_checked_without_serving() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("centerx.toml");
    let check = |text: &str| {
        std::fs::write(&file, text).unwrap();
        let output = run(&["serve", "--check", "--config", file.to_str().unwrap()]);
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned() + &errors(&output))
    };
    let camera = "[[camera]]\nid = \"a\"\nurl = \"test://ball\"\n";
    let (code, text) = check(camera);
    assert!(code == Some(0) && text.contains("ok: 1 camera(s)"), "{text}");
    let (code, text) = check(&format!("{camera}max_fsp = 3\n"));
    assert!(code == Some(2) && text.contains("line 4") && text.contains("max_fsp"), "{text}");
    let (code, text) = check(&format!("{camera}{camera}"));
    assert!(code == Some(2) && text.contains("line 4") && text.contains("camera a"), "{text}");
    let (code, text) = check(&format!("{camera}classes = [\"tractor\"]\n"));
    assert!(code == Some(2) && text.contains("tractor") && text.contains("line 1"), "{text}");
    let (code, text) = check("[[model]]\nname = \"none\"\n");
    assert!(code == Some(3) && text.contains("none"), "{text}");
    let output = run(&["serve", "--config", "no-such.toml"]);
    assert!(output.status.code() == Some(2) && errors(&output).contains("no-such.toml"));
    let output = run(&["serve", "--camera", "rtsp://u:hunter2@h/x"]);
    let message = errors(&output);
    assert!(
        output.status.code() == Some(2) && message.contains("ID=URL") && !message.contains("hunter2"),
        "{message}"
    );
}

#[test]
fn a_corrupt_camera_store_is_an_error_that_names_it_and_keeps_it() {
    let data = tempfile::tempdir().unwrap();
    std::fs::write(data.path().join("cameras.json"), "{ not json").unwrap();
    let output = run(&[
        "serve",
        "--grpc",
        "127.0.0.1:0",
        "--http",
        "127.0.0.1:0",
        "--data-dir",
        data.path().to_str().unwrap(),
    ]);
    let message = errors(&output);
    assert!(!output.status.success() && message.contains("cameras.json"), "{message}");
    assert_eq!(std::fs::read_to_string(data.path().join("cameras.json")).unwrap(), "{ not json");
}
