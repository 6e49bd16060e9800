//! A fleet under test, and a sink that remembers what it was given.

// Each test uses its own part of this.
#![allow(dead_code)]

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use centerx::camera::{CameraId, CameraOrigin, CameraSpec, CameraState, CameraStatus, CameraUrl, CameraView};
use centerx::frame::{CaptureTime, Frame, PixelFormat};
use centerx::ingest::{Config, Fleet, Metrics, Sink, Source, Store};
use prometheus::Registry;
use tokio::runtime::Runtime;

/// What is remembered of a frame.
#[derive(Clone, Debug)]
pub struct Seen {
    pub camera: CameraId,
    pub sequence: u64,
    pub size: (u32, u32),
    pub format: PixelFormat,
    pub capture: CaptureTime,
    pub decoded: Instant,
    pub offered: Instant,
    /// The mean of the picture's luma.
    pub brightness: f64,
}

#[derive(Default)]
pub struct Record {
    pub frames: Vec<Seen>,
    pub states: Vec<(CameraId, Arc<CameraStatus>)>,
    pub forgotten: Vec<CameraId>,
    /// Frames are kept here instead of being published.
    pub kept: Option<Vec<Frame>>,
}

/// Publishes every frame at once and remembers it.
#[derive(Default)]
pub struct Recorder {
    record: Mutex<Record>,
    changed: Condvar,
    /// Whoever holds it holds up all streaming threads, as a decoder without processor time is held up.
    pub held_up: Mutex<()>,
    /// The sink panics over the next so many frames of the camera named so.
    pub frames_to_panic_over: AtomicUsize,
    /// The sink panics over the next so many states of the camera named so.
    pub states_to_panic_over: AtomicUsize,
}

/// The camera whose frames and states the sink may panic over.
pub const SICK: &str = "sick";

/// Panics if it is the sick camera's and so many are left.
fn panic_over(camera: &CameraId, left: &AtomicUsize) {
    let one_less = |left: usize| left.checked_sub(1);
    if camera.as_str() == SICK && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok() {
        panic!("the sink is to panic");
    }
}

impl Recorder {
    pub fn lock(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, enter: impl FnOnce(&mut Record)) {
        enter(&mut self.lock());
        self.changed.notify_all();
    }
}

impl Sink for Recorder {
    fn offer(&self, frame: Frame) {
        drop(self.held_up.lock());
        panic_over(&frame.camera, &self.frames_to_panic_over);
        let luma = frame.picture.plane(0);
        let seen = Seen {
            camera: frame.camera.clone(),
            sequence: frame.sequence,
            size: (frame.picture.width, frame.picture.height),
            format: frame.picture.format,
            capture: frame.capture,
            decoded: frame.decoded,
            offered: Instant::now(),
            brightness: luma.iter().map(|&value| f64::from(value)).sum::<f64>() / luma.len() as f64,
        };
        self.enter(|record| {
            record.frames.push(seen);
            match &mut record.kept {
                Some(kept) => kept.push(frame),
                None => frame.ticket.publish(),
            }
        });
    }

    fn state_changed(&self, id: &CameraId, status: &Arc<CameraStatus>) {
        panic_over(id, &self.states_to_panic_over);
        self.enter(|record| record.states.push((id.clone(), Arc::clone(status))));
    }

    fn forget(&self, id: &CameraId) {
        self.enter(|record| {
            record.forgotten.push(id.clone());
            for frame in record.kept.iter_mut().flat_map(|kept| kept.extract_if(.., |f| f.camera == *id)) {
                frame.ticket.drop_as(centerx::ledger::DropReason::CameraRemoved);
            }
        });
    }
}

/// A fleet with its runtime.
pub struct Watching {
    pub fleet: Fleet,
    pub sink: Arc<Recorder>,
    pub registry: Registry,
    runtime: Option<Runtime>,
}

/// Short times, so that failures are quick to see.
pub fn quick() -> Config {
    Config {
        stall_timeout: Duration::from_millis(1500),
        connect_timeout: Duration::from_secs(4),
        healthy_after: Duration::from_secs(1),
        ..Config::default()
    }
}

impl Watching {
    pub fn new(config: Config) -> Self {
        Self::start(config, None, None)
    }

