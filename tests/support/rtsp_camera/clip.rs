//! A video as H.264 access units in memory, with a keyframe every second.

use std::error::Error;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const FORM: &str = "video/x-h264,stream-format=byte-stream,alignment=au";

/// Access units, each with its start codes; the first is a keyframe.
pub struct Clip {
    pub units: Vec<Unit>,
    pub fps: gst::Fraction,
}

pub struct Unit {
    pub buffer: gst::Buffer,
    pub is_keyframe: bool,
}

impl Clip {
    /// A video file of any format, encoded once into the folder `cache` and read from there later on.
    /// `progress` is told the number of frames encoded so far.
    pub fn from_file(path: &Path, cache: &Path, progress: impl FnMut(usize)) -> Result<Self> {
        let cached = cache.join(cache_name(path)?);
        if !cached.exists() {
            let source = gst::ElementFactory::make("filesrc").property("location", path).build()?;
            let decoder = gst::ElementFactory::make("decodebin").build()?;
            let clip = encode(&[source, decoder], progress)?;
            fs::create_dir_all(cache)?;
            clip.save(&cached)?;
        }
        Self::load(&cached)
    }

    /// A moving ball.
    pub fn pattern(width: i32, height: i32, fps: i32, seconds: i32) -> Result<Self> {
        let source = gst::ElementFactory::make("videotestsrc")
            .property_from_str("pattern", "ball")
            .property("num-buffers", fps * seconds)
            .build()?;
        let caps = gst::Caps::builder("video/x-raw")
            .field("width", width)
            .field("height", height)
            .field("framerate", gst::Fraction::new(fps, 1));
        let filter = gst::ElementFactory::make("capsfilter").property("caps", caps.build()).build()?;
        encode(&[source, filter], |_| ())
    }

    /// The index of the first keyframe at or after `index`, going round.
    pub fn keyframe_from(&self, index: usize) -> usize {
        let start = index % self.units.len();
        (start..self.units.len()).find(|&at| self.units[at].is_keyframe).unwrap_or(0)
    }

    /// How long one frame lasts at `fps`.
    pub fn frame_duration(fps: gst::Fraction) -> gst::ClockTime {
        let (numer, denom) = (fps.numer().max(1) as u64, fps.denom().max(1) as u64);
        gst::ClockTime::from_nseconds(denom * gst::ClockTime::SECOND.nseconds() / numer)
    }

    fn load(path: &Path) -> Result<Self> {
        let source = gst::ElementFactory::make("filesrc").property("location", path).build()?;
        collect(&[source, gst::ElementFactory::make("h264parse").build()?], |_| ())
    }

    fn save(&self, path: &Path) -> Result<()> {
        // Under another name until it is whole, so that an interrupted run leaves nothing to trip over.
        let scratch = path.with_extension(format!("{}.tmp", std::process::id()));
        let mut file = BufWriter::new(File::create(&scratch)?);
        for unit in &self.units {
            file.write_all(unit.buffer.map_readable()?.as_slice())?;
        }
        file.into_inner()?.sync_all()?;
        Ok(fs::rename(scratch, path)?)
    }
}

/// A name that changes when the file does.
fn cache_name(path: &Path) -> Result<PathBuf> {
    let path = path.canonicalize()?;
    let found = path.metadata()?;
    let mut hasher = DefaultHasher::new();
    (&path, found.len(), found.modified()?).hash(&mut hasher);
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    Ok(format!("{stem}-{:016x}.h264", hasher.finish()).into())
}

/// Encodes what comes out of `source`, a row of elements.
fn encode(source: &[gst::Element], progress: impl FnMut(usize)) -> Result<Clip> {
    let make = |name: &str| gst::ElementFactory::make(name).build();
    let encoder = gst::ElementFactory::make("x264enc")
        .property_from_str("speed-preset", "veryfast")
        .property_from_str("tune", "zerolatency")
        .property_from_str("pass", "qual")
        .property("quantizer", 23u32)
        .property("option-string", "scenecut=0:sliced-threads=0")
        .build()?;
    // A keyframe every second, whatever the frame rate turns out to be.
    let weak = encoder.downgrade();
    let input = encoder.static_pad("sink").ok_or("x264enc has no input")?;
    input.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, probe| {
        if let Some(gst::EventView::Caps(caps)) = probe.event().map(|event| event.view())
            && let Some(fps) = caps.caps().structure(0).and_then(|s| s.get::<gst::Fraction>("framerate").ok())
            && let Some(encoder) = weak.upgrade()
        {
            let every = (f64::from(fps.numer()) / f64::from(fps.denom().max(1))).round().max(1.0);
            encoder.set_property("key-int-max", every as u32);
        }
        gst::PadProbeReturn::Ok
    });
    let mut row = source.to_vec();
    row.extend([make("videorate")?, make("videoconvert")?, encoder, make("h264parse")?]);
    collect(&row, progress)
}

/// Runs a row of elements to its end and keeps the access units that come out.
fn collect(row: &[gst::Element], mut progress: impl FnMut(usize)) -> Result<Clip> {
    let pipeline = gst::Pipeline::new();
    let sink = gst_app::AppSink::builder().caps(&FORM.parse()?).sync(false).max_buffers(16).build();
    pipeline.add_many(row)?;
    pipeline.add(&sink)?;
    let mut all: Vec<&gst::Element> = row.iter().collect();
    all.push(sink.upcast_ref());
    for pair in all.windows(2) {
        link(pair[0], pair[1])?;
    }
    pipeline.set_state(gst::State::Playing)?;
    let mut clip = Clip { units: Vec::new(), fps: gst::Fraction::new(25, 1) };
    let bus = pipeline.bus().ok_or("the pipeline has no bus")?;
    let mut failed = None;
    // After an error neither a sample nor the end may come.
    while failed.is_none() && !sink.is_eos() {
        if let Some(sample) = sink.try_pull_sample(gst::ClockTime::from_mseconds(100)) {
            clip.take(&sample)?;
            progress(clip.units.len());
        }
        failed = bus.pop_filtered(&[gst::MessageType::Error]);
    }
    pipeline.set_state(gst::State::Null)?;
    match failed.as_ref().map(|message| message.view()) {
        Some(gst::MessageView::Error(error)) => Err(error.error().to_string().into()),
        _ if clip.units.is_empty() => Err("there is no video in it".into()),
        _ => Ok(clip),
    }
}

impl Clip {
    fn take(&mut self, sample: &gst::Sample) -> Result<()> {
        let caps = sample.caps().and_then(|caps| caps.structure(0)).ok_or("no caps")?;
        if let Some(fps) = caps.get::<gst::Fraction>("framerate").ok().filter(|fps| fps.numer() > 0) {
            self.fps = fps;
        }
        let buffer = sample.buffer().ok_or("no buffer")?.copy_deep()?;
        let is_keyframe = !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
        self.units.push(Unit { buffer, is_keyframe });
        Ok(())
    }
}

/// Links two elements, now or when the first one knows what it has.
fn link(from: &gst::Element, to: &gst::Element) -> Result<()> {
    if from.static_pad("src").is_some() {
        return Ok(from.link(to)?);
    }
    let to = to.downgrade();
    from.connect_pad_added(move |_, pad| {
        let is_video = pad.current_caps().is_some_and(|caps| caps.to_string().starts_with("video/"));
        let input = to.upgrade().and_then(|to| to.static_pad("sink")).filter(|pad| !pad.is_linked());
        if let Some(input) = input.filter(|_| is_video) {
            let _ = pad.link(&input);
        }
    });
    Ok(())
}
