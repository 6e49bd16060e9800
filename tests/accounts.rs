//! The promise of the frame accounts with engines that fail, stall and are too slow: whatever happens,
//! received = published + dropped by reason + in flight, and nothing is dropped as lost.

// A test that fails is to panic.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use centerx::api::backend::{Backend, DetectError, DetectRequest};
use centerx::app::App;
use centerx::camera::{CameraError, CameraId, CameraOrigin, CameraSpec, CameraUrl};
use centerx::detection::{Event, EventFilter};
use centerx::engine::Limits;
use centerx::engine::fake::{FakeEngine, Gate};
use centerx::frame::Picture;
use centerx::ledger::{Balance, DropReason};
use futures_util::StreamExt;

#[path = "support/fake_server.rs"]
mod fake_server;

use fake_server::balances;

const PATIENCE: Duration = Duration::from_secs(20);
const PERSON: [f32; 6] = [8.0, 8.0, 16.0, 16.0, 0.9, 0.0];

fn camera(id: &str, fps: u32) -> CameraSpec {
    let url = CameraUrl::parse(&format!("test://ball?width=64&height=64&fps={fps}")).unwrap();
    CameraSpec::new(CameraId::new(id).unwrap(), url)
}

/// A server with these cameras; its folder goes with it.
async fn start(engine: FakeEngine, cameras: Vec<CameraSpec>) -> (App, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let models = vec![fake_server::model(engine, &["person", "car"])];
    let app = App::start(fake_server::config(folder.path()), models).await.unwrap();
    for camera in cameras {
        app.server().add(camera, CameraOrigin::Api).await.unwrap();
    }
    (app, folder)
}

