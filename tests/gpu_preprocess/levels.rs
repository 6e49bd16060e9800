//! How far the kernel is from the CPU path, in levels of a byte.

use std::fmt;

use centerx::engine::tensorrt::preprocess::host;
use centerx::frame::{ColorMatrix, Colorimetry, Picture, PixelFormat, PlaneData};
use centerx::letterbox::Preprocessor;

/// Planes in memory of their own, none longer than it has to be.
pub struct Planes(pub Vec<Vec<u8>>);

impl PlaneData for Planes {
    fn plane(&self, index: usize) -> &[u8] {
        &self.0[index]
    }
}

/// A picture whose plane `index` has `byte(index, column, row)` in its pixels and 255 in what lies between rows
/// that are `pad` bytes longer than they need to be.
pub fn picture(
    format: PixelFormat,
    size: (u32, u32),
    pad: usize,
    colorimetry: Colorimetry,
    byte: impl Fn(usize, usize, usize) -> u8,
) -> Picture {
    let mut strides = [0; 3];
    let mut planes = Vec::new();
    for (index, (row_bytes, rows)) in format.plane_sizes(size).into_iter().enumerate() {
        let stride = row_bytes + pad;
        let mut plane = vec![255; stride * (rows - 1) + row_bytes];
        for (y, row) in plane.chunks_mut(stride).enumerate() {
            row[..row_bytes].iter_mut().enumerate().for_each(|(x, value)| *value = byte(index, x, y));
        }
        strides[index] = stride;
        planes.push(plane);
    }
    Picture::new(format, size, strides, colorimetry, Box::new(Planes(planes))).unwrap()
}

/// All six ways to read luma and chroma.
pub fn colorimetries() -> impl Iterator<Item = Colorimetry> {
    [ColorMatrix::Bt601, ColorMatrix::Bt709, ColorMatrix::Bt2020]
        .into_iter()
        .flat_map(|matrix| [false, true].map(|full_range| Colorimetry { matrix, full_range }))
}

/// What both paths make of a picture, memory filled with something else before.
pub fn both(picture: &Picture, input: (u32, u32)) -> (Vec<u8>, Vec<u8>) {
    let mut cpu = vec![7; (input.0 * input.1 * 3) as usize];
    let mut kernel = vec![99; cpu.len()];
    let expected = Preprocessor::default().letterbox(picture, input, &mut cpu).unwrap();
    let fits = host::letterbox(&[picture], input, &mut kernel).unwrap();
    assert_eq!(fits, [expected], "{picture:?}");
    (cpu, kernel)
}

/// Pixels by how far the worst of their three bytes is off.
#[derive(Clone, Default)]
pub struct Levels {
    /// Index 3 counts what is 3 levels off or more.
    counts: [u64; 4],
}

impl Levels {
    /// Compares two pictures of three bytes a pixel.
    pub fn compare(&mut self, one: &[u8], other: &[u8]) {
        assert_eq!(one.len(), other.len());
        for (a, b) in one.chunks_exact(3).zip(other.chunks_exact(3)) {
            let off = a.iter().zip(b).map(|(&a, &b)| a.abs_diff(b)).max().unwrap();
            self.counts[usize::from(off).min(3)] += 1;
        }
    }

    /// Adds another's pixels to these.
    pub fn add(&mut self, other: &Self) {
        self.counts.iter_mut().zip(other.counts).for_each(|(count, more)| *count += more);
    }

    /// The share of pixels that are more than so many levels off, 0..=1.
    pub fn share_over(&self, levels: usize) -> f64 {
        let total: u64 = self.counts.iter().sum();
        assert!(total > 0, "nothing was compared");
        self.counts[levels + 1..].iter().sum::<u64>() as f64 / total as f64
    }
}

impl fmt::Display for Levels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total: u64 = self.counts.iter().sum();
        for (name, count) in ["0", "1", "2", "3+"].iter().zip(self.counts) {
            write!(f, "{name}: {:.4} %  ", 100.0 * count as f64 / total as f64)?;
        }
        write!(f, "of {total} pixels")
    }
}
