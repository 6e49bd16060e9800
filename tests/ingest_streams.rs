//! Files, HTTP, devices and patterns as cameras, good and bad.

// Clippy's own allowance covers the tests, not their helpers.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use centerx::camera::{CameraSpec, CameraState, CameraStatus, FailureKind};
use centerx::ledger::DropReason;

#[path = "support/http.rs"]
mod http;
#[path = "support/videos.rs"]
mod videos;
#[path = "support/watching.rs"]
mod watching;

use watching::{Watching, quick, spec, test_data};

fn url(path: &Path) -> String {
    path.display().to_string()
}

/// Adds a camera that must fail, and checks how.
fn failure(watching: &Watching, id: &str, url: &str, kind: FailureKind, words: &str) -> Arc<CameraStatus> {
    watching.add(id, url);
    let state = if kind.needs_attention() { CameraState::Failed } else { CameraState::Backoff };
    let status = watching.wait_state(id, state, 10.0);
    println!("{id}: {} ({:?})", status.reason, status.failure);
    assert_eq!(status.failure, Some(kind), "{status:?}");
    assert!(status.reason.contains(words), "{status:?}");
    status
}

#[test]
fn a_file_plays_in_real_time_to_its_end_and_stays_there() {
    let folder = tempfile::tempdir().unwrap();
    let watching = Watching::new(quick());
    watching.add("clip", &url(&videos::mp4(folder.path(), "clip.mp4", 20)));
    watching.wait_state("clip", CameraState::Ended, 10.0);
    let frames = watching.wait_frames("clip", 20, 1.0);
    let took = (frames[19].offered - frames[0].offered).as_secs_f64();
    assert!((1.8..2.6).contains(&took), "{took} s for 1.9 s of video");
    let mut ages: Vec<_> = frames.iter().map(|frame| frame.offered - frame.capture.monotonic).collect();
    ages.sort();
    assert!(ages[10] < Duration::from_millis(90), "paced before the decoder: {ages:?}");
    let view = watching.view("clip");
    assert_eq!((view.balance.received, view.balance.published), (20, 20));
    assert_eq!((view.reconnects, view.status.failure), (0, None));
}

#[test]
fn a_file_that_repeats_stays_live() {
    let folder = tempfile::tempdir().unwrap();
    let file = url(&videos::mp4(folder.path(), "clip.mp4", 10));
    let watching = Watching::new(quick());
    watching.add_spec(CameraSpec { repeat: true, ..spec("clip", &file) });
    let frames = watching.wait_frames("clip", 35, 10.0);
    let gaps: Vec<_> = frames.windows(2).map(|pair| pair[1].offered - pair[0].offered).collect();
    println!("frames came after {gaps:.3?}");
    let took: Duration = gaps.iter().sum();
    assert!((2.9..6.0).contains(&took.as_secs_f64()), "34 frames took {took:?}");
    assert!(frames.windows(2).all(|pair| pair[1].sequence == pair[0].sequence + 1));
    let states: Vec<_> = watching.sink.lock().states.iter().map(|(_, status)| status.state).collect();
    assert_eq!(states, [CameraState::Connecting, CameraState::Live]);
}

#[test]
fn an_avi_of_people_is_watched() {
    let watching = Watching::new(quick());
    watching.add("walk", &url(&test_data("vtest.avi")));
    let frames = watching.wait_frames("walk", 10, 10.0);
    assert_eq!(frames[9].size, (768, 576));
    watching.add("still", &url(&test_data("messi5.jpg")));
    watching.wait_state("still", CameraState::Ended, 10.0);
}

#[test]
fn files_that_are_no_video_say_what_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        url(&path)
    };
    let watching = Watching::new(quick());
    let missing = url(&folder.path().join("none.mp4"));
    failure(&watching, "missing", &missing, FailureKind::NotFound, "there is no file");
    failure(&watching, "folder", &url(folder.path()), FailureKind::NoVideo, "is a folder");
    failure(&watching, "empty", &write("empty.mp4", b""), FailureKind::Codec, "is empty");
    let text = write("notes.txt", &b"Not a video, just words. ".repeat(400));
    failure(&watching, "text", &text, FailureKind::NoVideo, "not video");
    let page = write("page.html", b"<!DOCTYPE html><html><body>Please log in</body></html>");
    failure(&watching, "page", &page, FailureKind::NoVideo, "not video");
    let mut random = 1u32;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (random >> 24) as u8
    })
    .take(50_000)
    .collect();
    failure(&watching, "noise", &write("noise.mp4", &noise), FailureKind::Codec, "no video format");
    let sound = url(&videos::wav(folder.path()));
    failure(&watching, "sound", &sound, FailureKind::NoVideo, "only audio");
}

