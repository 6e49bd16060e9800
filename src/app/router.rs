//! From a camera to the model that looks at it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use tokio_util::task::TaskTracker;

use crate::api::backend::Capacity;
use crate::camera::{CameraError, CameraId, CameraSpec, CameraStatus, InvalidCamera};
use crate::detection::ModelInfo;
use crate::frame::Frame;
use crate::ingest::{self, Fleet};
use crate::ledger::DropReason;
use crate::publisher::Hub;
use crate::scheduler::queue::Terms;
use crate::trace::Trace;

use super::budget::{Budget, Pulse};
use super::jobs::{Interest, Job, JobKey, JobScheduler};
use super::load::{Flow, Meter};
use super::pipeline::{Pipeline, Relief};
use super::tracer::Tracer;

/// Where the frames of one camera go, and on what terms.
struct Route {
    model: Arc<str>,
    scheduler: Arc<JobScheduler>,
    interest: Arc<Interest>,
    weight: u32,
    budget: Budget,
    pulse: Arc<Pulse>,
    flow: Flow,
    meter: Arc<Meter>,
}

impl Route {
    /// Frames a second that the camera asks for.
    fn load(&self) -> f64 {
        self.flow.load(&self.meter)
    }
}

/// What holds for cameras that do not say otherwise.
#[derive(Clone, Debug)]
pub struct Defaults {
    /// The model.
    pub model: String,
    /// The score below which detections are left out.
    pub min_score: f32,
    /// How old detections may be when they are published.
    pub max_age: Duration,
}

/// The pipelines by model name, and each camera's way to one.
pub struct Router {
    defaults: Defaults,
    table: RwLock<Table>,
    hub: Hub,
    tracer: Tracer,
}

/// One lock for both, so that no camera finds its way to a model that is just being taken away.
struct Table {
    pipelines: BTreeMap<String, Arc<Pipeline>>,
    routes: HashMap<CameraId, Arc<Route>>,
    closed: bool,
}

/// A model cannot take the place of another: cameras ask for classes that it does not know.
#[derive(Debug, PartialEq, Eq)]
pub struct LacksClasses(pub Vec<(CameraId, String)>);

/// The server is shutting down.
#[derive(Debug)]
pub struct Closed;

impl Router {
    /// A router without cameras.
    pub fn new(pipelines: Vec<Pipeline>, defaults: Defaults, hub: Hub) -> Self {
        let pipelines = pipelines.into_iter().map(|p| (p.name().to_string(), Arc::new(p))).collect();
        let table = Table { pipelines, routes: HashMap::new(), closed: false };
        Self { defaults, table: RwLock::new(table), hub, tracer: Tracer::default() }
    }

    /// Traces the frames that `tracer` samples.
    pub fn traced_by(self, tracer: Tracer) -> Self {
        Self { tracer, ..self }
    }

    /// The pipeline of a model, or of the default one.
    pub fn pipeline(&self, model: Option<&str>) -> Option<Arc<Pipeline>> {
        self.read().pipelines.get(model.unwrap_or(&self.defaults.model)).cloned()
    }

    /// All pipelines, by name.
    pub fn pipelines(&self) -> Vec<Arc<Pipeline>> {
        self.read().pipelines.values().cloned().collect()
    }

    /// The model of cameras that name none.
    pub fn default_model(&self) -> &str {
        &self.defaults.model
    }

    /// The score below which detections are left out where nobody says otherwise.
    pub fn min_score(&self) -> f32 {
        self.defaults.min_score
    }

    /// Checks that the model and classes a camera asks for exist.
    ///
    /// # Errors
    /// The field that names something unknown, and what there is.
    pub fn check(&self, spec: &CameraSpec) -> Result<(), InvalidCamera> {
        self.route_for(&self.read(), spec).map(drop)
    }

    /// Sends the frames of a camera, from now on, where its settings say.
    ///
    /// # Errors
    /// As [`Router::check`].
    pub fn set_route(&self, spec: &CameraSpec) -> Result<(), InvalidCamera> {
        let mut table = self.write();
        let route = self.route_for(&table, spec)?;
        table.routes.insert(spec.id.clone(), Arc::new(route));
        Ok(())
    }

