//! A picture of what the network says beside what it should say.

use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use centerx::annotate;
use centerx::detection::Detection;
use image::codecs::jpeg::JpegEncoder;
use image::imageops::{FilterType, replace, resize};
use image::{ImageBuffer, Luma, Rgb, RgbImage};

use super::decode::decode;
use crate::maps::Maps;
use crate::nn::STRIDE;

/// The longer side of each picture in the sheet, in pixels, at most.
const SIDE: u32 = 400;
/// Pixels between pictures.
const GAP: u32 = 6;
/// The least score that is drawn.
const MIN_SCORE: f32 = 0.3;
/// Boxes a picture at most; early in training there are many.
const TOP_K: usize = 50;
const QUALITY: u8 = 90;

/// The preview cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum PreviewError {
    /// There is nothing to show.
    #[error("there is no sample for the preview: give at least one picture to evaluate on")]
    Empty,
    /// A fault of the caller.
    #[error("sample {index} of the preview has {bytes} bytes, which are not {width}x{height} RGB pixels")]
    Pixels {
        /// Counted from 0.
        index: usize,
        /// How many there are.
        bytes: usize,
        /// Width it should have.
        width: u32,
        /// Height it should have.
        height: u32,
    },
    /// OpenCV or the encoder refuses.
    #[error("the preview cannot be drawn: {0}")]
    Draw(String),
    /// The file system refuses, or is full.
    #[error("{}: {cause}; is there space left, and may this user write there?", path.display())]
    File {
        /// The preview.
        path: PathBuf,
        /// What the system says.
        cause: std::io::Error,
    },
}

/// An input of the network, what it says of it and what it should say.
#[derive(Clone, Copy, Debug)]
pub struct PreviewItem<'a> {
    /// RGB, uint8 `[H, W, 3]`, as the network gets it before it is normalised.
    pub pixels: &'a [u8],
    /// Width and height in pixels.
    pub size: (u32, u32),
    /// What it says; scores after the sigmoid.
    pub predictions: &'a Maps,
    /// What it should say, where that is known.
    pub targets: Option<&'a Maps>,
}

/// Writes a JPEG with a row for each sample; it appears whole or not at all.
///
/// From left to right: predicted boxes with their scores, predicted scores (the greatest of all classes, from blue to
/// red); then the same of the targets, where there are any. `names` are the classes'.
///
/// # Errors
/// See [`PreviewError`].
pub fn preview(samples: &[PreviewItem], names: &[Arc<str>], path: &Path) -> Result<(), PreviewError> {
    let sheet = sheet(samples, names)?;
    let mut jpeg = Cursor::new(Vec::new());
    JpegEncoder::new_with_quality(&mut jpeg, QUALITY).encode_image(&sheet).map_err(drawing)?;
    centerx::model::write(path, jpeg.get_ref())
        .map_err(|cause| PreviewError::File { path: path.to_owned(), cause })
}

fn drawing(error: impl std::fmt::Display) -> PreviewError {
    PreviewError::Draw(error.to_string())
}

fn sheet(samples: &[PreviewItem], names: &[Arc<str>]) -> Result<RgbImage, PreviewError> {
    let rows = samples.iter().enumerate().map(|(index, sample)| row(index, sample, names));
    let rows = rows.collect::<Result<Vec<_>, _>>()?;
    let width_of = |row: &Vec<RgbImage>| row.iter().map(|panel| panel.width() + GAP).sum::<u32>();
    let height_of = |row: &Vec<RgbImage>| row.first().map_or(0, |panel| panel.height() + GAP);
    let width = rows.iter().map(width_of).max().ok_or(PreviewError::Empty)?;
    let mut sheet =
        RgbImage::from_pixel(width - GAP, rows.iter().map(height_of).sum::<u32>() - GAP, Rgb([255; 3]));
    let mut top = 0;
    for row in &rows {
        let mut left = 0;
        for panel in row {
            replace(&mut sheet, panel, i64::from(left), i64::from(top));
            left += panel.width() + GAP;
        }
        top += height_of(row);
    }
    Ok(sheet)
}

/// The pictures of one sample, all of one size.
fn row(index: usize, sample: &PreviewItem, names: &[Arc<str>]) -> Result<Vec<RgbImage>, PreviewError> {
    let (width, height) = sample.size;
    let picture = RgbImage::from_raw(width, height, sample.pixels.to_vec()).filter(|_| width * height > 0);
    let bytes = sample.pixels.len();
    let picture = picture.ok_or(PreviewError::Pixels { index, bytes, width, height })?;
    let scale = (SIDE as f32 / width.max(height) as f32).min(1.0);
    let [w, h] = [width, height].map(|side| ((side as f32 * scale).round() as u32).max(1));
    let picture = resize(&picture, w, h, FilterType::Triangle);
    let mut row = Vec::new();
    for maps in [Some(sample.predictions), sample.targets].into_iter().flatten() {
        row.push(boxes(&picture, maps, scale, names)?);
        row.push(heat(&picture, maps));
    }
    Ok(row)
}

fn boxes(picture: &RgbImage, maps: &Maps, scale: f32, names: &[Arc<str>]) -> Result<RgbImage, PreviewError> {
    let found: Vec<_> = decode(maps, STRIDE, MIN_SCORE, TOP_K)
        .into_iter()
        .map(|(class, score, mut bbox)| {
            for side in [&mut bbox.x1, &mut bbox.y1, &mut bbox.x2, &mut bbox.y2] {
                *side *= scale;
            }
            let bbox = bbox.clip(picture.width() as f32, picture.height() as f32);
            let label = names.get(class).cloned().unwrap_or_else(|| class.to_string().into());
            Detection { bbox, score, class_id: class as u32, label, landmarks: Vec::new() }
        })
        .collect();
    let mut drawn = picture.clone();
    annotate::draw(drawn.as_mut(), picture.dimensions(), &found, &[]).map_err(drawing)?;
    Ok(drawn)
}

