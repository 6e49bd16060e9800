//! Cameras over RTSP, well and sick: a real server, real streams, and a sink that remembers.

// Clippy's own allowance covers the tests, not their helpers.
#![allow(clippy::unwrap_used)]

use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use centerx::camera::{CameraSpec, CameraState, FailureKind, Transport};
use centerx::frame::PixelFormat;
use centerx::ingest::Config;

#[path = "support/rtsp_camera/mod.rs"]
mod rtsp_camera;
#[path = "support/watching.rs"]
mod watching;

use rtsp_camera::{Clip, Mount, Server};
use watching::{Watching, quick, spec, test_data};

fn unix_seconds() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64()
}

fn ball(width: i32, height: i32) -> Arc<Clip> {
    gstreamer::init().unwrap();
    Arc::new(Clip::pattern(width, height, 10, 2).unwrap())
}

fn serve(clip: Arc<Clip>) -> (Server, Mount) {
    let server = Server::start("127.0.0.1", 0, None).unwrap();
    let mount = server.mount("yard", clip, 0, None).unwrap();
    (server, mount)
}

/// People walking, 768x576, 10 frames a second.
fn vtest() -> Arc<Clip> {
    static CLIP: OnceLock<Arc<Clip>> = OnceLock::new();
    let load = || {
        gstreamer::init().unwrap();
        let cache = Path::new(env!("CARGO_TARGET_TMPDIR"));
        Arc::new(Clip::from_file(&test_data("vtest.avi"), cache, |_| ()).unwrap())
    };
    Arc::clone(CLIP.get_or_init(load))
}

#[test]
fn a_camera_is_live_over_tcp_and_loses_nothing() {
    let (server, _mount) = serve(vtest());
    let watching = Watching::new(quick());
    watching.add("yard", &server.url("yard"));
    let frames = watching.wait_frames("yard", 30, 10.0);
    assert!(frames.windows(2).all(|pair| pair[1].sequence == pair[0].sequence + 1), "no gap");
    assert!(frames.iter().all(|frame| frame.size == (768, 576) && frame.format == PixelFormat::I420));
    for frame in &frames {
        assert!(frame.capture.monotonic <= frame.decoded && frame.decoded <= frame.offered);
        assert!(frame.offered - frame.capture.monotonic < Duration::from_millis(500), "fresh");
        assert!((60.0..200.0).contains(&frame.brightness), "a daylight picture: {}", frame.brightness);
    }
    let took = (frames[29].capture.monotonic - frames[9].capture.monotonic).as_secs_f64();
    assert!((1.8..2.6).contains(&took), "20 frames at 10 a second took {took} s");
    let status = watching.view("yard").status;
    assert_eq!(
        (status.state, status.frame_size, status.failure),
        (CameraState::Live, Some((768, 576)), None)
    );
    assert_eq!(watching.metric("centerx_camera_state{camera=\"yard\",state=\"live\"}"), 1.0);
    assert!(watching.metric("centerx_decode_seconds_count") >= 30.0);
}

#[test]
fn a_camera_is_live_over_udp() {
    let (server, _mount) = serve(vtest());
    let watching = Watching::new(quick());
    watching.add_spec(CameraSpec { transport: Transport::Udp, ..spec("yard", &server.url("yard")) });
    let frames = watching.wait_frames("yard", 15, 10.0);
    assert_eq!(frames[14].size, (768, 576));
}

