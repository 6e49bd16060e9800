//! Errors to gRPC statuses: the one place where a code is chosen.

use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

use super::backend::{DetectError, ModelChangeError, SubscribeError};
use crate::auth::Denied;
use crate::camera::{CameraError, InvalidCamera};
use crate::view::ViewError;

/// Statuses travel in headers, which clients accept up to 8 KiB: what a client sent is not repeated at length.
const MAX_TEXT: usize = 500;
const MAX_VIOLATIONS: usize = 8;
/// What is wrong with a model is told whole: inputs, outputs, what was expected. It travels three times, twice
/// of them in base64. Other text than ASCII takes up to nine bytes a character, and is cut like the rest.
const MAX_REASON: usize = 1800;

/// What is wrong with a request, field by field, as `google.rpc.BadRequest`.
#[derive(Debug, Default)]
pub(super) struct Violations(Vec<FieldViolation>);

impl Violations {
    /// Notes that `field`, a path from the request's root, is wrong.
    pub(super) fn add(&mut self, field: impl Into<String>, problem: impl AsRef<str>) {
        self.0.push(FieldViolation::new(field, shorten(problem.as_ref())));
    }

    /// The value, or none after noting what is wrong with it. `field` is its path.
    pub(super) fn check<T>(
        &mut self,
        field: impl Into<String>,
        result: Result<T, InvalidCamera>,
    ) -> Option<T> {
        result.map_err(|error| self.add(field, error.problem)).ok()
    }

    /// Nothing, or the status that names every field.
    pub(super) fn into_result(self) -> Result<(), Status> {
        if self.0.is_empty() { Ok(()) } else { Err(self.into_status()) }
    }

    /// The status that names every field noted.
    pub(super) fn into_status(mut self) -> Status {
        self.0.truncate(MAX_VIOLATIONS);
        let texts: Vec<_> = self.0.iter().map(|v| format!("{}: {}", v.field, v.description)).collect();
        let message = shorten(&texts.join("; "));
        Status::with_error_details(Code::InvalidArgument, message, ErrorDetails::with_bad_request(self.0))
    }
}

/// The status for one wrong field.
pub(super) fn invalid(field: &str, problem: impl AsRef<str>) -> Status {
    let mut violations = Violations::default();
    violations.add(field, problem);
    violations.into_status()
}

/// The status for a field that is well formed and asks for what cannot be.
fn refused(code: Code, field: &str, error: &impl ToString) -> Status {
    with_field(code, field, &shorten(&error.to_string()))
}

fn with_field(code: Code, field: &str, message: &str) -> Status {
    let details = ErrorDetails::with_bad_request(vec![FieldViolation::new(field, message)]);
    Status::with_error_details(code, message, details)
}

fn plain(code: Code, error: &impl ToString) -> Status {
    Status::new(code, shorten(&error.to_string()))
}

fn shorten(text: &str) -> String {
    shorten_to(MAX_TEXT, text)
}

fn shorten_to(max: usize, text: &str) -> String {
    match text.char_indices().nth(max) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text.to_owned(),
    }
}

/// The status of a refused change or question about cameras. `field` is the path of the camera's id.
pub(super) fn of_camera(field: &str, error: CameraError) -> Status {
    match error {
        CameraError::Exists(_) => refused(Code::AlreadyExists, field, &error),
        CameraError::Unknown(_) => refused(Code::NotFound, field, &error),
        CameraError::ReadOnly(_) => refused(Code::FailedPrecondition, field, &error),
        CameraError::Invalid(wrong) => invalid(&format!("camera.{}", wrong.field), wrong.problem),
        CameraError::NoCapacity { .. } => refused(Code::ResourceExhausted, field, &error),
        CameraError::TooMany(_) | CameraError::TooManyTests(_) => plain(Code::ResourceExhausted, &error),
        CameraError::Store(_) | CameraError::TestCrashed => plain(Code::Internal, &error),
    }
}

/// The status of a refused subscription.
pub(super) fn of_subscription(error: &SubscribeError) -> Status {
    match error {
        SubscribeError::UnknownCamera(_) => refused(Code::NotFound, "camera_ids", error),
        SubscribeError::UnknownClass(_) => invalid("classes", error.to_string()),
        SubscribeError::ShuttingDown => plain(Code::Unavailable, error),
    }
}

