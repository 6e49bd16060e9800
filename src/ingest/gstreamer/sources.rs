//! The first part of a pipeline: one way in for each kind of camera.

use std::sync::Arc;

use gstreamer as gst;
use gstreamer::prelude::*;
use url::Url;

use crate::camera::{CameraSpec, FailureKind, SourceKind, Transport, percent_decode};
use crate::ingest::source::{Failure, Options};

use super::pipeline::{add_decoder, add_row, link_if_free, make};
use super::run::Run;

/// Adds what brings the video of `spec` to `tail`.
pub(super) fn add(
    pipeline: &gst::Pipeline,
    tail: &gst::Element,
    spec: &CameraSpec,
    options: &Options,
    run: &Arc<Run>,
) -> Result<(), Failure> {
    match spec.url.kind() {
        SourceKind::Rtsp => add_rtsp(pipeline, tail, spec, options, run),
        SourceKind::Http => add_parsed(pipeline, tail, http(spec.url.expose(), options)?, run),
        SourceKind::File => add_parsed(pipeline, tail, file(spec.url.expose())?, run),
        SourceKind::V4l2 => add_device(pipeline, tail, spec.url.expose()),
        SourceKind::Test => add_pattern(pipeline, tail, spec.url.expose()),
    }
}

fn add_rtsp(
    pipeline: &gst::Pipeline,
    tail: &gst::Element,
    spec: &CameraSpec,
    options: &Options,
    run: &Arc<Run>,
) -> Result<(), Failure> {
    let source = make("rtspsrc")?;
    let (protocols, latency) = match spec.transport {
        // Nothing comes out of order, so there is nothing to wait for.
        Transport::Tcp => ("tcp", 0),
        Transport::Udp => ("udp", options.udp_latency.as_millis()),
    };
    let microseconds = u64::try_from(options.connect_timeout.as_micros()).unwrap_or(u64::MAX);
    source.set_property_from_str("protocols", protocols);
    source.set_property("latency", u32::try_from(latency).unwrap_or(u32::MAX));
    // The watch gives up after `connect_timeout`, with words of its own: were both as long, either might be first.
    source.set_property("tcp-timeout", microseconds.saturating_mul(2));
    source.set_property("timeout", microseconds);
    // GStreamer before 1.22 does not know it; frames are dated by their arrival then.
    if source.find_property("add-reference-timestamp-meta").is_some() {
        source.set_property("add-reference-timestamp-meta", true);
    }
    set_address(&source, spec.url.expose());
    add_row(pipeline, &[&source])?;
    let decoder = add_decoder(pipeline, tail)?;

    let chooser = Arc::clone(run);
    source.connect("select-stream", false, move |values| {
        let caps = values.get(2).and_then(|value| value.get::<gst::Caps>().ok());
        let media = caps.and_then(|caps| caps.structure(0)?.get::<String>("media").ok());
        Some(chooser.choose(media.as_deref().unwrap_or("unknown data")).to_value())
    });
    let decoder = decoder.downgrade();
    source.connect_pad_added(move |_, pad| {
        if let Some(decoder) = decoder.upgrade() {
            link_if_free(pad, &decoder);
        }
    });
    let run = Arc::clone(run);
    source.connect_no_more_pads(move |_| run.all_streams_known());
    Ok(())
}

/// Gives an element address, user and password apart, so that no message of it shows them as one text.
fn set_address(source: &gst::Element, url: &Url) {
    let mut location = url.clone();
    // Only a URL that cannot have them refuses to lose them.
    let _ = location.set_username("");
    let _ = location.set_password(None);
    source.set_property("location", location.as_str());
    if !url.username().is_empty() {
        source.set_property("user-id", percent_decode(url.username()));
        source.set_property("user-pw", percent_decode(url.password().unwrap_or_default()));
    }
}

fn http(url: &Url, options: &Options) -> Result<gst::Element, Failure> {
    let source = make("souphttpsrc")?;
    set_address(&source, url);
    source.set_property("is-live", true);
    source.set_property("do-timestamp", true);
    source.set_property(
        "timeout",
        u32::try_from(options.connect_timeout.as_secs().max(1)).unwrap_or(3600).min(3600),
    );
    // One attempt: retries are the watcher's, and it tells of them.
    source.set_property("retries", 0i32);
    Ok(source)
}

fn file(url: &Url) -> Result<gst::Element, Failure> {
    let path = url.to_file_path().map_err(|()| {
        Failure::new(FailureKind::NotFound, format!("{url} is not a path on this machine; use file:///PATH"))
    })?;
    let shown = path.display();
    let fail = |kind, problem: String| Err(Failure::new(kind, problem));
    match std::fs::metadata(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return fail(FailureKind::NotFound, format!("there is no file {shown}; check the path"));
        }
        Err(error) => return fail(FailureKind::Other, format!("{shown} cannot be read: {error}")),
        Ok(found) if found.is_dir() => {
            return fail(FailureKind::NoVideo, format!("{shown} is a folder; give a video file"));
        }
        Ok(found) if found.is_file() && found.len() == 0 => {
            return fail(FailureKind::Codec, format!("{shown} is empty (0 bytes)"));
        }
        Ok(_) => {}
    }
    let source = make("filesrc")?;
    source.set_property("location", &path);
    Ok(source)
}