#[test]
fn a_wrong_password_is_told_and_never_shown() {
    let server = Server::start("127.0.0.1", 0, Some(("admin", "right one"))).unwrap();
    server.mount("yard", ball(320, 240), 0, None).unwrap();
    let watching = Watching::new(quick());
    let right = server.url("yard");
    watching.add("right", &right);
    watching.add("wrong", &right.replace("right%20one", "wr%40ng"));
    watching.add("none", &right.replace("admin:right%20one@", ""));
    watching.wait_frames("right", 3, 10.0);
    let wrong = watching.wait_state("wrong", CameraState::Failed, 10.0);
    assert_eq!(wrong.failure, Some(FailureKind::Auth));
    assert!(wrong.reason.contains("password") && wrong.retry_at.is_some(), "{wrong:?}");
    let none = watching.wait_state("none", CameraState::Failed, 10.0);
    assert!(none.reason.contains("USER:PASSWORD"), "{none:?}");
    let all: String = watching.sink.lock().states.iter().map(|(_, status)| format!("{status:?}")).collect();
    for secret in ["wr%40ng", "wr@ng", "right one", "right%20one"] {
        assert!(!(all.clone() + &watching.scrape()).contains(secret));
    }
}

#[test]
fn cameras_that_cannot_be_found_or_reached_say_why() {
    let (server, _mount) = serve(ball(320, 240));
    let free_port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let watching = Watching::new(quick());
    watching.add("host", "rtsp://camera.invalid/live");
    watching.add("port", &format!("rtsp://127.0.0.1:{free_port}/live"));
    watching.add("path", &server.url("street"));
    for (id, state, kind, words) in [
        ("host", CameraState::Failed, FailureKind::NotFound, "\"camera.invalid\" cannot be resolved"),
        ("port", CameraState::Backoff, FailureKind::Network, "refuses connections on port"),
        ("path", CameraState::Failed, FailureKind::NotFound, "has nothing at"),
    ] {
        let status = watching.wait_state(id, state, 15.0);
        assert_eq!(status.failure, Some(kind), "{status:?}");
        assert!(status.reason.contains(words), "{status:?}");
    }
}

#[test]
fn a_camera_without_video_says_so() {
    let server = Server::start("127.0.0.1", 0, None).unwrap();
    server.mount_audio("door").unwrap();
    let watching = Watching::new(quick());
    watching.add("door", &server.url("door"));
    let status = watching.wait_state("door", CameraState::Failed, 10.0);
    assert_eq!(status.failure, Some(FailureKind::NoVideo), "{status:?}");
    assert!(status.reason.contains("only audio"), "{status:?}");
}

#[test]
fn the_picture_size_may_change_while_running() {
    let (server, mount) = serve(ball(320, 240));
    let watching = Watching::new(quick());
    watching.add("yard", &server.url("yard"));
    watching.wait_frames("yard", 5, 10.0);
    mount.switch(ball(640, 360));
    watching.wait("the new size", 10.0, |record| {
        record.states.iter().find(|(_, status)| status.frame_size == Some((640, 360))).map(|_| ())
    });
    let frames = watching.wait("frames", 5.0, |record| {
        record.frames.last().is_some_and(|frame| frame.size == (640, 360)).then(|| record.frames.clone())
    });
    assert!(frames.windows(2).all(|pair| pair[1].sequence == pair[0].sequence + 1), "no gap");
    assert_eq!(watching.view("yard").reconnects, 0);
}

#[test]
fn a_camera_that_dies_is_back_within_three_seconds_of_its_return() {
    let (server, _mount) = serve(ball(320, 240));
    // So long that only the watch on the port can bring it back in time.
    let watching = Watching::new(Config { backoff_min: Duration::from_secs(20), ..quick() });
    watching.add("yard", &server.url("yard"));
    let last = watching.wait_frames("yard", 5, 10.0)[4].sequence;
    server.stop();
    let lost = watching.wait_state("yard", CameraState::Backoff, 10.0);
    assert!(matches!(lost.failure, Some(FailureKind::Ended | FailureKind::Network)), "{lost:?}");
    let before = watching.frames();
    let returned = Instant::now();
    server.listen().unwrap();
    let first = watching.wait_frames_after(before, "yard", 1, 10.0).remove(0);
    let took = first.offered - returned;
    println!("first frame {:.2} s after the camera's return", took.as_secs_f64());
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert!(first.sequence > last, "the count goes on");
    assert_eq!(watching.view("yard").reconnects, 1);
}

