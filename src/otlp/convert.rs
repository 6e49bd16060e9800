//! A frame's story as OTLP spans: one for the frame, and under it one for each stage.

use std::time::{Duration, Instant, SystemTime};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};

use crate::trace::Story;

/// The name of a frame's own span.
const FRAME: &str = "frame";
/// Outcomes that are faults, and not what is done when there is too much to do.
const FAULTS: [&str; 4] = ["engine_error", "engine_panic", "engine_hung", "lost"];

/// Tells the wall clock's time of instants.
pub(super) struct Clock {
    wall: SystemTime,
    monotonic: Instant,
}

impl Clock {
    /// As both clocks stand now.
    pub(super) fn now() -> Self {
        Self { wall: SystemTime::now(), monotonic: Instant::now() }
    }

    /// Nanoseconds since 1970.
    fn unix_nanos(&self, at: Instant) -> u64 {
        let ago = self.monotonic.saturating_duration_since(at);
        let wall = self.wall.checked_sub(ago).unwrap_or(SystemTime::UNIX_EPOCH);
        let since = wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }
}

/// The message that tells of all these frames.
pub(super) fn request(service_name: &str, stories: Vec<Story>, clock: &Clock) -> ExportTraceServiceRequest {
    let spans = stories.iter().flat_map(|story| spans(story, clock)).collect();
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let resource = Resource {
        attributes: vec![text("service.name", service_name), text("service.version", &version)],
        ..Default::default()
    };
    let scope = InstrumentationScope { name: "centerx".into(), version, ..Default::default() };
    let scope_spans = vec![ScopeSpans { scope: Some(scope), spans, ..Default::default() }];
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans { resource: Some(resource), scope_spans, ..Default::default() }],
    }
}

fn spans(story: &Story, clock: &Clock) -> Vec<Span> {
    let (trace_id, frame_id) = (trace_id(), span_id());
    let span = |name: &str, span_id, parent_span_id, [began, ended]: [Instant; 2]| Span {
        trace_id: trace_id.clone(),
        span_id,
        parent_span_id,
        name: name.into(),
        kind: SpanKind::Internal.into(),
        start_time_unix_nano: clock.unix_nanos(began),
        end_time_unix_nano: clock.unix_nanos(ended),
        ..Default::default()
    };
    let frame = Span {
        attributes: attributes(story),
        status: FAULTS.contains(&story.outcome).then(|| Status {
            code: StatusCode::Error.into(),
            message: format!("dropped as {}", story.outcome),
        }),
        ..span(FRAME, frame_id.clone(), Vec::new(), [story.began, story.ended])
    };
    let stages = story.spans.iter().map(|stage| {
        let times = [stage.began, stage.ended];
        span(stage.stage.as_str(), span_id(), frame_id.clone(), times)
    });
    std::iter::once(frame).chain(stages).collect()
}

fn attributes(story: &Story) -> Vec<KeyValue> {
    let number = |number: u64| Value::IntValue(i64::try_from(number).unwrap_or(i64::MAX));
    let mut attributes = vec![
        text("centerx.camera", story.camera.as_str()),
        attribute("centerx.sequence", number(story.sequence)),
        text("centerx.outcome", story.outcome),
    ];
    attributes.extend(story.model.as_deref().map(|model| text("centerx.model", model)));
    attributes.extend(story.batch.map(|batch| attribute("centerx.batch_size", number(batch as u64))));
    attributes
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.into()))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), ..Default::default() }
}

/// Not all zeros, which means none.
fn trace_id() -> Vec<u8> {
    fastrand::u128(1..).to_be_bytes().to_vec()
}

fn span_id() -> Vec<u8> {
    fastrand::u64(1..).to_be_bytes().to_vec()
}
