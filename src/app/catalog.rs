//! Models that come, go and change while the server runs.
//!
//! A change does everything that may fail before it touches what serves: the file is read and checked, every
//! lane opened, warmed up and proven, the store written. Changes of one model wait for each other, those of
//! different ones do not. Each runs in a task of its own: a caller who goes away leaves no half of one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus::{IntCounterVec, IntGauge, Opts, Registry};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use crate::api::backend::{ModelChangeError, ModelView};
use crate::camera::CameraId;
use crate::ingest::Fleet;
use crate::ledger::DropReason;
use crate::publisher::Hub;

use super::model_store::{ModelStore, Models, StoredModel};
use super::models::check_name;
use super::open_model::OpenModel;
use super::opener::Opener;
use super::pipeline::{self, Pipeline};
use super::router::{LacksClasses, Router};

/// Models served at a time: each holds its weights once a lane.
const MAX_MODELS: usize = 64;
/// For lanes that were relieved to finish their batch. One that hangs must not hang the change.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is counted of changes.
#[derive(Clone, Debug)]
pub struct Metrics {
    swaps: IntCounterVec,
    models: IntGauge,
}

/// How a swap ended.
#[derive(Clone, Copy, Debug)]
enum Outcome {
    /// The new model serves.
    Done,
    /// The file is no detector, or one that does not run.
    Unusable,
    /// Anything else that was in the way.
    Refused,
}

impl Outcome {
    const ALL: [Self; 3] = [Self::Done, Self::Unusable, Self::Refused];

    fn of<T>(result: &Result<T, ModelChangeError>) -> Self {
        match result {
            Ok(_) => Self::Done,
            Err(ModelChangeError::Unusable { .. }) => Self::Unusable,
            Err(_) => Self::Refused,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Unusable => "unusable",
            Self::Refused => "refused",
        }
    }
}

impl Metrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// A metric registered twice.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let swaps = IntCounterVec::new(
            Opts::new("centerx_model_swaps_total", "Swaps of a model that were asked for, by outcome."),
            &["outcome"],
        )?;
        Outcome::ALL.iter().for_each(|outcome| swaps.with_label_values(&[outcome.as_str()]).reset());
        let models = IntGauge::new("centerx_models", "Models that are served.")?;
        registry.register(Box::new(swaps.clone()))?;
        registry.register(Box::new(models.clone()))?;
        Ok(Self { swaps, models })
    }
}

/// Changes the models that a router serves.
#[derive(Clone)]
pub struct Catalog(Arc<Inner>);

/// What a [`Catalog`] works with.
pub struct Parts {
    /// Where the models serve.
    pub router: Arc<Router>,
    /// The cameras that use them.
    pub fleet: Fleet,
    /// Where detections go.
    pub hub: Hub,
    /// Reads and opens model files.
    pub opener: Opener,
    /// Remembers changes across restarts.
    pub store: ModelStore,
    /// The config file's models: sources by name.
    pub configured: HashMap<String, String>,
    /// What pipelines share.
    pub pipelines: pipeline::Common,
    /// What is counted of changes.
    pub metrics: Metrics,
}

struct Inner {
    router: Arc<Router>,
    fleet: Fleet,
    hub: Hub,
    opener: Opener,
    store: AsyncMutex<ModelStore>,
    configured: HashMap<String, String>,
    pipelines: pipeline::Common,
    metrics: Metrics,
    turns: Mutex<HashMap<String, Arc<AsyncMutex<()>>>>,
}

impl Catalog {
    /// Puts the parts together.
    pub fn new(parts: Parts) -> Self {
        let Parts { router, fleet, hub, opener, store, configured, pipelines, metrics } = parts;
        let (store, turns) = (AsyncMutex::new(store), Mutex::default());
        let inner = Inner { router, fleet, hub, opener, store, configured, pipelines, metrics, turns };
        inner.count_models();
        Self(Arc::new(inner))
    }

    /// The models that are served, by name.
    pub fn list(&self) -> Vec<ModelView> {
        self.0.router.pipelines().iter().map(|pipeline| self.0.view(pipeline)).collect()
    }

    /// Serves one more model.
    ///
    /// # Errors
    /// See [`ModelChangeError`]; nothing is changed then.
    pub async fn load(&self, name: String, source: String) -> Result<ModelView, ModelChangeError> {
        let inner = Arc::clone(&self.0);
        in_full(async move { inner.load(&name, &source).await }).await
    }

