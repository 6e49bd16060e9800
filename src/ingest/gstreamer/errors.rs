//! What GStreamer's errors mean: a kind for software, and words with the cause and the cure.
//!
//! GStreamer's own words are shown only where we have none that are better, and scrubbed.

use gstreamer as gst;
use gstreamer::glib;

use crate::camera::{CameraUrl, FailureKind, SourceKind};
use crate::ingest::source::Failure;

use super::run::Hints;

/// Explains an error that an element posted.
pub(super) fn explain(url: &CameraUrl, error: &glib::Error, debug: &str, hints: &Hints) -> Failure {
    if !hints.video && !hints.others.is_empty() {
        // What was not chosen fails in many words, none of them the reason.
        return no_video(url, hints);
    }
    if error.matches(gst::CoreError::MissingPlugin) || error.matches(gst::StreamError::CodecNotFound) {
        return not_decodable(url, hints.missing.as_deref().unwrap_or_default());
    }
    if let Some(kind) = error.kind::<gst::ResourceError>() {
        return of_resource(url, kind, error, debug);
    }
    if let Some(kind) = error.kind::<gst::StreamError>() {
        return of_stream(url, kind, error, debug);
    }
    Failure::new(FailureKind::Other, own_words(url, error, debug))
}

/// What is there has streams, but none is video.
pub(super) fn no_video(url: &CameraUrl, hints: &Hints) -> Failure {
    let message = match hints.others.as_slice() {
        [] => format!("{url} has no video in it; check the address"),
        [other] if other != "audio" => format!("what {url} holds is {other}, not video; check the address"),
        others => {
            format!("{url} has only {} in it, no video; choose a stream with video", others.join(" and "))
        }
    };
    Failure::new(FailureKind::NoVideo, message)
}

/// The caps that a missing-plugin message asks a decoder (or depayloader, or demuxer) for.
pub(super) fn missing_decoder(structure: &gst::StructureRef) -> Option<String> {
    if structure.name() != "missing-plugin" {
        return None;
    }
    structure.get::<gst::Caps>("detail").ok().map(|caps| caps.to_string())
}

fn of_resource(url: &CameraUrl, kind: gst::ResourceError, error: &glib::Error, debug: &str) -> Failure {
    use gst::ResourceError as R;
    match kind {
        R::NotAuthorized => Failure::new(FailureKind::Auth, refused(url)),
        R::NotFound => Failure::new(FailureKind::NotFound, not_found(url)),
        _ if debug.contains("Unauthorized") || debug.contains("(401)") => {
            Failure::new(FailureKind::Auth, refused(url))
        }
        _ if debug.contains("Not Found") || debug.contains("(404)") => {
            Failure::new(FailureKind::NotFound, not_found(url))
        }
        R::Busy => {
            Failure::new(FailureKind::Other, format!("{url} is in use by another program; close that one"))
        }
        _ if is_remote(url) => Failure::new(
            FailureKind::Network,
            format!("the connection to {url} broke: {}", own_words(url, error, debug)),
        ),
        _ => Failure::new(FailureKind::Other, own_words(url, error, debug)),
    }
}

fn of_stream(url: &CameraUrl, kind: gst::StreamError, error: &glib::Error, debug: &str) -> Failure {
    use gst::StreamError as S;
    match kind {
        S::WrongType => Failure::new(
            FailureKind::NoVideo,
            format!("what {url} holds is not video but text or other data; check the address"),
        ),
        S::TypeNotFound => Failure::new(
            FailureKind::Codec,
            format!("what {url} holds is no video format that is known here; it may be damaged"),
        ),
        S::Decode | S::Demux | S::Format | S::Decrypt | S::DecryptNokey => {
            Failure::new(FailureKind::Codec, damaged(url, error, debug))
        }
        _ if url.kind() == SourceKind::Rtsp && debug.contains("reason not-linked") => Failure::new(
            FailureKind::Network,
            format!("{url} began another stream in the same connection; connecting anew"),
        ),
        // The words for "a streaming thread stopped", which says nothing of the cause.
        _ if is_remote(url) => Failure::new(
            FailureKind::Network,
            format!("the connection to {url} broke: {}", own_words(url, error, debug)),
        ),
        _ if url.kind() == SourceKind::File => Failure::new(FailureKind::Codec, damaged(url, error, debug)),
        _ => Failure::new(FailureKind::Other, own_words(url, error, debug)),
    }
}

fn is_remote(url: &CameraUrl) -> bool {
    matches!(url.kind(), SourceKind::Rtsp | SourceKind::Http)
}

fn refused(url: &CameraUrl) -> String {
    if url.expose().username().is_empty() {
        format!(
            "{url} wants a user and a password; write them as {}://USER:PASSWORD@HOST",
            url.expose().scheme()
        )
    } else {
        format!("{url} refuses this user or password; correct them in the camera's url")
    }
}

fn not_found(url: &CameraUrl) -> String {
    match url.kind() {
        SourceKind::Rtsp | SourceKind::Http => {
            format!("the server answers, but has nothing at {url}; check the path in the camera's manual")
        }
        _ => format!("there is no {url}; check the path"),
    }
}

fn damaged(url: &CameraUrl, error: &glib::Error, debug: &str) -> String {
    format!("{url} is damaged or not finished: {}", own_words(url, error, debug))
}

/// No element decodes these caps. What is no video at all ends up here too.
fn not_decodable(url: &CameraUrl, caps: &str) -> Failure {
    let caps = caps.parse::<gst::Caps>().ok();
    let structure = caps.as_ref().and_then(|caps| caps.structure(0));
    let name = structure.map(|structure| structure.name().as_str()).unwrap_or_default();
    let is_page = name.starts_with("text/") || matches!(name, "application/xml" | "application/json");
    if is_page || name.starts_with("audio/") {
        let message = format!("what {url} holds is {name}, not video; check the address");
        return Failure::new(FailureKind::NoVideo, message);
    }
    let codec = structure.map_or("its codec".into(), codec_name);
    let message = format!(
        "{url} sends {codec}, which no decoder here can read; set the camera to H.264, or install \
         gstreamer1.0-libav and gstreamer1.0-plugins-bad (Debian's names)"
    );
    Failure::new(FailureKind::Codec, message)
}

/// `video/x-h266`, and where the name says too little, its format or encoding.
fn codec_name(structure: &gst::StructureRef) -> String {
    let text = ["encoding-name", "format"].into_iter().find_map(|field| structure.get::<String>(field).ok());
    let letters = || structure.get::<i32>("fourcc").ok().map(four_letters);
    let detail = text.or_else(letters);
    match detail {
        Some(detail) => format!("{} ({detail})", structure.name()),
        None => structure.name().to_string(),
    }
}

/// The name that AVI and QuickTime files give a codec.
fn four_letters(code: i32) -> String {
    String::from_utf8_lossy(&code.to_le_bytes()).escape_default().to_string()
}

/// GStreamer's words, the last line of its details included, without secrets.
fn own_words(url: &CameraUrl, error: &glib::Error, debug: &str) -> String {
    let detail = debug.lines().last().map(str::trim).filter(|line| !line.is_empty() && !line.contains("():"));
    let words = match detail {
        Some(detail) => format!("{} ({detail})", error.message()),
        None => error.message().to_owned(),
    };
    let words = url.scrub(&words);
    match url.expose().query() {
        Some(query) if !query.is_empty() => words.replace(query, "***"),
        _ => words,
    }
}
