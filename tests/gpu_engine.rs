//! A whole server on fake GPUs: cameras over two devices, and one that breaks down.

#![cfg(feature = "tensorrt")]
// A test that fails is to panic.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use centerx::app::{App, LoadedModel};
use centerx::camera::{CameraId, CameraOrigin, CameraSpec, CameraUrl};
use centerx::engine::check::Promise;
use centerx::engine::tensorrt::device::fake::{Call, FakeGpu, FakePlan};
use centerx::engine::tensorrt::device::watch::Watcher;
use centerx::engine::tensorrt::device::{ErrorKind, Gpu, Metrics, PlanShape, Setup, TensorRtEngine};
use centerx::ledger::DropReason;

#[path = "support/fake_server.rs"]
mod fake_server;
#[path = "support/prometheus/mod.rs"]
mod prometheus_server;

use fake_server::balances;
use prometheus_server::Prometheus;
use prometheus_server::dashboards::queries;

const PATIENCE: Duration = Duration::from_secs(60);
const SHAPE: PlanShape = PlanShape { input: (64, 64), top_k: 1, values: 6, max_batch: 8, optimum: 4 };

/// The model `coco`, which finds one person in each picture, on these devices.
fn model(gpus: &[FakeGpu]) -> LoadedModel {
    measured_model(gpus, Metrics::register(&prometheus::Registry::new()).unwrap())
}

fn measured_model(gpus: &[FakeGpu], metrics: Metrics) -> LoadedModel {
    let gpus: Vec<_> = gpus.iter().map(|gpu| Gpu::new(gpu.device(), metrics.clone())).collect();
    let person = |_: &[u8], rows: &mut [f32]| rows.copy_from_slice(&[8.0, 8.0, 16.0, 16.0, 0.9, 0.0]);
    let promise = Promise { input: SHAPE.input, top_k: 1, classes: 1 };
    let setup = Setup::new("coco", "tensorrt on a fake GPU", promise);
    let engine = TensorRtEngine::new(&gpus, FakePlan::new(SHAPE, person).plan(), setup).unwrap();
    fake_server::model_on(Box::new(engine), &["person"])
}

async fn until(app: &App, what: &str, wanted: impl Fn() -> bool) {
    let begun = Instant::now();
    while !wanted() {
        assert!(begun.elapsed() < PATIENCE, "{what}: {:?}", balances(app));
        tokio::task::yield_now().await;
    }
}

fn published(app: &App) -> Vec<u64> {
    balances(app).iter().map(|book| book.published).collect()
}

fn failed(app: &App) -> u64 {
    balances(app).iter().map(|book| book.dropped(DropReason::EngineError)).sum()
}

/// Waits until so many more frames of each camera were published.
async fn serves(app: &App, frames: u64) {
    let before = published(app);
    let more = || published(app).iter().zip(&before).all(|(now, then)| *now >= then + frames);
    until(app, "frames flow", more).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gpu_that_breaks_down_costs_named_frames_and_the_server_goes_on() {
    let gpus: Vec<_> = (0..2).map(|index| FakeGpu::new(index, 1 << 30)).collect();
    let folder = tempfile::tempdir().unwrap();
    let app = App::start(fake_server::config(folder.path()), vec![model(&gpus)]).await.unwrap();
    for id in ["a", "b", "c"] {
        let url = CameraUrl::parse("test://ball?width=64&height=64&fps=30").unwrap();
        let spec = CameraSpec::new(CameraId::new(id).unwrap(), url);
        app.server().add(spec, CameraOrigin::Api).await.unwrap();
    }
    serves(&app, 10).await;
    assert_eq!(failed(&app), 0);

    gpus[0].fail(Call::CopyIn, 0, ErrorKind::Sticky);
    until(&app, "frames fail and are named", || failed(&app) > 0).await;
    until(&app, "the device gets a new context", || gpus[0].calls(Call::Reset) == 1).await;
    serves(&app, 10).await;
    let lost = failed(&app);
    // Three batches a lane, of three cameras at most each.
    assert!(lost <= 2 * 3 * 3, "{lost} frames");

    for gpu in &gpus {
        gpu.fail(Call::CopyIn, 0, ErrorKind::OutOfMemory);
    }
    until(&app, "too little memory", || failed(&app) > lost).await;
    serves(&app, 10).await;

    assert!(app.shutdown().await);
    gpus.iter().for_each(FakeGpu::assert_given_back);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_dashboards_panels_of_gpus_show_them() {
    let gpus: Vec<_> = (0..2).map(|index| FakeGpu::new(index, 1 << 30)).collect();
    let folder = tempfile::tempdir().unwrap();
    let metrics = Metrics::new().unwrap();
    let model = measured_model(&gpus, metrics.clone());
    let app = App::start(fake_server::config(folder.path()), vec![model]).await.unwrap();
    metrics.register_in(app.registry()).unwrap();
    let watched: Vec<_> = gpus.iter().map(|gpu| Gpu::new(gpu.device(), metrics.clone())).collect();
    // A GPU that nobody works on is not asked for its memory, and the model's lanes know these by another object.
    let _at_work: Vec<_> = watched.iter().map(|gpu| gpu.retain().unwrap()).collect();
    let _watcher = Watcher::start(watched, metrics, Duration::from_millis(100)).unwrap();
    let url = CameraUrl::parse("test://ball?width=64&height=64&fps=30").unwrap();
    let spec = CameraSpec::new(CameraId::new("a").unwrap(), url);
    app.server().add(spec, CameraOrigin::Api).await.unwrap();

    let address = app.http_address();
    let look = move || {
        let prometheus = Prometheus::start(&prometheus_server::Setup::scraping(address));
        let panels: Vec<_> = queries("a").into_iter().filter(|query| query.panel.contains("GPU: ")).collect();
        assert_eq!(panels.len(), 4);
        prometheus.wait_for_all(panels, PATIENCE);
        prometheus.query("max(centerx_gpu_utilization_ratio)")[0].value
    };
    let shown = tokio::task::spawn_blocking(look).await.unwrap();
    assert_eq!(shown, 0.25);
    assert!(app.shutdown().await);
}
