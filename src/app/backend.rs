//! The services' requests, carried out.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use tokio::sync::Semaphore;

use crate::access::Policy;
use crate::api::backend::{
    Backend, CameraTest, Capacity, Choice, DetectError, DetectRequest, EventStream, ModelChangeError,
    ModelView, PictureStream, SubscribeError,
};
use crate::camera::{CameraError, CameraId, CameraOrigin, CameraPatch, CameraSpec, CameraUrl, CameraView};
use crate::detection::{Event, EventFilter, PictureDetections};
use crate::engine::supervisor::Supervisor;
use crate::history::CameraHistory;
use crate::http;
use crate::ingest::{Admission, Fleet};
use crate::live::Live;
use crate::publisher::Hub;
use crate::restream::Restream;
use crate::view::{LiveStream, View, ViewError};

use super::catalog::Catalog;
use super::jobs::JobKey;
use super::pictures::{self, ClientStream};
use super::recorder::Recorder;
use super::router::Router;
use super::trial;

/// Clients' single pictures that may wait or run at once; more are told to come back. Streams hold few each.
const MAX_PICTURES: usize = 64;

/// What a server is made of.
pub struct Parts {
    /// Where frames go.
    pub router: Arc<Router>,
    /// The cameras.
    pub fleet: Fleet,
    /// The models.
    pub catalog: Catalog,
    /// The subscribers.
    pub hub: Hub,
    /// Those who look at pictures.
    pub live: Live,
    /// Those who look by RTSP.
    pub restream: Option<Restream>,
    /// Looks after the lanes.
    pub supervisor: Supervisor,
    /// Which cameras the API may add.
    pub admission: Admission,
    /// What callers may make it open.
    pub policy: Policy,
}

/// The server behind the services.
pub struct Server {
    router: Arc<Router>,
    fleet: Fleet,
    catalog: Catalog,
    hub: Hub,
    recorder: Arc<Recorder>,
    live: Live,
    restream: Option<Restream>,
    admission: Admission,
    pictures: Semaphore,
    next_key: AtomicU64,
    draining: AtomicBool,
    supervisor: Supervisor,
    policy: Policy,
    /// A listener that ended though it was not to.
    deaf: OnceLock<&'static str>,
}

impl Server {
    /// Puts the parts together.
    pub fn new(parts: Parts) -> Self {
        let Parts { router, fleet, catalog, hub, live, restream, supervisor, admission, policy } = parts;
        Self {
            router,
            recorder: Arc::new(Recorder::new(fleet.clone())),
            fleet,
            catalog,
            hub,
            live,
            restream,
            admission,
            pictures: Semaphore::new(MAX_PICTURES),
            next_key: AtomicU64::new(0),
            draining: AtomicBool::new(false),
            supervisor,
            policy,
            deaf: OnceLock::new(),
        }
    }

    /// The cameras.
    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// The cameras' history.
    pub(super) fn recorder(&self) -> &Arc<Recorder> {
        &self.recorder
    }

    /// From now on the server says that it is not ready.
    pub fn start_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// From now on the server says that it does not hear what comes by a protocol, unless it is shutting down.
    pub fn ended_listening(&self, protocol: &'static str) {
        self.deaf.get_or_init(|| protocol);
    }

    /// Why the server should get no new work; none while it is ready.
    pub fn why_not_ready(&self) -> Option<String> {
        if self.is_draining() { Some("the server is shutting down".into()) } else { self.trouble() }
    }

    /// What keeps the server from its work though it is not shutting down; none while it is well.
    pub fn trouble(&self) -> Option<String> {
        if let Some(protocol) = self.deaf.get() {
            return Some(format!("{protocol} ended; restart the server"));
        }
        let of_models = || self.router.pipelines().iter().find_map(|pipeline| pipeline.trouble());
        self.supervisor.trouble().or_else(of_models)
    }

    fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Adds a camera of either origin, checked and routed.
    ///
    /// # Errors
    /// See [`CameraError`].
    pub async fn add(&self, spec: CameraSpec, origin: CameraOrigin) -> Result<CameraView, CameraError> {
        spec.validate()?;
        self.router.check(&spec)?;
        if self.fleet.get(&spec.id).is_ok() {
            return Err(CameraError::Exists(spec.id));
        }
        let id = spec.id.clone();
        self.route(&spec, origin)?;
        let added = self.fleet.add(spec, origin).await;
        self.router.follow(&self.fleet, &id);
        self.restream_all();
        added
    }

    /// Watches the cameras of the store again. One that asks for a model or class that is not served any
    /// more is kept and named; its frames are dropped as `no_model`.
    ///
    /// # Errors
    /// The fleet was shut down.
    pub async fn restore(&self, stored: impl Iterator<Item = &CameraSpec>) -> Result<(), CameraError> {
        for spec in stored.filter(|spec| self.fleet.get(&spec.id).is_err()) {
            if let Err(problem) = self.router.set_route(spec) {
                tracing::warn!(camera = %spec.id, %problem, "a stored camera cannot be served");
            }
        }
        let restored = self.fleet.restore().await;
        self.restream_all();
        restored
    }

    /// Serves the cameras there are by RTSP, and no others.
    fn restream_all(&self) {
        if let Some(restream) = &self.restream {
            restream.serve_only(|| self.fleet.ledgers().into_iter().map(|(id, _)| id).collect());
        }
    }

    /// Sends a camera's frames where its settings say, if they fit. Cameras of the config file always do.
    fn route(&self, spec: &CameraSpec, origin: CameraOrigin) -> Result<(), CameraError> {
        match (self.admission, origin) {
            (Admission::Strict, CameraOrigin::Api) => self.router.admit(spec),
            _ => Ok(self.router.set_route(spec)?),
        }
    }

    /// A number for a slot of its own.
    fn next_key(&self) -> u64 {
        self.next_key.fetch_add(1, Ordering::Relaxed)
    }

    /// Checks an address that a caller gives. Away from the network's threads: disks may hang.
    async fn check_url(&self, url: &CameraUrl) -> Result<(), CameraError> {
        let (policy, url) = (self.policy.clone(), url.clone());
        let checked = tokio::task::spawn_blocking(move || policy.check_url(&url)).await;
        checked.map_err(|error| CameraError::Store(error.to_string()))?.map_err(CameraError::from)
    }

    fn check_serving(&self) -> Result<(), ModelChangeError> {
        if self.is_draining() { Err(ModelChangeError::ShuttingDown) } else { Ok(()) }
    }

    fn check_filter(&self, filter: &EventFilter) -> Result<(), SubscribeError> {
        if let Some(unknown) = filter.cameras.iter().find(|id| self.fleet.get(id).is_err()) {
            return Err(SubscribeError::UnknownCamera(unknown.clone()));
        }
        let models: Vec<_> = self.router.pipelines().iter().map(|pipeline| pipeline.info()).collect();
        let known = |class: &String| models.iter().any(|info| info.classes.iter().any(|c| **c == **class));
        match filter.classes.iter().find(|class| !known(class)) {
            Some(unknown) => Err(SubscribeError::UnknownClass(unknown.clone())),
            None => Ok(()),
        }
    }
}

#[tonic::async_trait]
impl Backend for Server {
    async fn add_camera(&self, spec: CameraSpec) -> Result<CameraView, CameraError> {
        self.check_url(&spec.url).await?;
        self.add(spec, CameraOrigin::Api).await
    }

    async fn update_camera(&self, id: &CameraId, patch: CameraPatch) -> Result<CameraView, CameraError> {
        let view = self.fleet.get(id)?;
        if view.origin == CameraOrigin::Config {
            return Err(CameraError::ReadOnly(id.clone()));
        }
        if let Some(url) = &patch.url {
            self.check_url(url).await?;
        }
        let spec = patch.clone().apply(view.spec.clone());
        spec.validate()?;
        self.route(&spec, view.origin)?;
        let updated = self.fleet.update(id, patch).await;
        self.router.follow(&self.fleet, id);
        updated
    }

