//! Cameras added, changed, removed and kept, and sources that misbehave.

// Clippy's own allowance covers the tests, not their helpers.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use centerx::camera::{
    CameraError, CameraOrigin, CameraPatch, CameraSpec, CameraState, CameraUrl, FailureKind,
};
use centerx::frame::Picture;
use centerx::ingest::{Config, Decoded, Failure, Link, Options, Session, Source, Store};
use centerx::ledger::DropReason;

#[path = "support/watching.rs"]
mod watching;

use watching::{SICK, Watching, camera, quick, spec};

const BALL: &str = "test://ball?width=160&height=120&fps=20";

impl Watching {
    fn update(&self, id: &str, patch: CameraPatch) -> Result<centerx::camera::CameraView, CameraError> {
        self.block_on(self.fleet.update(&camera(id), patch))
    }
}

fn enabled(enabled: bool) -> CameraPatch {
    CameraPatch { enabled: Some(enabled), ..Default::default() }
}

#[test]
fn a_camera_is_added_disabled_enabled_and_removed() {
    let watching = Watching::new(quick());
    let view = watching.add("ball", BALL);
    assert_eq!((view.status.state, view.origin), (CameraState::Connecting, CameraOrigin::Api));
    watching.wait_frames("ball", 5, 10.0);

    watching.sink.lock().kept = Some(Vec::new());
    watching
        .wait("a kept frame", 5.0, |record| record.kept.as_ref().filter(|kept| kept.len() > 2).map(|_| ()));
    let view = watching.update("ball", enabled(false)).unwrap();
    assert_eq!((view.status.state, view.balance.in_flight), (CameraState::Disabled, 0));
    assert!(view.balance.dropped(DropReason::CameraRemoved) > 2, "{:?}", view.balance);
    assert_eq!(watching.sink.lock().forgotten, [camera("ball")]);
    watching.sink.lock().kept = None;

    let (frames, states) = (watching.frames(), watching.states());
    let last = watching.sink.lock().frames[frames - 1].sequence;
    watching.update("ball", enabled(true)).unwrap();
    watching.wait_state_after(states, "ball", CameraState::Live, 10.0);
    let first = watching.wait_frames_after(frames, "ball", 1, 10.0).remove(0);
    assert!(first.sequence > last);
    assert!(watching.scrape().contains("camera=\"ball\""));

    watching.remove("ball");
    let frames = watching.frames();
    assert!(matches!(watching.fleet.get(&camera("ball")), Err(CameraError::Unknown(_))));
    assert!(!watching.scrape().contains("camera=\"ball\""), "its series are gone");
    watching.add("other", BALL);
    watching.wait_frames_after(frames, "other", 3, 10.0);
    let later = watching.sink.lock().frames[frames..].iter().filter(|f| f.camera == camera("ball")).count();
    assert_eq!(later, 0, "nothing follows a removal");
}

#[test]
fn ids_are_unique_and_config_cameras_read_only() {
    let watching = Watching::new(quick());
    let of_config = watching.fleet.add(spec("yard", BALL), CameraOrigin::Config);
    watching.block_on(of_config).unwrap();
    for origin in [CameraOrigin::Api, CameraOrigin::Config] {
        let again = watching.block_on(watching.fleet.add(spec("yard", BALL), origin));
        assert!(matches!(again, Err(CameraError::Exists(_))));
    }
    assert!(matches!(watching.update("yard", enabled(false)), Err(CameraError::ReadOnly(_))));
    let removed = watching.block_on(watching.fleet.remove(&camera("yard")));
    assert!(matches!(removed, Err(CameraError::ReadOnly(_))));
    assert!(matches!(watching.update("none", enabled(false)), Err(CameraError::Unknown(_))));
    let bad = CameraSpec { max_fps: Some(-1.0), ..spec("bad", BALL) };
    let refused = watching.block_on(watching.fleet.add(bad, CameraOrigin::Api));
    assert!(matches!(refused, Err(CameraError::Invalid(error)) if error.field == "max_fps"));
    assert_eq!(watching.fleet.list().len(), 1);
}