#[test]
fn a_frozen_camera_has_stalled_and_is_connected_anew() {
    let (server, mount) = serve(ball(320, 240));
    let watching = Watching::new(quick());
    watching.add("yard", &server.url("yard"));
    watching.wait_frames("yard", 5, 10.0);
    mount.freeze(true);
    let stalled = watching.wait_state("yard", CameraState::Stalled, 10.0);
    assert_eq!(stalled.failure, Some(FailureKind::Stalled));
    let (states, frames) = (watching.states(), watching.frames());
    mount.freeze(false);
    watching.wait_state_after(states, "yard", CameraState::Live, 15.0);
    watching.wait_frames_after(frames, "yard", 3, 10.0);
    assert_eq!(watching.metric("centerx_camera_reconnects_total{camera=\"yard\",reason=\"stalled\"}"), 1.0);
    assert_eq!(watching.metric("centerx_camera_connects_total{camera=\"yard\"}"), 2.0);
    let since = watching.metric("centerx_camera_state_since_seconds{camera=\"yard\"}");
    assert!((0.0..60.0).contains(&(unix_seconds() - since)), "{since}");
    let (decode, received) = (
        watching.metric("centerx_camera_decode_seconds_total{camera=\"yard\"}"),
        watching.metric("centerx_frames_received_total{camera=\"yard\"}"),
    );
    assert!(decode > 0.0 && decode < received, "{decode} s over {received} frames");
}

#[test]
fn a_peer_that_never_answers_times_out_and_does_not_hold_up_its_removal() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("rtsp://{}/live", silent.local_addr().unwrap());
    let watching = Watching::new(Config { connect_timeout: Duration::from_secs(1), ..quick() });
    watching.add("yard", &url);
    let status = watching.wait_state("yard", CameraState::Backoff, 8.0);
    assert_eq!(status.failure, Some(FailureKind::Network), "{status:?}");
    let states = watching.states();
    watching.wait_state_after(states, "yard", CameraState::Connecting, 8.0);
    let start = Instant::now();
    watching.remove("yard");
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

#[test]
fn what_does_not_speak_rtsp_is_an_error_of_the_network() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("rtsp://{}/live", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for peer in listener.incoming().flatten() {
            let _ = std::io::Write::write_all(&mut &peer, b"SSH-2.0-OpenSSH_9.2\r\n");
        }
    });
    let watching = Watching::new(quick());
    watching.add("yard", &url);
    let status = watching.wait_state("yard", CameraState::Backoff, 10.0);
    assert_eq!(status.failure, Some(FailureKind::Network), "{status:?}");
}

#[test]
fn a_decoder_that_cannot_keep_up_does_not_pile_up_old_video() {
    let (server, _mount) = serve(ball(320, 240));
    let watching = Watching::new(Config { stall_timeout: Duration::from_secs(30), ..quick() });
    watching.add("yard", &server.url("yard"));
    watching.wait_frames("yard", 5, 10.0);
    let held_up = watching.sink.held_up.lock().unwrap();
    let (_never, pause) = std::sync::mpsc::sync_channel::<()>(0);
    let _ = pause.recv_timeout(Duration::from_secs(6));
    let before = watching.frames();
    let released = Instant::now();
    drop(held_up);
    let frames = watching.wait_frames_after(before, "yard", 30, 10.0);
    let burst = frames.iter().filter(|frame| frame.offered - released < Duration::from_millis(500)).count();
    println!("{burst} frames at once of 60 that came meanwhile");
    assert!(burst < 20, "{burst} frames had piled up");
    assert!(watching.metric("centerx_coded_frames_skipped_total{camera=\"yard\"}") > 30.0);
    let ages: Vec<_> = frames.iter().map(|frame| frame.offered - frame.capture.monotonic).collect();
    let old = ages.iter().filter(|age| **age > Duration::from_millis(1200)).count();
    assert!(old <= 2, "none but those that were being decoded: {ages:?}");
}
