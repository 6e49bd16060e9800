//! Each alert is made to fire by causing its fault, all side by side in one server.

use std::sync::atomic::{AtomicBool, Ordering};

use centerx::api::backend::Backend as _;
use centerx::app::{App, LoadedModel};
use centerx::auth;
use centerx::camera::{CameraId, CameraOrigin, CameraSpec, CameraState, CameraUrl};
use centerx::engine::fake::{FakeEngine, Fault, Gate};
use centerx::listen::tls;
use tokio::runtime::Runtime;

use super::pki::Authority;
use super::prometheus_server::dashboards::queries;
use super::rtsp_camera::{Clip, Mount, Server};
use super::*;

mod clients;

const TOKEN: &str = "centerx_the-tests-own";
const DAY: Duration = Duration::from_secs(86_400);
const PERSON: [f32; 6] = [8.0, 8.0, 16.0, 16.0, 0.9, 0.0];
const LOOK: Duration = Duration::from_millis(50);
/// What the times of `CenterxMemoryGrowth` are divided by: they are hours.
const MEMORY_FACTOR: f64 = 300.0;

/// Alerts that are made to fire here, with a label that tells whose they are.
const ALERTS: [(&str, &[(&str, &str)]); 19] = [
    ("CenterxCameraDown", &[("camera", "dead-1")]),
    ("CenterxManyCamerasDown", &[]),
    ("CenterxCameraStalled", &[("camera", "frozen")]),
    ("CenterxCameraFlapping", &[("camera", "loose")]),
    ("CenterxCameraSilent", &[("camera", "on-broken")]),
    ("CenterxAgeOverBudget", &[("camera", "late")]),
    ("CenterxDropsOverOnePercent", &[]),
    ("CenterxSaturated", &[("model", "coco")]),
    ("CenterxEngineRestarts", &[]),
    ("CenterxNoLane", &[("model", "broken")]),
    ("CenterxEngineHung", &[]),
    ("CenterxSubscriberLag", &[]),
    ("CenterxSubscriberCutOff", &[]),
    ("CenterxDataUnread", &[]),
    ("CenterxCertificateExpires", &[("listener", "grpc")]),
    ("CenterxCertificateExpiresSoon", &[("listener", "grpc")]),
    ("CenterxCertificateRefused", &[("listener", "grpc")]),
    ("CenterxAuthFailures", &[]),
    ("CenterxMemoryGrowth", &[]),
];

/// A model on an engine that does as it is told.
fn model(name: &str, engine: FakeEngine) -> LoadedModel {
    let mut model = fake_server::model(engine.finds(vec![PERSON]), &["person"]);
    model.info.name = name.into();
    model
}

/// Three models: one that can look at not quite 100 frames a second, one that always panics, and one whose first run hangs.
fn models(hung: &Gate) -> Vec<LoadedModel> {
    let engine = || FakeEngine::new((64, 64));
    vec![
        model("coco", engine().takes(Duration::from_millis(10))),
        model("broken", engine().faulty(1..=usize::MAX, Fault::Panic)),
        model("stuck", engine().faulty(1..=1, Fault::Hang(hung.clone()))),
    ]
}

/// A server whose cameras and engines are well, for now.
struct Yard {
    runtime: Runtime,
    app: App,
    folder: tempfile::TempDir,
    authority: Authority,
    hung: Gate,
    /// Cameras `dead-1` to `dead-3`, `loose`, and `frozen`.
    servers: [Server; 3],
    frozen: Mount,
}

impl Yard {
    fn start() -> Self {
        gstreamer::init().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new("the tests' CA");
        authority.server_for(365 * DAY).write(folder.path(), "server");
        let hung = Gate::default();
        let runtime = Runtime::new().unwrap();
        let app = runtime.block_on(App::start(settings(folder.path()), models(&hung))).unwrap();
        let servers = [(); 3].map(|()| Server::start("127.0.0.1", 0, None).unwrap());
        let clip = Arc::new(Clip::pattern(160, 120, 10, 2).unwrap());
        let mount = |server: &Server, name: &str| server.mount(name, Arc::clone(&clip), 0, None).unwrap();
        let dead = ["dead-1", "dead-2", "dead-3"];
        dead.iter().for_each(|name| drop(mount(&servers[0], name)));
        mount(&servers[1], "loose");
        let frozen = mount(&servers[2], "frozen");
        let yard = Self { runtime, app, folder, authority, hung, servers, frozen };
        dead.iter().for_each(|name| yard.add(spec(name, &yard.servers[0].url(name))));
        yard.add(spec("loose", &yard.servers[1].url("loose")));
        yard.add(spec("frozen", &yard.servers[2].url("frozen")));
        yard
    }

