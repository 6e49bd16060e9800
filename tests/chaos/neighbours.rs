//! Seven well cameras on a server in this process, watched closely while an eighth is sick.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use centerx::api::backend::Backend as _;
use centerx::app::{App, LoadedModel};
use centerx::camera::{CameraId, CameraOrigin, CameraSpec, CameraUrl, CameraView};
use centerx::detection::{Event, EventFilter};
use centerx::engine::Limits;
use centerx::engine::fake::FakeEngine;
use centerx::ledger::Balance;
use futures_util::StreamExt as _;

use super::hostile::{Camera, FPS, Fault};
use super::{PATIENCE, fake_server, percentile};

/// Well cameras.
pub const WELL: usize = 7;
/// What the ids of sick cameras begin with.
pub const SICK: &str = "sick";

/// One published frame of a well camera: when, and how old it was.
struct Published {
    at: Instant,
    age: f64,
}

/// The server with its cameras.
pub struct Neighbourhood {
    pub app: App,
    cameras: Vec<Camera>,
    _data: tempfile::TempDir,
    published: Arc<Mutex<Vec<Published>>>,
    listening: tokio::task::JoinHandle<()>,
}

/// The well cameras' books at one moment.
pub struct Moment {
    at: Instant,
    books: BTreeMap<CameraId, (Balance, u64)>,
    skipped: u64,
}

/// What became of the well cameras' frames since a moment.
#[derive(Debug)]
pub struct Since {
    /// Frames received, of each camera.
    pub received: Vec<u64>,
    /// Frames dropped for whatever reason, of all.
    pub dropped: u64,
    /// Connections begun anew, of all.
    pub reconnects: u64,
    /// Coded frames skipped, of all.
    pub skipped: u64,
    /// 99th percentile of the age at publication, in milliseconds.
    pub p99: f64,
    pub took: Duration,
}

impl Since {
    /// Frames dropped or skipped, connections broken, and frames that were sent and did not come.
    pub fn lost(&self) -> u64 {
        // Those at the edges of the time may be counted on the other side.
        let sent = (self.took.as_secs_f64() * FPS as f64) as u64;
        let missing = self.received.iter().map(|received| sent.saturating_sub(received + EDGES));
        self.dropped + self.reconnects + self.skipped + missing.sum::<u64>()
    }
}

/// Frames of a camera that may be counted on the other side of a moment: under way, or late.
const EDGES: u64 = 4;

fn is_sick(id: &str) -> bool {
    id.starts_with(SICK)
}

fn id(id: &str) -> CameraId {
    CameraId::new(id).unwrap()
}

/// A model that takes the same time for every picture, as a GPU does, and no processor: then the age of
/// detections tells of everything but the engine.
pub fn steady(time: Duration, lanes: usize) -> LoadedModel {
    let limits = Limits { max_batch: 1, preferred_batch: 1, max_queue_delay: Duration::ZERO, lanes };
    let person = [8.0, 8.0, 16.0, 16.0, 0.9, 0.0];
    let engine = FakeEngine::new((64, 64)).finds(vec![person]).limited(limits).takes(time);
    fake_server::model(engine, &["person"])
}

impl Neighbourhood {
    /// Starts the server and waits until the seven are live.
    pub async fn start(model: LoadedModel) -> Self {
        // Of our own server, without a fault: each frame is sent when it is due, and at once.
        let cameras: Vec<_> = (0..WELL).map(|_| Camera::start(Fault::Nothing)).collect();
        let data = tempfile::tempdir().unwrap();
        let mut config = fake_server::config(data.path());
        // How old frames get is judged by itself: what a busy machine holds up is not lost to a sick camera.
        config.max_age = Duration::from_secs(3600);
        // Short, so that failures are quick to see; long enough for a machine that does much else.
        config.ingest.connect_timeout = Duration::from_millis(1500);
        config.ingest.stall_timeout = Duration::from_millis(1500);
        let app = App::start(config, vec![model]).await.unwrap();
        let events = app.server().subscribe(EventFilter::default()).unwrap();
        let published = Arc::default();
        let listening = tokio::spawn(listen(events, Arc::clone(&published)));
        let this = Self { app, cameras, _data: data, published, listening };
        for (n, camera) in this.cameras.iter().enumerate() {
            this.add(&format!("well{n}"), &camera.url()).await;
        }
        let flowing = |view: &CameraView| view.balance.published >= 2 * FPS;
        this.until("the well cameras are live", |this| this.well().iter().all(flowing)).await;
        this
    }

