//! The standard health service, following the backend's readiness.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use super::backend::Backend;
use super::v1::camera_service_server::SERVICE_NAME as CAMERAS;
use super::v1::detection_service_server::SERVICE_NAME as DETECTIONS;
use super::v1::model_service_server::SERVICE_NAME as MODELS;

/// The server as a whole, and each service.
const NAMES: [&str; 4] = ["", CAMERAS, DETECTIONS, MODELS];
const PERIOD: Duration = Duration::from_secs(1);

/// What the health service tells. Clones are the same.
#[derive(Clone)]
pub struct Health {
    pub(super) reporter: HealthReporter,
    backend: Arc<dyn Backend>,
    told: Arc<Mutex<Told>>,
}

/// What was told last: those who watch are told changes only.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    Nothing,
    Serving(bool),
    Closed,
}

impl Health {
    pub(super) fn new(backend: Arc<dyn Backend>) -> Self {
        Self { reporter: HealthReporter::new(), backend, told: Arc::new(Mutex::new(Told::Nothing)) }
    }

    /// Tells at once what [`Backend::not_ready`] says now; left alone, it is looked up once a second.
    pub async fn refresh(&self) {
        let mut told = self.told.lock().await;
        let now = Told::Serving(self.backend.not_ready().is_none());
        if *told != now && *told != Told::Closed {
            *told = now;
            self.tell(now).await;
        }
    }

    /// Keeps following the backend.
    pub(super) async fn follow(&self) {
        let mut ticks = tokio::time::interval(PERIOD);
        loop {
            ticks.tick().await;
            self.refresh().await;
        }
    }

    /// Tells that the server serves no more, and ends the streams of those who watch it.
    pub(super) async fn close(mut self) {
        let mut told = self.told.lock().await;
        *told = Told::Closed;
        self.tell(Told::Closed).await;
        drop(told);
        for name in NAMES {
            self.reporter.clear_service_status(name).await;
        }
    }

    async fn tell(&self, now: Told) {
        let serving = now == Told::Serving(true);
        let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
        for name in NAMES {
            self.reporter.set_service_status(name, status).await;
        }
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Health({:?})", self.backend.not_ready())
    }
}