/// Looks at the books again and again until they are as wanted.
async fn until(app: &App, what: &str, wanted: impl Fn(&[Balance]) -> bool) -> Vec<Balance> {
    let begin = Instant::now();
    loop {
        let balances = balances(app);
        if wanted(&balances) {
            return balances;
        }
        assert!(begin.elapsed() < PATIENCE, "{what}: {balances:?}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_engine_names_every_frame_it_loses() {
    let (app, _folder) = start(FakeEngine::new((64, 64)).fails("out of memory"), vec![camera("a", 30)]).await;
    let books = until(&app, "frames fail", |b| b[0].dropped(DropReason::EngineError) >= 10).await;
    assert_eq!(books[0].published, 0);
    let picture = Arc::new(Picture::rgb(64, 64, vec![0; 64 * 64 * 3]).unwrap());
    let request = DetectRequest { picture, model: None, min_score: None, classes: vec![] };
    let error = app.server().detect(request).await.unwrap_err();
    assert!(matches!(&error, DetectError::Engine(cause) if cause.contains("out of memory")), "{error}");
    assert!(app.shutdown().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_engine_stands_still_the_newest_frame_waits_and_the_rest_are_superseded() {
    let gate = Gate::default();
    let engine = FakeEngine::new((64, 64)).finds(vec![PERSON]).held_by(gate.clone());
    let (app, _folder) = start(engine, vec![camera("a", 30), camera("b", 30)]).await;
    let books =
        until(&app, "frames pile up", |b| b.iter().all(|b| b.dropped(DropReason::Superseded) >= 10)).await;
    let in_flight: u64 = books.iter().map(|b| b.in_flight).sum();
    assert!(in_flight <= 3, "one in the engine, one waiting a camera: {in_flight}");
    gate.open();
    until(&app, "frames flow again", |b| b.iter().all(|b| b.published >= 10)).await;
    assert!(app.shutdown().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_lanes_never_reorder_a_camera() {
    let limits =
        Limits { max_batch: 4, preferred_batch: 2, max_queue_delay: Duration::from_millis(2), lanes: 4 };
    let engine = FakeEngine::new((64, 64)).finds(vec![PERSON]).limited(limits);
    let (app, _folder) = start(engine, (0..6).map(|n| camera(&format!("c{n}"), 60)).collect()).await;
    let mut events = app.server().subscribe(EventFilter::default()).unwrap();
    let mut last = std::collections::HashMap::new();
    let mut seen = 0;
    while seen < 600 {
        let event = tokio::time::timeout(PATIENCE, events.next()).await.unwrap().unwrap();
        if let Event::Detections(found) = event {
            let before = last.insert(found.camera.clone(), found.sequence).unwrap_or(0);
            assert!(before < found.sequence, "{}: {before} then {}", found.camera, found.sequence);
            assert_eq!(found.detections.len(), 1);
            seen += 1;
        }
    }
    balances(&app);
    assert!(app.shutdown().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_camera_leaves_at_once_and_its_waiting_frame_has_a_name() {
    let gate = Gate::default();
    let engine = FakeEngine::new((64, 64)).held_by(gate.clone());
    let (app, _folder) = start(engine, vec![camera("a", 30), camera("b", 30)]).await;
    until(&app, "both wait", |b| b.iter().all(|b| b.dropped(DropReason::Superseded) >= 2)).await;
    let id = CameraId::new("a").unwrap();
    let begin = Instant::now();
    app.server().remove_camera(&id).await.unwrap();
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
    assert!(matches!(app.server().camera(&id), Err(CameraError::Unknown(_))));
    gate.open();
    until(&app, "the other goes on", |b| b.len() == 1 && b[0].published >= 5).await;
    assert!(app.shutdown().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hung_engine_does_not_hold_up_the_shutdown() {
    let gate = Gate::default();
    let (app, _folder) = start(FakeEngine::new((64, 64)).held_by(gate.clone()), vec![camera("a", 30)]).await;
    until(&app, "the engine is busy", |b| b[0].dropped(DropReason::Superseded) >= 2).await;
    let begin = Instant::now();
    assert!(!app.shutdown().await, "the lane is still at work");
    assert!(begin.elapsed() < Duration::from_millis(2500), "{:?}", begin.elapsed());
    gate.open();
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_beyond_the_limit_are_told_to_come_back() {
    let gate = Gate::default();
    let (app, _folder) = start(FakeEngine::new((64, 64)).held_by(gate.clone()), vec![]).await;
    let picture = Arc::new(Picture::rgb(8, 8, vec![0; 192]).unwrap());
    let request =
        || DetectRequest { picture: Arc::clone(&picture), model: None, min_score: None, classes: vec![] };
    let ask = || {
        let server = Arc::clone(app.server());
        let request = request();
        tokio::spawn(async move { server.detect(request).await })
    };
    let asked: Vec<_> = (0..100).map(|_| ask()).collect();
    // The refused ones answer while the engine still stands still.
    let begin = Instant::now();
    while asked.iter().filter(|task| task.is_finished()).count() < 36 {
        assert!(begin.elapsed() < PATIENCE);
        tokio::task::yield_now().await;
    }
    gate.open();
    let (mut served, mut busy) = (0, 0);
    for task in asked {
        match task.await.unwrap() {
            Ok(_) => served += 1,
            Err(DetectError::Busy) => busy += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!((served, busy), (64, 36));
    assert!(app.shutdown().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn rate_limits_and_filters_are_kept() {
    let mut slow = camera("slow", 30);
    slow.max_fps = Some(5.0);
    slow.classes = vec!["car".into()];
    let (app, _folder) = start(FakeEngine::new((64, 64)).finds(vec![PERSON]), vec![slow]).await;
    let mut events = app.server().subscribe(EventFilter::default()).unwrap();
    let frame = loop {
        if let Event::Detections(frame) =
            tokio::time::timeout(PATIENCE, events.next()).await.unwrap().unwrap()
        {
            break frame;
        }
    };
    assert!(frame.detections.is_empty(), "only cars are of interest");
    let books = until(&app, "frames are published", |b| b[0].published >= 10).await;
    let limited = books[0].dropped(DropReason::RateLimited) as f64 / books[0].received as f64;
    assert!((0.7..0.9).contains(&limited), "5 of 30 are looked at: {books:?}");
    assert!(app.shutdown().await);
}
