//! What ingest tells Prometheus.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::SystemTime;

use prometheus::core::{Collector, Desc};
use prometheus::{
    CounterVec, GaugeVec, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry,
    proto,
};

use crate::camera::{CameraId, CameraState, FailureKind};
use crate::ledger::DropReason;
use crate::telemetry::SECONDS_BUCKETS;

use super::watched::Watched;

/// The cameras there are, by id.
#[derive(Clone, Debug, Default)]
pub(super) struct Roster(Arc<RwLock<BTreeMap<CameraId, Arc<Watched>>>>);

impl Roster {
    pub(super) fn read(&self) -> RwLockReadGuard<'_, BTreeMap<CameraId, Arc<Watched>>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<CameraId, Arc<Watched>>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The metrics of ingest. A removed camera's series vanish.
#[derive(Clone, Debug)]
pub struct Metrics {
    pub(super) roster: Roster,
    pub(super) decode_seconds: Histogram,
    pub(super) panics: IntCounter,
}

impl Metrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// A metric registered twice.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let decode_seconds = Histogram::with_opts(
            HistogramOpts::new(
                "centerx_decode_seconds",
                "Time from a coded frame at its decoder to the decoded picture.",
            )
            .buckets(SECONDS_BUCKETS.to_vec()),
        )?;
        registry.register(Box::new(decode_seconds.clone()))?;
        let panics = IntCounter::new(
            "centerx_camera_panics_total",
            "Panics in cameras' tasks; each was started anew.",
        )?;
        registry.register(Box::new(panics.clone()))?;
        let roster = Roster::default();
        registry.register(Box::new(Cameras { roster: roster.clone(), descriptions: describe()? }))?;
        Ok(Self { roster, decode_seconds, panics })
    }
}

/// Reads the cameras' own books at each scrape, each once, so that the numbers of one scrape fit together.
struct Cameras {
    roster: Roster,
    descriptions: Vec<Desc>,
}

/// The families of one scrape.
struct Families {
    books: Books,
    life: Life,
}

/// What became of cameras' frames.
struct Books {
    received: IntCounterVec,
    published: IntCounterVec,
    dropped: IntCounterVec,
    in_flight: IntGaugeVec,
    skipped: IntCounterVec,
    decode: CounterVec,
}

/// How cameras are, and how they fared.
struct Life {
    state: IntGaugeVec,
    since: GaugeVec,
    connects: IntCounterVec,
    reconnects: IntCounterVec,
}

fn counter(name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntCounterVec> {
    IntCounterVec::new(Opts::new(name, help), labels)
}

impl Books {
    fn new() -> prometheus::Result<Self> {
        let published = "Frames whose detections were published.";
        let skipped =
            "Coded frames not decoded because they waited too long for it; not among those received.";
        let decode = "Seconds from coded frames at the camera's decoder to their pictures, summed up.";
        let in_flight = Opts::new("centerx_frames_in_flight", "Frames between decoder and publication.");
        Ok(Self {
            received: counter("centerx_frames_received_total", "Frames the decoder delivered.", &["camera"])?,
            published: counter("centerx_frames_published_total", published, &["camera"])?,
            dropped: counter(
                "centerx_frames_dropped_total",
                "Frames dropped, by reason.",
                &["camera", "reason"],
            )?,
            in_flight: IntGaugeVec::new(in_flight, &["camera"])?,
            skipped: counter("centerx_coded_frames_skipped_total", skipped, &["camera"])?,
            decode: CounterVec::new(Opts::new("centerx_camera_decode_seconds_total", decode), &["camera"])?,
        })
    }

    fn add(&self, camera: &Watched) {
        let id = camera.id.as_str();
        let balance = camera.ledger.balance();
        self.received.with_label_values(&[id]).inc_by(balance.received);
        self.published.with_label_values(&[id]).inc_by(balance.published);
        self.in_flight.with_label_values(&[id]).set(i64::try_from(balance.in_flight).unwrap_or(i64::MAX));
        self.skipped.with_label_values(&[id]).inc_by(camera.skipped());
        self.decode.with_label_values(&[id]).inc_by(camera.decode_time().as_secs_f64());
        for reason in DropReason::ALL {
            self.dropped.with_label_values(&[id, reason.as_str()]).inc_by(balance.dropped(reason));
        }
    }
}

impl Life {
    fn new() -> prometheus::Result<Self> {
        let state = "1 for the state the camera is in, 0 for the others.";
        let since = "When the camera's state began, in seconds since 1970.";
        let connects = "Times the camera went live. One that rises is a camera that comes and goes.";
        let reconnects = "Connection attempts after the first, by the kind of failure before.";
        Ok(Self {
            state: IntGaugeVec::new(Opts::new("centerx_camera_state", state), &["camera", "state"])?,
            since: GaugeVec::new(Opts::new("centerx_camera_state_since_seconds", since), &["camera"])?,
            connects: counter("centerx_camera_connects_total", connects, &["camera"])?,
            reconnects: counter("centerx_camera_reconnects_total", reconnects, &["camera", "reason"])?,
        })
    }

    fn add(&self, camera: &Watched) {
        let (id, status) = (camera.id.as_str(), camera.status());
        for candidate in CameraState::ALL {
            let is_it = candidate == status.state;
            self.state.with_label_values(&[id, candidate.as_str()]).set(i64::from(is_it));
        }
        let since = status.since.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.since.with_label_values(&[id]).set(since.as_secs_f64());
        self.connects.with_label_values(&[id]).inc_by(camera.connects());
        for (kind, count) in FailureKind::ALL.iter().zip(camera.retries()) {
            self.reconnects.with_label_values(&[id, kind.as_str()]).inc_by(count);
        }
    }
}

impl Families {
    fn new() -> prometheus::Result<Self> {
        Ok(Self { books: Books::new()?, life: Life::new()? })
    }

    fn collectors(&self) -> [&dyn Collector; 10] {
        let (books, life) = (&self.books, &self.life);
        [
            &books.received,
            &books.published,
            &books.dropped,
            &books.in_flight,
            &books.skipped,
            &books.decode,
            &life.state,
            &life.since,
            &life.connects,
            &life.reconnects,
        ]
    }

    fn add(&self, camera: &Watched) {
        self.books.add(camera);
        self.life.add(camera);
    }
}

fn describe() -> prometheus::Result<Vec<Desc>> {
    let families = Families::new()?;
    Ok(families.collectors().iter().flat_map(|family| family.desc()).cloned().collect())
}

impl Collector for Cameras {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<proto::MetricFamily> {
        // The same names made a collector when it was registered, so this cannot fail now.
        let Ok(families) = Families::new() else { return Vec::new() };
        for camera in self.roster.read().values() {
            families.add(camera);
        }
        families.collectors().iter().flat_map(|family| family.collect()).collect()
    }
}