    async fn remove_camera(&self, id: &CameraId) -> Result<(), CameraError> {
        self.fleet.remove(id).await?;
        self.router.follow(&self.fleet, id);
        self.hub.forget(id);
        self.live.forget(id);
        self.restream_all();
        Ok(())
    }

    async fn test_camera(&self, spec: CameraSpec, origin: CameraOrigin) -> Result<CameraTest, CameraError> {
        if origin == CameraOrigin::Api {
            self.check_url(&spec.url).await?;
        }
        spec.validate()?;
        self.router.check(&spec)?;
        Ok(trial::told(self.fleet.test(spec, origin).await?).await)
    }

    fn camera(&self, id: &CameraId) -> Result<CameraView, CameraError> {
        self.fleet.get(id)
    }

    fn cameras(&self) -> Vec<CameraView> {
        self.fleet.list()
    }

    fn history(
        &self,
        cameras: &[CameraId],
        after: Option<SystemTime>,
    ) -> Result<Vec<CameraHistory>, CameraError> {
        self.recorder.told(cameras, after)
    }

    fn capacities(&self) -> Vec<Capacity> {
        self.router.capacities()
    }

    fn subscribe(&self, filter: EventFilter) -> Result<EventStream, SubscribeError> {
        if self.is_draining() {
            return Err(SubscribeError::ShuttingDown);
        }
        self.check_filter(&filter)?;
        let cameras = filter.cameras.clone();
        // Looked up once the subscription is in place, so that no change falls between.
        let states = || {
            let covered = |view: &CameraView| cameras.is_empty() || cameras.contains(&view.spec.id);
            let views = self.fleet.list().into_iter().filter(covered);
            views.map(|view| Event::CameraState(view.spec.id, view.status)).collect()
        };
        Ok(Box::pin(self.hub.subscribe_with(filter, states)))
    }

    fn watch(&self, views: Vec<View>) -> Result<LiveStream, ViewError> {
        if self.is_draining() {
            return Err(ViewError::ShuttingDown);
        }
        // In this order: a camera that is removed meanwhile ends its view.
        let pictures = self.live.watch(&views);
        match views.into_iter().find(|view| self.fleet.get(&view.camera).is_err()) {
            Some(view) => Err(ViewError::Unknown(view.camera)),
            None => Ok(pictures),
        }
    }

    async fn detect(&self, request: DetectRequest) -> Result<PictureDetections, DetectError> {
        let DetectRequest { picture, model, min_score, classes } = request;
        let choice = Choice { model, min_score, classes };
        pictures::check(&self.router, &choice)?;
        let _permit = self.pictures.try_acquire().map_err(|_| DetectError::Busy)?;
        let key = JobKey::Picture(self.next_key());
        pictures::submit(&self.router, &choice, key, picture, None)?.await
    }

    fn open_stream(&self, choice: Choice) -> Result<Box<dyn PictureStream>, DetectError> {
        Ok(Box::new(ClientStream::new(&self.router, choice, self.next_key())?))
    }

    fn models(&self) -> Vec<ModelView> {
        self.catalog.list()
    }

    async fn load_model(&self, name: String, source: String) -> Result<ModelView, ModelChangeError> {
        self.check_serving()?;
        self.catalog.load(name, source).await
    }

    async fn unload_model(&self, name: String) -> Result<(), ModelChangeError> {
        self.check_serving()?;
        self.catalog.unload(name).await
    }

    async fn swap_model(&self, name: String, source: String) -> Result<ModelView, ModelChangeError> {
        self.check_serving()?;
        self.catalog.swap(name, source).await
    }

    fn not_ready(&self) -> Option<String> {
        self.why_not_ready()
    }
}

impl http::Cameras for Server {
    fn camera(&self, id: &CameraId) -> Result<CameraView, CameraError> {
        self.fleet.get(id)
    }

    fn watch(&self, view: View) -> Result<LiveStream, ViewError> {
        Backend::watch(self, vec![view])
    }
}