/// A well camera and one that the sink is to panic over, both at work.
fn well_and_sick(sick: &str) -> Watching {
    let watching = Watching::new(quick());
    watching.add("well", BALL);
    watching.add(SICK, sick);
    watching.wait_frames("well", 2, 10.0);
    watching
}

/// The well camera lost nothing to the other one's panics.
fn check_well(watching: &Watching) {
    watching.wait_frames_after(watching.frames(), "well", 3, 10.0);
    let well = watching.view("well");
    assert_eq!((well.reconnects, well.balance.total_dropped()), (0, 0));
    watching.remove(SICK);
}

#[test]
fn a_camera_whose_task_panics_is_watched_again_and_the_others_all_along() {
    // Nothing listens there: one state follows the other.
    let watching = well_and_sick("rtsp://127.0.0.1:1/none");
    watching.wait_state(SICK, CameraState::Backoff, 10.0);
    // The first panics in its task, the second while that is told.
    watching.sink.states_to_panic_over.store(2, Ordering::SeqCst);
    watching.wait("two panics", 20.0, |_| {
        (watching.sink.states_to_panic_over.load(Ordering::SeqCst) == 0).then_some(())
    });
    let again = "trying rtsp://127.0.0.1:1/none again after: watching it panicked";
    watching.wait("it is tried again", 30.0, |record| {
        record.states.iter().any(|(_, status)| status.reason.starts_with(again)).then_some(())
    });
    assert_eq!(watching.metric("centerx_camera_panics_total"), 1.0);
    check_well(&watching);
}

#[test]
fn a_camera_whose_streaming_thread_panics_is_connected_anew_and_the_others_all_along() {
    let watching = well_and_sick(BALL);
    watching.wait_frames(SICK, 2, 10.0);
    let states = watching.states();
    watching.sink.frames_to_panic_over.store(1, Ordering::SeqCst);
    let told = watching.wait_state_after(states, SICK, CameraState::Backoff, 10.0);
    assert!(told.reason.contains("led to a panic"), "{told:?}");
    watching.wait_frames_after(watching.frames(), SICK, 3, 10.0);
    assert_eq!(watching.view(SICK).balance.dropped(DropReason::Lost), 1, "the one that was panicked over");
    check_well(&watching);
}

#[test]
fn api_cameras_survive_a_restart_and_config_cameras_win() {
    let folder = tempfile::tempdir().unwrap();
    let start = || Watching::start(quick(), None, Some(Store::open(folder.path()).unwrap()));
    {
        let watching = start();
        watching.add_spec(CameraSpec { max_fps: Some(5.0), ..spec("yard", BALL) });
        watching.add("street", BALL);
        watching.add("hall", BALL);
        watching.update("street", enabled(false)).unwrap();
        watching.remove("hall");
    }
    let watching = start();
    let url = "test://snow?width=160&height=120&fps=20";
    watching.block_on(watching.fleet.add(spec("yard", url), CameraOrigin::Config)).unwrap();
    watching.block_on(watching.fleet.restore()).unwrap();
    let (street, yard) = (watching.view("street"), watching.view("yard"));
    assert_eq!((street.origin, street.status.state), (CameraOrigin::Api, CameraState::Disabled));
    assert_eq!((yard.origin, yard.spec.url.to_string().as_str()), (CameraOrigin::Config, url));
    watching.add("gate", BALL);
    drop(watching);

    let watching = start();
    watching.block_on(watching.fleet.restore()).unwrap();
    let ids: Vec<_> = watching.fleet.list().iter().map(|view| view.spec.id.to_string()).collect();
    assert_eq!(ids, ["gate", "street", "yard"], "the one in the config's shadow was kept");
    assert_eq!(watching.view("yard").spec.max_fps, Some(5.0));
}

