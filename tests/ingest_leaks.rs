//! Cameras that come and go leave nothing behind. Alone in its process, whose threads and files it counts.

// Clippy's own allowance covers the tests, not their helpers.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use centerx::ledger::DropReason;

#[path = "support/rtsp_camera/mod.rs"]
mod rtsp_camera;
#[path = "support/videos.rs"]
mod videos;
#[path = "support/watching.rs"]
mod watching;

use rtsp_camera::{Clip, Server};
use watching::{Watching, quick};

fn count(what: &str) -> usize {
    fs::read_dir(Path::new("/proc/self").join(what)).unwrap().count()
}

/// Adds cameras of all kinds, waits until they are live, and removes them.
fn cycle(watching: &Watching, urls: &[String], round: usize) {
    let before = watching.frames();
    let ids: Vec<_> = (0..urls.len()).map(|index| format!("c{round}-{index}")).collect();
    for (id, url) in ids.iter().zip(urls) {
        watching.add(id, url);
    }
    for id in &ids {
        watching.wait_frames_after(before, id, 1, 10.0);
    }
    for id in &ids {
        let view = watching.view(id);
        assert_eq!(view.balance.dropped(DropReason::Lost), 0);
        watching.remove(id);
    }
}

#[test]
fn fifty_cameras_added_and_removed_leave_no_thread_and_no_file() {
    gstreamer::init().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start("127.0.0.1", 0, None).unwrap();
    server.mount("yard", Arc::new(Clip::pattern(160, 120, 10, 1).unwrap()), 0, None).unwrap();
    let file = videos::mp4(folder.path(), "clip.mp4", 50).display().to_string();
    let urls = [server.url("yard"), file, "test://ball?width=160&height=120&fps=20".to_owned()];
    let watching = Watching::new(quick());

    // The first ones load plugins and start pools that stay.
    cycle(&watching, &urls, 0);
    cycle(&watching, &urls, 1);
    let (threads, files) = (count("task"), count("fd"));
    let rounds = 17;
    for round in 2..2 + rounds {
        cycle(&watching, &urls, round);
    }
    assert!(rounds * urls.len() >= 50);
    assert!(watching.fleet.list().is_empty());

    // Threads of pools end a moment after their work.
    let deadline = Instant::now() + Duration::from_secs(20);
    let (_never, pause) = std::sync::mpsc::sync_channel::<()>(0);
    while count("task") > threads || count("fd") > files {
        let left = (count("task"), count("fd"));
        assert!(Instant::now() < deadline, "threads and files: {left:?}, before: {:?}", (threads, files));
        let _ = pause.recv_timeout(Duration::from_millis(50));
    }
    println!("threads {threads} -> {}, files {files} -> {}", count("task"), count("fd"));
}
