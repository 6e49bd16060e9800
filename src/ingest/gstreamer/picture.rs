//! From a sample to a picture, without copying: the decoder's memory is mapped and held.

use gstreamer as gst;
use gstreamer_video as gst_video;
use gstreamer_video::prelude::*;

use crate::frame::{ColorMatrix, Colorimetry, Picture, PixelFormat, PlaneData};

/// The formats that [`from_sample`] takes.
pub(super) const FORMATS: [gst_video::VideoFormat; 2] =
    [gst_video::VideoFormat::I420, gst_video::VideoFormat::Nv12];

struct Mapped(gst_video::VideoFrame<gst_video::video_frame::Readable>);

impl PlaneData for Mapped {
    fn plane(&self, index: usize) -> &[u8] {
        u32::try_from(index).ok().and_then(|index| self.0.plane_data(index).ok()).unwrap_or_default()
    }
}

/// Wraps a sample's buffer.
pub(super) fn from_sample(sample: &gst::Sample) -> Result<Picture, String> {
    let caps = sample.caps().ok_or("it has no caps")?;
    let info = gst_video::VideoInfo::from_caps(caps).map_err(|error| error.to_string())?;
    let format = match info.format() {
        gst_video::VideoFormat::I420 => PixelFormat::I420,
        gst_video::VideoFormat::Nv12 => PixelFormat::Nv12,
        other => return Err(format!("its format is {other}")),
    };
    let buffer = sample.buffer_owned().ok_or("it has no buffer")?;
    let frame = gst_video::VideoFrame::from_buffer_readable(buffer, &info)
        .map_err(|_| "its memory cannot be mapped")?;
    let mut strides = [0; 3];
    for (stride, &known) in strides.iter_mut().zip(frame.plane_stride()) {
        *stride = usize::try_from(known).map_err(|_| "its rows run backwards")?;
    }
    let (size, colorimetry) = ((info.width(), info.height()), colorimetry(&info));
    Picture::new(format, size, strides, colorimetry, Box::new(Mapped(frame)))
        .map_err(|error| error.to_string())
}

/// GStreamer has filled in what the stream does not say, by the size of the picture.
fn colorimetry(info: &gst_video::VideoInfo) -> Colorimetry {
    let colorimetry = info.colorimetry();
    Colorimetry {
        matrix: match colorimetry.matrix() {
            gst_video::VideoColorMatrix::Bt709 => ColorMatrix::Bt709,
            gst_video::VideoColorMatrix::Bt2020 => ColorMatrix::Bt2020,
            _ => ColorMatrix::Bt601,
        },
        full_range: colorimetry.range() == gst_video::VideoColorRange::Range0_255,
    }
}
