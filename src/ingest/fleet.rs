//! All cameras: adding, changing, removing and listing them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Mutex, MutexGuard, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::warn;

use crate::access::Policy;
use crate::camera::{CameraError, CameraId, CameraOrigin, CameraPatch, CameraSpec, CameraView};
use crate::ledger::{DropReason, Ledger};

use super::config::Config;
use super::gstreamer::GStreamer;
use super::guarded::Guarded;
use super::metrics::{Metrics, Roster};
use super::registry::{Cameras, Store};
use super::source::Source;
use super::trial::{Trial, Trials};
use super::watched::Watched;
use super::watcher::{Order, Watcher};
use super::{Error, Sink};

/// How long a removal waits at most for the connection to close, so that it is done within a second. What
/// hangs longer goes on closing by itself.
const REMOVAL_PATIENCE: Duration = Duration::from_millis(500);

/// The cameras being watched. Cheap to clone; all clones are the same fleet.
#[derive(Clone)]
pub struct Fleet(Arc<Inner>);

struct Inner {
    config: Arc<Config>,
    source: Arc<dyn Source>,
    /// What opens cameras of the API.
    source_of_api: Arc<dyn Source>,
    sink: Arc<dyn Sink>,
    metrics: Metrics,
    runtime: Handle,
    changes: Mutex<Changes>,
    trials: Trials,
}

/// What only one change at a time may touch.
struct Changes {
    store: Option<Arc<Store>>,
    /// What the store's file holds.
    stored: Cameras,
    tasks: HashMap<CameraId, Task>,
    shut_down: bool,
}

struct Task {
    orders: watch::Sender<Order>,
    handle: JoinHandle<()>,
}

