//! The preprocessing's kernel on the GPU against the CPU's letterbox: the same pixels, and how fast.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Instant;

use centerx::engine::Engine;
use centerx::frame::{Picture, PixelFormat};
use centerx::letterbox::Preprocessor;

use crate::levels::{self, Levels, colorimetries};
use crate::network::{Echo, hardware, micros};

const FORMATS: [PixelFormat; 3] = [PixelFormat::I420, PixelFormat::Nv12, PixelFormat::Rgb];

/// A picture of slopes and noise, with padded rows.
fn picture(format: PixelFormat, size: (u32, u32), random: &mut fastrand::Rng) -> Picture {
    let (pad, colorimetry) = (random.usize(0..40), random.choice(colorimetries()).unwrap());
    let (slope, noise) = (random.usize(1..5), random.u8(1..60));
    let random = RefCell::new(random);
    levels::picture(format, size, pad, colorimetry, |_, x, _| {
        (x * slope / 4) as u8 ^ random.borrow_mut().u8(0..noise)
    })
}

fn cpu(pictures: &[Picture], input: (u32, u32)) -> Vec<u8> {
    let bytes = (input.0 * input.1 * 3) as usize;
    let mut target = vec![0; bytes * pictures.len()];
    let mut preprocessor = Preprocessor::default();
    for (picture, place) in pictures.iter().zip(target.chunks_mut(bytes)) {
        preprocessor.letterbox(picture, input, place).unwrap();
    }
    target
}

#[test]
fn pictures_of_all_kinds_come_out_as_on_the_cpu() {
    let mut random = fastrand::Rng::with_seed(7);
    let mut levels = Levels::default();
    for input in [(64, 48), (320, 256), (512, 512), (640, 384)] {
        let engine = Echo::new(input, 8).engine(|setup| setup.kernel = Some(Arc::clone(&hardware().kernel)));
        let mut lane = engine.open_lane().unwrap();
        for _ in 0..40 {
            let mut any = |_| {
                let size = (random.u32(1..1400), random.u32(1..1100));
                picture(FORMATS[random.usize(0..3)], size, &mut random)
            };
            let pictures: Vec<_> = (0..8).map(&mut any).collect();
            let taken = lane.take(&pictures.iter().collect::<Vec<_>>());
            assert!(taken.len() == 8 && taken.iter().all(Option::is_some), "{taken:?}");
            let rows = lane.infer(8).unwrap();
            let letterboxed: Vec<_> = rows.data.iter().map(|&value| -value as u8).collect();
            levels.compare(&cpu(&pictures, input), &letterboxed);
        }
    }
    println!("pixels by levels off the CPU's: {levels}");
    assert!(levels.share_over(2) == 0.0 && levels.share_over(1) < 1e-5, "{levels}");
}

#[test]
fn speed_of_the_letterbox() {
    let mut random = fastrand::Rng::with_seed(8);
    let input = (512, 512);
    let plain = Echo::new(input, 16).engine(|_| ());
    let engine = Echo::new(input, 16).engine(|setup| setup.kernel = Some(Arc::clone(&hardware().kernel)));
    for (format, size) in [
        (PixelFormat::I420, (768, 576)),
        (PixelFormat::Nv12, (1920, 1080)),
        (PixelFormat::Nv12, (3840, 2160)),
    ] {
        let pictures: Vec<_> = (0..16).map(|_| picture(format, size, &mut random)).collect();
        let all: Vec<_> = pictures.iter().collect();
        let mut on_cpu = plain.open_lane().unwrap();
        let mut preprocessor = Preprocessor::default();
        let begun = Instant::now();
        for _ in 0..10 {
            for (picture, place) in pictures.iter().zip(on_cpu.input().chunks_mut(512 * 512 * 3)) {
                preprocessor.letterbox(picture, input, place).unwrap();
            }
            on_cpu.infer(16).unwrap();
        }
        let cpu_time = begun.elapsed().as_secs_f64() * 1e6 / 160.0;
        let mut lane = engine.open_lane().unwrap();
        lane.take(&all);
        lane.infer(16).unwrap();
        let begun = Instant::now();
        let steps = micros(&["copy_in", "preprocess"], || {
            for _ in 0..50 {
                assert_eq!(lane.take(&all).iter().flatten().count(), 16);
                lane.infer(16).unwrap();
            }
        });
        let gpu_time = begun.elapsed().as_secs_f64() * 1e6 / 800.0;
        println!(
            "{format:?} {size:?} to {input:?}, batches of 16: with the CPU's letterbox {cpu_time:.0} us a picture, with \
             the GPU's {gpu_time:.0} us (x{:.1}); a batch's copy in and kernel {steps:.0?} us",
            cpu_time / gpu_time
        );
    }
}
