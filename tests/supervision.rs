//! Engines that panic, hang and fail for a while: what is lost has a name, what can go on goes on, and the
//! server tells how it is.

// A test that fails is to panic.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use centerx::api::backend::{Backend, Choice, DetectError, DetectRequest, EventStream};
use centerx::app::App;
use centerx::camera::{CameraId, CameraOrigin, CameraSpec, CameraUrl};
use centerx::detection::{Event, EventFilter, FrameDetections};
use centerx::engine::Limits;
use centerx::engine::fake::{FakeEngine, Fault, Gate};
use centerx::frame::Picture;
use centerx::ledger::{Balance, DropReason};
use futures_util::{FutureExt, StreamExt};
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

#[path = "support/fake_server.rs"]
mod fake_server;

use fake_server::balances;

const PATIENCE: Duration = Duration::from_secs(30);
const PERSON: [f32; 6] = [8.0, 8.0, 16.0, 16.0, 0.9, 0.0];
/// Never reached in these tests.
const NEVER: Duration = Duration::from_secs(3600);
const SOON: Duration = Duration::from_secs(1);

fn engine(lanes: usize) -> FakeEngine {
    let limits = Limits { max_batch: 1, preferred_batch: 1, max_queue_delay: Duration::ZERO, lanes };
    FakeEngine::new((64, 64)).finds(vec![PERSON]).limited(limits)
}

struct Yard {
    app: App,
    engine: FakeEngine,
    _folder: tempfile::TempDir,
}

impl Yard {
    /// A server with this engine and cameras of 30 frames a second.
    async fn start(engine: FakeEngine, hang_timeout: Duration, cameras: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = fake_server::config(folder.path());
        config.engine.hang_timeout = hang_timeout;
        config.engine.max_hung = 2;
        let model = fake_server::model(engine.clone(), &["person"]);
        let app = App::start(config, vec![model]).await.unwrap();
        for id in cameras {
            let url = CameraUrl::parse("test://ball?width=64&height=64&fps=30").unwrap();
            let spec = CameraSpec::new(CameraId::new(id).unwrap(), url);
            app.server().add(spec, CameraOrigin::Api).await.unwrap();
        }
        Self { app, engine, _folder: folder }
    }

    /// Every camera's books, checked.
    fn books(&self) -> Vec<Balance> {
        balances(&self.app)
    }

    async fn until(&self, what: &str, wanted: impl Fn(&Self) -> bool) {
        let begin = Instant::now();
        while !wanted(self) {
            assert!(begin.elapsed() < PATIENCE, "{what}: {:?}", self.books());
            tokio::task::yield_now().await;
        }
    }

    fn dropped(&self, reason: DropReason) -> u64 {
        self.books().iter().map(|book| book.dropped(reason)).sum()
    }

    fn published(&self) -> Vec<u64> {
        self.books().iter().map(|book| book.published).collect()
    }

    /// Waits until so many more frames of each camera were published.
    async fn serves(&self, frames: u64) {
        let before = self.published();
        let more =
            |yard: &Self| yard.published().iter().zip(&before).all(|(now, then)| *now >= then + frames);
        self.until("frames flow", more).await;
    }

    fn metric(&self, name: &str, label: Option<&str>) -> f64 {
        let families = self.app.registry().gather();
        let family = families.iter().find(|family| family.name() == name).unwrap();
        let of_label = |metric: &&prometheus::proto::Metric| {
            label.is_none_or(|label| metric.get_label().iter().any(|pair| pair.value() == label))
        };
        let metric = family.get_metric().iter().find(of_label).unwrap();
        metric.get_counter().get_value() + metric.get_gauge().get_value()
    }

    fn restarts(&self, cause: &str) -> f64 {
        self.metric("centerx_engine_restarts_total", Some(cause))
    }

