//! From a decoded picture to RGB of another size: network input, letterboxed straight into the batch's memory, and
//! pictures for people.
//!
//! The letterbox is centerX's: scale by `min(W/w, H/h)`, picture at the top left, zeros at the right and
//! bottom, area interpolation when shrinking. Planes are resized before the colour conversion, chroma straight
//! to the size of the input, so that a YUV picture costs less than its RGB would and loses no colour twice.
//!
//! No clock, no I/O.

pub mod resize;

use std::collections::HashMap;

use yuv::{YuvBiPlanarImage, YuvConversionMode, YuvPlanarImage, YuvRange, YuvStandardMatrix};

use crate::detection::BoundingBox;
use crate::frame::{ColorMatrix, Picture, PixelFormat};
use resize::{Grow, Resizer, Rows, Scratch};

/// A picture could not be brought into the input's form.
#[derive(Debug, thiserror::Error)]
#[error("a {picture} cannot be converted: {cause}")]
pub struct PreprocessError {
    picture: String,
    cause: String,
}

/// How a picture lies in the network's input, and the way back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Letterbox {
    /// Width of the scaled picture in input pixels.
    pub width: u32,
    /// Height of the scaled picture in input pixels.
    pub height: u32,
    source: (u32, u32),
}

impl Letterbox {
    /// Fits a `source` (width, height) picture into an `input` (width, height).
    pub fn fit(source: (u32, u32), input: (u32, u32)) -> Self {
        let scale = (f64::from(input.0) / f64::from(source.0)).min(f64::from(input.1) / f64::from(source.1));
        let side = |length: u32, limit: u32| ((f64::from(length) * scale).round() as u32).clamp(1, limit);
        Self { width: side(source.0, input.0), height: side(source.1, input.1), source }
    }

    /// A `source` (width, height) picture that fills a `target` (width, height).
    pub fn fill(source: (u32, u32), target: (u32, u32)) -> Self {
        Self { width: target.0, height: target.1, source }
    }

    /// Takes a box in pixels of the source picture to input pixels.
    pub fn map(&self, bbox: BoundingBox) -> BoundingBox {
        let (sx, sy) = (self.width as f32 / self.source.0 as f32, self.height as f32 / self.source.1 as f32);
        BoundingBox { x1: bbox.x1 * sx, y1: bbox.y1 * sy, x2: bbox.x2 * sx, y2: bbox.y2 * sy }
    }

    /// Takes a box in input pixels back to pixels of the source picture, clipped to it.
    pub fn unmap(&self, bbox: BoundingBox) -> BoundingBox {
        let (w, h) = (self.source.0 as f32, self.source.1 as f32);
        let (sx, sy) = (w / self.width as f32, h / self.height as f32);
        BoundingBox { x1: bbox.x1 * sx, y1: bbox.y1 * sy, x2: bbox.x2 * sx, y2: bbox.y2 * sy }.clip(w, h)
    }

    /// Takes a point in pixels of the source picture to input pixels.
    pub fn map_point(&self, [x, y]: [f32; 2]) -> [f32; 2] {
        let (w, h) = (self.source.0 as f32, self.source.1 as f32);
        [x * self.width as f32 / w, y * self.height as f32 / h]
    }

    /// Takes a point in input pixels back to pixels of the source picture. It may lie outside of that: a
    /// joint of a person who is partly in the picture does.
    pub fn unmap_point(&self, [x, y]: [f32; 2]) -> [f32; 2] {
        let (w, h) = (self.source.0 as f32, self.source.1 as f32);
        [x * w / self.width as f32, y * h / self.height as f32]
    }
}

/// Sizes of pictures and planes whose weights are kept; a server rarely sees so many.
const MAX_RESIZERS: usize = 64;

type Size = (usize, usize);

