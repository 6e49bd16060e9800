//! Clients' frames and the answers to them, from the wire and back.

use prost_types::Timestamp;
use tonic::Status;

use super::backend::Choice;
use super::convert_detections::{check_choice, detect_response};
use super::status::{Violations, invalid};
use super::v1;
use super::v1::detect_stream_response::Outcome;
use crate::detection::PictureDetections;
use crate::frame::{ColorMatrix, Colorimetry, Picture, PixelFormat, PlaneData};
use crate::picture_file::MAX_PIXELS;

/// What to look for in a stream. Every field that is wrong is named.
pub(super) fn choice(options: v1::DetectStreamOptions) -> Result<Choice, Status> {
    let v1::DetectStreamOptions { model, min_score, classes } = options;
    let mut bad = Violations::default();
    check_choice(&mut bad, &classes, min_score);
    bad.into_result()?;
    Ok(Choice { model, min_score, classes })
}

/// The planes of a raw picture, one after the other.
struct Planes {
    bytes: Vec<u8>,
    /// Where each plane begins, and the end.
    marks: [usize; 4],
}

impl PlaneData for Planes {
    fn plane(&self, index: usize) -> &[u8] {
        &self.bytes[self.marks[index]..self.marks[index + 1]]
    }
}

/// A raw picture whose bytes are what its description says.
pub(super) fn raw_picture(raw: v1::RawPicture) -> Result<Picture, Status> {
    let format = pixel_format(raw.format)?;
    let size = (raw.width, raw.height);
    let pixels = u64::from(raw.width) * u64::from(raw.height);
    if pixels == 0 || pixels > MAX_PIXELS {
        let problem =
            format!("{}x{} is not a size of 1 to {} megapixels", size.0, size.1, MAX_PIXELS / 1_000_000);
        return Err(invalid("frame.raw.width", problem));
    }
    let planes = format.plane_sizes(size);
    let strides = strides(&raw.strides, &planes)?;
    let mut marks = [0; 4];
    for index in 0..3 {
        let rows = planes.get(index).map_or(0, |(_, rows)| *rows);
        marks[index + 1] = marks[index] + strides[index] * rows;
    }
    if raw.data.len() != marks[3] {
        let problem = format!(
            "holds {} bytes; a {}x{} {format:?} picture with strides {:?} has {}",
            raw.data.len(),
            size.0,
            size.1,
            &strides[..planes.len()],
            marks[3]
        );
        return Err(invalid("frame.raw.data", problem));
    }
    let colorimetry = Colorimetry { matrix: color_matrix(raw.color_matrix)?, full_range: raw.full_range };
    let planes = Planes { bytes: raw.data, marks };
    Picture::new(format, size, strides, colorimetry, Box::new(planes))
        .map_err(|error| invalid("frame.raw", error.to_string()))
}

fn pixel_format(format: i32) -> Result<PixelFormat, Status> {
    match v1::PixelFormat::try_from(format) {
        Ok(v1::PixelFormat::Rgb) => Ok(PixelFormat::Rgb),
        Ok(v1::PixelFormat::Nv12) => Ok(PixelFormat::Nv12),
        Ok(v1::PixelFormat::I420) => Ok(PixelFormat::I420),
        Ok(v1::PixelFormat::Unspecified) => Err(invalid("frame.raw.format", "is not said")),
        Err(_) => Err(invalid("frame.raw.format", format!("{format} is no PixelFormat"))),
    }
}

fn color_matrix(matrix: i32) -> Result<ColorMatrix, Status> {
    match v1::ColorMatrix::try_from(matrix) {
        Ok(v1::ColorMatrix::Unspecified | v1::ColorMatrix::Bt601) => Ok(ColorMatrix::Bt601),
        Ok(v1::ColorMatrix::Bt709) => Ok(ColorMatrix::Bt709),
        Ok(v1::ColorMatrix::Bt2020) => Ok(ColorMatrix::Bt2020),
        Err(_) => Err(invalid("frame.raw.color_matrix", format!("{matrix} is no ColorMatrix"))),
    }
}

/// The strides of a picture's planes, as given or without gaps.
fn strides(given: &[u32], planes: &[(usize, usize)]) -> Result<[usize; 3], Status> {
    let bad = |problem: String| Err(invalid("frame.raw.strides", problem));
    if !given.is_empty() && given.len() != planes.len() {
        return bad(format!("lists {} numbers; the format has {} planes", given.len(), planes.len()));
    }
    let mut strides = [0; 3];
    for (index, (row, _)) in planes.iter().enumerate() {
        strides[index] = given.get(index).map_or(*row, |stride| *stride as usize);
        if strides[index] < *row {
            return bad(format!(
                "plane {index} has {row} bytes a row, more than its stride {}",
                strides[index]
            ));
        }
    }
    Ok(strides)
}