    /// Serves another file under the name of a model.
    ///
    /// # Errors
    /// See [`ModelChangeError`]; the model serves on then.
    pub async fn swap(&self, name: String, source: String) -> Result<ModelView, ModelChangeError> {
        let inner = Arc::clone(&self.0);
        in_full(async move {
            let outcome = inner.swap(&name, &source).await;
            inner.metrics.swaps.with_label_values(&[Outcome::of(&outcome).as_str()]).inc();
            if let Err(problem) = &outcome {
                tracing::warn!(model = name, source, %problem, "a model was not swapped");
            }
            outcome
        })
        .await
    }

    /// Stops to serve a model.
    ///
    /// # Errors
    /// See [`ModelChangeError`]; the model serves on then.
    pub async fn unload(&self, name: String) -> Result<(), ModelChangeError> {
        let inner = Arc::clone(&self.0);
        in_full(async move { inner.unload(&name).await }).await
    }
}

/// Runs a change to its end, whether or not its caller waits for it.
async fn in_full<T: Send + 'static>(
    change: impl Future<Output = Result<T, ModelChangeError>> + Send + 'static,
) -> Result<T, ModelChangeError> {
    let task = tokio::spawn(change);
    task.await.unwrap_or_else(|error| Err(ModelChangeError::Failed(error.to_string())))
}

impl Inner {
    async fn load(&self, name: &str, source: &str) -> Result<ModelView, ModelChangeError> {
        check_name(name).map_err(ModelChangeError::InvalidName)?;
        let _turn = self.turn(name).await;
        if self.router.pipeline(Some(name)).is_some() {
            return Err(ModelChangeError::Exists(name.to_owned()));
        }
        if self.router.pipelines().len() >= MAX_MODELS {
            return Err(ModelChangeError::TooMany(MAX_MODELS));
        }
        let model = self.open(name, source).await?;
        let pipeline = Arc::new(Pipeline::start(model, &self.hub, &self.pipelines).map_err(unusable)?);
        let mut store = self.store.lock().await;
        let before = store.models().clone();
        self.keep(&mut store, self.with(&before, &pipeline)).await?;
        if self.router.insert(Arc::clone(&pipeline)).is_err() {
            self.keep(&mut store, before).await?;
            return Err(ModelChangeError::ShuttingDown);
        }
        drop(store);
        self.settle(name);
        tracing::info!(model = name, source = pipeline.serving().source, "a model was loaded");
        Ok(self.view(&pipeline))
    }

    async fn swap(&self, name: &str, source: &str) -> Result<ModelView, ModelChangeError> {
        let _turn = self.turn(name).await;
        let pipeline = self.router.pipeline(Some(name)).ok_or_else(|| self.unknown(name))?;
        let model = self.open(name, source).await?;
        let lacks = |LacksClasses(cameras)| ModelChangeError::LacksClasses { name: name.into(), cameras };
        self.router.check_classes(name, model.info()).map_err(lacks)?;
        let source = model.source().to_owned();
        let relief = pipeline.prepare(model).map_err(unusable)?;
        let mut store = self.store.lock().await;
        let before = store.models().clone();
        self.keep(&mut store, self.with_source(&before, name, &source)).await?;
        let relieved = match self.router.relieve(&pipeline, relief) {
            Ok(relieved) => relieved,
            Err(lacking) => {
                self.keep(&mut store, before).await?;
                return Err(lacks(lacking));
            }
        };
        drop(store);
        wait_for(name, relieved).await;
        self.settle(name);
        tracing::info!(model = name, source, "a model was swapped");
        Ok(self.view(&pipeline))
    }