    /// As [`Router::set_route`], if the model can look at what the camera asks for besides all others. A camera
    /// that asks for no more than before is let through in any case, and any camera while the model's capacity
    /// is not known.
    ///
    /// # Errors
    /// [`CameraError::NoCapacity`], or as [`Router::check`].
    pub fn admit(&self, spec: &CameraSpec) -> Result<(), CameraError> {
        // Held from the sum to the entry, so that two cameras cannot take the same place.
        let mut table = self.write();
        let route = self.route_for(&table, spec)?;
        let before = table.routes.get(&spec.id).filter(|before| before.model == route.model);
        let (asked, before) = (route.load(), before.map_or(0.0, |before| before.load()));
        let load = table.load_of(&route.model) - before;
        let capacity = table.pipelines.get(&*route.model).and_then(|pipeline| pipeline.pictures_per_second());
        if let Some(capacity) = capacity.filter(|capacity| asked > before && load + asked > *capacity) {
            let (camera, model) = (spec.id.clone(), route.model.to_string());
            return Err(CameraError::NoCapacity { camera, model, asked, capacity, load });
        }
        table.routes.insert(spec.id.clone(), Arc::new(route));
        Ok(())
    }

    /// What each model can do and is asked for, by name.
    pub fn capacities(&self) -> Vec<Capacity> {
        let table = self.read();
        let capacity = |pipeline: &Arc<Pipeline>| Capacity {
            model: pipeline.name().to_string(),
            is_default: **pipeline.name() == *self.defaults.model,
            frames_per_second: pipeline.pictures_per_second(),
            load: table.load_of(pipeline.name()),
        };
        table.pipelines.values().map(capacity).collect()
    }

    /// How old each camera's detections may be.
    pub fn max_ages(&self) -> Vec<(CameraId, Duration)> {
        self.read().routes.iter().map(|(id, route)| (id.clone(), route.budget.max_age())).collect()
    }

    /// Forgets where the frames of a camera go.
    pub fn remove_route(&self, id: &CameraId) {
        self.write().routes.remove(id);
    }

    /// Sends the frames of a camera where its settings in `fleet` say now, after any change to it or its
    /// model: other requests may have changed, added or removed the same camera meanwhile. Frames of one
    /// that no model fits are dropped as `no_model`.
    pub fn follow(&self, fleet: &Fleet, id: &CameraId) {
        loop {
            let spec = fleet.settings(id);
            match &spec {
                Some(spec) => {
                    if let Err(problem) = self.set_route(spec) {
                        self.remove_route(id);
                        tracing::warn!(camera = %id, %problem, "a camera cannot be served");
                    }
                }
                None => self.remove_route(id),
            }
            if fleet.settings(id) == spec {
                return;
            }
        }
    }

    /// Whether the frames of a camera go anywhere.
    pub fn has_route(&self, id: &CameraId) -> bool {
        self.read().routes.contains_key(id)
    }

    /// Cameras whose frames go to a model, by id.
    pub fn cameras_of(&self, model: &str) -> Vec<CameraId> {
        self.read().cameras_of(model)
    }

    /// Serves one more model, in place of one of the same name.
    ///
    /// # Errors
    /// The router is closed.
    pub fn insert(&self, pipeline: Arc<Pipeline>) -> Result<(), Closed> {
        let mut table = self.write();
        if table.closed {
            return Err(Closed);
        }
        table.pipelines.insert(pipeline.name().to_string(), pipeline);
        Ok(())
    }

    /// Stops to serve a model that no camera's frames go to, and returns its pipeline.
    ///
    /// # Errors
    /// The cameras whose frames do.
    pub fn remove(&self, model: &str) -> Result<Option<Arc<Pipeline>>, Vec<CameraId>> {
        let mut table = self.write();
        let cameras = table.cameras_of(model);
        if cameras.is_empty() { Ok(table.pipelines.remove(model)) } else { Err(cameras) }
    }

    /// Whether a model with these classes could take the place of `model`.
    ///
    /// # Errors
    /// The cameras that ask for others.
    pub fn check_classes(&self, model: &str, info: &ModelInfo) -> Result<(), LacksClasses> {
        self.read().check_classes(model, info)
    }

    /// Lets new lanes take over the work of `pipeline`, see [`Pipeline::relieve`].
    ///
    /// # Errors
    /// As [`Router::check_classes`]; the old lanes go on then.
    pub fn relieve(&self, pipeline: &Pipeline, relief: Relief) -> Result<TaskTracker, LacksClasses> {
        // Held meanwhile, so that no camera comes in between and asks for a class that is gone.
        let table = self.write();
        table.check_classes(pipeline.name(), relief.info())?;
        Ok(pipeline.relieve(relief))
    }

    /// Takes no further model and ends all lanes. What is returned tells when they have ended.
    pub fn close(&self) -> Vec<TaskTracker> {
        let mut table = self.write();
        table.closed = true;
        table.pipelines.values().flat_map(|pipeline| pipeline.close(DropReason::Shutdown)).collect()
    }

