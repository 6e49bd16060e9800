//! More than the engine can look at: what is published is young, cameras share by priority, memory is flat, and
//! every frame that is dropped has a reason.
//!
//! The engine takes a known time for each run, without using a core, so that the load is known too.

// A test that fails is to panic.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use centerx::api::backend::{Backend, Capacity};
use centerx::app::{App, LoadedModel};
use centerx::camera::{CameraError, CameraId, CameraOrigin, CameraPatch, CameraSpec, CameraUrl};
use centerx::config::Config;
use centerx::engine::fake::FakeEngine;
use centerx::ingest::Admission;
use centerx::ledger::{Balance, DropReason};
use tokio::sync::Mutex;

#[path = "support/fake_server.rs"]
mod fake_server;

use fake_server::balances as books;

const PATIENCE: Duration = Duration::from_secs(60);
/// Of the engine, for one frame.
const RUN: Duration = Duration::from_millis(20);
/// A bucket of the age histogram ends here.
const MAX_AGE: Duration = Duration::from_millis(200);

/// These tests measure: one at a time.
static ALONE: Mutex<()> = Mutex::const_new(());

fn model(run: Duration) -> Vec<LoadedModel> {
    let engine = FakeEngine::new((64, 64)).finds(vec![[8.0, 8.0, 16.0, 16.0, 0.9, 0.0]]).takes(run);
    vec![fake_server::model(engine, &["person"])]
}

fn camera(id: &str, fps: u32, priority: u32) -> CameraSpec {
    let url = CameraUrl::parse(&format!("test://black?width=64&height=64&fps={fps}")).unwrap();
    CameraSpec { priority, ..CameraSpec::new(CameraId::new(id).unwrap(), url) }
}

/// A server whose engine takes `run` a frame; its folder goes with it.
async fn start(run: Duration, adjust: impl FnOnce(&mut Config)) -> (App, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let mut config = fake_server::config(folder.path());
    adjust(&mut config);
    (App::start(config, model(run)).await.unwrap(), folder)
}

async fn add(app: &App, camera: CameraSpec) -> Result<(), CameraError> {
    app.server().add(camera, CameraOrigin::Api).await.map(drop)
}