#[test]
fn a_change_that_cannot_be_stored_is_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let watching = Watching::start(quick(), None, Some(Store::open(folder.path()).unwrap()));
    watching.add("yard", BALL);
    fs::create_dir(folder.path().join("cameras.json.tmp")).unwrap();
    let added = watching.block_on(watching.fleet.add(spec("street", BALL), CameraOrigin::Api));
    assert!(matches!(added, Err(CameraError::Store(_))));
    assert!(matches!(watching.update("yard", enabled(false)), Err(CameraError::Store(_))));
    let removed = watching.block_on(watching.fleet.remove(&camera("yard")));
    assert!(matches!(removed, Err(CameraError::Store(_))));
    let views = watching.fleet.list();
    assert_eq!(views.len(), 1);
    assert!(views[0].spec.enabled);
}

/// What a [`Scripted`] source does.
type Script = dyn Fn(u32, Arc<Link>) -> Result<Box<dyn Session>, Failure> + Send + Sync;

/// A source that runs a script, told how many connections there were before.
struct Scripted {
    opened: Mutex<u32>,
    script: Box<Script>,
}

impl Scripted {
    fn start(
        config: Config,
        script: impl Fn(u32, Arc<Link>) -> Result<Box<dyn Session>, Failure> + Send + Sync + 'static,
    ) -> Watching {
        let source = Self { opened: Mutex::default(), script: Box::new(script) };
        Watching::start(config, Some(Arc::new(source)), None)
    }
}

impl Source for Scripted {
    fn open(&self, _: &CameraSpec, _: &Options, link: Arc<Link>) -> Result<Box<dyn Session>, Failure> {
        let before = {
            let mut opened = self.opened.lock().unwrap();
            *opened += 1;
            *opened - 1
        };
        (self.script)(before, link)
    }
}

/// Closes when told to.
struct Slow(Option<Mutex<std::sync::mpsc::Receiver<()>>>);

impl Session for Slow {
    fn close(self: Box<Self>) {
        if let Some(gate) = self.0 {
            let _ = gate.into_inner().unwrap().recv();
        }
    }
}

fn slow() -> (SyncSender<()>, Box<dyn Session>) {
    let (open, gate) = sync_channel(1);
    (open, Box::new(Slow(Some(Mutex::new(gate)))))
}

fn decoded(arrived: Instant) -> Decoded {
    Decoded {
        picture: Picture::rgb(2, 2, vec![0; 12]).unwrap(),
        arrived,
        decode_began: arrived,
        decoded: arrived,
        reported: None,
        damaged: false,
    }
}

#[test]
fn frames_of_a_connection_that_is_over_are_dropped_by_name() {
    let links = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&links);
    let watching = Scripted::start(quick(), move |before, link| {
        kept.lock().unwrap().push(Arc::clone(&link));
        link.deliver(decoded(Instant::now()));
        if before == 0 {
            link.end(Err(Failure::new(FailureKind::Network, "gone")));
        }
        Ok(Box::new(Slow(None)))
    });
    watching.add("yard", BALL);
    watching.wait_frames("yard", 2, 5.0);
    let links = links.lock().unwrap().clone();
    links[0].deliver(decoded(Instant::now()));
    let balance = watching.view("yard").balance;
    assert_eq!((balance.published, balance.dropped(DropReason::Superseded)), (2, 1));

    let url = Some(CameraUrl::parse("test://snow").unwrap());
    watching.update("yard", CameraPatch { url, ..Default::default() }).unwrap();
    links[1].deliver(decoded(Instant::now()));
    assert_eq!(watching.view("yard").balance.total_dropped(), 2, "of the old address");
    watching.wait_frames("yard", 3, 5.0);
    watching.remove("yard");
    links[1].deliver(decoded(Instant::now()));
    assert_eq!(watching.frames(), 3, "nothing follows a removal");
    watching.check_books();
}