#[test]
fn damaged_files_say_so() {
    let folder = tempfile::tempdir().unwrap();
    let whole = fs::read(videos::mp4(folder.path(), "whole.mp4", 20)).unwrap();
    let watching = Watching::new(quick());

    // The index of an MP4 is at its end: a download that broke off has none.
    let cut = folder.path().join("cut.mp4");
    fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
    failure(&watching, "cut", &url(&cut), FailureKind::Codec, "damaged");

    // The index is whole, but the pictures are overwritten.
    let data = whole.windows(4).position(|bytes| bytes == b"mdat").unwrap() + 4;
    let index = whole.windows(4).rposition(|bytes| bytes == b"moov").unwrap() - 4;
    let mut overwritten = whole.clone();
    overwritten[data..index].fill(0xA5);
    let path = folder.path().join("overwritten.mp4");
    fs::write(&path, &overwritten).unwrap();
    failure(&watching, "overwritten", &url(&path), FailureKind::Codec, "damaged");

    // Half of the pictures are overwritten: the rest is watched, and the file ends or fails by name.
    let mut half = whole;
    let middle = data + (index - data) / 2;
    half[middle..index].fill(0xA5);
    let path = folder.path().join("half.mp4");
    fs::write(&path, &half).unwrap();
    watching.add("half", &url(&path));
    watching.wait_frames("half", 5, 10.0);
    watching.wait("an end", 10.0, |record| {
        let mut states = record.states.iter().filter(|(id, _)| id.as_str() == "half");
        states.find(|(_, s)| matches!(s.state, CameraState::Ended | CameraState::Failed)).map(|_| ())
    });
}

#[test]
fn a_codec_without_a_decoder_is_named() {
    let folder = tempfile::tempdir().unwrap();
    // AVI names its codec by four letters, twice. Nothing decodes QQQQ.
    let mut avi = fs::read(test_data("vtest.avi")).unwrap();
    let name = avi.windows(4).position(|bytes| bytes == b"vids").unwrap() + 4;
    let format = avi.windows(4).position(|bytes| bytes == b"strf").unwrap() + 8 + 16;
    avi[name..name + 4].copy_from_slice(b"QQQQ");
    avi[format..format + 4].copy_from_slice(b"QQQQ");
    let path = folder.path().join("strange.avi");
    fs::write(&path, &avi).unwrap();
    failure(&Watching::new(quick()), "strange", &url(&path), FailureKind::Codec, "QQQQ");
}

#[test]
fn max_fps_takes_a_steady_share_and_may_change_while_live() {
    let watching = Watching::new(quick());
    let view = watching.add_spec(CameraSpec {
        max_fps: Some(5.0),
        ..spec("ball", "test://ball?width=160&height=120&fps=10")
    });
    assert_eq!(view.status.state, CameraState::Connecting);
    let frames = watching.wait_frames("ball", 16, 10.0);
    let took = (frames[15].capture.monotonic - frames[0].capture.monotonic).as_secs_f64();
    assert!((2.8..3.6).contains(&took), "15 frames at 5 a second took {took} s");
    let balance = watching.view("ball").balance;
    let limited = balance.dropped(DropReason::RateLimited);
    assert!(limited.abs_diff(balance.published) <= 2, "every second one: {balance:?}");

    let patch = centerx::camera::CameraPatch { max_fps: Some(None), ..Default::default() };
    watching.block_on(watching.fleet.update(&watching::camera("ball"), patch)).unwrap();
    let before = watching.frames();
    let frames = watching.wait_frames_after(before, "ball", 11, 5.0);
    let took = (frames[10].capture.monotonic - frames[0].capture.monotonic).as_secs_f64();
    assert!((0.8..1.2).contains(&took), "10 frames at 10 a second took {took} s");
    assert_eq!(watching.view("ball").reconnects, 0);
    assert!(watching.sink.lock().forgotten.is_empty());
}

#[test]
fn test_patterns_and_devices_name_their_mistakes() {
    let watching = Watching::new(quick());
    failure(&watching, "pattern", "test://bal", FailureKind::NotFound, "no pattern \"bal\"");
    failure(&watching, "key", "test://ball?size=3", FailureKind::NotFound, "\"size\"");
    failure(&watching, "value", "test://ball?fps=0", FailureKind::NotFound, "fps is \"0\"");
    failure(&watching, "device", "v4l2:///dev/video99", FailureKind::NotFound, "no device /dev/video99");
    failure(&watching, "null", "v4l2:///dev/null", FailureKind::Other, "/dev/null");
}

