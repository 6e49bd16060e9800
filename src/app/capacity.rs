//! Tells people how much the models can do and how much is asked of them: metrics and a word in the log.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use prometheus::core::{Collector, Desc};
use prometheus::{GaugeVec, IntGaugeVec, Opts, Registry, proto};
use tokio::task::JoinHandle;

use crate::api::backend::Capacity;

use super::router::Router;

/// How often the log's reader may hear of it.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Reads the router at each scrape. A model whose capacity is not known yet has no series of it.
struct Capacities {
    router: Arc<Router>,
    descriptions: Vec<Desc>,
}

struct Families {
    capacity: GaugeVec,
    load: GaugeVec,
    lanes: IntGaugeVec,
    max_age: GaugeVec,
}

impl Families {
    fn new() -> prometheus::Result<Self> {
        let gauge = |name, help, label| GaugeVec::new(Opts::new(name, help), &[label]);
        let capacity = "Frames a second a model can look at, by what its runs took.";
        let load = "Frames a second its cameras ask a model to look at.";
        let max_age = "How old the camera's detections may be when they are published.";
        let lanes = "Engine lanes of a model, by whether they are at work.";
        Ok(Self {
            capacity: gauge("centerx_capacity_frames_per_second", capacity, "model")?,
            load: gauge("centerx_load_frames_per_second", load, "model")?,
            lanes: IntGaugeVec::new(Opts::new("centerx_model_lanes", lanes), &["model", "state"])?,
            max_age: gauge("centerx_camera_max_age_seconds", max_age, "camera")?,
        })
    }

    fn collectors(&self) -> [&dyn Collector; 4] {
        [&self.capacity, &self.load, &self.lanes, &self.max_age]
    }

    fn read(&self, router: &Router) {
        router.capacities().iter().for_each(|capacity| self.set(capacity));
        for pipeline in router.pipelines() {
            let (working, down) = pipeline.lanes_at_work();
            self.lanes.with_label_values(&[&**pipeline.name(), "working"]).set(working as i64);
            self.lanes.with_label_values(&[&**pipeline.name(), "down"]).set(down as i64);
        }
        for (camera, max_age) in router.max_ages() {
            self.max_age.with_label_values(&[camera.as_str()]).set(max_age.as_secs_f64());
        }
    }

    fn set(&self, capacity: &Capacity) {
        let labels = [capacity.model.as_str()];
        self.load.with_label_values(&labels).set(capacity.load);
        if let Some(frames) = capacity.frames_per_second {
            self.capacity.with_label_values(&labels).set(frames);
        }
    }
}

impl Collector for Capacities {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<proto::MetricFamily> {
        // The same names made a collector when it was registered, so this cannot fail now.
        let Ok(families) = Families::new() else { return Vec::new() };
        families.read(&self.router);
        families.collectors().iter().flat_map(|family| family.collect()).collect()
    }
}

/// Registers the metrics of capacity, load, lanes and age limits.
///
/// # Errors
/// A metric registered twice.
pub fn register(registry: &Registry, router: &Arc<Router>) -> prometheus::Result<()> {
    let families = Families::new()?;
    let descriptions = families.collectors().iter().flat_map(|family| family.desc()).cloned().collect();
    registry.register(Box::new(Capacities { router: Arc::clone(router), descriptions }))
}

/// Says in the log when a model is asked for more than it can look at, and when no longer.
pub fn watch(router: Arc<Router>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut overloaded = BTreeMap::new();
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        loop {
            ticks.tick().await;
            for capacity in router.capacities() {
                let before = overloaded.get(&capacity.model).copied().unwrap_or(false);
                let now = is_overloaded(&capacity, before);
                if now != before {
                    tell(&capacity, now);
                }
                overloaded.insert(capacity.model, now);
            }
        }
    })
}

/// One that is overloaded is so until a tenth is free, so that the log does not flicker.
fn is_overloaded(capacity: &Capacity, before: bool) -> bool {
    let part = if before { 0.9 } else { 1.0 };
    capacity.frames_per_second.is_some_and(|frames| capacity.load > part * frames)
}

fn tell(capacity: &Capacity, overloaded: bool) {
    let Capacity { model, load, .. } = capacity;
    let can = capacity.frames_per_second.unwrap_or_default();
    if overloaded {
        tracing::warn!(
            model,
            "cameras ask for {load:.1} frames a second, and about {can:.1} can be looked at: they share by \
             priority; lower max_fps, use a smaller model or add cores"
        );
    } else {
        tracing::info!(model, "cameras ask for {load:.1} frames a second of about {can:.1}: it fits again");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overload_begins_at_the_capacity_and_ends_well_below() {
        let at =
            |load| Capacity { model: "coco".into(), is_default: true, frames_per_second: Some(50.0), load };
        assert!(!is_overloaded(&at(50.0), false) && is_overloaded(&at(50.1), false));
        assert!(is_overloaded(&at(46.0), true) && !is_overloaded(&at(45.0), true));
        assert!(!is_overloaded(&Capacity { frames_per_second: None, ..at(1e9) }, false));
    }
}
