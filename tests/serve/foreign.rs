//! Other people's software as clients: Python's gRPC, Prometheus.

use super::prometheus_server::{Prometheus, Setup};
use super::*;

/// Python's stubs of the protos, in a folder of their own.
fn stubs() -> tempfile::TempDir {
    let stubs = tempfile::tempdir().unwrap();
    let made = Command::new(python())
        .args(["-m", "grpc_tools.protoc", "-I", "proto", "--python_out"])
        .arg(stubs.path())
        .arg("--grpc_python_out")
        .arg(stubs.path())
        .args(["cameras", "detections", "models"].map(|name| format!("proto/centerx/v1/{name}.proto")))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", errors(&made));
    stubs
}

/// Frames of a video as raw NV12, one after the other.
fn raw_nv12(video: &str, frames: u32, to: &std::path::Path) {
    use gstreamer::prelude::*;
    gstreamer::init().unwrap();
    let pipeline = gstreamer::parse::launch(&format!(
        "filesrc location={} ! decodebin ! videoconvert ! video/x-raw,format=NV12 \
         ! identity eos-after={} ! filesink location={}",
        sample(video).display(),
        frames,
        to.display()
    ));
    let pipeline = pipeline.unwrap();
    pipeline.set_state(gstreamer::State::Playing).unwrap();
    let ends = [gstreamer::MessageType::Eos, gstreamer::MessageType::Error];
    let last = pipeline.bus().unwrap().timed_pop_filtered(gstreamer::ClockTime::from_seconds(20), &ends);
    pipeline.set_state(gstreamer::State::Null).unwrap();
    assert_eq!(last.expect("the video ends").type_(), gstreamer::MessageType::Eos);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_python_client_streams_the_frames_of_a_video_and_gets_answers_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let server = ServerProcess::start(&folder.path().join("data"), &[]);
    let frames = folder.path().join("vtest.nv12");
    raw_nv12("vtest.avi", 20, &frames);
    assert_eq!(frames.metadata().unwrap().len(), 20 * 768 * 576 * 3 / 2);
    let streamed = Command::new(python())
        .arg("docs/clients/python/stream.py")
        .arg(server.grpc.to_string())
        .args(["--raw", "768x576", "--min-score", "0.4"])
        .arg(&frames)
        .env("CENTERX_STUBS", stubs().path())
        .env("no_grpc_proxy", "127.0.0.1")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&streamed.stdout);
    assert!(streamed.status.success(), "{text}\n{}", errors(&streamed));
    let number = |line: &str| -> u32 { line.split_whitespace().nth(1).unwrap().parse().unwrap() };
    let numbers: Vec<_> = text.lines().filter(|line| line.contains("person")).map(number).collect();
    assert!(numbers.is_sorted(), "{text}");
    let told: std::collections::BTreeSet<_> = numbers.into_iter().collect();
    assert!(told.len() >= 18 && told.iter().all(|frame| *frame < 20), "people walk in every frame: {text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_python_client_receives_detections() {
    let (_camera, url) = yard();
    let data = tempfile::tempdir().unwrap();
    let server = ServerProcess::start(data.path(), &["--camera", &format!("yard={url}")]);
    let (root, stubs) = (env!("CARGO_MANIFEST_DIR"), stubs());
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
    let prometheus = Prometheus::start(&Setup::scraping(server.http));
    prometheus.wait_for(
        "published frames are scraped",
        "centerx_frames_published_total{camera=\"yard\"} > 0",
        PATIENCE,
    );
    // One scrape is one moment: the books balance exactly, whatever is in flight.
    let difference = prometheus.query(
        "sum(centerx_frames_received_total) - sum(centerx_frames_published_total) \
         - sum(centerx_frames_dropped_total) - sum(centerx_frames_in_flight)",
    );
    assert_eq!(difference[0].value, 0.0);
    assert_eq!(prometheus.query("up{job=\"centerx\"}")[0].value, 1.0);
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
