//! Streams of clients' pictures at the scheduler: one slot each, batched with the others, skipped when nobody
//! waits any more.

// A test that fails is to panic.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use centerx::api::backend::{Backend, Choice, DetectError, DetectRequest, Pending, PictureStream};
use centerx::app::App;
use centerx::engine::Limits;
use centerx::engine::fake::{FakeEngine, Gate};
use centerx::frame::Picture;
use futures_util::FutureExt;

#[path = "support/fake_server.rs"]
mod fake_server;

const PERSON: [f32; 6] = [8.0, 8.0, 16.0, 16.0, 0.9, 0.0];

/// A server whose engine has one lane, takes batches of up to eight, and holds each at `gate`.
async fn start(gate: &Gate) -> (App, tempfile::TempDir) {
    let data = tempfile::tempdir().unwrap();
    let limits = Limits { max_batch: 8, preferred_batch: 1, max_queue_delay: Duration::ZERO, lanes: 1 };
    let engine = FakeEngine::new((64, 64)).finds(vec![PERSON]).limited(limits).held_by(gate.clone());
    let models = vec![fake_server::model(engine, &["person", "car"])];
    (App::start(fake_server::config(data.path()), models).await.unwrap(), data)
}

fn picture() -> Arc<Picture> {
    Arc::new(Picture::rgb(64, 64, vec![0; 64 * 64 * 3]).unwrap())
}

fn open(app: &App) -> Box<dyn PictureStream> {
    app.server().open_stream(Choice::default()).unwrap()
}

/// Batches that the scheduler gave away, and the pictures in them.
fn dispatched(app: &App) -> (u64, u64) {
    histogram(app, "centerx_batch_size")
}

/// Number and sum of a histogram's values.
fn histogram(app: &App, name: &str) -> (u64, u64) {
    let families = app.registry().gather();
    let family = families.iter().find(|family| family.name() == name).unwrap();
    let histogram = family.get_metric()[0].get_histogram();
    (histogram.get_sample_count(), histogram.get_sample_sum() as u64)
}

/// Hands in a picture and waits until the lane has it.
async fn occupy(app: &App, stream: &mut Box<dyn PictureStream>) -> Pending {
    let pending = stream.offer(picture()).await.unwrap();
    while dispatched(app).0 == 0 {
        tokio::task::yield_now().await;
    }
    pending
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_has_one_slot_and_shares_batches_with_the_others() {
    let gate = Gate::default();
    let (app, _data) = start(&gate).await;
    let (mut busy, mut other) = (open(&app), open(&app));
    let first = occupy(&app, &mut busy).await;
    let second = busy.offer(picture()).await.unwrap();
    // Whatever the stream has to look at: the slot is taken until a lane comes for it.
    let third = busy.offer(picture());
    tokio::pin!(third);
    assert!(third.as_mut().now_or_never().is_none());
    // Others have theirs.
    let others = other.offer(picture()).await.unwrap();
    let request = DetectRequest { picture: picture(), model: None, min_score: None, classes: Vec::new() };
    let mut single = app.server().detect(request);
    assert!((&mut single).now_or_never().is_none());
    gate.open();
    let third = third.await.unwrap();
    for pending in [first, second, others, third] {
        assert_eq!(&*pending.await.unwrap().detections[0].label, "person");
    }
    single.await.unwrap();
    assert_eq!(dispatched(&app), (3, 5), "the first alone, three together, and the one that waited");
    assert!(app.shutdown().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_that_nobody_waits_for_are_not_looked_at() {
    let gate = Gate::default();
    let (app, _data) = start(&gate).await;
    let mut stream = open(&app);
    let held = occupy(&app, &mut stream).await;
    drop(stream.offer(picture()).await.unwrap());
    drop((held, stream));
    gate.open();
    let mut next = open(&app);
    next.offer(picture()).await.unwrap().await.unwrap();
    let (runs, _) = histogram(&app, "centerx_infer_seconds");
    assert!(runs == 2, "{runs} runs: the one under way and the next");
    assert!(app.shutdown().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_shutdown_what_the_engine_holds_is_answered_and_what_waits_is_told() {
    let gate = Gate::default();
    let (app, _data) = start(&gate).await;
    let mut stream = open(&app);
    let held = occupy(&app, &mut stream).await;
    let waiting = stream.offer(picture()).await.unwrap();
    let server = Arc::clone(app.server());
    let down = tokio::spawn(app.shutdown());
    assert!(matches!(waiting.await, Err(DetectError::ShuttingDown)));
    assert!(matches!(stream.offer(picture()).await, Err(DetectError::ShuttingDown)));
    gate.open();
    assert_eq!(held.await.unwrap().detections.len(), 1);
    assert!(down.await.unwrap());
    drop(server);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_for_what_is_not_served_is_refused() {
    let gate = Gate::default();
    let (app, _data) = start(&gate).await;
    let model = Choice { model: Some("yolo".into()), ..Choice::default() };
    assert!(matches!(app.server().open_stream(model), Err(DetectError::UnknownModel { .. })));
    let class = Choice { classes: vec!["tractor".into()], ..Choice::default() };
    assert!(matches!(app.server().open_stream(class), Err(DetectError::UnknownClass { .. })));
    gate.open();
    assert!(app.shutdown().await);
}