/// Letterboxes pictures into `[height, width, 3]` RGB. Holds weights and scratch memory between calls.
#[derive(Debug, Default)]
pub struct Preprocessor {
    planes: [Vec<u8>; 3],
    scaler: Scaler,
}

impl Preprocessor {
    /// Writes `picture` into `target`, uint8 `[input.1, input.0, 3]`, and tells how it lies there.
    ///
    /// # Errors
    /// A picture that the colour conversion refuses.
    pub fn letterbox(
        &mut self,
        picture: &Picture,
        input: (u32, u32),
        target: &mut [u8],
    ) -> Result<Letterbox, PreprocessError> {
        let fit = Letterbox::fit((picture.width, picture.height), input);
        debug_assert_eq!(target.len(), input.0 as usize * input.1 as usize * 3);
        self.convert(picture, fit, input, target)
            .map_err(|cause| PreprocessError { picture: format!("{picture:?}"), cause })?;
        clear_borders(fit, input, target);
        Ok(fit)
    }

    /// Writes `picture` into `target`, uint8 `[size.1, size.0, 3]`, all of which it fills.
    ///
    /// # Errors
    /// A picture that the colour conversion refuses.
    pub fn scale(
        &mut self,
        picture: &Picture,
        size: (u32, u32),
        target: &mut [u8],
    ) -> Result<Letterbox, PreprocessError> {
        let fit = Letterbox::fill((picture.width, picture.height), size);
        self.convert(picture, fit, size, target)
            .map_err(|cause| PreprocessError { picture: format!("{picture:?}"), cause })?;
        Ok(fit)
    }

    fn convert(
        &mut self,
        picture: &Picture,
        fit: Letterbox,
        input: (u32, u32),
        target: &mut [u8],
    ) -> Result<(), String> {
        let (row_bytes, size) = (input.0 * 3, (fit.width, fit.height));
        match picture.format {
            PixelFormat::Rgb => {
                self.scaler.resize::<3>(picture, 0, size, target, row_bytes as usize);
                return Ok(());
            }
            PixelFormat::I420 => (0..3).for_each(|index| self.resize_plane::<1>(picture, index, size)),
            PixelFormat::Nv12 => {
                self.resize_plane::<1>(picture, 0, size);
                self.resize_plane::<2>(picture, 1, size);
            }
        }
        self.to_rgb(picture, size, target, row_bytes)
    }

    fn resize_plane<const C: usize>(&mut self, picture: &Picture, index: usize, size: (u32, u32)) {
        let (row_bytes, plane) = (size.0 as usize * C, &mut self.planes[index]);
        plane.resize(row_bytes * size.1 as usize, 0);
        self.scaler.resize::<C>(picture, index, size, plane, row_bytes);
    }

    /// Converts the resized planes, chroma at the size of luma.
    fn to_rgb(
        &self,
        picture: &Picture,
        (width, height): (u32, u32),
        target: &mut [u8],
        row_bytes: u32,
    ) -> Result<(), String> {
        let range = if picture.colorimetry.full_range { YuvRange::Full } else { YuvRange::Limited };
        let matrix = match picture.colorimetry.matrix {
            ColorMatrix::Bt601 => YuvStandardMatrix::Bt601,
            ColorMatrix::Bt709 => YuvStandardMatrix::Bt709,
            ColorMatrix::Bt2020 => YuvStandardMatrix::Bt2020,
        };
        let target = &mut target[..(row_bytes * height) as usize];
        let [y_plane, u_plane, v_plane] = self.planes.each_ref().map(Vec::as_slice);
        let done = if picture.format == PixelFormat::Nv12 {
            let (y_stride, uv_stride) = (width, 2 * width);
            let image = YuvBiPlanarImage { y_plane, y_stride, uv_plane: u_plane, uv_stride, width, height };
            yuv::yuv_nv24_to_rgb(&image, target, row_bytes, range, matrix, YuvConversionMode::Balanced)
        } else {
            let [y_stride, u_stride, v_stride] = [width; 3];
            let image =
                YuvPlanarImage { y_plane, y_stride, u_plane, u_stride, v_plane, v_stride, width, height };
            yuv::yuv444_to_rgb(&image, target, row_bytes, range, matrix)
        };
        done.map_err(|error| error.to_string())
    }
}

