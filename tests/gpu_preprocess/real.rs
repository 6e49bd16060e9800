//! Real frames, as decoded and in the other layouts.

use std::collections::BTreeMap;

use centerx::frame::{Picture, PixelFormat};
use centerx::ingest::clip::ClipReader;
use centerx::letterbox::Preprocessor;

use crate::files::sample;
use crate::levels::{Levels, both, colorimetries, picture};

const CLIPS: [&str; 3] = ["vtest.avi", "bikes.mp4", "carphone_pristine.mp4"];
/// Network inputs: usual ones, one that a picture fits without borders, and a larger one than any of the frames.
const INPUTS: [(u32, u32); 5] = [(512, 512), (640, 384), (320, 320), (96, 160), (1024, 1024)];
const FRAMES: usize = 4;
const STEP: usize = 25;

/// Frames from all over a clip's beginning.
fn frames(name: &str) -> Vec<Picture> {
    let mut reader = ClipReader::open(&sample(name)).unwrap();
    let mut frames = Vec::new();
    for number in 0..=(FRAMES - 1) * STEP {
        let frame = reader.next_frame().unwrap().unwrap().picture;
        if number % STEP == 0 {
            frames.push(frame);
        }
    }
    frames
}

/// A decoder's I420 as NV12, in rows longer than they need to be.
fn as_nv12(frame: &Picture) -> Picture {
    assert_eq!(frame.format, PixelFormat::I420, "what the decoders of these clips give");
    let byte = |plane: usize, x: usize, y: usize| match plane {
        0 => frame.plane(0)[y * frame.strides[0] + x],
        _ => frame.plane(1 + x % 2)[y * frame.strides[1 + x % 2] + x / 2],
    };
    picture(PixelFormat::Nv12, (frame.width, frame.height), 24, frame.colorimetry, byte)
}

/// A frame as RGB, in its own size.
fn as_rgb(frame: &Picture) -> Picture {
    let (width, height) = (frame.width, frame.height);
    let mut rgb = vec![0; (width * height * 3) as usize];
    Preprocessor::default().letterbox(frame, (width, height), &mut rgb).unwrap();
    Picture::rgb(width, height, rgb).unwrap()
}

#[test]
fn real_frames_come_out_as_on_the_cpu() {
    let mut by_kind: BTreeMap<String, Levels> = BTreeMap::new();
    for name in CLIPS {
        for frame in frames(name) {
            let own_size = (frame.width, frame.height);
            for picture in [as_nv12(&frame), as_rgb(&frame), frame] {
                for input in INPUTS.into_iter().chain([own_size]) {
                    let (cpu, kernel) = both(&picture, input);
                    let levels = by_kind.entry(format!("{:?} {name}", picture.format)).or_default();
                    levels.compare(&cpu, &kernel);
                }
            }
        }
    }
    let mut all = Levels::default();
    for (kind, levels) in &by_kind {
        println!("{kind:30} {levels}");
        all.add(levels);
    }
    println!("{:30} {all}", "all");
    assert!(by_kind.len() == 9, "{:?}", by_kind.keys());
    for (kind, levels) in &by_kind {
        assert!(levels.share_over(2) == 0.0, "{kind}: {levels}");
        // Without colours to convert there is nothing left that rounds otherwise.
        assert!(!kind.starts_with("Rgb") || levels.share_over(0) < 0.0001, "{kind}: {levels}");
    }
}

#[test]
fn real_frames_in_every_colorimetry_come_out_as_on_the_cpu() {
    for name in CLIPS {
        let mut frame = frames(name).swap_remove(0);
        for colorimetry in colorimetries() {
            frame.colorimetry = colorimetry;
            let mut nv12 = as_nv12(&frame);
            nv12.colorimetry = colorimetry;
            for picture in [&frame, &nv12] {
                let mut levels = Levels::default();
                let (cpu, kernel) = both(picture, (512, 512));
                levels.compare(&cpu, &kernel);
                println!("{name} {:?} {colorimetry:?}: {levels}", picture.format);
                assert!(levels.share_over(2) == 0.0, "{name} {colorimetry:?}: {levels}");
            }
        }
    }
}