/// A byte stream of whatever format: parse it, pick the video, pace it, decode it.
fn add_parsed(
    pipeline: &gst::Pipeline,
    tail: &gst::Element,
    source: gst::Element,
    run: &Arc<Run>,
) -> Result<(), Failure> {
    let (parser, pace) = (make("parsebin")?, make("clocksync")?);
    // The first frame sets the clock, however long it took to open the stream.
    pace.set_property("sync-to-first", true);
    add_row(pipeline, &[&source, &parser])?;
    let decoder = add_decoder(pipeline, tail)?;
    add_row(pipeline, &[&pace])?;
    pace.link(&decoder).map_err(|error| Failure::new(FailureKind::Other, error.to_string()))?;

    parser.connect("autoplug-continue", false, |values| {
        // What is not video need not be parsed.
        let caps = values.get(2).and_then(|value| value.get::<gst::Caps>().ok());
        let unwanted = caps.is_some_and(|caps| matches!(media_of(&caps).as_str(), "audio" | "subpicture"));
        Some((!unwanted).to_value())
    });
    let (run, weak_pace) = (Arc::clone(run), pace.downgrade());
    parser.connect_pad_added(move |_, pad| {
        let media = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
        if !run.choose(&media_of(&media)) {
            look_for_video_later(pad, &run);
        } else if let Some(pace) = weak_pace.upgrade() {
            link_if_free(pad, &pace);
        }
    });
    do_not_pace_live_parts(pipeline, &pace);
    Ok(())
}

/// `parsebin` does not always tell that it has shown all streams, but nothing flows before that.
fn look_for_video_later(pad: &gst::Pad, run: &Arc<Run>) {
    let run = Arc::clone(run);
    pad.add_probe(gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM, move |_, probe| {
        // Sticky events are sent before the stream flows, and EOS may come instead of it.
        if probe.event().is_some_and(|event| event.type_() != gst::EventType::Eos) {
            return gst::PadProbeReturn::Ok;
        }
        run.all_streams_known();
        gst::PadProbeReturn::Remove
    });
}

/// MJPEG comes at the camera's own pace, and its time stamps are only those of its arrival.
fn do_not_pace_live_parts(pipeline: &gst::Pipeline, pace: &gst::Element) {
    let pace = pace.downgrade();
    pipeline.connect_deep_element_added(move |_, _, element| {
        let is_multipart = element.factory().is_some_and(|factory| factory.name() == "multipartdemux");
        if is_multipart && let Some(pace) = pace.upgrade() {
            pace.set_property("sync", false);
        }
    });
}

/// `video` of `video/x-h264`.
fn media_of(caps: &gst::Caps) -> String {
    let name = caps.structure(0).map(|structure| structure.name().to_string()).unwrap_or_default();
    name.split('/').next().unwrap_or_default().to_owned()
}

fn add_device(pipeline: &gst::Pipeline, tail: &gst::Element, url: &Url) -> Result<(), Failure> {
    let device = percent_decode(url.path());
    if !std::path::Path::new(&device).exists() {
        let message = format!("there is no device {device}; check that the camera is plugged in");
        return Err(Failure::new(FailureKind::NotFound, message));
    }
    let source = make("v4l2src")?;
    source.set_property("device", &device);
    add_row(pipeline, &[&source])?;
    let decoder = add_decoder(pipeline, tail)?;
    source.link(&decoder).map_err(|error| Failure::new(FailureKind::Other, error.to_string()))
}

fn add_pattern(pipeline: &gst::Pipeline, tail: &gst::Element, url: &Url) -> Result<(), Failure> {
    let pattern = url.host_str().filter(|name| !name.is_empty()).unwrap_or("smpte");
    let (mut width, mut height, mut fps) = (640, 480, 10);
    for (key, value) in url.query_pairs() {
        match &*key {
            "width" => width = number(&key, &value, 16..=8192)?,
            "height" => height = number(&key, &value, 16..=8192)?,
            "fps" => fps = number(&key, &value, 1..=240)?,
            other => return Err(bad_pattern(format!("{other:?} is not a setting: use width, height, fps"))),
        }
    }
    let source = make("videotestsrc")?;
    let known = source
        .find_property("pattern")
        .and_then(|property| gst::glib::EnumClass::with_type(property.value_type()));
    if known.is_none_or(|patterns| patterns.value_by_nick(pattern).is_none()) {
        return Err(bad_pattern(format!(
            "there is no pattern {pattern:?}: use ball, smpte, snow or another"
        )));
    }
    source.set_property_from_str("pattern", pattern);
    source.set_property("is-live", true);
    let filter = make("capsfilter")?;
    let caps = gst::Caps::builder("video/x-raw")
        .field("format", "I420")
        .field("width", width)
        .field("height", height)
        .field("framerate", gst::Fraction::new(fps, 1));
    filter.set_property("caps", caps.build());
    add_row(pipeline, &[&source, &filter])?;
    filter.link(tail).map_err(|error| Failure::new(FailureKind::Other, error.to_string()))
}

fn number(key: &str, value: &str, range: std::ops::RangeInclusive<i32>) -> Result<i32, Failure> {
    value
        .parse()
        .ok()
        .filter(|number| range.contains(number))
        .ok_or_else(|| bad_pattern(format!("{key} is {value:?}: use {} to {}", range.start(), range.end())))
}

fn bad_pattern(problem: String) -> Failure {
    let example = "test://ball?width=640&height=480&fps=10";
    Failure::new(
        FailureKind::NotFound,
        format!("the test pattern's URL is wrong, {problem}; such as {example}"),
    )
}
