//! Cameras that come, change and go without end leave nothing behind, and none can hold up its removal.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use centerx::api::v1::{Camera, CameraState};
use tokio::sync::Mutex;

use super::clients::{Clients, Held, books, serve, well_cameras};
use super::hostile::{self, Fault};
use super::rtsp_camera::Server;
use super::tiny_model::Tiny;
use super::{PATIENCE, alone, long, percentile};

/// Cameras that come and go side by side.
const WORKERS: usize = 4;
/// Well cameras that the RTSP server has, two of which stay all the time.
const WELL: usize = 4;
/// Cycles between two looks at the memory.
const PART: usize = 50;
/// Seconds that a removal may take. One in a hundred may take longer, up to the slowest, where a machine does much
/// else; half of those of each camera may not.
const REMOVAL: f64 = 1.0;
const SLOWEST: f64 = 3.0;
/// How much more memory may be held after the cycles than before.
const GROWTH: f64 = 5.0;
const LOOK: Duration = Duration::from_millis(10);

/// Where cameras come from.
struct Sources {
    well: Server,
    /// How many seconds the removals of each took, and of the well ones.
    removals: Mutex<BTreeMap<String, Vec<f64>>>,
}

impl Sources {
    /// The camera of a cycle: its URL, and itself if it is a hostile one.
    fn pick(&self, cycle: usize) -> (String, Option<hostile::Camera>) {
        match cycle % 4 {
            0 => (self.well.url("well2"), None),
            1 => ("test://ball?width=160&height=120&fps=20".into(), None),
            _ => {
                let fault = (cycle / 4 * 2 + cycle % 2) % Fault::ALL.len();
                let camera = hostile::Camera::start(Fault::ALL[fault]);
                (camera.url(), Some(camera))
            }
        }
    }
}

/// Adds a camera, lets it begin, changes it, and removes it.
async fn cycle(clients: &mut Clients, sources: &Sources, cycle: usize) {
    let id = format!("c{cycle}");
    let (url, camera) = sources.pick(cycle);
    let fault = camera.as_ref().map(|camera| camera.fault);
    clients.add(&id, &url).await.unwrap();
    let begin = Instant::now();
    // The well ones bring frames; the others get as far as they do in a while, amid a stream if that is where
    // they hang.
    let enough = match fault {
        None => PATIENCE,
        Some(Fault::HangsMidStream | Fault::Freezes | Fault::DripsMidStream) => Duration::from_millis(1300),
        Some(_) => Duration::from_millis(300),
    };
    while begin.elapsed() < enough {
        let camera = clients.get(&id).await;
        if fault.is_none() && books(&camera).published > 0 {
            break;
        }
        tokio::time::sleep(LOOK).await;
    }
    let same = Camera { id: id.clone(), ..Default::default() };
    // Not a divisor of the others' periods, so that each camera meets each change.
    match cycle % 7 {
        0 => clients.update(Camera { max_fps: Some(5.0), ..same }, "max_fps").await.unwrap(),
        1 => clients.update(Camera { url: sources.well.url("well3"), ..same }, "url").await.unwrap(),
        2 => clients.update(Camera { enabled: Some(false), ..same }, "enabled").await.unwrap(),
        3 => clients.update(Camera { name: "another".into(), ..same }, "name").await.unwrap(),
        _ => {}
    }
    let seen = clients.get(&id).await;
    assert!(fault.is_some() || books(&seen).published > 0, "{seen:?}");
    let begin = Instant::now();
    clients.remove(&id).await.unwrap();
    let took = begin.elapsed().as_secs_f64();
    let name = fault.map_or("well".into(), |fault| format!("{fault:?}"));
    // One that drips can hold a connection open that nobody wants any more: GStreamer does not give up a
    // message that it has begun to read. Now it lets go.
    drop(camera);
    sources.removals.lock().await.entry(name).or_default().push(took);
}