/// The greatest score of each cell, laid over the picture.
fn heat(picture: &RgbImage, maps: &Maps) -> RgbImage {
    let cells = maps.height * maps.width;
    let greatest =
        |cell: usize| (0..maps.classes).map(|class| maps.heat[class * cells + cell]).fold(0.0, f32::max);
    let greatest = (0..cells).map(greatest).collect();
    let scores =
        ImageBuffer::<Luma<f32>, Vec<f32>>::from_raw(maps.width as u32, maps.height as u32, greatest);
    let Some(scores) = scores.filter(|_| cells > 0) else { return picture.clone() };
    let scores = resize(&scores, picture.width(), picture.height(), FilterType::Triangle);
    let mut drawn = picture.clone();
    for (pixel, score) in drawn.pixels_mut().zip(scores.pixels()) {
        pixel.0 = overlaid(pixel.0, score.0[0].clamp(0.0, 1.0));
    }
    drawn
}

/// Grey, and the more of the score's colour the higher it is.
fn overlaid(rgb: [u8; 3], score: f32) -> [u8; 3] {
    let grey = rgb.iter().map(|&v| f32::from(v)).sum::<f32>() / 6.0;
    // Blue, cyan, green, yellow, red, each over half of its neighbours.
    let color = [3.0f32, 2.0, 1.0].map(|centre| (1.5 - (3.5 * score - centre).abs()).clamp(0.0, 1.0) * 255.0);
    let part = score.sqrt() * 0.85;
    color.map(|channel| (grey * (1.0 - part) + channel * part).round() as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An object of class 1 in the middle of 96 x 64 pixels, 32 pixels wide and 16 high.
    fn maps() -> Maps {
        let mut maps = Maps::empty(2, 16, 24);
        let cell = 8 * 24 + 12;
        maps.heat[16 * 24 + cell] = 0.9;
        (maps.size[cell], maps.size[16 * 24 + cell]) = (8.0, 4.0);
        maps
    }

    fn names() -> [Arc<str>; 2] {
        ["person".into(), "face".into()]
    }

    #[test]
    fn a_row_has_boxes_and_scores_of_both() {
        let (pixels, maps, empty) = (vec![0; 96 * 64 * 3], maps(), Maps::empty(2, 16, 24));
        let sample =
            PreviewItem { pixels: &pixels, size: (96, 64), predictions: &maps, targets: Some(&empty) };
        let sheet = sheet(&[sample; 2], &names()).unwrap();
        assert_eq!(sheet.dimensions(), (4 * 96 + 3 * GAP, 2 * 64 + GAP));
        let at = |panel: u32, x: u32, y: u32| sheet.get_pixel(panel * (96 + GAP) + x, y).0;
        assert_ne!(at(0, 32, 38), [0; 3], "the left side of the predicted box");
        assert_ne!(at(1, 50, 34), [0; 3], "the predicted peak");
        assert_eq!(at(1, 10, 10), [0; 3], "no score here");
        assert_eq!([at(2, 32, 38), at(3, 50, 34)], [[0; 3]; 2], "the target is empty");
    }

    #[test]
    fn large_pictures_shrink_and_their_boxes_with_them() {
        let pixels = vec![0; 960 * 640 * 3];
        let mut maps = Maps::empty(1, 160, 240);
        let cell = 80 * 240 + 120;
        maps.heat[cell] = 1.0;
        (maps.size[cell], maps.size[160 * 240 + cell]) = (120.0, 80.0);
        let sample = PreviewItem { pixels: &pixels, size: (960, 640), predictions: &maps, targets: None };
        let sheet = sheet(&[sample], &names()).unwrap();
        assert_eq!(sheet.dimensions(), (2 * 400 + GAP, 267));
        assert_ne!(sheet.get_pixel(100, 140).0, [0; 3], "the left side at 240 of 960");
    }

    #[test]
    fn a_preview_is_a_jpeg() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("epoch.jpg");
        let (pixels, maps) = (vec![90; 96 * 64 * 3], maps());
        let sample = PreviewItem { pixels: &pixels, size: (96, 64), predictions: &maps, targets: None };
        preview(&[sample], &names(), &path).unwrap();
        let picture = centerx::picture_file::decode(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!((picture.width, picture.height), (2 * 96 + GAP, 64));
    }

    #[test]
    fn what_cannot_be_shown_is_told() {
        assert!(matches!(sheet(&[], &names()), Err(PreviewError::Empty)));
        let maps = maps();
        for (bytes, size) in [(10, (96, 64)), (0, (0, 0))] {
            let sample = PreviewItem { pixels: &vec![0; bytes], size, predictions: &maps, targets: None };
            let error = sheet(&[sample], &names()).unwrap_err();
            assert!(error.to_string().contains(&format!("{bytes} bytes")), "{error}");
        }
    }

    #[test]
    fn colours_go_from_grey_to_red() {
        assert_eq!(overlaid([100; 3], 0.0), [50; 3]);
        let [red, green, blue] = overlaid([0; 3], 1.0);
        assert!(red > 200 && green == 0 && blue == 0, "{red} {green} {blue}");
        let [red, green, blue] = overlaid([0; 3], 0.25);
        assert!(blue > 100 && blue > red, "{red} {green} {blue}");
    }
}
