//! Every call passes here: it is counted by method and code, and its answer is due in time.

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::Response;
use futures_util::FutureExt as _;
use http_body::Frame;
use prometheus::{IntCounterVec, IntGauge, Opts, Registry};
use prost::Message;
use prost_types::FileDescriptorSet;
use tonic::{Code, Status};

use crate::listen::{Tap, Tapped};

/// What the gRPC server counts.
#[derive(Clone, Debug)]
pub struct Metrics {
    requests: IntCounterVec,
    streams: IntGauge,
    stream_frames: IntCounterVec,
    refused: IntCounterVec,
}

/// Which limit of a peer a call was refused for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Refusal {
    /// `peer_streams`.
    PeerStreams,
    /// `peer_calls`.
    PeerCalls,
}

impl Metrics {
    /// Registers the gRPC server's metrics.
    ///
    /// # Errors
    /// A metric registered twice.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let requests = IntCounterVec::new(
            Opts::new("centerx_grpc_requests_total", "gRPC calls that ended, by method and status code."),
            &["method", "code"],
        )?;
        let streams = IntGauge::new("centerx_detect_streams", "Calls of DetectStream that are open.")?;
        let stream_frames = IntCounterVec::new(
            Opts::new(
                "centerx_detect_stream_frames_total",
                "Frames of DetectStream answered, by status code.",
            ),
            &["code"],
        )?;
        let refused = IntCounterVec::new(
            Opts::new(
                "centerx_grpc_refused_total",
                "gRPC calls refused for a limit of their peer, by limit.",
            ),
            &["limit"],
        )?;
        registry.register(Box::new(refused.clone()))?;
        registry.register(Box::new(requests.clone()))?;
        registry.register(Box::new(streams.clone()))?;
        registry.register(Box::new(stream_frames.clone()))?;
        Ok(Self { requests, streams, stream_frames, refused })
    }

    /// Counts a call that was refused for a limit of its peer.
    pub(super) fn refused(&self, limit: Refusal) {
        let limit = match limit {
            Refusal::PeerStreams => "peer_streams",
            Refusal::PeerCalls => "peer_calls",
        };
        self.refused.with_label_values(&[limit]).inc();
    }

    /// Counts a stream as open until what is returned is let go.
    pub(super) fn open_stream(&self) -> OpenStream {
        self.streams.inc();
        OpenStream(self.clone())
    }
}

/// A call of `DetectStream` that is open.
pub(super) struct OpenStream(Metrics);

impl OpenStream {
    /// Counts an answer to a frame.
    pub(super) fn answered(&self, code: Code) {
        self.0.stream_frames.with_label_values(&[code_name(code)]).inc();
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.streams.dec();
    }
}

/// What all calls share.
#[derive(Clone)]
pub(super) struct Observer {
    metrics: Metrics,
    /// Methods by their path; other paths are a client's invention and no label.
    methods: Arc<HashSet<String>>,
    timeout: Duration,
}

impl Observer {
    pub(super) fn new(metrics: Metrics, timeout: Duration, descriptors: &[&[u8]]) -> Self {
        let methods = descriptors.iter().flat_map(|set| method_paths(set)).collect();
        Self { metrics, methods: Arc::new(methods), timeout }
    }

    fn begin(&self, path: &str) -> Call {
        let method = self.methods.get(path).map_or("other", |known| &known[1..]).to_owned();
        Call { metrics: self.metrics.clone(), method, code: None, ended: false }
    }
}

/// `/package.Service/Method` for every method in an encoded descriptor set.
fn method_paths(descriptors: &[u8]) -> Vec<String> {
    // The sets are compiled in; reflection refuses to start with one that cannot be read.
    let files = FileDescriptorSet::decode(descriptors).unwrap_or_default().file;
    let of_file = |file: &prost_types::FileDescriptorProto| {
        let of_service = |service: &prost_types::ServiceDescriptorProto| {
            let prefix = format!("/{}.{}", file.package(), service.name());
            service.method.iter().map(move |m| format!("{prefix}/{}", m.name())).collect::<Vec<_>>()
        };
        file.service.iter().flat_map(of_service).collect::<Vec<_>>()
    };
    files.iter().flat_map(of_file).collect()
}

/// Runs one call. The time limit covers the request's arrival and the beginning of its answer, not a stream.
pub(super) async fn observe(State(observer): State<Observer>, request: Request, next: Next) -> Response {
    let mut call = observer.begin(request.uri().path());
    let limit = client_timeout(request.headers()).map_or(observer.timeout, |time| time.min(observer.timeout));
    // A connection carries many calls: one that panics is not to end the others.
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind();
    let response = match tokio::time::timeout(limit, answer).await {
        Ok(Ok(response)) => response,
        Ok(Err(_)) => panicked().into_http(),
        Err(_) => {
            let seconds = limit.as_secs_f32();
            Status::deadline_exceeded(format!("no answer within {seconds} s")).into_http()
        }
    };
    call.read(response.headers());
    response.map(|body| Body::new(Tapped::new(body, call)))
}

/// The time that the client gives the call, at most eight digits and a unit (gRPC over HTTP/2, "Timeout").
fn client_timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if !(1..=8).contains(&digits.len()) || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(count * 3600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

/// How a call ends that met a fault of ours; the panic itself is in the log.
pub(super) fn panicked() -> Status {
    Status::internal("the call panicked, which is a fault in centerx; please report it with the server's log")
}

/// One call, counted when it is let go.
struct Call {
    metrics: Metrics,
    method: String,
    code: Option<Code>,
    ended: bool,
}

impl Call {
    fn read(&mut self, headers: &HeaderMap) {
        if let Some(status) = headers.get("grpc-status") {
            self.code = Some(Code::from_bytes(status.as_bytes()));
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        // An answer that was let go before its end was not wanted any more.
        let code = self.code.unwrap_or(if self.ended { Code::Unknown } else { Code::Cancelled });
        self.metrics.requests.with_label_values(&[self.method.as_str(), code_name(code)]).inc();
    }
}

/// An answer's last words are the status.
impl Tap for Call {
    fn passes(&mut self, frame: &Frame<Bytes>) -> Result<(), axum::Error> {
        if let Some(trailers) = frame.trailers_ref() {
            self.read(trailers);
        }
        Ok(())
    }

    fn ended(&mut self) {
        self.ended = true;
    }
}

/// The code's name in the gRPC specification.
fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_gives_its_time_as_digits_and_unit() {
        let read = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", text.parse().unwrap());
            client_timeout(&headers)
        };
        assert_eq!(read("1S"), Some(Duration::from_secs(1)));
        assert_eq!(read("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        assert_eq!(
            (read("250m"), read("7u")),
            (Some(Duration::from_millis(250)), Some(Duration::from_micros(7)))
        );
        for bad in ["", "S", "1", "-1S", "+1S", "123456789S", "1 S", "1s"] {
            assert_eq!(read(bad), None, "{bad}");
        }
        assert_eq!(client_timeout(&HeaderMap::new()), None);
    }
}
