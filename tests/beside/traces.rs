//! Traces at a real receiver of OTLP.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

use centerx::engine::fake::Gate;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;
use v1::AddCameraRequest;

use super::*;

/// Keeps what it gets.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<ExportTraceServiceRequest>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        self.0.lock().unwrap().push(request.into_inner());
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}

/// The spans of a frame: its own, and those under it by their beginning.
#[derive(Clone, Debug)]
struct Frame {
    own: Span,
    stages: Vec<Span>,
}

impl Frame {
    fn names(&self) -> Vec<&str> {
        self.stages.iter().map(|span| span.name.as_str()).collect()
    }

    fn attribute(&self, key: &str) -> Option<String> {
        told(&self.own.attributes, key)
    }

    fn outcome(&self) -> String {
        self.attribute("centerx.outcome").unwrap()
    }
}

fn told(attributes: &[KeyValue], key: &str) -> Option<String> {
    let value = attributes.iter().find(|attribute| attribute.key == key)?.value.clone()?.value?;
    Some(match value {
        Value::StringValue(text) => text,
        Value::IntValue(number) => number.to_string(),
        other => panic!("{other:?}"),
    })
}

impl Collector {
    /// Listens, and its address.
    async fn start() -> (Self, String) {
        let collector = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let service = TraceServiceServer::new(collector.clone());
        let server = tonic::transport::Server::builder().add_service(service);
        tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
        (collector, address)
    }

    /// All frames, whose spans must fit together.
    fn frames(&self) -> Vec<Frame> {
        let mut traces: HashMap<Vec<u8>, Vec<Span>> = HashMap::new();
        for request in self.0.lock().unwrap().iter() {
            for resource in &request.resource_spans {
                let attributes = &resource.resource.as_ref().unwrap().attributes;
                assert_eq!(told(attributes, "service.name").as_deref(), Some("yards"));
                for span in resource.scope_spans.iter().flat_map(|scope| &scope.spans) {
                    traces.entry(span.trace_id.clone()).or_default().push(span.clone());
                }
            }
        }
        traces.into_values().map(frame).collect()
    }

    /// Waits until so many frames ended so.
    async fn until(&self, outcome: &str, count: usize) -> Vec<Frame> {
        let begin = Instant::now();
        loop {
            let mut frames = self.frames();
            frames.retain(|frame| frame.outcome() == outcome);
            if frames.len() >= count {
                return frames;
            }
            assert!(begin.elapsed() < PATIENCE, "{} frames {outcome}", frames.len());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// One trace's spans, which must fit together.
fn frame(spans: Vec<Span>) -> Frame {
    let (mut own, mut stages): (Vec<_>, Vec<_>) =
        spans.into_iter().partition(|span| span.parent_span_id.is_empty());
    assert_eq!(own.len(), 1, "one span without a parent: {own:?}");
    let own = own.remove(0);
    assert_eq!((own.name.as_str(), own.trace_id.len(), own.span_id.len()), ("frame", 16, 8));
    let ids: HashSet<_> = stages.iter().map(|span| &span.span_id).chain([&own.span_id]).collect();
    assert_eq!(ids.len(), stages.len() + 1);
    stages.sort_by_key(|span| span.start_time_unix_nano);
    for span in &stages {
        assert_eq!(span.parent_span_id, own.span_id);
        assert!(own.start_time_unix_nano <= span.start_time_unix_nano, "{own:?} {span:?}");
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano, "{span:?}");
        assert!(span.end_time_unix_nano <= own.end_time_unix_nano, "{own:?} {span:?}");
    }
    assert!(
        stages.windows(2).all(|pair| pair[0].end_time_unix_nano <= pair[1].start_time_unix_nano),
        "one after the other: {stages:?}"
    );
    Frame { own, stages }
}

async fn add(server: &Server, camera: v1::Camera) {
    server.cameras().await.add_camera(AddCameraRequest { camera: Some(camera) }).await.unwrap();
}

fn traced(endpoint: &str) -> impl FnOnce(&mut Config) {
    move |config| {
        config.otlp.endpoint = Some(endpoint.into());
        config.otlp.sample_ratio = 1.0;
        config.otlp.service_name = "yards".into();
    }
}

const URL: &str = "test://ball?width=64&height=64&fps=20";

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_is_a_trace_and_each_stage_a_span() {
    let (collector, endpoint) = Collector::start().await;
    let server = Server::start(traced(&endpoint)).await;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
    add(&server, camera("yard", URL)).await;
    let frames = collector.until("published", 20).await;
    for frame in &frames {
        assert_eq!(frame.names(), ["decode", "queue", "preprocess", "infer", "publish"]);
        assert_eq!(frame.attribute("centerx.camera").as_deref(), Some("yard"));
        assert_eq!(frame.attribute("centerx.model").as_deref(), Some("coco"));
        assert_eq!(frame.attribute("centerx.batch_size").as_deref(), Some("1"));
        assert!(frame.own.status.is_none());
        let begun = frame.own.start_time_unix_nano;
        assert!(now - 1_000_000_000 < begun && begun < now + 60_000_000_000, "{begun} of {now}");
    }
    let sequences: HashSet<_> = frames.iter().map(|frame| frame.attribute("centerx.sequence")).collect();
    assert_eq!(sequences.len(), frames.len(), "each frame once");
    server.stop().await;
    // The last ones are sent at the end.
    assert!(collector.frames().len() >= frames.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_are_dropped_say_where_and_why() {
    let (collector, endpoint) = Collector::start().await;
    let gate = Gate::default();
    let engine = FakeEngine::new((64, 64)).finds(vec![PERSON]).held_by(gate.clone());
    let server = Server::start_on(engine, traced(&endpoint)).await;
    add(&server, v1::Camera { max_fps: Some(10.0), ..camera("yard", URL) }).await;
    for frame in collector.until("superseded", 3).await {
        assert_eq!(frame.names(), ["decode", "queue"]);
        assert_eq!((frame.attribute("centerx.model"), frame.attribute("centerx.batch_size")), (None, None));
    }
    for frame in collector.until("rate_limited", 3).await {
        assert_eq!(frame.names(), ["decode"]);
        assert!(frame.own.status.is_none(), "no fault");
    }
    gate.open();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_are_marked_as_such() {
    let (collector, endpoint) = Collector::start().await;
    let server = Server::start_on(FakeEngine::new((64, 64)).fails("out of memory"), traced(&endpoint)).await;
    add(&server, camera("yard", URL)).await;
    for frame in collector.until("engine_error", 3).await {
        assert_eq!(frame.names(), ["decode", "queue", "preprocess", "infer"]);
        let status = frame.own.status.clone().unwrap();
        assert_eq!((status.code(), status.message.as_str()), (StatusCode::Error, "dropped as engine_error"));
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_collector_the_server_works_on_and_counts() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = Server::start(traced(&format!("http://{closed}"))).await;
    add(&server, camera("yard", URL)).await;
    let begin = Instant::now();
    let failed = |metrics: &str| {
        metrics
            .lines()
            .any(|line| line.starts_with("centerx_traces_total{outcome=\"failed\"}") && !line.ends_with(" 0"))
    };
    while !failed(&server.metrics()) {
        assert!(begin.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let published = centerx::api::backend::Backend::cameras(&**server.app.server())[0].balance.published;
    assert!(published > 0);
    server.stop().await;
}