/// The status of live pictures that are refused, or end.
pub(super) fn of_view(error: &ViewError) -> Status {
    match error {
        ViewError::Unknown(_) => refused(Code::NotFound, "views", error),
        ViewError::Removed => plain(Code::NotFound, error),
        ViewError::ShuttingDown => plain(Code::Unavailable, error),
    }
}

/// The status of a picture that was not looked at.
pub(super) fn of_detection(error: &DetectError) -> Status {
    match error {
        DetectError::UnknownModel { .. } => refused(Code::NotFound, "model", error),
        DetectError::UnknownClass { .. } => invalid("classes", error.to_string()),
        DetectError::Busy => plain(Code::ResourceExhausted, error),
        DetectError::ShuttingDown | DetectError::NoLane(_) => plain(Code::Unavailable, error),
        DetectError::Engine(_) => plain(Code::Internal, error),
    }
}

/// The status of a refused change to the models.
pub(super) fn of_model_change(error: &ModelChangeError) -> Status {
    use ModelChangeError as E;
    match error {
        E::Exists(_) => refused(Code::AlreadyExists, "name", error),
        E::Unknown { .. } => refused(Code::NotFound, "name", error),
        E::InvalidName(_) => refused(Code::InvalidArgument, "name", error),
        E::Default(_) | E::Configured(_) | E::InUse { .. } => {
            refused(Code::FailedPrecondition, "name", error)
        }
        E::LacksClasses { .. } => refused(Code::FailedPrecondition, "source", error),
        E::Unusable { reason } => {
            let max = if reason.is_ascii() { MAX_REASON } else { MAX_TEXT };
            with_field(Code::InvalidArgument, "source", &shorten_to(max, reason))
        }
        E::TooMany(_) => plain(Code::ResourceExhausted, error),
        E::ShuttingDown => plain(Code::Unavailable, error),
        E::Store(_) | E::Failed(_) => plain(Code::Internal, error),
    }
}

/// The status of a call that its token does not allow.
pub(super) fn of_denied(denied: &Denied) -> Status {
    match denied {
        Denied::Missing | Denied::Malformed | Denied::Unknown => plain(Code::Unauthenticated, denied),
        Denied::Forbidden { .. } => plain(Code::PermissionDenied, denied),
    }
}

/// How a subscription ends whose client took nothing for `after`.
pub(super) fn stalled(after: Duration) -> Status {
    let seconds = after.as_secs_f32();
    Status::aborted(format!(
        "this subscriber took no message for {seconds} s ([publisher] stall_timeout) while messages waited; subscribe \
         again, with resume, and read faster"
    ))
}

/// How a stream ends when the server does.
pub(super) fn shutting_down() -> Status {
    Status::unavailable("the server is shutting down")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_sends_megabytes_gets_a_status_that_fits_into_headers() {
        let mut violations = Violations::default();
        for _ in 0..1000 {
            violations.add("update_mask", "ä".repeat(1 << 16));
        }
        let status = violations.into_status();
        // The details repeat the message, and travel in base64.
        assert!(status.message().len() + status.details().len() < 12_000);
        assert_eq!(status.get_details_bad_request().unwrap().field_violations.len(), MAX_VIOLATIONS);
    }

    #[test]
    fn what_is_wrong_with_a_model_is_told_whole_and_fits_into_headers() {
        for (reason, whole) in
            [("x".repeat(1700), true), ("x".repeat(9000), false), ("ä".repeat(9000), false)]
        {
            let status = of_model_change(&ModelChangeError::Unusable { reason: reason.clone() });
            assert_eq!(status.code(), Code::InvalidArgument);
            assert_eq!(status.message() == reason, whole);
            let percent_encoded: usize =
                status.message().bytes().map(|byte| if byte.is_ascii() { 1 } else { 3 }).sum();
            // Details travel in base64.
            assert!(percent_encoded + status.details().len() * 4 / 3 < 8000, "{percent_encoded}");
        }
    }
}