/// Resizers by the sizes they take and give.
#[derive(Debug, Default)]
struct Scaler {
    resizers: HashMap<(Size, Size, Grow), Resizer>,
    scratch: Scratch,
}

impl Scaler {
    /// Resizes one plane of `C` interleaved bytes a pixel into `target`, rows `stride` bytes apart.
    fn resize<const C: usize>(
        &mut self,
        picture: &Picture,
        index: usize,
        (width, height): (u32, u32),
        target: &mut [u8],
        stride: usize,
    ) {
        let (row_bytes, rows) = picture.plane_sizes()[index];
        let (source, size) = ((row_bytes / C, rows), (width as usize, height as usize));
        let key = (source, size, if index == 0 { Grow::Linear } else { Grow::Area });
        if self.resizers.len() >= MAX_RESIZERS && !self.resizers.contains_key(&key) {
            self.resizers.clear();
        }
        let resizer = self.resizers.entry(key).or_insert_with(|| Resizer::new(key.0, key.1, key.2));
        let plane = Rows { bytes: picture.plane(index), stride: picture.strides[index] };
        resizer.resize::<C>(plane, source.0, target, stride, &mut self.scratch);
    }
}

/// Zeroes what the picture does not cover: memory is reused, and the last picture may have been larger.
fn clear_borders(fit: Letterbox, input: (u32, u32), target: &mut [u8]) {
    let (row, used) = (input.0 as usize * 3, fit.width as usize * 3);
    let (covered, below) = target.split_at_mut(fit.height as usize * row);
    below.fill(0);
    if used < row {
        covered.chunks_exact_mut(row).for_each(|line| line[used..].fill(0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Colorimetry;
    use proptest::prelude::*;

    fn letterbox(picture: &Picture, input: (u32, u32)) -> (Letterbox, Vec<u8>) {
        let mut target = vec![7; (input.0 * input.1 * 3) as usize];
        let fit = Preprocessor::default().letterbox(picture, input, &mut target).unwrap();
        (fit, target)
    }

    #[test]
    fn a_wide_picture_sits_at_the_top_with_zeros_below() {
        let picture = Picture::rgb(8, 4, vec![200; 8 * 4 * 3]).unwrap();
        let (fit, target) = letterbox(&picture, (4, 4));
        assert_eq!((fit.width, fit.height), (4, 2));
        assert!(target[..4 * 2 * 3].iter().all(|&v| v == 200));
        assert!(target[4 * 2 * 3..].iter().all(|&v| v == 0));
    }

    #[test]
    fn a_tall_picture_leaves_zeros_at_the_right() {
        let picture = Picture::rgb(2, 4, vec![9; 24]).unwrap();
        let (fit, target) = letterbox(&picture, (4, 4));
        assert_eq!((fit.width, fit.height), (2, 4));
        assert!(target.chunks(12).all(|row| row[..6] == [9; 6] && row[6..] == [0; 6]));
    }

    #[test]
    fn shrinking_averages_the_area() {
        let row: Vec<u8> = [[0u8; 3], [100; 3], [50; 3], [150; 3]].concat();
        let picture = Picture::rgb(4, 2, [row.clone(), row].concat()).unwrap();
        let (_, target) = letterbox(&picture, (2, 1));
        assert_eq!(target, [50, 50, 50, 100, 100, 100]);
    }

    fn yuv_picture(format: PixelFormat, (w, h): (u32, u32), yuv: [u8; 3], pad: usize) -> Picture {
        let (cw, ch) = (w.div_ceil(2) as usize, h.div_ceil(2) as usize);
        struct Split(Vec<Vec<u8>>);
        impl crate::frame::PlaneData for Split {
            fn plane(&self, index: usize) -> &[u8] {
                &self.0[index]
            }
        }
        let y = vec![yuv[0]; (w as usize + pad) * h as usize - pad];
        let (planes, strides) = match format {
            PixelFormat::Nv12 => {
                let stride = 2 * cw + pad + pad % 2;
                let uv = (0..stride * ch - (stride - 2 * cw)).map(|i| yuv[1 + i % stride % 2]).collect();
                (vec![y, uv], [w as usize + pad, stride, 0])
            }
            _ => {
                let chroma = |v: u8| vec![v; (cw + pad) * ch - pad];
                (vec![y, chroma(yuv[1]), chroma(yuv[2])], [w as usize + pad, cw + pad, cw + pad])
            }
        };
        Picture::new(format, (w, h), strides, Colorimetry::default(), Box::new(Split(planes))).unwrap()
    }

    #[test]
    fn bt601_red_comes_out_red_whatever_the_layout() {
        // Limited-range BT.601 of RGB (255, 0, 0).
        let red = [81, 90, 240];
        for format in [PixelFormat::I420, PixelFormat::Nv12] {
            for (size, pad) in
                [((64, 48), 0), ((64, 48), 13), ((63, 47), 5), ((32, 32), 0), ((32, 32), 7), ((20, 10), 3)]
            {
                let (fit, target) = letterbox(&yuv_picture(format, size, red, pad), (32, 32));
                for row in target.chunks(96).take(fit.height as usize) {
                    for pixel in row.chunks(3).take(fit.width as usize) {
                        assert!(
                            pixel[0] > 250 && pixel[1] < 5 && pixel[2] < 5,
                            "{format:?} {size:?}+{pad}: {pixel:?}"
                        );
                    }
                }
            }
        }
    }

    proptest! {
        #[test]
        fn unmapped_boxes_lie_in_the_source(
            w in 1u32..5000, h in 1u32..5000,
            x1 in -600f32..1100.0, y1 in -600f32..1100.0, bw in 0f32..900.0, bh in 0f32..900.0,
        ) {
            let fit = Letterbox::fit((w, h), (512, 512));
            prop_assert!(fit.width <= 512 && fit.height <= 512 && (fit.width == 512 || fit.height == 512));
            let b = fit.unmap(BoundingBox { x1, y1, x2: x1 + bw, y2: y1 + bh });
            prop_assert!(0.0 <= b.x1 && b.x1 <= b.x2 && b.x2 <= w as f32);
            prop_assert!(0.0 <= b.y1 && b.y1 <= b.y2 && b.y2 <= h as f32);
        }

        #[test]
        fn a_point_mapped_there_and_back_is_where_it_was(
            w in 1u32..5000, h in 1u32..5000, x in -600f32..5600.0, y in -600f32..5600.0,
        ) {
            let fit = Letterbox::fit((w, h), (512, 384));
            let [there_x, there_y] = fit.map_point([x, y]);
            let corner = fit.map(BoundingBox { x1: x, y1: y, x2: x, y2: y });
            prop_assert!((corner.x1 - there_x).abs() < 0.1 && (corner.y1 - there_y).abs() < 0.1);
            let [back_x, back_y] = fit.unmap_point([there_x, there_y]);
            prop_assert!((back_x - x).abs() < 0.01 && (back_y - y).abs() < 0.01);
        }

        #[test]
        fn the_whole_input_maps_to_the_whole_source(w in 1u32..5000, h in 1u32..5000) {
            let fit = Letterbox::fit((w, h), (512, 512));
            let b = fit.unmap(BoundingBox { x1: 0.0, y1: 0.0, x2: fit.width as f32, y2: fit.height as f32 });
            prop_assert!((b.x2 - w as f32).abs() < 0.01 && (b.y2 - h as f32).abs() < 0.01);
        }
    }
}
