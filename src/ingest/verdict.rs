//! What to make of a connection that brings no picture: how long it is waited for, and why none came, in words.

use tokio::time::Instant;

use crate::camera::{CameraSpec, FailureKind};

use super::config::Config;
use super::connector::no_answer;
use super::link::Progress;
use super::reach::try_reach;
use super::source::Failure;

/// When something must have happened: the next picture, or the first one, or a first answer.
pub(super) fn deadline(config: &Config, started: Instant, progress: &Progress) -> Instant {
    match (progress.last_picture, progress.coded) {
        (Some(picture), _) => Instant::from_std(picture) + config.stall_timeout,
        (None, Some(coded)) => Instant::from_std(coded) + config.connect_timeout,
        (None, None) => started + config.connect_timeout,
    }
}

/// Nothing had happened by then.
pub(super) fn overdue(config: &Config, progress: &Progress) -> Failure {
    match (progress.last_picture, progress.coded) {
        (Some(_), _) => Failure::new(
            FailureKind::Stalled,
            format!(
                "no frame came for {}; connecting anew",
                humantime::format_duration(config.stall_timeout)
            ),
        ),
        (None, Some(_)) => Failure::new(
            FailureKind::Codec,
            "coded video arrives, but no picture can be decoded from it; set the camera to a plain H.264 profile and \
             a shorter keyframe interval",
        ),
        (None, None) => no_answer(config.connect_timeout),
    }
}

/// The stream came to its end without a picture.
pub(super) fn empty() -> Failure {
    Failure::new(
        FailureKind::Codec,
        "the stream ended and not one picture could be decoded from it; it is empty or damaged",
    )
}

/// A failure with its cause in the network if there is one, and whether the host cannot be reached.
pub(super) async fn explain(spec: &CameraSpec, failure: Failure) -> (Failure, bool) {
    if failure.kind == FailureKind::Forbidden {
        // Not even to see whether anybody is there.
        return (failure, false);
    }
    match (try_reach(&spec.url).await, failure.kind) {
        (Some(Err(cause)), FailureKind::Network | FailureKind::Other) => (cause, true),
        (Some(Err(_)), _) => (failure, true),
        _ => (failure, false),
    }
}