impl Fleet {
    /// An empty fleet on the current tokio runtime, fed by GStreamer. Without a store, cameras added by
    /// the API are forgotten at the end.
    ///
    /// # Errors
    /// GStreamer cannot be used.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn new(
        config: Config,
        sink: Arc<dyn Sink>,
        metrics: Metrics,
        store: Option<Store>,
    ) -> Result<Self, Error> {
        Ok(Self::with_source(config, Arc::new(GStreamer::new()?), sink, metrics, store))
    }

    /// As [`Fleet::new`]; cameras of the API are opened only if the policy allows it each time.
    ///
    /// # Errors
    /// GStreamer cannot be used.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn guarded(
        config: Config,
        policy: Policy,
        sink: Arc<dyn Sink>,
        metrics: Metrics,
        store: Option<Store>,
    ) -> Result<Self, Error> {
        let source: Arc<dyn Source> = Arc::new(GStreamer::new()?);
        let guarded = Arc::new(Guarded { source: Arc::clone(&source), policy });
        Ok(Self::with_sources(config, [source, guarded], sink, metrics, store))
    }

    /// As [`Fleet::new`], fed by another source.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn with_source(
        config: Config,
        source: Arc<dyn Source>,
        sink: Arc<dyn Sink>,
        metrics: Metrics,
        store: Option<Store>,
    ) -> Self {
        Self::with_sources(config, [Arc::clone(&source), source], sink, metrics, store)
    }

    /// The sources are that of the config's cameras and that of the API's.
    fn with_sources(
        config: Config,
        [source, source_of_api]: [Arc<dyn Source>; 2],
        sink: Arc<dyn Sink>,
        metrics: Metrics,
        store: Option<Store>,
    ) -> Self {
        let stored = store.as_ref().map(|store| store.found().clone()).unwrap_or_default();
        let changes = Changes { store: store.map(Arc::new), stored, tasks: HashMap::new(), shut_down: false };
        Self(Arc::new(Inner {
            config: Arc::new(config),
            source,
            source_of_api,
            sink,
            metrics,
            runtime: Handle::current(),
            changes: Mutex::new(changes),
            trials: Trials::default(),
        }))
    }

    /// Starts to watch the cameras of the store. Call it once, after the config's cameras were added:
    /// where both have an id, the config's camera wins and the stored one stays in the file.
    ///
    /// # Errors
    /// The fleet was shut down.
    pub async fn restore(&self) -> Result<(), CameraError> {
        self.changing(Inner::restore).await
    }

    /// Starts to watch a camera. One of [`CameraOrigin::Api`] is on the disk when this returns.
    ///
    /// # Errors
    /// A taken id, a bad setting, or a store that cannot be written; nothing is changed then.
    pub async fn add(&self, spec: CameraSpec, origin: CameraOrigin) -> Result<CameraView, CameraError> {
        self.changing(|inner| inner.add(spec, origin)).await
    }

    /// Changes a camera that the API added. It is connected anew only where it must be.
    ///
    /// # Errors
    /// An unknown id, a camera of the config, a bad setting, or a store that cannot be written; nothing is
    /// changed then.
    pub async fn update(&self, id: &CameraId, patch: CameraPatch) -> Result<CameraView, CameraError> {
        let id = id.clone();
        self.changing(|inner| inner.update(id, patch)).await
    }

    /// Removes a camera that the API added. Its frames are refused when this returns; a connection that
    /// hangs is left to close by itself.
    ///
    /// # Errors
    /// An unknown id, a camera of the config, or a store that cannot be written; nothing is changed then.
    pub async fn remove(&self, id: &CameraId) -> Result<(), CameraError> {
        let id = id.clone();
        self.changing(|inner| inner.remove(id)).await
    }

    /// Tries a camera of `origin` without adding it, until its first picture or failure. Ends when the future is
    /// dropped.
    ///
    /// # Errors
    /// Too many are being tried.
    pub async fn test(&self, spec: CameraSpec, origin: CameraOrigin) -> Result<Trial, CameraError> {
        let inner = &self.0;
        inner.trials.run(inner.source_for(origin), Arc::clone(&inner.config), spec).await
    }

    /// One camera.
    ///
    /// # Errors
    /// An unknown id.
    pub fn get(&self, id: &CameraId) -> Result<CameraView, CameraError> {
        self.0.watched(id).map(|camera| camera.view())
    }

    /// A camera's settings as they are now, cheaply.
    pub fn settings(&self, id: &CameraId) -> Option<Arc<CameraSpec>> {
        self.0.roster().read().get(id).map(|camera| camera.spec())
    }

    /// The books of all cameras, by id.
    pub fn ledgers(&self) -> Vec<(CameraId, Arc<Ledger>)> {
        let roster = self.0.roster().read();
        roster.iter().map(|(id, camera)| (id.clone(), Arc::clone(&camera.ledger))).collect()
    }

    /// All cameras, by id.
    pub fn list(&self) -> Vec<CameraView> {
        self.0.roster().read().values().map(|camera| camera.view()).collect()
    }

    /// Stops all cameras. No frame is offered after this returns; cameras stay listed, and the store
    /// keeps those of the API. Takes no longer than `close_timeout` and a moment.
    pub async fn shutdown(&self) {
        let mut changes = self.0.changes.lock().await;
        changes.shut_down = true;
        let tasks: Vec<_> = changes.tasks.drain().collect();
        drop(changes);
        let mut handles = Vec::new();
        for (id, Task { orders, handle }) in tasks {
            if let Ok(camera) = self.0.watched(&id) {
                camera.retire(DropReason::Shutdown);
            }
            drop(orders);
            handles.push(handle);
        }
        let deadline = tokio::time::Instant::now() + self.0.patience();
        for handle in handles {
            // What hangs is left behind: the process is about to end.
            let _ = tokio::time::timeout_at(deadline, handle).await;
        }
    }

    /// Makes a change in a task of its own, so that a caller who goes away does not leave half of one.
    async fn changing<T, F>(&self, change: impl FnOnce(Arc<Inner>) -> F) -> Result<T, CameraError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, CameraError>> + Send + 'static,
    {
        let task = self.0.runtime.spawn(change(Arc::clone(&self.0)));
        task.await.unwrap_or_else(|error| Err(CameraError::Store(error.to_string())))
    }
}

impl Inner {
    async fn restore(self: Arc<Self>) -> Result<(), CameraError> {
        let mut changes = self.changes().await?;
        for spec in changes.stored.values().cloned().collect::<Vec<_>>() {
            if self.watched(&spec.id).is_ok() {
                warn!(
                    camera = %spec.id,
                    "a camera of this id is stored too; the one of the config file or command line is used"
                );
            } else {
                self.start(&mut changes, spec, CameraOrigin::Api);
            }
        }
        Ok(())
    }

    async fn add(self: Arc<Self>, spec: CameraSpec, origin: CameraOrigin) -> Result<CameraView, CameraError> {
        spec.validate()?;
        let mut changes = self.changes().await?;
        let of_api = origin == CameraOrigin::Api;
        if self.watched(&spec.id).is_ok() || (of_api && changes.stored.contains_key(&spec.id)) {
            return Err(CameraError::Exists(spec.id));
        }
        if of_api && self.roster().read().len() >= self.config.max_cameras {
            return Err(CameraError::TooMany(self.config.max_cameras));
        }
        if of_api {
            changes.store(|stored| stored.insert(spec.id.clone(), spec.clone())).await?;
        }
        Ok(self.start(&mut changes, spec, origin).view())
    }

