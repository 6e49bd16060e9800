//! Builds a pipeline: what comes after the source, and how it is tuned while it grows.

use std::sync::Arc;
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;

use crate::camera::{CameraSpec, FailureKind, SourceKind};
use crate::ingest::link::Link;
use crate::ingest::source::{Failure, Options};

use super::run::Run;
use super::{picture, sources};

/// Builds the pipeline of a camera; it is yet to be started.
pub(super) fn build(spec: &CameraSpec, options: &Options, link: Arc<Link>) -> Result<gst::Pipeline, Failure> {
    // Others wait for us: files, devices, and servers that send over HTTP.
    let max_backlog = (spec.url.kind() == SourceKind::Rtsp).then_some(options.max_backlog);
    let run = Run::new(spec.url.clone(), link, max_backlog);
    let pipeline = gst::Pipeline::new();
    tune_as_it_grows(&pipeline, &run, options.decoder_threads);
    listen(&pipeline, &run);
    let tail = add_tail(&pipeline, &run)?;
    sources::add(&pipeline, &tail, spec, options, &run)?;
    Ok(pipeline)
}

/// Makes an element by its factory's name.
pub(super) fn make(factory: &str) -> Result<gst::Element, Failure> {
    gst::ElementFactory::make(factory).build().map_err(|_| {
        let message = format!(
            "GStreamer's element {factory} is missing; install gstreamer1.0-plugins-base, -good, -bad and \
             gstreamer1.0-libav (Debian's names)"
        );
        Failure::new(FailureKind::Codec, message)
    })
}

/// Adds elements and links them in a row.
pub(super) fn add_row(pipeline: &gst::Pipeline, row: &[&gst::Element]) -> Result<(), Failure> {
    let linked = pipeline.add_many(row).and_then(|()| gst::Element::link_many(row));
    linked.map_err(|error| Failure::new(FailureKind::Other, format!("the pipeline cannot be built: {error}")))
}

/// Adds `decodebin` before the tail and returns it.
pub(super) fn add_decoder(pipeline: &gst::Pipeline, tail: &gst::Element) -> Result<gst::Element, Failure> {
    let decoder = make("decodebin")?;
    add_row(pipeline, &[&decoder])?;
    let tail = tail.downgrade();
    decoder.connect_pad_added(move |_, pad| {
        if let Some(tail) = tail.upgrade() {
            link_if_free(pad, &tail);
        }
    });
    Ok(decoder)
}

/// Links a new pad to an element's input, unless that has one: the first stream is watched.
pub(super) fn link_if_free(pad: &gst::Pad, to: &gst::Element) {
    let Some(input) = to.static_pad("sink").filter(|input| !input.is_linked()) else { return };
    if let Err(error) = pad.link(&input) {
        // The unlinked pad makes the stream fail, and that is told on the bus.
        tracing::debug!("{} does not link to {}: {error}", pad.path_string(), input.path_string());
    }
}

/// What is the same for all cameras: pictures in a format we take, handed over one by one.
fn add_tail(pipeline: &gst::Pipeline, run: &Arc<Run>) -> Result<gst::Element, Failure> {
    let convert = make("videoconvert")?;
    convert.set_property("n-threads", 1u32);
    let run = Arc::clone(run);
    let sink = gst_app::AppSink::builder()
        .caps(&gst_video::VideoCapsBuilder::new().format_list(picture::FORMATS).build())
        // Not held to a clock, and never more than the one sample that its callback takes at once.
        .sync(false)
        .qos(false)
        .async_(false)
        .max_buffers(1)
        .enable_last_sample(false)
        .callbacks(gst_app::AppSinkCallbacks::builder().new_sample(move |sink| run.sample(sink)).build())
        .build();
    add_row(pipeline, &[&convert, sink.upcast_ref()])?;
    Ok(convert)
}

fn listen(pipeline: &gst::Pipeline, run: &Arc<Run>) {
    let Some(bus) = pipeline.bus() else { return };
    let run = Arc::clone(run);
    bus.set_sync_handler(move |_, message| {
        run.message(message);
        gst::BusSyncReply::Drop
    });
}

/// Sets up decoders as they are plugged: threads, and a look at each coded frame that reaches them.
fn tune_as_it_grows(pipeline: &gst::Pipeline, run: &Arc<Run>, decoder_threads: u32) {
    let run = Arc::clone(run);
    pipeline.connect_deep_element_added(move |_, _, element| {
        if !is_video_decoder(element) {
            return;
        }
        limit_threads(element, decoder_threads);
        let Some(input) = element.static_pad("sink") else { return };
        let run = Arc::clone(&run);
        input.add_probe(gst::PadProbeType::BUFFER, move |pad, probe| match probe.buffer() {
            // Not `Drop`: with it, GStreamer before 1.24 frees what the binding has freed.
            Some(buffer) if !run.coded(buffer, lateness(pad, buffer)) => gst::PadProbeReturn::Handled,
            _ => gst::PadProbeReturn::Ok,
        });
    });
}

/// How long ago a buffer was due by its time stamp; zero where there is none.
fn lateness(pad: &gst::Pad, buffer: &gst::BufferRef) -> Duration {
    let due = pad
        .sticky_event::<gst::event::Segment>(0)
        .and_then(|event| event.segment().downcast_ref::<gst::ClockTime>()?.to_running_time(buffer.pts()?));
    let now = pad.parent_element().and_then(|element| element.current_running_time());
    match (now, due) {
        (Some(now), Some(due)) => now.saturating_sub(due).into(),
        _ => Duration::ZERO,
    }
}

fn is_video_decoder(element: &gst::Element) -> bool {
    let klass = element.factory().and_then(|factory| factory.metadata("klass").map(str::to_owned));
    klass.is_some_and(|klass| {
        klass.contains("Decoder") && (klass.contains("Video") || klass.contains("Image"))
    })
}

fn limit_threads(decoder: &gst::Element, threads: u32) {
    for property in ["max-threads", "n-threads"] {
        // Their types differ from decoder to decoder; a text fits all.
        if decoder
            .find_property(property)
            .is_some_and(|spec| spec.flags().contains(gst::glib::ParamFlags::WRITABLE))
        {
            decoder.set_property_from_str(property, &threads.to_string());
        }
    }
}