    fn route_for(&self, table: &Table, spec: &CameraSpec) -> Result<Route, InvalidCamera> {
        let name = spec.model.as_deref().unwrap_or(&self.defaults.model);
        let pipeline = table.pipelines.get(name).ok_or_else(|| InvalidCamera {
            field: "model",
            problem: format!("there is no model {name:?}; the models are {}", table.model_names()),
        })?;
        let min_score = spec.min_score.unwrap_or(self.defaults.min_score);
        let interest =
            Interest::new(&pipeline.info(), min_score, &spec.classes).map_err(|class| InvalidCamera {
                field: "classes",
                problem: format!("model {name} has no class {class:?}; `centerx model inspect` lists them"),
            })?;
        let (flow, before) = (Flow::of(spec), table.routes.get(&spec.id));
        let pulse =
            before.map_or_else(|| Arc::new(Pulse::new(Instant::now())), |before| Arc::clone(&before.pulse));
        let same_flow = before.filter(|before| before.flow == flow);
        Ok(Route {
            model: Arc::clone(pipeline.name()),
            scheduler: Arc::clone(pipeline.scheduler()),
            interest: Arc::new(interest),
            weight: spec.priority,
            budget: Budget::new(spec.max_age.unwrap_or(self.defaults.max_age), Arc::clone(&pulse)),
            pulse,
            meter: same_flow.map_or_else(Arc::default, |before| Arc::clone(&before.meter)),
            flow,
        })
    }

    /// The names of all models, for messages.
    pub fn model_names(&self) -> String {
        self.read().model_names()
    }

    fn route(&self, id: &CameraId) -> Option<Arc<Route>> {
        self.read().routes.get(id).cloned()
    }

    /// Why a scheduler is closed: with all others, or because its model was unloaded after the camera had
    /// moved on.
    fn why_refused(&self) -> DropReason {
        if self.read().closed { DropReason::Shutdown } else { DropReason::NoModel }
    }

    fn read(&self) -> RwLockReadGuard<'_, Table> {
        // Changes are single calls on maps: a panic cannot leave one half made.
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Table> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn model_names(&self) -> String {
        self.pipelines.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
    }

    fn routes_to(&self, model: &str) -> impl Iterator<Item = (&CameraId, &Arc<Route>)> {
        self.routes.iter().filter(move |(_, route)| *route.model == *model)
    }

    fn cameras_of(&self, model: &str) -> Vec<CameraId> {
        let mut cameras: Vec<_> = self.routes_to(model).map(|(id, _)| id.clone()).collect();
        cameras.sort_unstable();
        cameras
    }

    /// Frames a second that the cameras of a model ask for.
    fn load_of(&self, model: &str) -> f64 {
        self.routes_to(model).map(|(_, route)| route.load()).sum()
    }

    fn check_classes(&self, model: &str, info: &ModelInfo) -> Result<(), LacksClasses> {
        let lacking = |(id, route): (&CameraId, &Arc<Route>)| {
            route.interest.unknown_to(info).map(|class| (id.clone(), class.to_owned()))
        };
        let mut lacking: Vec<_> = self.routes_to(model).filter_map(lacking).collect();
        lacking.sort_unstable();
        if lacking.is_empty() { Ok(()) } else { Err(LacksClasses(lacking)) }
    }
}

impl ingest::Sink for Router {
    fn offer(&self, frame: Frame) {
        let Some(route) = self.route(&frame.camera) else {
            frame.ticket.drop_as(DropReason::NoModel);
            return;
        };
        let (now, captured) = (Instant::now(), frame.capture.monotonic);
        route.meter.count(now);
        let terms = Terms {
            weight: route.weight,
            expires: Some(route.budget.expires(captured)),
            overdue: route.budget.is_overdue(now),
        };
        if let Some(trace) = frame.ticket.trace() {
            trace.waits(now);
        }
        let key = JobKey::Camera(frame.camera.clone());
        let job = Job::Frame(frame, Arc::clone(&route.interest), route.budget.clone());
        match route.scheduler.offer(key, job, terms) {
            Ok(None) => {}
            Ok(Some(older)) => older.abandon(DropReason::Superseded),
            Err(refused) => refused.abandon(self.why_refused()),
        }
    }

    fn trace(&self, id: &CameraId, sequence: u64, arrived: Instant) -> Option<Arc<Trace>> {
        self.tracer.sample(id, sequence, arrived)
    }

    fn state_changed(&self, id: &CameraId, status: &Arc<CameraStatus>) {
        self.hub.camera_state(id, Arc::clone(status));
    }

    fn forget(&self, id: &CameraId) {
        let key = JobKey::Camera(id.clone());
        for pipeline in self.pipelines() {
            if let Some(job) = pipeline.scheduler().forget(&key) {
                job.abandon(DropReason::CameraRemoved);
            }
        }
    }
}