/// The answer to a frame.
pub(super) fn answer(
    frame_id: u64,
    capture_time: Option<Timestamp>,
    outcome: &Result<PictureDetections, Status>,
) -> v1::DetectStreamResponse {
    let outcome = match outcome {
        Ok(found) => Outcome::Found(detect_response(found)),
        Err(status) => Outcome::Error(v1::FrameError {
            code: status.code().into(),
            message: status.message().to_owned(),
        }),
    };
    v1::DetectStreamResponse { frame_id, capture_time, outcome: Some(outcome) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn raw(format: v1::PixelFormat, (width, height): (u32, u32), bytes: usize) -> v1::RawPicture {
        let data = (0..bytes).map(|index| index as u8).collect();
        v1::RawPicture { format: format.into(), width, height, data, ..Default::default() }
    }

    fn problem(raw: v1::RawPicture) -> String {
        raw_picture(raw).unwrap_err().message().to_owned()
    }

    #[test]
    fn planes_follow_each_other() {
        let picture = raw_picture(raw(v1::PixelFormat::I420, (3, 3), 9 + 4 + 4)).unwrap();
        assert_eq!((picture.plane(0)[0], picture.plane(1)[0], picture.plane(2)[0]), (0, 9, 13));
        let picture = raw_picture(raw(v1::PixelFormat::Nv12, (3, 3), 9 + 8)).unwrap();
        assert_eq!((picture.plane(1).len(), picture.strides), (8, [3, 4, 0]));
        assert_eq!(picture.colorimetry, Colorimetry::default());
        let strided = v1::RawPicture { strides: vec![16, 8], ..raw(v1::PixelFormat::Nv12, (3, 3), 48 + 16) };
        assert_eq!(raw_picture(strided).unwrap().plane(1)[0], 48);
    }

    #[test]
    fn bytes_that_are_not_the_size_are_refused_with_what_there_should_be() {
        let text = problem(raw(v1::PixelFormat::Rgb, (4, 2), 23));
        assert!(text.contains("frame.raw.data: holds 23 bytes") && text.ends_with("has 24"), "{text}");
        assert!(problem(raw(v1::PixelFormat::Rgb, (4, 2), 25)).ends_with("has 24"));
        assert!(problem(raw(v1::PixelFormat::Rgb, (0, 2), 0)).contains("0x2"));
        assert!(problem(raw(v1::PixelFormat::Nv12, (u32::MAX, u32::MAX), 4)).contains("50 megapixels"));
        assert!(problem(raw(v1::PixelFormat::Unspecified, (1, 1), 3)).contains("is not said"));
        let unknown = v1::RawPicture { format: 77, ..raw(v1::PixelFormat::Rgb, (1, 1), 3) };
        assert!(problem(unknown).contains("77 is no PixelFormat"));
        let matrix = v1::RawPicture { color_matrix: 9, ..raw(v1::PixelFormat::Rgb, (1, 1), 3) };
        assert!(problem(matrix).contains("9 is no ColorMatrix"));
    }

    #[test]
    fn strides_must_fit_the_format() {
        let strided = |strides: &[u32]| {
            problem(v1::RawPicture { strides: strides.to_vec(), ..raw(v1::PixelFormat::Nv12, (4, 2), 12) })
        };
        assert!(strided(&[4]).contains("lists 1 numbers; the format has 2 planes"));
        assert!(strided(&[4, 3]).contains("plane 1 has 4 bytes a row, more than its stride 3"));
        assert!(strided(&[u32::MAX, u32::MAX]).contains("holds 12 bytes"));
    }

    proptest! {
        /// Whatever a client says of its bytes, it is refused or every byte of every row can be read.
        #[test]
        fn no_description_reaches_beyond_the_bytes(
            format in 0i32..5, width in 0u32..40, height in 0u32..40, bytes in 0usize..4000,
            strides in prop::collection::vec(0u32..50, 0..4),
        ) {
            let data = vec![0; bytes];
            let raw = v1::RawPicture { format, width, height, data, strides, ..Default::default() };
            if let Ok(picture) = raw_picture(raw) {
                for (index, (row, rows)) in picture.plane_sizes().into_iter().enumerate() {
                    prop_assert!(picture.plane(index).len() >= picture.strides[index] * (rows - 1) + row);
                }
            }
        }
    }
}
