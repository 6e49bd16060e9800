//! The gRPC server, from outside: real sockets, real clients, a scripted backend.

#![allow(clippy::unwrap_used)] // helpers of tests are tests too

#[path = "../support/backend.rs"]
mod backend;
mod cameras;
mod detect;
mod detect_stream;
mod history;
mod life;
mod live;
mod python;
mod stream_ends;
mod subscribe;
mod talk;
mod watch;
mod web;

use tonic::Status;
use tonic_types::StatusExt;

/// The fields that a status complains about.
fn fields(status: &Status) -> Vec<String> {
    let violations = status.get_details_bad_request().map(|bad| bad.field_violations);
    violations.into_iter().flatten().map(|violation| violation.field).collect()
}
