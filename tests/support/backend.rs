//! A scripted backend behind the real gRPC server.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use centerx::api::backend::{
    Backend, CameraTest, Capacity, Choice, DetectError, DetectRequest, EventStream, FirstPicture,
    ModelChangeError, ModelView, Pending, PictureStream, SubscribeError,
};
use centerx::api::{Config, Health, Metrics, Server, bind};
use centerx::camera::{
    CameraError, CameraId, CameraOrigin, CameraPatch, CameraSpec, CameraState, CameraStatus, CameraUrl,
    CameraView, FailureKind,
};
use centerx::detection::{
    BoundingBox, Detection, Event, EventFilter, FrameDetections, ModelInfo, PictureDetections,
};
use centerx::frame::{CaptureQuality, CaptureTime, Picture};
use centerx::history::{self, CameraHistory, Point};
use centerx::ledger::Balance;
use centerx::live::{self, Live};
use centerx::publisher::{self, Hub};
use centerx::view::{LiveStream, View, ViewError};
use prometheus::Registry;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};

/// Class names of the scripted model.
pub const CLASSES: [&str; 2] = ["person", "car"];

pub fn camera_id(id: &str) -> CameraId {
    CameraId::new(id).unwrap()
}

pub fn status(state: CameraState, reason: &str) -> Arc<CameraStatus> {
    Arc::new(CameraStatus {
        state,
        reason: reason.into(),
        failure: (state == CameraState::Failed).then_some(FailureKind::Auth),
        since: SystemTime::UNIX_EPOCH + Duration::from_secs(1_000),
        retry_at: (state == CameraState::Failed).then(|| SystemTime::UNIX_EPOCH + Duration::from_secs(2_000)),
        frame_size: (state == CameraState::Live).then_some((768, 576)),
    })
}

pub fn detection(label: &str, score: f32) -> Detection {
    let class_id = CLASSES.iter().position(|class| *class == label).unwrap() as u32;
    let bbox = BoundingBox { x1: 613.2, y1: 232.4, x2: 651.6, y2: 341.0 };
    Detection { bbox, score, class_id, label: label.into(), landmarks: Vec::new() }
}

pub fn frame(camera: &str, sequence: u64, detections: Vec<Detection>) -> Arc<FrameDetections> {
    Arc::new(FrameDetections {
        camera: camera_id(camera),
        sequence,
        capture: CaptureTime {
            wall: SystemTime::UNIX_EPOCH + Duration::from_millis(12_300),
            monotonic: Instant::now(),
            quality: CaptureQuality::Arrival,
        },
        width: 768,
        height: 576,
        model: "coco".into(),
        detections,
    })
}

/// A picture as the backend received it.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    pub size: (u32, u32),
    pub model: Option<String>,
    pub min_score: Option<f32>,
    pub classes: Vec<String>,
}

/// Cameras in a map, detections by script.
pub struct Scripted {
    pub hub: Hub,
    pub live: Live,
    pub cameras: Mutex<BTreeMap<CameraId, CameraView>>,
    pub not_ready: Mutex<Option<String>>,
    /// The next change to the cameras fails with this.
    pub refuse_change: Mutex<Option<CameraError>>,
    /// The next change to the models fails with this.
    pub refuse_model_change: Mutex<Option<ModelChangeError>>,
    /// The next subscription fails with this.
    pub refuse_subscription: Mutex<Option<SubscribeError>>,
    /// What the next pictures meet; without a script one person is found.
    pub detect_script: Mutex<VecDeque<DetectError>>,
    pub asked: Mutex<Vec<Asked>>,
    /// The cameras tested.
    pub tested: Mutex<Vec<(CameraSpec, CameraOrigin)>>,
    /// A picture needs a permit of this.
    pub engine: Semaphore,
    /// What streams of pictures meet.
    pub streams: Arc<StreamScript>,
}

/// What streams of pictures meet.
#[derive(Default)]
pub struct StreamScript {
    /// What each stream asked for.
    pub choices: Mutex<Vec<Choice>>,
    /// The next stream is refused with this.
    pub refuse: Mutex<Option<DetectError>>,
    /// Pictures that wait for the test to answer them; without it they are answered at once.
    pub held: Mutex<Option<Vec<Held>>>,
    /// Objects found in each picture that is answered at once.
    pub objects: AtomicUsize,
    /// Pictures handed in whose answer was not taken yet.
    pub under_way: AtomicUsize,
    /// The most of them at a time.
    pub most_under_way: AtomicUsize,
}

