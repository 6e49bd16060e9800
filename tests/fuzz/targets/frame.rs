//! Clients' raw frames of any description: refused, or fitted into a network's input without reading beyond them.
#![no_main]

use centerx::api::{fuzzing, v1};
use centerx::letterbox::Preprocessor;

const INPUT: (u32, u32) = (64, 48);

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let &[format, matrix, width_low, width_high, height, first, second, third, short, ref pixels @ ..] =
        bytes
    else {
        return;
    };
    let width = u32::from(width_low) | u32::from(width_high & 7) << 8;
    let height = u32::from(height);
    let (even_width, even_height) = (width.div_ceil(2), height.div_ceil(2));
    // Rows and their bytes, as the format says, and gaps as the input says.
    let planes = match format % 4 {
        1 => vec![(width * 3, height)],
        2 => vec![(width, height), (even_width * 2, even_height)],
        _ => vec![(width, height), (even_width, even_height), (even_width, even_height)],
    };
    let gaps = [first, second, third];
    let strides: Vec<u32> = planes.iter().zip(gaps).map(|((row, _), gap)| row + u32::from(gap)).collect();
    let size: u32 = planes.iter().zip(&strides).map(|((_, rows), stride)| rows * stride).sum();
    let size = (size as usize).saturating_sub(if short % 8 == 0 { usize::from(short) } else { 0 });
    let raw = v1::RawPicture {
        format: (format % 5).into(),
        width,
        height,
        data: pixels.iter().copied().chain(std::iter::once(128)).cycle().take(size).collect(),
        strides: if gaps == [0; 3] { Vec::new() } else { strides },
        color_matrix: (matrix % 5).into(),
        full_range: matrix >= 128,
    };
    if let Ok(picture) = fuzzing::frame(raw) {
        let mut rgb = vec![0; (INPUT.0 * INPUT.1 * 3) as usize];
        Preprocessor::default()
            .letterbox(&picture, INPUT, &mut rgb)
            .expect("what is accepted can be looked at");
    }
});