    pub fn start(config: Config, source: Option<Arc<dyn Source>>, store: Option<Store>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_keep_alive(Duration::from_millis(10))
            .enable_all()
            .build()
            .unwrap();
        let _inside = runtime.enter();
        let registry = Registry::new();
        let metrics = Metrics::new(&registry).unwrap();
        let sink = Arc::new(Recorder::default());
        let told: Arc<dyn Sink> = Arc::clone(&sink) as _;
        let fleet = match source {
            Some(source) => Fleet::with_source(config, source, told, metrics, store),
            None => Fleet::new(config, told, metrics, store).unwrap(),
        };
        drop(_inside);
        Self { fleet, sink, registry, runtime: Some(runtime) }
    }

    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.as_ref().unwrap().block_on(future)
    }

    /// Adds a camera with default settings.
    pub fn add(&self, id: &str, url: &str) -> CameraView {
        self.add_spec(spec(id, url))
    }

    pub fn add_spec(&self, spec: CameraSpec) -> CameraView {
        self.block_on(self.fleet.add(spec, CameraOrigin::Api)).unwrap()
    }

    pub fn remove(&self, id: &str) {
        self.block_on(self.fleet.remove(&camera(id))).unwrap();
    }

    pub fn view(&self, id: &str) -> CameraView {
        self.fleet.get(&camera(id)).unwrap()
    }

    /// Waits until what was seen holds an answer. Each time something is seen, all books must balance.
    pub fn wait<T>(&self, what: &str, seconds: f64, look: impl Fn(&Record) -> Option<T>) -> T {
        let deadline = Instant::now() + Duration::from_secs_f64(seconds);
        let mut record = self.sink.lock();
        loop {
            if let Some(answer) = look(&record) {
                return answer;
            }
            self.check_books();
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let states: Vec<_> = record.states.iter().map(|(id, s)| (id, s.state, &s.reason)).collect();
                panic!("not {what} in {seconds} s; {} frames, states {states:#?}", record.frames.len());
            }
            let waited = self.sink.changed.wait_timeout(record, left);
            record = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits for a state told after the first `after` ones.
    pub fn wait_state_after(
        &self,
        after: usize,
        id: &str,
        state: CameraState,
        seconds: f64,
    ) -> Arc<CameraStatus> {
        let id = camera(id);
        self.wait(&format!("{state:?}"), seconds, |record| {
            let mut states = record.states.iter().skip(after);
            states.find(|(whose, status)| *whose == id && status.state == state).map(|(_, s)| Arc::clone(s))
        })
    }

    pub fn wait_state(&self, id: &str, state: CameraState, seconds: f64) -> Arc<CameraStatus> {
        self.wait_state_after(0, id, state, seconds)
    }

    /// How many states were told so far.
    pub fn states(&self) -> usize {
        self.sink.lock().states.len()
    }

    /// Waits for `count` frames of a camera after the first `after` of all.
    pub fn wait_frames_after(&self, after: usize, id: &str, count: usize, seconds: f64) -> Vec<Seen> {
        let id = camera(id);
        self.wait(&format!("{count} frames"), seconds, |record| {
            let frames = record.frames.iter().skip(after).filter(|frame| frame.camera == id);
            let frames: Vec<_> = frames.take(count).cloned().collect();
            (frames.len() == count).then_some(frames)
        })
    }

    pub fn wait_frames(&self, id: &str, count: usize, seconds: f64) -> Vec<Seen> {
        self.wait_frames_after(0, id, count, seconds)
    }

    pub fn frames(&self) -> usize {
        self.sink.lock().frames.len()
    }

    pub fn check_books(&self) {
        for view in self.fleet.list() {
            let balance = view.balance;
            assert_eq!(
                balance.received,
                balance.published + balance.total_dropped() + balance.in_flight,
                "the books of {}: {balance:?}",
                view.spec.id
            );
        }
    }

    /// The metrics as Prometheus reads them.
    pub fn scrape(&self) -> String {
        prometheus::TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap()
    }

    /// The value of one series.
    pub fn metric(&self, series: &str) -> f64 {
        let text = self.scrape();
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok());
        line.unwrap_or_else(|| panic!("no series {series} in\n{text}"))
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.block_on(self.fleet.shutdown());
            runtime.shutdown_timeout(Duration::from_secs(2));
        }
    }
}

pub fn camera(id: &str) -> CameraId {
    CameraId::new(id).unwrap()
}

pub fn spec(id: &str, url: &str) -> CameraSpec {
    CameraSpec::new(camera(id), CameraUrl::parse(url).unwrap())
}

/// A file of the test data.
pub fn test_data(name: &str) -> PathBuf {
    let folder = std::env::var_os("CENTERX_TEST_DATA")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(".cache/data"), PathBuf::from);
    let path = folder.join(name);
    assert!(path.exists(), "{} is missing: run bash scripts/test.sh, which fetches it", path.display());
    path
}