    pub async fn until(&self, what: &str, wanted: impl Fn(&Self) -> bool) {
        let begin = Instant::now();
        while !wanted(self) {
            assert!(begin.elapsed() < PATIENCE, "{what}, but {}", self.told());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// How the cameras are, in a line each.
    pub fn told(&self) -> String {
        let tell = |view: CameraView| {
            let skipped = self.skipped(|id| id == view.spec.id.as_str());
            format!("\n{}: {:?}, {:?}, {skipped} skipped", view.spec.id, view.status, view.balance)
        };
        self.app.server().cameras().into_iter().map(tell).collect()
    }

    fn well(&self) -> Vec<CameraView> {
        let mut views = self.app.server().cameras();
        views.retain(|view| !is_sick(view.spec.id.as_str()));
        views
    }

    pub fn moment(&self) -> Moment {
        let books = self.well().into_iter();
        let books = books.map(|view| (view.spec.id, (view.balance, view.reconnects))).collect();
        Moment { at: Instant::now(), books, skipped: self.skipped(|id| !is_sick(id)) }
    }

    pub fn since(&self, then: &Moment) -> Since {
        let now = self.moment();
        let pairs = || now.books.iter().map(|(id, now)| (now, &then.books[id]));
        let published = self.published.lock().unwrap();
        let recent = published.iter().filter(|frame| frame.at >= then.at);
        let mut ages: Vec<f64> = recent.map(|frame| frame.age).collect();
        Since {
            received: pairs().map(|((now, _), (then, _))| now.received - then.received).collect(),
            dropped: pairs().map(|((now, _), (then, _))| now.total_dropped() - then.total_dropped()).sum(),
            reconnects: pairs().map(|((_, now), (_, then))| now - then).sum(),
            skipped: now.skipped - then.skipped,
            p99: percentile(&mut ages, 99.0),
            took: now.at - then.at,
        }
    }

    /// Coded frames of these cameras that were not decoded, ever.
    fn skipped(&self, of: impl Fn(&str) -> bool) -> u64 {
        let families = self.app.registry().gather();
        let family = families.iter().find(|family| family.name() == "centerx_coded_frames_skipped_total");
        let metrics = family.unwrap().get_metric().iter().filter(|metric| of(metric.get_label()[0].value()));
        metrics.map(|metric| metric.get_counter().get_value() as u64).sum()
    }

    pub async fn add(&self, name: &str, url: &str) {
        let spec = CameraSpec::new(id(name), CameraUrl::parse(url).unwrap());
        self.app.server().add(spec, CameraOrigin::Api).await.unwrap();
    }

    pub fn view(&self, name: &str) -> CameraView {
        self.app.server().camera(&id(name)).unwrap()
    }

    /// Removes a camera and tells how long that took.
    pub async fn remove(&self, name: &str) -> Duration {
        let begin = Instant::now();
        self.app.server().remove_camera(&id(name)).await.unwrap();
        begin.elapsed()
    }

    pub async fn end(self) {
        self.listening.abort();
        fake_server::balances(&self.app);
        assert!(self.app.shutdown().await);
    }
}

async fn listen(mut events: centerx::api::backend::EventStream, published: Arc<Mutex<Vec<Published>>>) {
    while let Some(event) = events.next().await {
        if let Event::Detections(frame) = event
            && !is_sick(frame.camera.as_str())
        {
            let age = frame.capture.monotonic.elapsed().as_secs_f64() * 1000.0;
            published.lock().unwrap().push(Published { at: Instant::now(), age });
        }
    }
}
