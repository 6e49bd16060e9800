//! `snapshot.jpg` and `live.mjpg`.

use std::sync::Arc;
use std::time::Instant;

use super::*;

#[test]
fn snapshots_have_boxes_if_they_are_asked_for() {
    let data = tempfile::tempdir().unwrap();
    let server = yard(data.path(), &[]);
    let snapshot = |query: &str| {
        let answer = get(server.http, &format!("/cameras/yard/snapshot.jpg{query}"), None);
        assert_eq!(answer.status(), 200, "{}", answer.head);
        decode(&answer.bytes())
    };
    let plain = snapshot("");
    assert_eq!(plain.dimensions(), (640, 480));
    let drawn = snapshot("?boxes=1&max_side=1000");
    assert_eq!(drawn.dimensions(), (768, 576), "never larger than the frame");
    let (few, many) = (bright_pixels(&plain), bright_pixels(&drawn));
    assert!(few < 1500 && many > 5000, "{few} bright pixels without boxes, {many} with");
}

/// The listener's limits are for connections without a request: pictures without end are none.
#[test]
fn live_pictures_go_on_and_end_with_the_server() {
    let data = tempfile::tempdir().unwrap();
    let settings = data.path().join("centerx.toml");
    std::fs::write(&settings, "[http]\nfirst_request_timeout = \"1s\"\nidle_timeout = \"1s\"\n").unwrap();
    let mut server = yard(data.path(), &["--config", settings.to_str().unwrap()]);
    let mut answer = get(server.http, "/cameras/yard/live.mjpg?max_fps=5&max_side=320", None);
    assert_eq!(answer.status(), 200, "{}", answer.head);
    assert!(answer.head.contains("multipart/x-mixed-replace; boundary=centerx-picture"), "{}", answer.head);
    let (begin, mut pictures) = (Instant::now(), Vec::new());
    while begin.elapsed() < Duration::from_secs(4) {
        pictures.push(decode(&answer.part().expect("pictures go on")));
    }
    assert!((4..=22).contains(&pictures.len()), "{} pictures in 4 s at 5 a second", pictures.len());
    assert!(pictures.iter().all(|picture| picture.dimensions() == (320, 240)));
    assert!(pictures.iter().any(|picture| bright_pixels(picture) > 100), "with boxes");
    server.signal("TERM");
    let end = std::iter::from_fn(|| answer.part()).count();
    assert!(end < 20, "{end} pictures after the server was told to end");
    let (code, took) = server.wait();
    assert!(code == Some(0) && took < Duration::from_secs(3), "{code:?} after {took:?}");
}

#[test]
fn a_camera_that_is_not_there_is_told_of_without_its_password() {
    let data = tempfile::tempdir().unwrap();
    let camera = "dark=rtsp://admin:hunter2@127.0.0.1:9/live";
    let server = ServerProcess::start(data.path(), &["--camera", camera]);
    let answer = get(server.http, "/cameras/dark/snapshot.jpg", None);
    assert_eq!(answer.status(), 503);
    let text = answer.text();
    assert!(text.contains("no frame of camera dark") && text.contains("backoff"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
    assert_eq!(get(server.http, "/cameras/nowhere/snapshot.jpg", None).status(), 404);
}

/// The cable is cut, and put back in: who looks does not have to ask again.
#[test]
fn live_pictures_go_on_after_a_camera_was_away() {
    let camera = rtsp_camera::Server::start("127.0.0.1", 0, None).unwrap();
    let cache = std::env::temp_dir().join("centerx-test-clips");
    let clip = rtsp_camera::Clip::from_file(&sample("vtest.avi"), &cache, |_| ()).unwrap();
    camera.mount("yard", Arc::new(clip), 0, None).unwrap();
    let data = tempfile::tempdir().unwrap();
    let url = format!("yard={}", camera.url("yard"));
    let server = ServerProcess::start(data.path(), &["--camera", &url]);
    let mut answer = get(server.http, "/cameras/yard/live.mjpg?boxes=0", None);
    decode(&answer.part().unwrap());
    camera.stop();
    let away = |text: &str| text.contains("centerx_camera_state{camera=\"yard\",state=\"backoff\"} 1");
    let begin = Instant::now();
    while !away(&server.get("/metrics")) {
        assert!(begin.elapsed() < PATIENCE, "the loss is noticed");
        std::thread::yield_now();
    }
    let before = metric(&server, "centerx_live_pictures_total");
    camera.listen().unwrap();
    while metric(&server, "centerx_live_pictures_total") <= before {
        decode(&answer.part().expect("the stream goes on"));
    }
}
