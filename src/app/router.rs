//! From a camera to the model that looks at it.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::camera::{CameraId, CameraSpec, CameraStatus, InvalidCamera};
use crate::frame::Frame;
use crate::ingest;
use crate::ledger::DropReason;
use crate::publisher::Hub;

use super::jobs::{Interest, Job, JobKey, JobScheduler};
use super::pipeline::Pipeline;

/// Where the frames of one camera go.
#[derive(Clone)]
struct Route {
    scheduler: Arc<JobScheduler>,
    interest: Arc<Interest>,
}

/// The pipelines by model name, and each camera's way to one.
pub struct Router {
    pipelines: HashMap<String, Pipeline>,
    default_model: String,
    min_score: f32,
    routes: RwLock<HashMap<CameraId, Route>>,
    hub: Hub,
}

impl Router {
    /// A router without cameras.
    pub fn new(
        pipelines: HashMap<String, Pipeline>,
        default_model: String,
        min_score: f32,
        hub: Hub,
    ) -> Self {
        Self { pipelines, default_model, min_score, routes: RwLock::default(), hub }
    }

    /// The pipeline of a model, or of the default one.
    pub fn pipeline(&self, model: Option<&str>) -> Option<&Pipeline> {
        self.pipelines.get(model.unwrap_or(&self.default_model))
    }

    /// All pipelines.
    pub fn pipelines(&self) -> impl Iterator<Item = &Pipeline> {
        self.pipelines.values()
    }

    /// The score below which detections are left out where nobody says otherwise.
    pub fn min_score(&self) -> f32 {
        self.min_score
    }

    /// Checks that the model and classes a camera asks for exist.
    ///
    /// # Errors
    /// The field that names something unknown, and what there is.
    pub fn check(&self, spec: &CameraSpec) -> Result<(), InvalidCamera> {
        self.route_for(spec).map(drop)
    }

    /// Sends the frames of a camera, from now on, where its settings say.
    ///
    /// # Errors
    /// As [`Router::check`].
    pub fn set_route(&self, spec: &CameraSpec) -> Result<(), InvalidCamera> {
        let route = self.route_for(spec)?;
        self.routes.write().unwrap_or_else(PoisonError::into_inner).insert(spec.id.clone(), route);
        Ok(())
    }

    /// Forgets where the frames of a camera go.
    pub fn remove_route(&self, id: &CameraId) {
        self.routes.write().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    fn route_for(&self, spec: &CameraSpec) -> Result<Route, InvalidCamera> {
        let pipeline = self.pipeline(spec.model.as_deref()).ok_or_else(|| InvalidCamera {
            field: "model",
            problem: format!("there is no model {:?}; the models are {}", spec.model, self.model_names()),
        })?;
        let min_score = spec.min_score.unwrap_or(self.min_score);
        let interest =
            Interest::new(&pipeline.info, min_score, &spec.classes).map_err(|class| InvalidCamera {
                field: "classes",
                problem: format!(
                    "model {} has no class {class:?}; `centerx model inspect` lists them",
                    pipeline.info.name
                ),
            })?;
        Ok(Route { scheduler: Arc::clone(&pipeline.scheduler), interest: Arc::new(interest) })
    }

    /// The names of all models, for messages.
    pub fn model_names(&self) -> String {
        let mut names: Vec<_> = self.pipelines.keys().map(String::as_str).collect();
        names.sort_unstable();
        names.join(", ")
    }

    fn route(&self, id: &CameraId) -> Option<Route> {
        self.routes.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }
}

impl ingest::Sink for Router {
    fn offer(&self, frame: Frame) {
        let Some(route) = self.route(&frame.camera) else {
            frame.ticket.drop_as(DropReason::NoModel);
            return;
        };
        let key = JobKey::Camera(frame.camera.clone());
        match route.scheduler.offer(key, Job::Frame(frame, route.interest)) {
            Ok(None) => {}
            Ok(Some(older)) => older.abandon(DropReason::Superseded),
            Err(refused) => refused.abandon(DropReason::Shutdown),
        }
    }

    fn state_changed(&self, id: &CameraId, status: &Arc<CameraStatus>) {
        self.hub.camera_state(id, Arc::clone(status));
    }

    fn forget(&self, id: &CameraId) {
        let key = JobKey::Camera(id.clone());
        for pipeline in self.pipelines.values() {
            if let Some(job) = pipeline.scheduler.forget(&key) {
                job.abandon(DropReason::CameraRemoved);
            }
        }
    }
}
