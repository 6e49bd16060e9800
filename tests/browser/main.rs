//! The live page in a real browser: Chromium, driven by the scripts beside this file.

// A test that fails is to panic.
#![allow(clippy::unwrap_used)]

mod codec;
mod eight;
#[path = "../support/files.rs"]
mod files;
#[path = "../support/process.rs"]
mod process;
mod roles;
#[path = "../support/rtsp_camera/mod.rs"]
mod rtsp_camera;
mod script;
mod story;
#[path = "../support/tiny_model.rs"]
mod tiny_model;
mod wall;

use std::path::Path;
use std::sync::{Arc, OnceLock};

use files::sample;
use process::{ServerProcess, errors, run};
use rtsp_camera::Clip;
use script::{Script, node};

/// An RTSP camera on this machine that plays `vtest.avi` for ever, under this name.
fn rtsp(name: &str) -> (rtsp_camera::Server, String) {
    static CLIP: OnceLock<Arc<Clip>> = OnceLock::new();
    let server = rtsp_camera::Server::start("127.0.0.1", 0, None).unwrap();
    let clip = CLIP.get_or_init(|| {
        let cache = std::env::temp_dir().join("centerx-test-clips");
        Arc::new(Clip::from_file(&sample("vtest.avi"), &cache, |_| ()).unwrap())
    });
    server.mount(name, Arc::clone(clip), 0, None).unwrap();
    let url = server.url(name);
    (server, url)
}

/// A server with these settings, in a folder of its own.
fn serve(folder: &Path, settings: &str) -> ServerProcess {
    let path = folder.join("centerx.toml");
    std::fs::write(&path, settings).unwrap();
    ServerProcess::start(&folder.join("data"), &["--config", path.to_str().unwrap()])
}