    fn add(&self, spec: CameraSpec) {
        self.runtime.block_on(self.app.server().add(spec, CameraOrigin::Config)).unwrap();
    }

    fn state(&self, camera: &str) -> CameraState {
        let cameras = self.app.server().cameras();
        cameras.iter().find(|view| view.spec.id.as_str() == camera).unwrap().status.state
    }

    /// Waits until a camera is in a state, or all is over.
    fn until(&self, camera: &str, over: &AtomicBool, is_it: impl Fn(CameraState) -> bool) {
        while !over.load(Ordering::Relaxed) && !is_it(self.state(camera)) {
            std::thread::park_timeout(LOOK);
        }
    }

    /// Loses power and gets it back, again and again.
    fn shake_loose(&self, over: &AtomicBool) {
        while !over.load(Ordering::Relaxed) {
            self.servers[1].stop();
            self.until("loose", over, |state| state != CameraState::Live);
            self.servers[1].listen().unwrap();
            self.until("loose", over, |state| state == CameraState::Live);
        }
    }

    /// Stops its pictures and goes on, again and again.
    fn freeze_and_thaw(&self, over: &AtomicBool) {
        while !over.load(Ordering::Relaxed) {
            self.frozen.freeze(true);
            self.until("frozen", over, |state| state != CameraState::Live);
            self.frozen.freeze(false);
            self.until("frozen", over, |state| state == CameraState::Live);
        }
    }

    /// Adds the cameras that are too many, too slow, or on a model that is no good.
    fn overload(&self) {
        for index in 1..=5 {
            self.add(spec(&format!("busy-{index}"), "test://ball?width=64&height=64&fps=30"));
        }
        let mut late = spec("late", "test://ball?width=64&height=64&fps=10");
        late.max_age = Some(Duration::from_millis(5));
        self.add(late);
        for model in ["broken", "stuck"] {
            let mut on_model = spec(&format!("on-{model}"), "test://ball?width=64&height=64&fps=10");
            on_model.model = Some(model.into());
            self.add(on_model);
        }
    }

    /// A certificate for a day, and one that cannot be used once the first was seen.
    fn spoil_certificates(&self, prometheus: &Prometheus) {
        self.authority.server_for(DAY).write(self.folder.path(), "server");
        prometheus.wait_for_alert("CenterxCertificateExpiresSoon", &[], PATIENCE);
        std::fs::write(self.folder.path().join("server.crt"), "no certificate").unwrap();
    }
}

fn spec(id: &str, url: &str) -> CameraSpec {
    CameraSpec::new(CameraId::new(id).unwrap(), CameraUrl::parse(url).unwrap())
}

fn settings(folder: &Path) -> centerx::config::Config {
    let mut settings = fake_server::config(&folder.join("data"));
    let token = format!(
        "token = [{{ name = \"t\", role = \"read\", sha256 = \"{}\" }}]",
        auth::Digest::of(TOKEN.as_bytes())
    );
    settings.auth = toml::from_str(&token).unwrap();
    let (certificate, key) = (folder.join("server.crt"), folder.join("server.key"));
    settings.grpc.tls = Some(tls::Config { certificate, key, client_ca: None });
    settings.engine.hang_timeout = Duration::from_secs(1);
    settings.publisher.ring = 4.try_into().unwrap();
    settings.publisher.stall_timeout = Duration::from_secs(10);
    settings.ingest.stall_timeout = Duration::from_millis(700);
    settings.ingest.backoff_min = Duration::from_millis(50);
    settings.ingest.backoff_max = Duration::from_millis(200);
    settings.ingest.probe_interval = Duration::from_millis(50);
    settings.ingest.connect_timeout = Duration::from_secs(3);
    settings
}