    async fn unload(&self, name: &str) -> Result<(), ModelChangeError> {
        let _turn = self.turn(name).await;
        if self.router.pipeline(Some(name)).is_none() {
            return self.forget(name).await;
        }
        if name == self.router.default_model() {
            return Err(ModelChangeError::Default(name.to_owned()));
        }
        if self.configured.contains_key(name) {
            return Err(ModelChangeError::Configured(name.to_owned()));
        }
        let in_use = |cameras| ModelChangeError::InUse { name: name.into(), cameras };
        // A camera that just moves to or from the model is caught by the one list or the other.
        let Some(pipeline) = self.router.remove(name).map_err(in_use)? else {
            return Err(self.unknown(name));
        };
        let cameras = self.cameras_that_name(name);
        let mut store = self.store.lock().await;
        let models = without(store.models(), name);
        let kept = match cameras.is_empty() {
            true => self.keep(&mut store, models).await,
            false => Err(in_use(cameras)),
        };
        drop(store);
        if let Err(refused) = kept {
            // Refused by a router that is closed, it is as good as unloaded.
            let _ = self.router.insert(pipeline);
            self.settle(name);
            return Err(refused);
        }
        wait_for(name, pipeline.retire(DropReason::NoModel)).await;
        self.settle(name);
        tracing::info!(model = name, "a model was unloaded");
        Ok(())
    }

    /// Forgets a model that could not be loaded at the start, and is not served therefore.
    async fn forget(&self, name: &str) -> Result<(), ModelChangeError> {
        let mut store = self.store.lock().await;
        if !store.models().contains_key(name) {
            return Err(self.unknown(name));
        }
        let models = without(store.models(), name);
        self.keep(&mut store, models).await
    }

    /// Waits until no other change of this model is under way.
    async fn turn(&self, name: &str) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            Arc::clone(turns.entry(name.to_owned()).or_default())
        };
        turn.lock_owned().await
    }

    async fn open(&self, name: &str, source: &str) -> Result<OpenModel, ModelChangeError> {
        match self.opener.open(name, source).await {
            Some(opened) => {
                opened.map_err(|error| ModelChangeError::Unusable { reason: format!("{error:#}") })
            }
            None => Err(ModelChangeError::Failed("nobody opens models any more".into())),
        }
    }

    async fn keep(&self, store: &mut ModelStore, models: Models) -> Result<(), ModelChangeError> {
        store.keep(models).await.map_err(|error| ModelChangeError::Store(error.to_string()))
    }

    fn with(&self, models: &Models, pipeline: &Pipeline) -> Models {
        self.with_source(models, pipeline.name(), &pipeline.serving().source)
    }

    /// The models to remember once `name` is served from `source`. What the config file says needs no
    /// remembering.
    fn with_source(&self, models: &Models, name: &str, source: &str) -> Models {
        let mut models = without(models, name);
        let instead_of = self.configured.get(name).cloned();
        if instead_of.as_deref() != Some(source) {
            let model = StoredModel { name: name.to_owned(), source: source.to_owned(), instead_of };
            models.insert(name.to_owned(), model);
        }
        models
    }

    /// After a change of models: cameras that had nowhere to go may have now, and the other way round.
    fn settle(&self, changed: &str) {
        self.count_models();
        for view in self.fleet.list() {
            let names_it = view.spec.model.as_deref() == Some(changed);
            if names_it || !self.router.has_route(&view.spec.id) {
                self.router.follow(&self.fleet, &view.spec.id);
            }
        }
    }

    fn count_models(&self) {
        self.metrics.models.set(self.router.pipelines().len() as i64);
    }

    fn cameras_that_name(&self, model: &str) -> Vec<CameraId> {
        let views = self.fleet.list().into_iter();
        views.filter(|view| view.spec.model.as_deref() == Some(model)).map(|view| view.spec.id).collect()
    }

    fn unknown(&self, name: &str) -> ModelChangeError {
        ModelChangeError::Unknown { name: name.to_owned(), have: self.router.model_names() }
    }

    fn view(&self, pipeline: &Pipeline) -> ModelView {
        let serving = pipeline.serving();
        ModelView {
            info: (*serving.info).clone(),
            loaded_from: serving.source.clone(),
            is_default: **pipeline.name() == *self.router.default_model(),
            cameras: self.router.cameras_of(pipeline.name()).len(),
        }
    }
}

fn without(models: &Models, name: &str) -> Models {
    let mut models = models.clone();
    models.remove(name);
    models
}

fn unusable(error: impl ToString) -> ModelChangeError {
    ModelChangeError::Unusable { reason: error.to_string() }
}

/// Waits until lanes have finished what they hold and their memory is free.
async fn wait_for(model: &str, lanes: TaskTracker) {
    if timeout(PATIENCE, lanes.wait()).await.is_err() {
        tracing::warn!(
            model,
            "the engine before is still at a batch after {PATIENCE:?}; its memory is held until it is done"
        );
    }
}