#[test]
fn mjpeg_over_http_is_watched_as_it_comes() {
    let address = http::serve(|_, authorization, peer| {
        // user:pass
        if authorization != Some("Basic dXNlcjpwYXNz") {
            return http::respond(peer, "401 Unauthorized", "text/plain", b"who are you?");
        }
        let _ = write!(
            peer,
            "HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=picture\r\n\r\n"
        );
        let (_never, pause) = std::sync::mpsc::sync_channel::<()>(0);
        for grey in (0..=255).cycle() {
            let jpeg = videos::jpeg(320, 240, grey);
            let head =
                format!("--picture\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n", jpeg.len());
            let sent = peer
                .write_all(head.as_bytes())
                .and_then(|()| peer.write_all(&jpeg))
                .and_then(|()| peer.write_all(b"\r\n"));
            if sent.is_err() {
                return;
            }
            let _ = pause.recv_timeout(Duration::from_millis(100));
        }
    });
    let watching = Watching::new(quick());
    watching.add("yard", &format!("http://user:pass@{address}/stream"));
    let frames = watching.wait_frames("yard", 15, 10.0);
    assert_eq!(frames[14].size, (320, 240));
    let took = (frames[14].offered - frames[4].offered).as_secs_f64();
    assert!((0.8..1.4).contains(&took), "10 frames at nearly 10 a second took {took} s");
    for pair in frames.windows(2) {
        assert!((pair[1].brightness - pair[0].brightness - 1.0).abs() < 0.6, "each picture once, full range");
    }
    let wrong = format!("http://user:wrong@{address}/stream");
    failure(&watching, "wrong", &wrong, FailureKind::Auth, "refuses this user or password");
}

#[test]
fn hls_over_http_is_paced() {
    let folder = tempfile::tempdir().unwrap();
    videos::hls(folder.path());
    let root = folder.path().to_owned();
    let address = http::serve(move |path, _, peer| match fs::read(root.join(path.trim_start_matches('/'))) {
        Ok(bytes) if path.ends_with(".m3u8") => {
            http::respond(peer, "200 OK", "application/vnd.apple.mpegurl", &bytes);
        }
        Ok(bytes) => http::respond(peer, "200 OK", "video/mp2t", &bytes),
        Err(_) => http::respond(peer, "404 Not Found", "text/plain", b"no such thing"),
    });
    let watching = Watching::new(quick());
    watching.add("yard", &format!("http://{address}/live.m3u8"));
    let frames = watching.wait_frames("yard", 21, 15.0);
    let took = (frames[20].offered - frames[0].offered).as_secs_f64();
    assert!((1.7..2.6).contains(&took), "20 frames at 10 a second took {took} s");
    failure(
        &watching,
        "gone",
        &format!("http://{address}/gone.m3u8"),
        FailureKind::NotFound,
        "has nothing at",
    );
}

#[test]
fn a_page_is_not_a_camera() {
    let address = http::serve(|path, _, peer| match path {
        "/page" => http::respond(peer, "200 OK", "text/html", b"<!DOCTYPE html><html>Log in</html>"),
        "/words" => http::respond(peer, "200 OK", "text/plain", &b"Just some words. ".repeat(300)),
        _ => http::respond(peer, "500 Internal Server Error", "text/plain", b"it burns"),
    });
    let watching = Watching::new(quick());
    failure(&watching, "page", &format!("http://{address}/page"), FailureKind::NoVideo, "not video");
    failure(&watching, "words", &format!("http://{address}/words"), FailureKind::NoVideo, "not video");
    let broken = format!("http://{address}/broken?token=s3cret");
    let status = failure(&watching, "broken", &broken, FailureKind::Network, "500");
    assert!(!format!("{status:?}").contains("s3cret"));
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    failure(&watching, "refused", &format!("http://{free}/x"), FailureKind::Network, "refuses connections");
    let nowhere = "http://camera.invalid/x";
    failure(&watching, "nowhere", nowhere, FailureKind::NotFound, "cannot be resolved");
}

#[test]
fn fifty_cameras_fail_and_wait_for_their_retry_without_work() {
    let watching = Watching::new(quick());
    let start = Instant::now();
    for index in 0..50 {
        watching.add(&format!("c{index}"), "/no/such/file.mp4");
    }
    for index in 0..50 {
        let status = watching.wait_state(&format!("c{index}"), CameraState::Failed, 10.0);
        assert!(status.retry_at.is_some_and(|at| at > status.since));
    }
    assert!(start.elapsed() < Duration::from_secs(5));
}