    /// What `/readyz` says.
    async fn readyz(&self) -> (u16, String) {
        let url = format!("http://{}/readyz", self.app.http_address());
        let ask = move || {
            let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
            let mut answer = agent.get(&url).call().unwrap();
            (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
        };
        tokio::task::spawn_blocking(ask).await.unwrap()
    }

    fn subscribe(&self) -> EventStream {
        self.app.server().subscribe(EventFilter::default()).unwrap()
    }

    async fn end(self) {
        let books = self.books();
        let server = Arc::clone(self.app.server());
        assert!(self.app.shutdown().await, "{books:?}");
        for view in server.cameras() {
            let book = view.balance;
            assert_eq!(book.received, book.published + book.total_dropped(), "{book:?}");
        }
    }
}

fn picture() -> Arc<Picture> {
    Arc::new(Picture::rgb(64, 64, vec![0; 64 * 64 * 3]).unwrap())
}

fn request() -> DetectRequest {
    DetectRequest { picture: picture(), model: None, min_score: None, classes: vec![] }
}

async fn next_frame(events: &mut EventStream) -> Arc<FrameDetections> {
    loop {
        let event = tokio::time::timeout(PATIENCE, events.next()).await.unwrap().unwrap();
        if let Event::Detections(frame) = event {
            return Arc::clone(frame.frame());
        }
    }
}

/// Takes so many frames and checks that no camera's numbers go back or repeat.
async fn in_order(events: &mut EventStream, frames: usize, last: &mut HashMap<CameraId, u64>) {
    for _ in 0..frames {
        let frame = next_frame(events).await;
        let before = last.insert(frame.camera.clone(), frame.sequence).unwrap_or(0);
        assert!(before < frame.sequence, "{}: {before} then {}", frame.camera, frame.sequence);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_costs_its_batch_a_name_and_the_lane_starts_anew() {
    let yard = Yard::start(engine(1).faulty(3..=3, Fault::Panic), NEVER, &["a"]).await;
    let mut events = yard.subscribe();
    in_order(&mut events, 10, &mut HashMap::new()).await;
    assert_eq!(yard.dropped(DropReason::EnginePanic), 1);
    assert_eq!((yard.restarts("panic"), yard.restarts("hang"), yard.restarts("error")), (1.0, 0.0, 0.0));
    assert_eq!(yard.engine.opened(), 2);
    assert_eq!(yard.readyz().await, (200, "ready\n".into()));
    yard.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_that_only_panics_waits_longer_each_time_and_the_server_says_so() {
    let begin = Instant::now();
    let yard = Yard::start(engine(1).faulty(1..=usize::MAX, Fault::Panic), NEVER, &["a"]).await;
    yard.until("it panics again and again", |yard| yard.restarts("panic") >= 4.0).await;
    // At least 100, 200 and 400 ms lie between the four.
    assert!(begin.elapsed() > Duration::from_millis(700), "{:?}", begin.elapsed());
    // It waits 800 ms now.
    let (status, text) = yard.readyz().await;
    assert!(status == 503 && text.contains("model coco has no lane at work"), "{text}");
    assert!(text.contains("is to panic)"), "{text}");
    let lanes = |state| yard.metric("centerx_model_lanes", Some(state));
    assert_eq!((lanes("working"), lanes("down")), (0.0, 1.0));
    assert_eq!(yard.published(), [0]);
    // A lane at rest does not hold up the end.
    let end = Instant::now();
    yard.end().await;
    assert!(end.elapsed() < Duration::from_secs(2), "{:?}", end.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_that_fails_three_times_in_a_row_is_opened_anew() {
    let yard = Yard::start(engine(1).faulty(2..=4, Fault::Error), NEVER, &["a"]).await;
    yard.serves(5).await;
    assert_eq!(yard.dropped(DropReason::EngineError), 3);
    assert_eq!((yard.restarts("error"), yard.engine.opened()), (1.0, 2));
    yard.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_a_batch_that_panics_or_hangs_get_an_error() {
    let gate = Gate::default();
    let faulty = engine(1).faulty(1..=1, Fault::Panic).faulty(3..=3, Fault::Hang(gate.clone()));
    let yard = Yard::start(faulty, SOON, &[]).await;
    let server = Arc::clone(yard.app.server());
    let error = server.detect(request()).await.unwrap_err();
    assert!(matches!(&error, DetectError::Engine(cause) if cause.contains("panicked")), "{error}");
    assert_eq!(server.detect(request()).await.unwrap().detections.len(), 1);
    let mut stream = server.open_stream(Choice::default()).unwrap();
    let hung = stream.offer(picture()).await.unwrap();
    let next = stream.offer(picture()).await.unwrap();
    let error = tokio::time::timeout(PATIENCE, hung).await.unwrap().unwrap_err();
    assert!(matches!(&error, DetectError::Engine(cause) if cause.contains("hung")), "{error}");
    assert_eq!(next.await.unwrap().detections.len(), 1, "the stream goes on");
    gate.open();
    drop(stream);
    yard.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hung_lane_is_replaced_and_its_late_result_never_published() {
    let gate = Gate::default();
    let yard = Yard::start(engine(1).faulty(3..=3, Fault::Hang(gate.clone())), SOON, &["a"]).await;
    let (mut events, mut last) = (yard.subscribe(), HashMap::new());
    in_order(&mut events, 10, &mut last).await;
    assert_eq!(yard.dropped(DropReason::EngineHung), 1);
    assert_eq!((yard.restarts("hang"), yard.metric("centerx_engine_hung_lanes", None)), (1.0, 1.0));
    assert_eq!(yard.readyz().await.0, 200, "one is replaced");
    let before = yard.books()[0];
    gate.open();
    yard.until("it comes back", |yard| yard.metric("centerx_engine_hung_lanes", None) == 0.0).await;
    in_order(&mut events, 10, &mut last).await;
    let after = yard.books()[0];
    assert_eq!(after.dropped(DropReason::EngineHung), before.dropped(DropReason::EngineHung));
    assert_eq!(yard.engine.opened(), 2, "the old lane is closed, not used");
    yard.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_one_lane_of_two_hangs_the_other_serves_both_cameras() {
    let gate = Gate::default();
    let yard = Yard::start(engine(2).faulty(5..=5, Fault::Hang(gate.clone())), NEVER, &["a", "b"]).await;
    yard.until("it hangs", |yard| yard.engine.runs() >= 5).await;
    let (mut events, mut last) = (yard.subscribe(), HashMap::new());
    yard.serves(10).await;
    // One of the cameras has to wait a second for its frame that hangs.
    while last.len() < 2 {
        in_order(&mut events, 1, &mut last).await;
    }
    assert_eq!(yard.readyz().await.0, 200);
    // Nobody gave it up: its result comes after later ones, and is passed over.
    let superseded = yard.dropped(DropReason::Superseded);
    gate.open();
    yard.until("it is booked", |yard| yard.dropped(DropReason::Superseded) > superseded).await;
    in_order(&mut events, 20, &mut last).await;
    assert_eq!(yard.dropped(DropReason::EngineHung), 0);
    yard.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_as_many_lanes_hang_as_may_the_server_is_not_ready_until_one_returns() {
    let gates = [Gate::default(), Gate::default()];
    let [first, second] = gates.clone();
    let faulty = engine(1).faulty(2..=2, Fault::Hang(first)).faulty(4..=4, Fault::Hang(second));
    let yard = Yard::start(faulty, SOON, &["a"]).await;
    let address = format!("http://{}", yard.app.grpc_address());
    let mut client = HealthClient::new(Endpoint::from_shared(address).unwrap().connect().await.unwrap());
    let asked = HealthCheckRequest { service: String::new() };
    let mut health = client.watch(asked).await.unwrap().into_inner();
    assert_eq!(health.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    yard.until("both hang", |yard| yard.restarts("hang") == 2.0).await;
    let (status, text) = yard.readyz().await;
    assert!(status == 503 && text.contains("2 engine lanes hang"), "{text}");
    let told = tokio::time::timeout(PATIENCE, health.message()).await.unwrap().unwrap().unwrap();
    assert_eq!(told.status(), ServingStatus::NotServing);
    assert_eq!(
        (yard.engine.opened(), yard.dropped(DropReason::EngineHung)),
        (2, 2),
        "no third one is opened"
    );
    // Reading goes on, and so do the accounts.
    assert!(yard.subscribe().next().now_or_never().flatten().is_some(), "subscriptions are accepted");
    gates[0].open();
    yard.serves(5).await;
    assert_eq!(yard.readyz().await, (200, "ready\n".into()));
    let told = tokio::time::timeout(PATIENCE, health.message()).await.unwrap().unwrap().unwrap();
    assert_eq!(told.status(), ServingStatus::Serving);
    gates[1].open();
    drop((client, health));
    yard.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vacant_lane_does_not_hold_up_the_end() {
    let gate = Gate::default();
    let yard = Yard::start(engine(1).faulty(1..=usize::MAX, Fault::Hang(gate.clone())), SOON, &["a"]).await;
    yard.until("both hang", |yard| yard.restarts("hang") == 2.0).await;
    yard.end().await;
    gate.open();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_that_hangs_at_opening_is_given_up_and_another_is_opened() {
    let gate = Gate::default();
    let stuck = engine(1).faulty(1..=1, Fault::Panic).stuck_opening(2, gate.clone());
    let yard = Yard::start(stuck, Duration::from_millis(250), &["a"]).await;
    yard.until("it hangs", |yard| yard.restarts("hang") == 1.0).await;
    yard.serves(5).await;
    assert_eq!((yard.engine.opened(), yard.readyz().await.0), (3, 200));
    gate.open();
    yard.until("it comes back", |yard| yard.metric("centerx_engine_hung_lanes", None) == 0.0).await;
    yard.serves(5).await;
    yard.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_for_a_model_without_a_lane_is_given_back_with_the_reason() {
    let gate = Gate::default();
    let yard = Yard::start(engine(1).faulty(1..=2, Fault::Hang(gate.clone())), SOON, &[]).await;
    let server = Arc::clone(yard.app.server());
    for _ in 0..2 {
        assert!(matches!(server.detect(request()).await.unwrap_err(), DetectError::Engine(_)));
    }
    let error = tokio::time::timeout(PATIENCE, server.detect(request())).await.unwrap().unwrap_err();
    assert!(matches!(&error, DetectError::NoLane(why) if why.contains("no lane at work")), "{error}");
    let mut stream = server.open_stream(Choice::default()).unwrap();
    for _ in 0..2 {
        let waiting = stream.offer(picture()).await.unwrap();
        let error = tokio::time::timeout(PATIENCE, waiting).await.unwrap().unwrap_err();
        assert!(matches!(error, DetectError::NoLane(_)), "{error}");
    }
    gate.open();
    yard.until("a lane is there", |yard| yard.metric("centerx_engine_hung_lanes", None) == 0.0).await;
    assert_eq!(server.detect(request()).await.unwrap().detections.len(), 1);
    drop(stream);
    yard.end().await;
}