/// A picture that waits for its answer.
pub struct Held {
    pub picture: Arc<Picture>,
    pub to: oneshot::Sender<Result<PictureDetections, DetectError>>,
}

impl Held {
    /// Answers with one person.
    pub fn answer(self) {
        let _ = self.to.send(Ok(found(&self.picture, 1)));
    }
}

impl StreamScript {
    /// From now on pictures wait for the test to answer them.
    pub fn hold(&self) {
        *self.held.lock().unwrap() = Some(Vec::new());
    }

    /// Waits until so many pictures wait, and takes them.
    pub async fn take_held(&self, count: usize) -> Vec<Held> {
        while self.held.lock().unwrap().as_ref().unwrap().len() < count {
            tokio::task::yield_now().await;
        }
        std::mem::take(self.held.lock().unwrap().as_mut().unwrap())
    }
}

struct ScriptedStream(Arc<StreamScript>);

struct UnderWay(Arc<StreamScript>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::SeqCst);
    }
}

#[tonic::async_trait]
impl PictureStream for ScriptedStream {
    async fn offer(&mut self, picture: Arc<Picture>) -> Result<Pending, DetectError> {
        let script = Arc::clone(&self.0);
        let now = script.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        script.most_under_way.fetch_max(now, Ordering::SeqCst);
        let (to, answer) = oneshot::channel();
        match &mut *script.held.lock().unwrap() {
            Some(held) => held.push(Held { picture, to }),
            None => _ = to.send(Ok(found(&picture, script.objects.load(Ordering::SeqCst)))),
        }
        let under_way = UnderWay(Arc::clone(&script));
        Ok(Box::pin(async move {
            let _under_way = under_way;
            answer.await.unwrap_or(Err(DetectError::ShuttingDown))
        }))
    }
}

impl Scripted {
    pub fn new(registry: &Registry, config: publisher::Config) -> Self {
        Self {
            hub: Hub::new(config, publisher::Metrics::new(registry).unwrap()),
            live: Live::start(&Default::default(), live::Metrics::new(registry).unwrap()).unwrap(),
            cameras: Mutex::default(),
            not_ready: Mutex::default(),
            refuse_change: Mutex::default(),
            refuse_model_change: Mutex::default(),
            refuse_subscription: Mutex::default(),
            detect_script: Mutex::default(),
            asked: Mutex::default(),
            tested: Mutex::default(),
            engine: Semaphore::new(1000),
            streams: Arc::new(StreamScript { objects: AtomicUsize::new(1), ..StreamScript::default() }),
        }
    }

    /// Puts a camera in place, past the API.
    pub fn put(&self, id: &str, url: &str, origin: CameraOrigin) {
        let spec = CameraSpec::new(camera_id(id), CameraUrl::parse(url).unwrap());
        self.cameras.lock().unwrap().insert(spec.id.clone(), view(spec, origin));
    }

    fn change(&self) -> Result<std::sync::MutexGuard<'_, BTreeMap<CameraId, CameraView>>, CameraError> {
        self.refuse_change.lock().unwrap().take().map_or(Ok(()), Err)?;
        Ok(self.cameras.lock().unwrap())
    }
}

fn ring_of(ring: usize) -> publisher::Config {
    publisher::Config { ring: ring.try_into().unwrap(), ..publisher::Config::default() }
}

fn view(spec: CameraSpec, origin: CameraOrigin) -> CameraView {
    let status = status(CameraState::Live, "frames arrive");
    CameraView { spec, origin, status, balance: Balance::default(), reconnects: 3 }
}

#[tonic::async_trait]
impl Backend for Scripted {
    async fn add_camera(&self, spec: CameraSpec) -> Result<CameraView, CameraError> {
        let mut cameras = self.change()?;
        if cameras.contains_key(&spec.id) {
            return Err(CameraError::Exists(spec.id));
        }
        let view = view(spec, CameraOrigin::Api);
        cameras.insert(view.spec.id.clone(), view.clone());
        Ok(view)
    }