#[test]
fn a_connection_that_does_not_close_holds_up_nobody_and_is_the_only_one_of_its_camera() {
    let (open, session) = slow();
    let session = Mutex::new(Some(session));
    let config = Config { close_timeout: Duration::from_millis(100), ..quick() };
    let watching = Scripted::start(config, move |before, link| {
        link.deliver(decoded(Instant::now()));
        link.end(Err(Failure::new(FailureKind::Network, format!("broke {before}"))));
        Ok(session.lock().unwrap().take().unwrap_or_else(|| Box::new(Slow(None))))
    });
    watching.add("yard", BALL);
    watching.wait_state("yard", CameraState::Backoff, 5.0);
    let hangs = watching.wait("the hang to be told", 10.0, |record| {
        record.states.iter().find(|(_, status)| status.reason.contains("hangs")).map(|(_, s)| Arc::clone(s))
    });
    assert_eq!(hangs.failure, Some(FailureKind::Network));
    assert_eq!(watching.frames(), 1, "no second connection beside the one that hangs");
    open.send(()).unwrap();
    watching.wait_frames("yard", 2, 10.0);
    let start = Instant::now();
    watching.remove("yard");
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[test]
fn removal_does_not_wait_for_a_connection_that_never_closes() {
    let (_open, session) = slow();
    let session = Mutex::new(Some(session));
    let config = Config { close_timeout: Duration::from_millis(200), ..quick() };
    let watching = Scripted::start(config, move |_, link| {
        link.deliver(decoded(Instant::now()));
        Ok(session.lock().unwrap().take().unwrap())
    });
    watching.add("yard", BALL);
    watching.wait_state("yard", CameraState::Live, 5.0);
    let start = Instant::now();
    watching.remove("yard");
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}

#[test]
fn a_source_that_panics_is_a_failure_like_others() {
    let watching = Scripted::start(quick(), |before, link| {
        assert!(before > 0, "the first connection crashes, on purpose");
        link.deliver(decoded(Instant::now()));
        Ok(Box::new(Slow(None)))
    });
    watching.add("yard", BALL);
    let status = watching.wait_state("yard", CameraState::Backoff, 5.0);
    assert_eq!(status.failure, Some(FailureKind::Other));
    watching.wait_state("yard", CameraState::Live, 5.0);
}

#[test]
fn coded_video_without_pictures_is_a_failure_of_the_codec() {
    let config = Config { connect_timeout: Duration::from_millis(300), ..quick() };
    let watching = Scripted::start(config, |_, link| {
        link.coded();
        Ok(Box::new(Slow(None)))
    });
    watching.add("yard", BALL);
    let status = watching.wait_state("yard", CameraState::Failed, 5.0);
    assert_eq!(status.failure, Some(FailureKind::Codec), "{status:?}");
}

#[test]
fn backoff_grows_with_failures_in_a_row() {
    let watching = Scripted::start(quick(), |_, _| Err(Failure::new(FailureKind::Other, "no luck")));
    watching.add("yard", BALL);
    let waits = watching.wait("three failures", 10.0, |record| {
        let retries = record.states.iter().filter_map(|(_, s)| s.retry_at?.duration_since(s.since).ok());
        let waits: Vec<_> = retries.collect();
        (waits.len() == 3).then_some(waits)
    });
    let ranges = [(0.5, 0.5), (0.5, 1.0), (1.0, 2.0)];
    for (wait, (least, most)) in waits.iter().zip(ranges) {
        assert!((least..=most + 0.001).contains(&wait.as_secs_f64()), "{waits:?}");
    }
}

#[test]
fn after_shutdown_nothing_is_offered_or_changed() {
    let watching = Watching::new(quick());
    watching.add("ball", BALL);
    watching.wait_frames("ball", 3, 10.0);
    let start = Instant::now();
    watching.block_on(watching.fleet.shutdown());
    assert!(start.elapsed() < Duration::from_secs(2));
    let frames = watching.frames();
    let added = watching.block_on(watching.fleet.add(spec("late", BALL), CameraOrigin::Config));
    assert!(added.unwrap_err().to_string().contains("shutting down"));
    assert_eq!(watching.frames(), frames);
    watching.check_books();
}
