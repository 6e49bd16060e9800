//! Video files frame by frame, as fast as they are asked for: reading, and writing H.264 in MP4.
//!
//! For looking at files; a file watched as a camera is paced in real time by `sources`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;

use crate::frame::Picture;

use super::picture;

/// How long an element may take for one step before the file counts as broken.
const PATIENCE: gst::ClockTime = gst::ClockTime::from_seconds(30);

/// Why a video file cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ClipError {
    /// GStreamer cannot be used, or lacks an element.
    #[error(
        "GStreamer cannot be used: {0}; install gstreamer1.0-plugins-base, -good, -ugly and gstreamer1.0-libav"
    )]
    GStreamer(String),
    /// It is not a video, is damaged, or is in a codec that is not known here.
    #[error("it cannot be read as a video: {0}")]
    Read(String),
    /// It cannot be written.
    #[error("the video cannot be written: {0}")]
    Write(String),
}

fn make(factory: &str) -> Result<gst::Element, ClipError> {
    gst::init().map_err(|error| ClipError::GStreamer(error.to_string()))?;
    let missing = |_| ClipError::GStreamer(format!("its element {factory} is missing"));
    gst::ElementFactory::make(factory).build().map_err(missing)
}

/// The first error that a pipeline has posted.
fn posted_error(pipeline: &gst::Pipeline) -> Option<String> {
    let message = pipeline.bus()?.pop_filtered(&[gst::MessageType::Error])?;
    match message.view() {
        gst::MessageView::Error(error) => Some(error.error().to_string()),
        _ => None,
    }
}

/// One frame of a file.
#[derive(Debug)]
pub struct ClipFrame {
    /// The pixels.
    pub picture: Picture,
    /// When it is to be shown, from the beginning of the file.
    pub time: Duration,
}

/// Reads a video file.
#[derive(Debug)]
pub struct ClipReader {
    pipeline: gst::Pipeline,
    sink: gst_app::AppSink,
}

impl ClipReader {
    /// Opens a file of any container and codec that GStreamer knows.
    ///
    /// # Errors
    /// A file that is not a video.
    pub fn open(path: &Path) -> Result<Self, ClipError> {
        let (source, decoder, convert) = (make("filesrc")?, make("decodebin")?, make("videoconvert")?);
        source.set_property("location", path);
        let sink = gst_app::AppSink::builder()
            .caps(&gst_video::VideoCapsBuilder::new().format_list(picture::FORMATS).build())
            .sync(false)
            .max_buffers(4)
            .build();
        let reader = Self { pipeline: gst::Pipeline::new(), sink };
        let read = |error: gst::glib::BoolError| ClipError::Read(error.to_string());
        reader.pipeline.add_many([&source, &decoder, &convert, reader.sink.upcast_ref()]).map_err(read)?;
        source.link(&decoder).and_then(|()| convert.link(&reader.sink)).map_err(read)?;
        let input = convert.downgrade();
        decoder.connect_pad_added(move |_, pad| {
            let input = input.upgrade().and_then(|convert| convert.static_pad("sink"));
            if let Some(input) = input.filter(|input| !input.is_linked()) {
                // Sound does not link; that is how it is passed over.
                let _ = pad.link(&input);
            }
        });
        reader.preroll()?;
        Ok(reader)
    }

    /// Waits until the first frame is there, so that size, rate and length are known.
    fn preroll(&self) -> Result<(), ClipError> {
        let started = self.pipeline.set_state(gst::State::Playing);
        let settled = started.and_then(|_| self.pipeline.state(PATIENCE).0);
        match (settled, posted_error(&self.pipeline)) {
            (_, Some(error)) => Err(ClipError::Read(error)),
            (Ok(gst::StateChangeSuccess::Async) | Err(_), None) => {
                Err(ClipError::Read("there is no video in it".into()))
            }
            (Ok(_), None) => Ok(()),
        }
    }

    /// The number of frames, from length and rate, where the file tells both.
    pub fn frame_count(&self) -> Option<u64> {
        let length = self.pipeline.query_duration::<gst::ClockTime>()?;
        let (numerator, denominator) = self.frame_rate();
        let frames = length.nseconds().checked_mul(u64::try_from(numerator).ok()?)?;
        Some((frames as f64 / f64::from(denominator) / 1e9).round() as u64).filter(|count| *count > 0)
    }

    /// Frames a second as a fraction; 25/1 where the file does not tell.
    pub fn frame_rate(&self) -> (i32, i32) {
        let caps = self.sink.static_pad("sink").and_then(|pad| pad.current_caps());
        let info = caps.and_then(|caps| gst_video::VideoInfo::from_caps(&caps).ok());
        info.map(|info| info.fps())
            .filter(|fps| fps.numer() > 0)
            .map_or((25, 1), |fps| (fps.numer(), fps.denom()))
    }

    /// The next frame; none at the end.
    ///
    /// # Errors
    /// A file that is damaged from here on.
    pub fn next_frame(&mut self) -> Result<Option<ClipFrame>, ClipError> {
        let Some(sample) = self.sink.try_pull_sample(PATIENCE) else {
            return match posted_error(&self.pipeline) {
                Some(error) => Err(ClipError::Read(error)),
                None if self.sink.is_eos() => Ok(None),
                None => Err(ClipError::Read("no frame came for 30 s".into())),
            };
        };
        let time = sample.buffer().and_then(|buffer| buffer.pts()).unwrap_or_default();
        let picture = picture::from_sample(&sample).map_err(ClipError::Read)?;
        Ok(Some(ClipFrame { picture, time: time.into() }))
    }
}

