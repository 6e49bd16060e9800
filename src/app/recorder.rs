//! Keeps the cameras' history: a step every few seconds, from the fleet's ledgers.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::camera::{CameraError, CameraId};
use crate::history::{CameraHistory, History, STEP};
use crate::ingest::Fleet;

/// The history of a fleet's cameras.
pub struct Recorder {
    fleet: Fleet,
    history: Mutex<History>,
}

impl Recorder {
    /// Without any history yet.
    pub fn new(fleet: Fleet) -> Self {
        Self { fleet, history: Mutex::default() }
    }

    /// Steps until the task is aborted.
    pub fn start(self: &Arc<Self>) -> JoinHandle<()> {
        let recorder = Arc::clone(self);
        tokio::spawn(async move {
            let mut ticks = interval_at(Instant::now() + STEP, STEP);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            loop {
                ticks.tick().await;
                recorder.history().step(SystemTime::now(), recorder.fleet.ledgers());
            }
        })
    }

    /// The points after a time of these cameras, each once and by id; of all if none is named.
    ///
    /// # Errors
    /// The first that does not exist.
    pub fn told(
        &self,
        cameras: &[CameraId],
        after: Option<SystemTime>,
    ) -> Result<Vec<CameraHistory>, CameraError> {
        if let Some(unknown) = cameras.iter().find(|id| self.fleet.settings(id).is_none()) {
            return Err(CameraError::Unknown(unknown.clone()));
        }
        let wanted: BTreeSet<_> = cameras.iter().collect();
        let mut ledgers = self.fleet.ledgers();
        ledgers.retain(|(id, _)| wanted.is_empty() || wanted.contains(id));
        let history = self.history();
        let told = |(camera, ledger)| {
            let points = history.points(&camera, &ledger, after);
            CameraHistory { camera, points }
        };
        Ok(ledgers.into_iter().map(told).collect())
    }

    fn history(&self) -> MutexGuard<'_, History> {
        // A panic half way leaves a point out or a camera to begin anew: no reason to tell nothing ever after.
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
