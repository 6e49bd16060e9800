//! A decoded video frame on its way from a camera to an engine.
//!
//! What does not belong here: how it was decoded (`ingest`), how it becomes network input (`engine`).

use std::fmt;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use crate::camera::CameraId;
use crate::ledger::Ticket;

/// How the pixels of a [`Picture`] are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PixelFormat {
    /// Three planes: Y at full size, U and V at half width and half height (rounded up).
    I420,
    /// Two planes: Y at full size, U and V interleaved at half width and half height (rounded up).
    Nv12,
    /// One plane of three bytes a pixel.
    Rgb,
}

impl PixelFormat {
    /// Bytes a row and number of rows, for each plane of a (width, height) picture.
    pub fn plane_sizes(self, (width, height): (u32, u32)) -> Vec<(usize, usize)> {
        let (w, h) = (width as usize, height as usize);
        let (cw, ch) = (w.div_ceil(2), h.div_ceil(2));
        match self {
            Self::I420 => vec![(w, h), (cw, ch), (cw, ch)],
            Self::Nv12 => vec![(w, h), (2 * cw, ch)],
            Self::Rgb => vec![(3 * w, h)],
        }
    }
}

/// The matrix that takes Y'CbCr to R'G'B'. ITU-R BT.601, BT.709, BT.2020.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs)]
pub enum ColorMatrix {
    Bt601,
    Bt709,
    Bt2020,
}

/// How luma and chroma are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Colorimetry {
    /// The conversion matrix.
    pub matrix: ColorMatrix,
    /// Luma spans 0..=255 rather than 16..=235.
    pub full_range: bool,
}

impl Default for Colorimetry {
    fn default() -> Self {
        Self { matrix: ColorMatrix::Bt601, full_range: false }
    }
}

/// Access to a picture's bytes wherever the decoder left them.
pub trait PlaneData: Send + Sync {
    /// The bytes of plane `index`: at least `stride * (rows - 1) + row bytes` of them.
    fn plane(&self, index: usize) -> &[u8];
}

impl PlaneData for Vec<u8> {
    fn plane(&self, _index: usize) -> &[u8] {
        self
    }
}

/// One picture, held by reference to the decoder's memory where it came from a decoder.
pub struct Picture {
    /// Layout of the planes.
    pub format: PixelFormat,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Bytes from one row to the next, a plane each; unused planes are 0.
    pub strides: [usize; 3],
    /// How to read luma and chroma; ignored for RGB.
    pub colorimetry: Colorimetry,
    planes: Box<dyn PlaneData>,
}

impl Picture {
    /// Wraps decoder memory.
    ///
    /// # Errors
    /// A plane shorter than its size and stride say, or a side of zero.
    pub fn new(
        format: PixelFormat,
        (width, height): (u32, u32),
        strides: [usize; 3],
        colorimetry: Colorimetry,
        planes: Box<dyn PlaneData>,
    ) -> Result<Self, InvalidPicture> {
        let picture = Self { format, width, height, strides, colorimetry, planes };
        if width == 0 || height == 0 {
            return Err(InvalidPicture(format!("a side of the {width}x{height} picture is zero")));
        }
        for (index, (row_bytes, rows)) in picture.plane_sizes().into_iter().enumerate() {
            let (stride, have) = (strides[index], picture.plane(index).len());
            if stride < row_bytes || have < stride * (rows - 1) + row_bytes {
                return Err(InvalidPicture(format!(
                    "plane {index} of a {width}x{height} {format:?} picture has {have} bytes with stride {stride}"
                )));
            }
        }
        Ok(picture)
    }

    /// Wraps packed RGB bytes, `[height, width, 3]`.
    ///
    /// # Errors
    /// As [`Picture::new`].
    pub fn rgb(width: u32, height: u32, bytes: Vec<u8>) -> Result<Self, InvalidPicture> {
        let strides = [width as usize * 3, 0, 0];
        Self::new(PixelFormat::Rgb, (width, height), strides, Colorimetry::default(), Box::new(bytes))
    }

    /// The bytes of plane `index`.
    pub fn plane(&self, index: usize) -> &[u8] {
        self.planes.plane(index)
    }

    /// Bytes a row and number of rows, for each plane in use.
    pub fn plane_sizes(&self) -> Vec<(usize, usize)> {
        self.format.plane_sizes((self.width, self.height))
    }
}

impl fmt::Debug for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Picture({:?} {}x{})", self.format, self.width, self.height)
    }
}

/// A picture's bytes do not fit its description.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct InvalidPicture(String);

/// Where a capture time comes from, and so how far it can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CaptureQuality {
    /// This server's clock when the coded frame reached its decoder: late by the camera's and the
    /// network's delay.
    Arrival,
    /// The camera's clock, as its RTCP sender reports tell it (RFC 3550, 6.4.1).
    SenderReport,
    /// This server's clock as for `Arrival`, because what the camera's sender reports tell cannot be.
    CameraClockOff,
}

/// When a frame was captured, in both clocks.
#[derive(Clone, Copy, Debug)]
pub struct CaptureTime {
    /// Wall clock, for subscribers.
    pub wall: SystemTime,
    /// Monotonic clock, for ages and stage times.
    pub monotonic: Instant,
    /// Where it comes from.
    pub quality: CaptureQuality,
}

/// One frame of one camera, and its claim on the camera's books.
#[derive(Debug)]
pub struct Frame {
    /// The camera it came from.
    pub camera: CameraId,
    /// Counts the camera's frames from 1 since the camera was added; gaps are dropped frames.
    pub sequence: u64,
    /// The pixels.
    pub picture: Arc<Picture>,
    /// When it was captured.
    pub capture: CaptureTime,
    /// When its decoder was done with it.
    pub decoded: Instant,
    /// Closed when the frame is published or dropped.
    pub ticket: Ticket,
}
