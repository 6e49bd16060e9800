//! When frames were captured, by real RTSP cameras' own clocks: right ones, and wrong ones.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use centerx::frame::CaptureQuality;

#[path = "support/rtsp_camera/mod.rs"]
mod rtsp_camera;
#[path = "support/watching.rs"]
mod watching;

use rtsp_camera::{Clip, Server};
use watching::{Seen, Watching, quick};

/// The server's wall clock when the frame arrived.
fn arrival(frame: &Seen) -> SystemTime {
    SystemTime::now() - frame.capture.monotonic.elapsed()
}

fn seconds_between(one: SystemTime, other: SystemTime) -> f64 {
    match one.duration_since(other) {
        Ok(later) => later.as_secs_f64(),
        Err(earlier) => -earlier.duration().as_secs_f64(),
    }
}

#[test]
fn a_camera_s_own_time_is_passed_on_unless_it_cannot_be() {
    gstreamer::init().unwrap();
    let clip = Arc::new(Clip::pattern(320, 240, 10, 2).unwrap());
    let server = Server::start("127.0.0.1", 0, None).unwrap();
    let watching = Watching::new(quick());
    let cameras = [
        ("right", 0, CaptureQuality::SenderReport),
        ("ahead", 4, CaptureQuality::SenderReport),
        ("wrong", 3600, CaptureQuality::CameraClockOff),
        ("dead", -2_208_988_800, CaptureQuality::CameraClockOff),
    ];
    for (name, offset, _) in cameras {
        let mount = server.mount(name, Arc::clone(&clip), 0, None).unwrap();
        mount.set_clock(offset);
        watching.add(name, &server.url(name));
    }
    for (name, offset, expected) in cameras {
        let told = watching.wait("frames dated as expected", 30.0, |record| {
            let of_camera = |frame: &&Seen| frame.camera.as_str() == name;
            let frames: Vec<_> = record.frames.iter().filter(of_camera).cloned().collect();
            let dated = frames.iter().filter(|frame| frame.capture.quality == expected).count();
            (dated >= 20).then_some(frames)
        });
        assert_eq!(told[0].capture.quality, CaptureQuality::Arrival, "{name}: no report yet");
        assert!(told.is_sorted_by_key(|frame| frame.capture.wall), "{name}: times only rise");
        let last = told.last().unwrap();
        let off = seconds_between(last.capture.wall, arrival(last));
        let meant = if expected == CaptureQuality::SenderReport { offset as f64 } else { 0.0 };
        assert!((meant - 0.6..meant + 0.2).contains(&off), "{name}: dated {off} s after its arrival");
        if expected == CaptureQuality::SenderReport {
            // By the camera's clock frames are evenly spaced, however unevenly they arrive.
            let tail = &told[told.len() - 8..];
            let took = seconds_between(tail[7].capture.wall, tail[0].capture.wall);
            assert!((took - 0.7).abs() < 0.02, "{name}: 7 frames at 10 a second took {took} s");
        }
        for frame in &told {
            let age = frame.offered - frame.capture.monotonic;
            assert!(
                age < Duration::from_secs(5),
                "{name}: ages are not taken from the camera's clock: {age:?}"
            );
        }
    }
}