    async fn update_camera(&self, id: &CameraId, patch: CameraPatch) -> Result<CameraView, CameraError> {
        let mut cameras = self.change()?;
        let view = cameras.get_mut(id).ok_or_else(|| CameraError::Unknown(id.clone()))?;
        if view.origin == CameraOrigin::Config {
            return Err(CameraError::ReadOnly(id.clone()));
        }
        let spec = patch.apply(view.spec.clone());
        spec.validate()?;
        view.spec = spec;
        Ok(view.clone())
    }

    async fn remove_camera(&self, id: &CameraId) -> Result<(), CameraError> {
        self.change()?.remove(id).ok_or_else(|| CameraError::Unknown(id.clone()))?;
        self.live.forget(id);
        Ok(())
    }

    async fn test_camera(&self, spec: CameraSpec, origin: CameraOrigin) -> Result<CameraTest, CameraError> {
        drop(self.change()?);
        self.tested.lock().unwrap().push((spec, origin));
        let outcome = Ok(FirstPicture { width: 768, height: 576, jpeg: vec![0xff, 0xd8] });
        Ok(CameraTest { outcome, took: Duration::from_millis(1500) })
    }

    fn camera(&self, id: &CameraId) -> Result<CameraView, CameraError> {
        assert_ne!(id.as_str(), "panic", "to be asked for this camera is to panic");
        self.cameras.lock().unwrap().get(id).cloned().ok_or_else(|| CameraError::Unknown(id.clone()))
    }

    fn cameras(&self) -> Vec<CameraView> {
        self.cameras.lock().unwrap().values().cloned().collect()
    }

    fn history(
        &self,
        cameras: &[CameraId],
        after: Option<SystemTime>,
    ) -> Result<Vec<CameraHistory>, CameraError> {
        let known = self.cameras.lock().unwrap();
        if let Some(unknown) = cameras.iter().find(|id| !known.contains_key(id)) {
            return Err(CameraError::Unknown(unknown.clone()));
        }
        let points: Vec<_> =
            (1..=3).map(history_point).filter(|p| after.is_none_or(|at| p.time > at)).collect();
        let told = |camera: &CameraId| CameraHistory { camera: camera.clone(), points: points.clone() };
        Ok(cameras.iter().map(told).collect())
    }

    fn capacities(&self) -> Vec<Capacity> {
        let busy =
            Capacity { model: "coco".into(), is_default: true, frames_per_second: Some(50.0), load: 35.5 };
        let new = Capacity { model: "night".into(), is_default: false, frames_per_second: None, load: 25.0 };
        vec![busy, new]
    }

    fn subscribe(&self, filter: EventFilter) -> Result<EventStream, SubscribeError> {
        self.refuse_subscription.lock().unwrap().take().map_or(Ok(()), Err)?;
        let known = self.cameras.lock().unwrap();
        if let Some(unknown) = filter.cameras.iter().find(|id| !known.contains_key(id)) {
            return Err(SubscribeError::UnknownCamera(unknown.clone()));
        }
        if let Some(unknown) = filter.classes.iter().find(|class| !CLASSES.contains(&class.as_str())) {
            return Err(SubscribeError::UnknownClass(unknown.clone()));
        }
        let covered = |id: &CameraId| filter.cameras.is_empty() || filter.cameras.contains(id);
        let initial = known.iter().filter(|(id, _)| covered(id));
        let initial = initial.map(|(id, view)| Event::CameraState(id.clone(), Arc::clone(&view.status)));
        let initial = initial.collect();
        Ok(Box::pin(self.hub.subscribe(filter, initial)))
    }

    fn watch(&self, views: Vec<View>) -> Result<LiveStream, ViewError> {
        let known = self.cameras.lock().unwrap();
        match views.iter().find(|view| !known.contains_key(&view.camera)) {
            Some(unknown) => Err(ViewError::Unknown(unknown.camera.clone())),
            None => Ok(self.live.watch(&views)),
        }
    }

    async fn detect(&self, request: DetectRequest) -> Result<PictureDetections, DetectError> {
        let DetectRequest { picture, model, min_score, classes } = request;
        let size = (picture.width, picture.height);
        self.asked.lock().unwrap().push(Asked { size, model, min_score, classes });
        let _permit = self.engine.acquire().await.unwrap();
        self.detect_script.lock().unwrap().pop_front().map_or(Ok(()), Err)?;
        Ok(found(&picture, 1))
    }