    async fn update(self: Arc<Self>, id: CameraId, patch: CameraPatch) -> Result<CameraView, CameraError> {
        let mut changes = self.changes().await?;
        let camera = self.of_api(&id)?;
        let old = camera.spec();
        let spec = patch.apply((*old).clone());
        if spec == *old {
            return Ok(camera.view());
        }
        spec.validate()?;
        changes.store(|stored| stored.insert(id.clone(), spec.clone())).await?;
        let spec = Arc::new(spec);
        let epoch = camera.change(Arc::clone(&spec));
        if epoch.is_some() || old.model != spec.model {
            self.sink.forget(&id);
        }
        if let (Some(epoch), Some(task)) = (epoch, changes.tasks.get(&id)) {
            task.orders.send_replace(Order { spec, epoch });
        }
        Ok(camera.view())
    }

    async fn remove(self: Arc<Self>, id: CameraId) -> Result<(), CameraError> {
        let mut changes = self.changes().await?;
        let camera = self.of_api(&id)?;
        changes.store(|stored| stored.remove(&id)).await?;
        let task = changes.tasks.remove(&id);
        self.roster().write().remove(&id);
        drop(changes);
        let Some(Task { orders, handle }) = task else { return Ok(()) };
        camera.retire(DropReason::CameraRemoved);
        drop(orders);
        self.sink.forget(&id);
        let _ = timeout(self.patience().min(REMOVAL_PATIENCE), handle).await;
        Ok(())
    }

    fn start(&self, changes: &mut Changes, spec: CameraSpec, origin: CameraOrigin) -> Arc<Watched> {
        let id = spec.id.clone();
        let spec = Arc::new(spec);
        let decode_seconds = self.metrics.decode_seconds.clone();
        let max_clock_offset = self.config.max_clock_offset;
        let camera =
            Watched::new(Arc::clone(&spec), origin, Arc::clone(&self.sink), decode_seconds, max_clock_offset);
        let camera = Arc::new(camera);
        self.roster().write().insert(id.clone(), Arc::clone(&camera));
        self.sink.state_changed(&id, &camera.status());
        let (orders, receiver) = watch::channel(Order { spec, epoch: 0 });
        let source = self.source_for(origin);
        let watcher = Watcher::new(Arc::clone(&self.config), source, Arc::clone(&camera), receiver)
            .counting(self.metrics.panics.clone());
        let handle = self.runtime.spawn(watcher.run());
        changes.tasks.insert(id, Task { orders, handle });
        camera
    }

    fn source_for(&self, origin: CameraOrigin) -> Arc<dyn Source> {
        Arc::clone(match origin {
            CameraOrigin::Config => &self.source,
            CameraOrigin::Api => &self.source_of_api,
        })
    }

    async fn changes(&self) -> Result<MutexGuard<'_, Changes>, CameraError> {
        let changes = self.changes.lock().await;
        if changes.shut_down {
            return Err(CameraError::Store("the server is shutting down".into()));
        }
        Ok(changes)
    }

    fn roster(&self) -> &Roster {
        &self.metrics.roster
    }

    fn watched(&self, id: &CameraId) -> Result<Arc<Watched>, CameraError> {
        self.roster().read().get(id).cloned().ok_or_else(|| CameraError::Unknown(id.clone()))
    }

    fn of_api(&self, id: &CameraId) -> Result<Arc<Watched>, CameraError> {
        let camera = self.watched(id)?;
        match camera.origin {
            CameraOrigin::Api => Ok(camera),
            CameraOrigin::Config => Err(CameraError::ReadOnly(id.clone())),
        }
    }

    /// How long a task may take to end.
    fn patience(&self) -> Duration {
        self.config.close_timeout + Duration::from_millis(200)
    }
}

impl Changes {
    /// Changes what is stored: on the disk first, so that a failure changes nothing.
    async fn store<T>(&mut self, change: impl FnOnce(&mut Cameras) -> T) -> Result<(), CameraError> {
        let mut stored = self.stored.clone();
        change(&mut stored);
        if let Some(store) = self.store.clone() {
            let written = stored.clone();
            tokio::task::spawn_blocking(move || store.write(&written))
                .await
                .map_err(|error| CameraError::Store(error.to_string()))?
                .map_err(|error| CameraError::Store(error.to_string()))?;
        }
        self.stored = stored;
        Ok(())
    }
}