/// Looks at the books again and again until they are as wanted.
async fn until(app: &App, what: &str, wanted: impl Fn(&[Balance]) -> bool) -> Vec<Balance> {
    let begin = Instant::now();
    loop {
        let books = books(app);
        if wanted(&books) {
            return books;
        }
        assert!(begin.elapsed() < PATIENCE, "{what}: {books:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn published(books: &[Balance]) -> u64 {
    books.iter().map(|balance| balance.published).sum()
}

/// Frames published so far, and those of them within [`MAX_AGE`], by the server's own histogram.
fn ages(app: &App) -> (u64, u64) {
    let text = prometheus::TextEncoder::new().encode_to_string(&app.registry().gather()).unwrap();
    let sum = |wanted: &dyn Fn(&str) -> bool| {
        let lines = text.lines().filter(|line| wanted(line));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum::<f64>() as u64
    };
    let all = sum(&|line| line.starts_with("centerx_age_at_publish_seconds_count"));
    let bucket = format!("le=\"{}\"", MAX_AGE.as_secs_f64());
    let young =
        sum(&|line| line.starts_with("centerx_age_at_publish_seconds_bucket") && line.contains(&bucket));
    (all, young)
}

fn resident_mib() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() * 4096.0 / 1048576.0
}

/// What each camera should get of `capacity` when it brings `offered` and weighs as it does: nobody more than
/// it brings, and what is left over goes to the others by weight.
fn fair_shares(capacity: f64, offered: f64, weights: &[u32]) -> Vec<f64> {
    let mut shares = vec![None; weights.len()];
    loop {
        let open = || (0..weights.len()).filter(|&i| shares[i].is_none());
        let left = capacity - shares.iter().flatten().sum::<f64>();
        let weight: u32 = open().map(|i| weights[i]).sum();
        let due = |i: usize| left * f64::from(weights[i]) / f64::from(weight);
        let content: Vec<_> = open().filter(|&i| due(i) >= offered).collect();
        if content.is_empty() {
            return (0..weights.len()).map(|i| shares[i].unwrap_or_else(|| due(i))).collect();
        }
        content.into_iter().for_each(|i| shares[i] = Some(offered));
    }
}

const WEIGHTS: [u32; 5] = [1, 1, 2, 2, 4];

/// How much each camera got between two looks at the books, over what is fair.
fn shares(begin: &[Balance], end: &[Balance]) -> Vec<f64> {
    let since = |read: &dyn Fn(&Balance) -> u64| -> Vec<f64> {
        begin.iter().zip(end).map(|(begin, end)| (read(end) - read(begin)) as f64).collect()
    };
    let (got, came) = (since(&|b| b.published), since(&|b| b.received));
    let offered = came.iter().sum::<f64>() / came.len() as f64;
    let fair = fair_shares(got.iter().sum(), offered, &WEIGHTS);
    got.iter().zip(fair).map(|(got, fair)| got / fair).collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Holds the promises at `percent` of what the engine can do.
async fn holds_at(percent: u32) {
    const WARM_UP: u64 = 100;
    const A_LOOK: u64 = 200;
    let _alone = ALONE.lock().await;
    let (app, _folder) = start(RUN, |_| ()).await;
    let fps = percent * (1000 / RUN.as_millis() as u32) / 100 / WEIGHTS.len() as u32;
    for (n, weight) in WEIGHTS.iter().enumerate() {
        add(&app, camera(&format!("c{n}"), fps, *weight)).await.unwrap();
    }
    let warm = |books: &[Balance]| published(books) >= WARM_UP && books.iter().all(|b| b.published > 0);
    let mut looks = vec![until(&app, "it warms up", warm).await];
    let memory = resident_mib();
    for _ in 0..5 {
        let enough = published(&looks[looks.len() - 1]) + A_LOOK;
        looks.push(until(&app, "frames are published", |books| published(books) >= enough).await);
    }
    let grown = resident_mib() - memory;
    let (all, young) = ages(&app);
    assert!(young as f64 >= 0.999 * all as f64, "{young} of {all} within {MAX_AGE:?}");
    assert!(grown < 8.0, "resident memory grew by {grown:.1} MiB");

    // The machine has its hiccups, which are not the scheduler's: `scheduler::simulation` holds it to 5 %.
    let looked: Vec<_> = looks.windows(2).map(|pair| shares(&pair[0], &pair[1])).collect();
    let shares: Vec<_> =
        (0..WEIGHTS.len()).map(|camera| median(looked.iter().map(|look| look[camera]).collect())).collect();
    eprintln!(
        "{percent} %: {young} of {all} within {MAX_AGE:?}; shares over fair ones {shares:.2?}; {grown:.1} MiB more"
    );
    assert!(shares.iter().all(|share| (share - 1.0).abs() < 0.2), "{looked:.2?}");

    let end = &looks[looks.len() - 1];
    let dropped: u64 = end.iter().map(Balance::total_dropped).sum();
    let expected = [DropReason::Superseded, DropReason::TooOld];
    let named: u64 = end.iter().flat_map(|b| expected.map(|reason| b.dropped(reason))).sum();
    assert_eq!(dropped, named, "{end:?}");
    let capacity = app.server().capacities()[0].clone();
    assert!(capacity.load > capacity.frames_per_second.unwrap(), "{capacity:?}");
    assert!(app.shutdown().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn promises_hold_at_150_percent() {
    holds_at(150).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn promises_hold_at_300_percent() {
    holds_at(300).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn promises_hold_at_1000_percent() {
    holds_at(1000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_cameras_beyond_all_capacity_publish_nothing_old_and_all_get_their_turns() {
    let _alone = ALONE.lock().await;
    let (app, _folder) = start(RUN * 4, |_| ()).await;
    // Frames come every half second and turns every second at best: most frames grow too old first.
    for n in 0..12 {
        add(&app, camera(&format!("c{n}"), 2, 1)).await.unwrap();
    }
    let books = until(&app, "each gets turns", |books| books.iter().all(|b| b.published >= 4)).await;
    let (all, young) = ages(&app);
    assert!(young as f64 >= 0.999 * all as f64, "{young} of {all} within {MAX_AGE:?}");
    assert!(books.iter().map(|b| b.dropped(DropReason::TooOld)).sum::<u64>() > 20, "{books:?}");
    assert!(app.shutdown().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_too_slow_for_any_frame_still_gives_signs_of_life() {
    let _alone = ALONE.lock().await;
    let (app, _folder) = start(MAX_AGE * 2, |_| ()).await;
    add(&app, camera("slow", 10, 1)).await.unwrap();
    let mut patient = camera("patient", 10, 1);
    patient.max_age = Some(Duration::from_secs(5));
    add(&app, patient).await.unwrap();
    let begin = Instant::now();
    let books = until(&app, "both say something", |books| books.iter().all(|b| b.published >= 3)).await;
    let [patient, slow] = books[..] else { panic!("two cameras") };
    assert!(slow.published as f64 <= begin.elapsed().as_secs_f64() + 1.0, "one a second: {slow:?}");
    assert!(slow.dropped(DropReason::TooOld) > 0, "{slow:?}");
    assert_eq!(patient.dropped(DropReason::TooOld), 0, "{patient:?}");
    assert!(app.shutdown().await);
}

/// Waits until the model's capacity is known and the rate of its cameras was seen.
async fn measured(app: &App, load: std::ops::Range<f64>) -> Capacity {
    let begin = Instant::now();
    loop {
        let capacity = app.server().capacities()[0].clone();
        if capacity.frames_per_second.is_some() && load.contains(&capacity.load) {
            return capacity;
        }
        assert!(begin.elapsed() < PATIENCE, "{capacity:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn strict_admission_refuses_what_does_not_fit_and_says_why() {
    let _alone = ALONE.lock().await;
    let (app, _folder) = start(RUN, |config| config.ingest.admission = Admission::Strict).await;
    let limited = |id: &str, max_fps| CameraSpec { max_fps: Some(max_fps), ..camera(id, 60, 1) };
    // Nothing has run yet: nothing is known, and everything fits.
    add(&app, limited("first", 4.0)).await.unwrap();
    let known = measured(&app, 3.0..4.5).await;
    // As fast as the engine alone, or slower on a machine that has other work.
    assert!(known.frames_per_second.unwrap() <= 50.0, "{known:?}");

    add(&app, limited("second", 1.0)).await.unwrap();
    let refused = add(&app, limited("third", 500.0)).await.unwrap_err();
    let text = refused.to_string();
    assert!(matches!(refused, CameraError::NoCapacity { .. }), "{text}");
    assert!(text.contains("third") && text.contains("coco") && text.contains("max_fps"), "{text}");
    assert_eq!(app.server().cameras().len(), 2, "nothing is left of it");

    // A disabled camera asks for nothing; to enable it is to ask.
    add(&app, CameraSpec { enabled: false, ..limited("third", 500.0) }).await.unwrap();
    let third = CameraId::new("third").unwrap();
    let enable = CameraPatch { enabled: Some(true), ..CameraPatch::default() };
    let refused = app.server().update_camera(&third, enable.clone()).await.unwrap_err();
    assert!(matches!(refused, CameraError::NoCapacity { .. }), "{refused}");
    let modest = CameraPatch { max_fps: Some(Some(1.0)), ..enable };
    app.server().update_camera(&third, modest).await.unwrap();
    // One that runs can always ask for less or for the same.
    let renamed = CameraPatch { name: Some("The yard".into()), ..CameraPatch::default() };
    app.server().update_camera(&CameraId::new("first").unwrap(), renamed).await.unwrap();
    // Those of the config file are the owner's word.
    app.server().add(limited("config", 60.0), CameraOrigin::Config).await.unwrap();
    assert!(app.shutdown().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn open_admission_lets_all_in_and_metrics_tell_the_load() {
    let _alone = ALONE.lock().await;
    let (app, _folder) = start(RUN, |_| ()).await;
    add(&app, camera("a", 30, 1)).await.unwrap();
    measured(&app, 24.0..31.0).await;
    add(&app, camera("b", 1000, 1)).await.unwrap();
    let text = prometheus::TextEncoder::new().encode_to_string(&app.registry().gather()).unwrap();
    for name in ["centerx_capacity_frames_per_second", "centerx_load_frames_per_second"] {
        assert!(text.contains(&format!("{name}{{model=\"coco\"}}")), "{text}");
    }
    assert!(app.shutdown().await);
}