impl Drop for ClipReader {
    fn drop(&mut self) {
        // Going down, there is nobody to tell.
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

/// Writes an MP4 file, H.264. It has its name once it is complete: until then, and if it never is because the
/// process is killed, it is `NAME.part`, which nothing can play.
#[derive(Debug)]
pub struct ClipWriter {
    path: PathBuf,
    part: PathBuf,
    pipeline: gst::Pipeline,
    source: gst_app::AppSrc,
    info: gst_video::VideoInfo,
    frames: u64,
}

impl ClipWriter {
    /// Creates a file of frames of `size` (width, height; made even, as H.264 4:2:0 wants) at `rate` a second.
    ///
    /// # Errors
    /// A path that cannot be written, or a missing encoder.
    pub fn create(path: &Path, size: (u32, u32), rate: (i32, i32)) -> Result<Self, ClipError> {
        let write = |error: gst::glib::BoolError| ClipError::Write(error.to_string());
        let (width, height) = ((size.0 & !1).max(2), (size.1 & !1).max(2));
        // First: it makes GStreamer ready, without which nothing else of it works.
        let (convert, encoder, muxer, file) =
            (make("videoconvert")?, make("x264enc")?, make("mp4mux")?, make("filesink")?);
        let info = gst_video::VideoInfo::builder(gst_video::VideoFormat::Rgb, width, height)
            .fps(gst::Fraction::new(rate.0, rate.1))
            .build()
            .map_err(write)?;
        encoder.set_property_from_str("speed-preset", "veryfast");
        encoder.set_property_from_str("pass", "qual");
        encoder.set_property("quantizer", 20u32);
        let part = part_of(path);
        file.set_property("location", &part);
        let source = gst_app::AppSrc::builder()
            .caps(&info.to_caps().map_err(write)?)
            .format(gst::Format::Time)
            .block(true)
            .max_bytes(8 * info.size() as u64)
            .build();
        let pipeline = gst::Pipeline::new();
        let row = [source.upcast_ref(), &convert, &encoder, &muxer, &file];
        pipeline.add_many(row).and_then(|()| gst::Element::link_many(row)).map_err(write)?;
        if pipeline.set_state(gst::State::Playing).is_err() {
            let cause =
                posted_error(&pipeline).unwrap_or_else(|| format!("{} cannot be created", part.display()));
            let _ = pipeline.set_state(gst::State::Null);
            return Err(ClipError::Write(cause));
        }
        Ok(Self { path: path.to_owned(), part, pipeline, source, info, frames: 0 })
    }

    /// The frames' width and height in pixels.
    pub fn size(&self) -> (u32, u32) {
        (self.info.width(), self.info.height())
    }

    /// Appends a frame, uint8 `[height, width, 3]` RGB.
    ///
    /// # Errors
    /// A frame of another size, a full disk.
    pub fn write(&mut self, rgb: &[u8]) -> Result<(), ClipError> {
        let row = self.info.width() as usize * 3;
        if rgb.len() != row * self.info.height() as usize {
            return Err(ClipError::Write(format!("a frame has {} bytes", rgb.len())));
        }
        let stride = self.info.stride()[0] as usize;
        let mut padded = vec![0; self.info.size()];
        padded.chunks_mut(stride).zip(rgb.chunks(row)).for_each(|(to, from)| to[..row].copy_from_slice(from));
        let mut buffer = gst::Buffer::from_mut_slice(padded);
        let at = |frame: u64| {
            let (numerator, denominator) = (self.info.fps().numer() as u64, self.info.fps().denom() as u64);
            gst::ClockTime::from_nseconds(frame * 1_000_000_000 * denominator / numerator.max(1))
        };
        if let Some(buffer) = buffer.get_mut() {
            buffer.set_pts(at(self.frames));
            buffer.set_duration(at(self.frames + 1) - at(self.frames));
        }
        self.frames += 1;
        self.source.push_buffer(buffer).map(drop).map_err(|flow| {
            ClipError::Write(posted_error(&self.pipeline).unwrap_or_else(|| flow.to_string()))
        })
    }

    /// Completes the file.
    ///
    /// # Errors
    /// What kept it from being completed.
    pub fn finish(self) -> Result<(), ClipError> {
        let told = |problem: &str| ClipError::Write(problem.into());
        self.source.end_of_stream().map_err(|flow| told(&flow.to_string()))?;
        let bus = self.pipeline.bus().ok_or_else(|| told("the pipeline has no bus"))?;
        let message = bus.timed_pop_filtered(PATIENCE, &[gst::MessageType::Eos, gst::MessageType::Error]);
        match message.as_ref().map(|message| message.view()) {
            Some(gst::MessageView::Eos(_)) => self.complete().map_err(|error| told(&error.to_string())),
            Some(gst::MessageView::Error(error)) => Err(told(&error.error().to_string())),
            _ => Err(told("it was not completed within 30 s")),
        }
    }
}

impl ClipWriter {
    /// Gives the file its name.
    fn complete(&self) -> std::io::Result<()> {
        // Closes the file.
        let _ = self.pipeline.set_state(gst::State::Null);
        if self.part == self.path { Ok(()) } else { std::fs::rename(&self.part, &self.path) }
    }
}

impl Drop for ClipWriter {
    fn drop(&mut self) {
        // Going down, there is nobody to tell.
        let _ = self.pipeline.set_state(gst::State::Null);
        if self.part != self.path {
            // It is there only if the file was not completed.
            let _ = std::fs::remove_file(&self.part);
        }
    }
}

/// Where a file is written until it is complete. A pipe or a device is written directly.
fn part_of(path: &Path) -> PathBuf {
    let is_special = std::fs::metadata(path).is_ok_and(|about| !about.is_file());
    if is_special { path.to_owned() } else { path.with_added_extension("part") }
}
