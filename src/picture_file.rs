//! Pictures in files and requests: JPEG, PNG and WebP bytes to pixels, within limits.
//!
//! The bytes are foreign: sizes are read from the header and refused before anything is allocated.

use std::io::Cursor;

use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};

use crate::frame::Picture;

/// The largest picture that is decoded, in pixels: 50 megapixels, about 150 MB of RGB.
pub const MAX_PIXELS: u64 = 50_000_000;

/// What a file may make a decoder hold beside the pixels, in bytes: colour profiles and texts come compressed too.
const MAX_EXTRAS: u64 = 32 << 20;

/// Why bytes did not become a picture.
#[derive(Debug, thiserror::Error)]
pub enum PictureError {
    /// Nothing was sent.
    #[error("the picture is empty (0 bytes)")]
    Empty,
    /// The bytes are of no format known here.
    #[error("the bytes are not a JPEG, PNG or WebP picture")]
    UnknownFormat,
    /// The header says it is too large.
    #[error("the picture is {width}x{height} pixels; the limit is {} megapixels, shrink it first", MAX_PIXELS / 1_000_000)]
    TooLarge {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
    /// It is damaged.
    #[error("the picture cannot be decoded: {0}")]
    Broken(String),
}

/// Decodes one picture to RGB, turned upright as its EXIF data says.
///
/// # Errors
/// See [`PictureError`].
pub fn decode(bytes: &[u8]) -> Result<Picture, PictureError> {
    let (width, height, rgb) = decode_rgb(bytes)?;
    Picture::rgb(width, height, rgb).map_err(|error| PictureError::Broken(error.to_string()))
}

fn decode_rgb(bytes: &[u8]) -> Result<(u32, u32, Vec<u8>), PictureError> {
    if bytes.is_empty() {
        return Err(PictureError::Empty);
    }
    let broken = |error: image::ImageError| PictureError::Broken(error.to_string());
    let format = image::guess_format(bytes).map_err(|_| PictureError::UnknownFormat)?;
    if !matches!(format, ImageFormat::Jpeg | ImageFormat::Png | ImageFormat::WebP) {
        return Err(PictureError::UnknownFormat);
    }
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_EXTRAS);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(broken)?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(PictureError::TooLarge { width, height });
    }
    let orientation = decoder.orientation().map_err(broken)?;
    let picture = DynamicImage::from_decoder(decoder).map_err(broken)?;
    // To RGB before it is turned: turning takes a second copy, and a pixel may have had eight bytes.
    let mut picture = DynamicImage::ImageRgb8(picture.into_rgb8());
    picture.apply_orientation(orientation);
    Ok((picture.width(), picture.height(), picture.into_rgb8().into_raw()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn png(width: u32, height: u32) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        DynamicImage::new_luma8(width, height).write_to(&mut bytes, ImageFormat::Png).unwrap();
        bytes.into_inner()
    }

    #[test]
    fn grey_pictures_become_rgb() {
        let picture = decode(&png(3, 2)).unwrap();
        assert_eq!((picture.width, picture.height, picture.plane(0).len()), (3, 2, 18));
    }

    #[test]
    fn bad_pictures_are_told_apart() {
        assert!(matches!(decode(b""), Err(PictureError::Empty)));
        assert!(matches!(decode(b"GIF89a-and-more"), Err(PictureError::UnknownFormat)));
        assert!(matches!(decode(b"hello"), Err(PictureError::UnknownFormat)));
        let whole = png(64, 64);
        assert!(matches!(decode(&whole[..whole.len() / 2]), Err(PictureError::Broken(_))));
    }

    #[test]
    fn a_hundred_megapixels_are_refused_by_the_header() {
        let error = decode(&png(10_000, 10_000)).unwrap_err();
        assert!(matches!(error, PictureError::TooLarge { width: 10_000, height: 10_000 }));
        assert!(error.to_string().contains("50 megapixels"));
    }
}
