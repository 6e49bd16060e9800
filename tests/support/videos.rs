//! Video files and pictures, made on the spot.

// Each test uses its own part of this.
#![allow(dead_code)]

use std::path::{Path, PathBuf};

use gstreamer as gst;
use gstreamer::prelude::*;

/// Runs a pipeline to its end.
pub fn run(description: &str) {
    gst::init().unwrap();
    let pipeline = gst::parse::launch(description).unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let ends = [gst::MessageType::Eos, gst::MessageType::Error];
    let last = pipeline.bus().unwrap().timed_pop_filtered(gst::ClockTime::from_seconds(20), &ends);
    pipeline.set_state(gst::State::Null).unwrap();
    let last = last.expect("the pipeline ends");
    assert_eq!(last.type_(), gst::MessageType::Eos, "{description}: {last:?}");
}

/// 320x240, 10 frames a second, in H.264.
pub fn mp4(folder: &Path, name: &str, frames: u32) -> PathBuf {
    let path = folder.join(name);
    run(&format!(
        "videotestsrc pattern=ball num-buffers={frames} ! video/x-raw,width=320,height=240,framerate=10/1 \
         ! x264enc tune=zerolatency key-int-max=10 ! h264parse ! mp4mux ! filesink location={}",
        path.display()
    ));
    path
}

/// One second of sound.
pub fn wav(folder: &Path) -> PathBuf {
    let path = folder.join("sound.wav");
    run(&format!("audiotestsrc num-buffers=43 ! wavenc ! filesink location={}", path.display()));
    path
}

/// An HLS playlist of three segments of a second each.
pub fn hls(folder: &Path) {
    let folder = folder.display();
    run(&format!(
        "videotestsrc pattern=ball num-buffers=30 ! video/x-raw,width=320,height=240,framerate=10/1 \
         ! x264enc tune=zerolatency key-int-max=10 ! h264parse ! hlssink2 target-duration=1 playlist-length=0 \
         playlist-location={folder}/live.m3u8 location={folder}/part%05d.ts"
    ));
}

/// A JPEG picture of one grey.
pub fn jpeg(width: u32, height: u32, grey: u8) -> Vec<u8> {
    let picture = image::GrayImage::from_pixel(width, height, image::Luma([grey]));
    let mut bytes = std::io::Cursor::new(Vec::new());
    let rgb = image::DynamicImage::ImageLuma8(picture).into_rgb8();
    rgb.write_to(&mut bytes, image::ImageFormat::Jpeg).unwrap();
    bytes.into_inner()
}
