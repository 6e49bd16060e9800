//! Pictures made up: odd sizes, padded rows, single pixels, batches.

use centerx::engine::tensorrt::preprocess::{MAX_SIDE, host};
use centerx::frame::{ColorMatrix, Colorimetry, PixelFormat};
use proptest::prelude::*;

use crate::levels::{Levels, both, colorimetries, picture};

/// A byte that looks random and is the same each time.
fn noise(seed: u32) -> impl Fn(usize, usize, usize) -> u8 {
    move |plane, x, y| {
        let mixed = (x as u32).wrapping_mul(0x9E37_79B1) ^ (y as u32).wrapping_mul(0x85EB_CA77);
        let mixed = (mixed ^ seed ^ (plane as u32) << 29).wrapping_mul(0xC2B2_AE3D);
        (mixed ^ mixed >> 15).wrapping_mul(0x27D4_EB2F).to_be_bytes()[0]
    }
}

fn formats() -> impl Strategy<Value = PixelFormat> {
    prop_oneof![Just(PixelFormat::I420), Just(PixelFormat::Nv12), Just(PixelFormat::Rgb)]
}

/// Sides of which every fourth is a single pixel.
fn side(limit: u32) -> impl Strategy<Value = u32> {
    prop_oneof![1 => Just(1), 3 => 1..=limit]
}

proptest! {
    #[test]
    fn any_picture_comes_out_as_on_the_cpu(
        format in formats(), size in (side(150), side(150)), pad in 0usize..20, colors in 0usize..6,
        input in (side(120), side(120)), seed: u32,
    ) {
        let colorimetry = colorimetries().nth(colors).unwrap();
        let picture = picture(format, size, pad, colorimetry, noise(seed));
        let (cpu, kernel) = both(&picture, input);
        let mut levels = Levels::default();
        levels.compare(&cpu, &kernel);
        prop_assert!(levels.share_over(if format == PixelFormat::Rgb { 1 } else { 2 }) == 0.0, "{}", levels);
    }

    #[test]
    fn a_flat_picture_stays_flat(
        size in (side(90), side(90)), input in (side(90), side(90)), pad in 0usize..9, value: [u8; 3],
    ) {
        let flat = picture(PixelFormat::Rgb, size, pad, Colorimetry::default(), |_, x, _| value[x % 3]);
        let mut target = vec![99; (input.0 * input.1 * 3) as usize];
        let fit = host::letterbox(&[&flat], input, &mut target).unwrap()[0];
        for (at, pixel) in target.chunks(3).enumerate() {
            let (x, y) = (at as u32 % input.0, at as u32 / input.0);
            let expected = if x < fit.width && y < fit.height { value } else { [0; 3] };
            prop_assert_eq!(pixel, expected, "at {}, {}", x, y);
        }
    }
}

#[test]
fn colours_are_those_of_the_standards() {
    // Red, green, blue, white and black as Y, Cb, Cr of each standard in limited range.
    let cases = [
        (ColorMatrix::Bt601, [[81, 90, 240], [145, 54, 34], [41, 240, 110]]),
        (ColorMatrix::Bt709, [[63, 102, 240], [173, 42, 26], [32, 240, 118]]),
        (ColorMatrix::Bt2020, [[74, 97, 240], [164, 47, 25], [29, 240, 119]]),
    ];
    let rgb = [[255u8, 0, 0], [0, 255, 0], [0, 0, 255]];
    for (matrix, primaries) in cases {
        let colorimetry = Colorimetry { matrix, full_range: false };
        let greys = [([235, 128, 128], [255u8; 3]), ([16, 128, 128], [0; 3]), ([0, 128, 128], [0; 3])];
        for (yuv, expected) in primaries.into_iter().zip(rgb).chain(greys) {
            let flat = picture(PixelFormat::I420, (6, 4), 3, colorimetry, |plane, _, _| yuv[plane]);
            let mut target = [99; 3];
            host::letterbox(&[&flat], (1, 1), &mut target).unwrap();
            let off = target.iter().zip(expected).map(|(&got, want)| got.abs_diff(want)).max().unwrap();
            assert!(off <= 3, "{matrix:?} {yuv:?}: {target:?} for {expected:?}");
        }
    }
}

#[test]
fn each_picture_of_a_batch_lies_at_its_place() {
    let input = (40, 30);
    let colorimetry = Colorimetry { matrix: ColorMatrix::Bt709, full_range: true };
    let pictures = [
        picture(PixelFormat::Nv12, (97, 33), 5, colorimetry, noise(1)),
        picture(PixelFormat::Rgb, (11, 64), 0, colorimetry, noise(2)),
        picture(PixelFormat::I420, (40, 30), 1, Colorimetry::default(), noise(3)),
    ];
    let size = (input.0 * input.1 * 3) as usize;
    let mut batch = vec![99; pictures.len() * size];
    host::letterbox(&pictures.each_ref(), input, &mut batch).unwrap();
    for (picture, place) in pictures.iter().zip(batch.chunks(size)) {
        let mut alone = vec![7; size];
        host::letterbox(&[picture], input, &mut alone).unwrap();
        assert!(alone == place, "{picture:?}");
    }
}

#[test]
fn the_longest_sides_do_not_overflow() {
    for format in [PixelFormat::I420, PixelFormat::Nv12, PixelFormat::Rgb] {
        for size in [(MAX_SIDE, 1), (1, MAX_SIDE), (MAX_SIDE, 3)] {
            for input in [(64, 64), (MAX_SIDE, 2), (2, MAX_SIDE), (MAX_SIDE - 1, 1)] {
                let long = picture(format, size, 0, Colorimetry::default(), noise(4));
                let (cpu, kernel) = both(&long, input);
                let mut levels = Levels::default();
                levels.compare(&cpu, &kernel);
                assert!(levels.share_over(2) == 0.0, "{long:?} to {input:?}: {levels}");
            }
        }
    }
}

#[test]
fn pictures_that_are_too_long_are_refused() {
    let long = picture(PixelFormat::Rgb, (MAX_SIDE + 1, 1), 0, Colorimetry::default(), noise(5));
    let refusal = host::letterbox(&[&long], (8, 8), &mut [0; 192]).unwrap_err().to_string();
    assert!(refusal.contains("32768x1 Rgb") && refusal.contains("preprocess = \"cpu\""), "{refusal}");
}
