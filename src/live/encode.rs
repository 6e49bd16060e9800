//! From a frame to a JPEG: scaled, drawn on if wanted, encoded.

use bytes::Bytes;
use turbojpeg::{Compressor, Image, PixelFormat, Subsamp};

use super::Offer;
use crate::annotate;
use crate::detection::Detection;
use crate::frame::Picture;
use crate::letterbox::{PreprocessError, Preprocessor};
use crate::view::Side;

/// A picture could not be made.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// Its pixels are refused.
    #[error("it cannot be scaled: {0}")]
    Scale(#[from] PreprocessError),
    /// OpenCV refuses.
    #[error("boxes cannot be drawn on it: {0}")]
    Draw(#[from] opencv::Error),
    /// libjpeg-turbo refuses.
    #[error("it cannot be encoded: {0}")]
    Jpeg(#[from] turbojpeg::Error),
    /// A fault of ours.
    #[error("the encoder panicked, which is a fault in centerx; please report it")]
    Panicked,
}

/// A JPEG and its size in pixels.
#[derive(Debug)]
#[expect(missing_docs)]
pub struct Jpeg {
    pub bytes: Bytes,
    pub width: u32,
    pub height: u32,
}

/// What is drawn on a picture.
#[derive(Clone, Copy)]
pub struct Marks<'a> {
    /// In pixels of the frame.
    pub detections: &'a [Detection],
    /// Pairs of landmarks, by index, between which a line is drawn.
    pub skeleton: &'a [[u32; 2]],
}

/// Makes pictures, one at a time. Holds weights and memory between them.
pub struct Encoder {
    preprocessor: Preprocessor,
    compressor: Compressor,
    rgb: Vec<u8>,
}

impl Encoder {
    /// An encoder of JPEGs of this quality, 1 to 100.
    ///
    /// # Errors
    /// No memory for it.
    pub fn new(quality: u8) -> turbojpeg::Result<Self> {
        let mut compressor = Compressor::new()?;
        compressor.set_quality(i32::from(quality))?;
        // Video has no more colour than that.
        compressor.set_subsamp(Subsamp::Sub2x2)?;
        Ok(Self { preprocessor: Preprocessor::default(), compressor, rgb: Vec::new() })
    }

    /// Makes the picture of a frame that was offered.
    ///
    /// # Errors
    /// As [`Encoder::picture`].
    pub(super) fn encode(&mut self, offer: &Offer, side: Side, boxes: bool) -> Result<Jpeg, EncodeError> {
        let marks = Marks { detections: &offer.found.detections, skeleton: &offer.skeleton };
        self.picture(&offer.picture, side, boxes.then_some(marks))
    }

    /// Scales a picture, draws on it if something is to be drawn, and encodes it.
    ///
    /// # Errors
    /// A frame that is no picture.
    pub fn picture(
        &mut self,
        picture: &Picture,
        side: Side,
        marks: Option<Marks<'_>>,
    ) -> Result<Jpeg, EncodeError> {
        let (width, height) = side.fit((picture.width, picture.height));
        self.rgb.resize(width as usize * height as usize * 3, 0);
        let fit = self.preprocessor.scale(picture, (width, height), &mut self.rgb)?;
        if let Some(Marks { detections, skeleton }) = marks {
            let mut found = detections.to_vec();
            found.iter_mut().for_each(|found| annotate::place(found, fit));
            annotate::draw(&mut self.rgb, (width, height), &found, skeleton)?;
        }
        let image = Image {
            pixels: self.rgb.as_slice(),
            width: width as usize,
            pitch: width as usize * 3,
            height: height as usize,
            format: PixelFormat::RGB,
        };
        Ok(Jpeg { bytes: self.compressor.compress_to_vec(image)?.into(), width, height })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::detection::BoundingBox;
    use crate::frame::{ColorMatrix, Colorimetry, PixelFormat as Pixels, PlaneData};
    use crate::live::tests::published;

    fn encoder() -> Encoder {
        Encoder::new(90).unwrap()
    }

    fn offer(picture: Picture, detections: Vec<Detection>) -> Offer {
        let found = published("yard", 1, (picture.width, picture.height), detections);
        Offer { picture: Arc::new(picture), found, skeleton: [].into(), age: Duration::ZERO }
    }

    fn decoded(jpeg: &Jpeg) -> image::RgbImage {
        let decoded = image::load_from_memory(&jpeg.bytes).unwrap().into_rgb8();
        assert_eq!(decoded.dimensions(), (jpeg.width, jpeg.height));
        decoded
    }

    #[test]
    fn pictures_shrink_to_the_side_and_keep_their_colours() {
        let left_red: Vec<u8> = (0..800 * 400)
            .flat_map(|at| if at % 800 < 400 { [200, 30, 40] } else { [20, 60, 220] })
            .collect();
        let offer = offer(Picture::rgb(800, 400, left_red).unwrap(), Vec::new());
        let picture = decoded(&encoder().encode(&offer, Side::at_least(320), false).unwrap());
        assert_eq!(picture.dimensions(), (320, 160));
        for (x, color) in [(80, [200, 30, 40]), (240, [20, 60, 220])] {
            let near = picture.get_pixel(x, 80).0.iter().zip(color).all(|(a, b)| a.abs_diff(b) < 6);
            assert!(near, "{:?} at {x}", picture.get_pixel(x, 80));
        }
        let whole = encoder().encode(&offer, Side::at_least(1920), false).unwrap();
        assert_eq!((whole.width, whole.height), (800, 400), "never larger than the frame");
    }

    struct Planes([Vec<u8>; 3]);

    impl PlaneData for Planes {
        fn plane(&self, index: usize) -> &[u8] {
            &self.0[index]
        }
    }

    /// Video is not what a JPEG takes its planes for: it spans 16 to 235, and HD has a matrix of its own.
    #[test]
    fn video_of_either_matrix_becomes_the_colour_that_it_means() {
        for (matrix, yuv) in [(ColorMatrix::Bt601, [81, 90, 240]), (ColorMatrix::Bt709, [63, 102, 240])] {
            let planes = Planes([vec![yuv[0]; 64 * 64], vec![yuv[1]; 32 * 32], vec![yuv[2]; 32 * 32]]);
            let colors = Colorimetry { matrix, full_range: false };
            let picture =
                Picture::new(Pixels::I420, (64, 64), [64, 32, 32], colors, Box::new(planes)).unwrap();
            let jpeg = encoder().encode(&offer(picture, Vec::new()), Side::DEFAULT, false).unwrap();
            let [r, g, b] = decoded(&jpeg).get_pixel(32, 32).0;
            assert!(r > 245 && g < 12 && b < 12, "{matrix:?}: red is {r}, {g}, {b}");
        }
    }

    #[test]
    fn boxes_are_drawn_where_the_frame_lies_in_the_picture() {
        let bbox = BoundingBox { x1: 200.0, y1: 200.0, x2: 600.0, y2: 700.0 };
        let found = Detection { bbox, score: 0.9, class_id: 0, label: "x".into(), landmarks: Vec::new() };
        let grey = Picture::rgb(1280, 960, vec![100; 1280 * 960 * 3]).unwrap();
        let offer = offer(grey, vec![found]);
        let plain = decoded(&encoder().encode(&offer, Side::at_least(640), false).unwrap());
        assert!(plain.pixels().all(|pixel| pixel.0.iter().all(|v| v.abs_diff(100) < 4)));
        let drawn = decoded(&encoder().encode(&offer, Side::at_least(640), true).unwrap());
        let differs = |x, y| drawn.get_pixel(x, y).0.iter().any(|v| v.abs_diff(100) > 40);
        assert!(
            differs(100, 250) && differs(299, 250) && differs(200, 349),
            "the edges, at half their place"
        );
        assert!(!differs(200, 250), "the inside");
    }
}