    fn open_stream(&self, choice: Choice) -> Result<Box<dyn PictureStream>, DetectError> {
        self.streams.refuse.lock().unwrap().take().map_or(Ok(()), Err)?;
        self.streams.choices.lock().unwrap().push(choice);
        Ok(Box::new(ScriptedStream(Arc::clone(&self.streams))))
    }

    fn models(&self) -> Vec<ModelView> {
        vec![model_view("coco", "coco")]
    }

    async fn load_model(&self, name: String, source: String) -> Result<ModelView, ModelChangeError> {
        self.refuse_model_change.lock().unwrap().take().map_or(Ok(()), Err)?;
        Ok(model_view(&name, &source))
    }

    async fn unload_model(&self, _name: String) -> Result<(), ModelChangeError> {
        self.refuse_model_change.lock().unwrap().take().map_or(Ok(()), Err)
    }

    async fn swap_model(&self, name: String, source: String) -> Result<ModelView, ModelChangeError> {
        self.load_model(name, source).await
    }

    fn not_ready(&self) -> Option<String> {
        self.not_ready.lock().unwrap().clone()
    }
}

/// The point of step `step`: so many frames came, and in the first step none was published.
fn history_point(step: u64) -> Point {
    let age = (step > 1).then_some(Duration::from_millis(80));
    Point {
        time: SystemTime::UNIX_EPOCH + step as u32 * history::STEP,
        received: step,
        published: step - 1,
        dropped: 1,
        objects: 2 * step,
        mean_age: age,
        max_age: age.map(|age| 2 * age),
    }
}

fn model_view(name: &str, source: &str) -> ModelView {
    ModelView {
        info: ModelInfo {
            name: name.into(),
            family: "ttf".into(),
            classes: CLASSES.map(Into::into).to_vec(),
            input_width: 512,
            input_height: 512,
            top_k: 100,
            engine: "scripted".into(),
            source: "tests".into(),
            license: "MIT".into(),
            sha256: "00".repeat(32),
            ..Default::default()
        },
        loaded_from: source.into(),
        is_default: name == "coco",
        cameras: 2,
    }
}

fn found(picture: &Picture, objects: usize) -> PictureDetections {
    let detections = vec![detection("person", 0.71); objects];
    PictureDetections { width: picture.width, height: picture.height, model: "coco".into(), detections }
}

/// A server on a free port, with a scripted backend.
pub struct Running {
    pub address: std::net::SocketAddr,
    pub backend: Arc<Scripted>,
    pub registry: Registry,
    pub health: Health,
    pub stop: oneshot::Sender<()>,
    pub task: JoinHandle<()>,
}

impl Running {
    pub async fn start() -> Self {
        Self::start_with(Config::default(), 64).await
    }

    pub async fn start_with(config: Config, ring: usize) -> Self {
        Self::start_with_hub(config, ring_of(ring)).await
    }

    pub async fn start_with_hub(config: Config, hub: publisher::Config) -> Self {
        Self::start_on(Config { listen: ([127, 0, 0, 1], 0).into(), ..config }, hub).await
    }

    /// Where another server was before.
    pub async fn start_at(listen: std::net::SocketAddr) -> Self {
        Self::start_on(Config { listen, ..Config::default() }, publisher::Config::default()).await
    }

    async fn start_on(config: Config, hub: publisher::Config) -> Self {
        let registry = Registry::new();
        let backend = Arc::new(Scripted::new(&registry, hub));
        let listener = bind(&config).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let metrics = Metrics::new(&registry).unwrap();
        let server = Server::new(config, Arc::clone(&backend) as Arc<dyn Backend>, metrics);
        let health = server.health();
        let serving = server.serve(listener, async {
            // A test that ends without a word stops the server as well.
            let _ = stopped.await;
        });
        let task = tokio::spawn(async { serving.await.unwrap() });
        Self { address, backend, registry, health, stop, task }
    }

    pub fn endpoint(&self) -> Endpoint {
        Endpoint::from_shared(format!("http://{}", self.address)).unwrap()
    }

    pub async fn channel(&self) -> Channel {
        self.endpoint().connect().await.unwrap()
    }

    /// The metrics as Prometheus would read them.
    pub fn metrics(&self) -> String {
        prometheus::TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap()
    }

    /// The value of a metric; `name` holds its labels.
    pub fn metric(&self, name: &str) -> Option<f64> {
        let text = self.metrics();
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
    }
}