/// Takes a megabyte more ten times a second.
fn leak(over: &AtomicBool) {
    let mut leaked = Vec::new();
    while !over.load(Ordering::Relaxed) {
        leaked.push(vec![1u8; 1 << 20]);
        std::thread::park_timeout(Duration::from_millis(100));
    }
}

/// Whether the alert fires, or did a moment ago.
fn fired(name: &str, labels: &[(&str, &str)]) -> String {
    let labels: String = labels.iter().map(|(label, value)| format!(", {label}={value:?}")).collect();
    format!("max_over_time(ALERTS{{alertname={name:?}, alertstate=\"firing\"{labels}}}[10m])")
}

#[test]
fn every_alert_fires_when_its_fault_is_caused() {
    let _alone = alone();
    let yard = Yard::start();
    let setup = Setup::scraping(yard.app.http_address()).with_token(TOKEN).sped_up(60.0);
    let prometheus = Prometheus::start(&setup.and_alert("CenterxMemoryGrowth", MEMORY_FACTOR));
    let live = "sum(centerx_camera_state{state=\"live\"}) == 5 and sum(rate(centerx_frames_published_total[4s])) > 10";
    prometheus.wait_for("all cameras are well", live, PATIENCE);
    // What depends on this machine may fire at any time: its disk, and how fast it is.
    let machine = "CenterxDisk.*|CenterxDropsOverOnePercent|CenterxSaturated|CenterxAgeOverBudget";
    let early = prometheus.query(&format!("ALERTS{{alertname!~{machine:?}, alertstate=\"firing\"}}"));
    assert!(early.is_empty(), "before the faults: {early:?}");

    let (over, begin) = (AtomicBool::new(false), Instant::now());
    std::thread::scope(|scope| {
        let over = &over;
        // Whatever becomes of this thread, the others end.
        let _end = AtTheEnd(over);
        yard.servers[0].stop();
        yard.overload();
        std::fs::write(yard.folder.path().join("data/cameras.json.unread-1"), "{").unwrap();
        let (yard, prometheus) = (&yard, &prometheus);
        scope.spawn(|| yard.shake_loose(over));
        scope.spawn(|| yard.freeze_and_thaw(over));
        scope.spawn(|| yard.spoil_certificates(prometheus));
        scope.spawn(|| leak(over));
        scope.spawn(|| clients::try_tokens(yard.app.http_address(), over));
        let authority = yard.authority.pem.clone();
        let _slow = yard.runtime.spawn(clients::read_nothing(yard.app.grpc_address(), authority, TOKEN));
        for (alert, labels) in ALERTS {
            prometheus.wait_for(alert, &fired(alert, labels), PATIENCE);
            println!("{alert} after {:.0} s at most", begin.elapsed().as_secs_f64());
        }
        panels_of_trouble_show_it(prometheus);
        restarts::assert_words(prometheus, 10);
    });
    yard.hung.open();
    yard.runtime.block_on(yard.app.shutdown());
}

/// Those that are empty on a healthy server.
fn panels_of_trouble_show_it(prometheus: &Prometheus) {
    let panels = ["overview: Cameras in trouble", "overview: Certificates", "overview: Alerts firing"];
    let shown: Vec<_> =
        queries("dead-1").into_iter().filter(|query| panels.contains(&&*query.panel)).collect();
    assert_eq!(shown.len(), 6, "{shown:?}");
    prometheus.wait_for_all(shown, PATIENCE);
}

struct AtTheEnd<'a>(&'a AtomicBool);

impl Drop for AtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn no_alert_is_left_out() {
    let mut caused: Vec<_> = ALERTS.iter().map(|(name, _)| *name).chain(restarts::ALERTS).collect();
    let mut all: Vec<_> = rules::all().into_iter().map(|rule| rule.name).collect();
    caused.sort_unstable();
    all.sort_unstable();
    assert_eq!(caused, all);
}