/// Runs the cycles of a range, several side by side.
async fn churn(clients: &Clients, sources: &Arc<Sources>, from: usize, to: usize) {
    let next = Arc::new(AtomicUsize::new(from));
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..WORKERS {
        let (mut clients, sources, next) = (clients.clone(), Arc::clone(sources), Arc::clone(&next));
        workers.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::SeqCst);
                if number >= to {
                    return;
                }
                cycle(&mut clients, &sources, number).await;
            }
        });
    }
    while let Some(worker) = workers.join_next().await {
        worker.unwrap();
    }
}

/// What the server holds once the pools' threads have ended and the last sockets are closed.
pub async fn settled(pid: u32, at_most: Option<Held>) -> Held {
    let begin = Instant::now();
    loop {
        let (held, enough) = (Held::by(pid), Duration::from_secs(20));
        let quiet = begin.elapsed() > Duration::from_secs(3);
        let fits = at_most.is_none_or(|most| held.threads <= most.threads && held.files <= most.files);
        if (quiet && fits) || begin.elapsed() > enough {
            return held;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Every camera that hangs was removed, and nearly every removal took a second at most.
fn check_removals(removals: &mut BTreeMap<String, Vec<f64>>) {
    for fault in Fault::HANGS {
        assert!(removals.contains_key(&format!("{fault:?}")), "{fault:?} was never removed");
    }
    println!("{:<16} {:>8} {:>8} {:>8}", "removals", "times", "median", "longest");
    for (name, took) in removals.iter_mut() {
        let (median, longest) = (percentile(took, 50.0), percentile(took, 100.0));
        println!("{name:<16} {:>8} {median:>6.2} s {longest:>6.2} s", took.len());
        assert!(median <= REMOVAL && longest <= SLOWEST, "{name}: {took:?}");
    }
    let all = || removals.values().flatten();
    let (count, slow) = (all().count(), all().filter(|took| **took > REMOVAL).count());
    assert!(slow * 100 <= count, "{slow} of {count} removals took more than {REMOVAL} s");
}

#[tokio::test(flavor = "multi_thread")]
async fn cameras_that_come_and_go_leave_nothing_behind() {
    let _alone = alone().await;
    let (warm_up, cycles) = if long() { (400, 2000) } else { (60, 100) };
    let data = tempfile::tempdir().unwrap();
    let model = Tiny::new("tiny", &["person"]).write(data.path());
    let server = serve(data.path(), &model, &[]);
    let sources = Sources { well: well_cameras(WELL), removals: Mutex::default() };
    let mut clients = Clients::of(&server).await;
    for stays in ["well0", "well1"] {
        clients.add(stays, &sources.well.url(stays)).await.unwrap();
    }
    let sources = Arc::new(sources);
    churn(&clients, &sources, 0, warm_up).await;
    let before = settled(server.pid(), None).await;
    let begin = Instant::now();
    let mut course = Vec::new();
    for from in (warm_up..warm_up + cycles).step_by(PART) {
        churn(&clients, &sources, from, from + PART).await;
        course.push(Held::by(server.pid()).anonymous);
    }
    let took = begin.elapsed();
    let after = settled(server.pid(), Some(before)).await;
    println!("{cycles} cycles in {:.1} s; before {before:?}, after {after:?}", took.as_secs_f64());
    println!("memory in MB: {course:.1?}");
    check_removals(&mut *sources.removals.lock().await);
    let cameras = clients.list().await;
    assert_eq!(cameras.len(), 2, "those that stay");
    for camera in &cameras {
        let state = camera.status.as_ref().unwrap().state;
        assert_eq!((state, camera.reconnects), (CameraState::Live as i32, 0), "{camera:?}");
        assert!(books(camera).published > 0, "{camera:?}");
    }
    assert!(after.threads <= before.threads && after.files <= before.files, "{before:?} {after:?}");
    let growth = after.anonymous - before.anonymous;
    assert!(growth <= GROWTH, "memory grew by {growth:.1} MB: {before:?} {after:?}");
}
