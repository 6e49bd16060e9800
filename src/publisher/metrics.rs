//! What the hub counts.

use std::time::{Instant, SystemTime};

use prometheus::{
    GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
};

use crate::camera::CameraId;
use crate::detection::FrameDetections;
use crate::telemetry::SECONDS_BUCKETS;

const LAG_BUCKETS: &[f64] = &[0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// The hub's metrics.
#[derive(Clone, Debug)]
pub struct Metrics {
    pub(super) subscribers: IntGauge,
    dropped: IntCounter,
    stalled: IntCounter,
    kept: IntGauge,
    kept_bytes: IntGauge,
    lag: Histogram,
    detections: IntCounterVec,
    publish: Histogram,
    cameras: CameraMetrics,
}

/// What is measured of each camera.
#[derive(Clone, Debug)]
struct CameraMetrics {
    age: HistogramVec,
    detections: IntCounterVec,
    published_at: GaugeVec,
}

fn seconds(name: &str, help: &str) -> HistogramOpts {
    HistogramOpts::new(name, help).buckets(SECONDS_BUCKETS.to_vec())
}

impl Metrics {
    /// Registers the hub's metrics.
    ///
    /// # Errors
    /// A metric registered twice.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let metrics = Self {
            subscribers: IntGauge::new("centerx_subscribers", "Subscriptions that are open.")?,
            dropped: IntCounter::new(
                "centerx_subscriber_dropped_frames_total",
                "Frames that subscribers missed because they read too slowly, over all subscribers.",
            )?,
            stalled: IntCounter::new(
                "centerx_subscribers_stalled_total",
                "Subscriptions ended because they took nothing for stall_timeout.",
            )?,
            kept: IntGauge::new(
                "centerx_replay_frames",
                "Published frames kept for subscribers that come back.",
            )?,
            kept_bytes: IntGauge::new(
                "centerx_replay_bytes",
                "Memory of the frames kept for subscribers that come back, about.",
            )?,
            lag: Histogram::with_opts(
                HistogramOpts::new(
                    "centerx_subscriber_lag_frames",
                    "Frames that still wait for a subscriber when it takes an event.",
                )
                .buckets(LAG_BUCKETS.to_vec()),
            )?,
            detections: IntCounterVec::new(
                Opts::new("centerx_detections_total", "Objects published, by class name."),
                &["label"],
            )?,
            publish: Histogram::with_opts(seconds(
                "centerx_publish_seconds",
                "Time to hand one frame's detections to all subscribers.",
            ))?,
            cameras: CameraMetrics::new(registry)?,
        };
        registry.register(Box::new(metrics.subscribers.clone()))?;
        registry.register(Box::new(metrics.dropped.clone()))?;
        registry.register(Box::new(metrics.stalled.clone()))?;
        registry.register(Box::new(metrics.kept.clone()))?;
        registry.register(Box::new(metrics.kept_bytes.clone()))?;
        registry.register(Box::new(metrics.lag.clone()))?;
        registry.register(Box::new(metrics.detections.clone()))?;
        registry.register(Box::new(metrics.publish.clone()))?;
        Ok(metrics)
    }

    /// Counts a frame whose publication began at `begun` and is done now.
    pub(super) fn published(&self, frame: &FrameDetections, dropped: u64, begun: Instant) {
        let now = Instant::now();
        self.dropped.inc_by(dropped);
        self.publish.observe(now.saturating_duration_since(begun).as_secs_f64());
        self.cameras.published(frame, now);
        for detection in &frame.detections {
            self.detections.with_label_values(&[&*detection.label]).inc();
        }
    }

    /// Counts a subscription that was ended because it took nothing.
    pub(super) fn stalled(&self) {
        self.stalled.inc();
    }

    /// Notes how many frames are kept, and their memory.
    pub(super) fn kept(&self, (frames, bytes): (usize, usize)) {
        self.kept.set(i64::try_from(frames).unwrap_or(i64::MAX));
        self.kept_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Counts an event that a subscriber took while `waiting` frames were left in its ring.
    pub(super) fn received(&self, waiting: usize) {
        self.lag.observe(waiting as f64);
    }

    /// Forgets the series of a camera.
    pub(super) fn forget(&self, camera: &CameraId) {
        self.cameras.forget(camera);
    }
}

impl CameraMetrics {
    fn new(registry: &Registry) -> prometheus::Result<Self> {
        let age = "Time from a frame's capture to its publication, by camera.";
        let published_at = "When the camera's last frame was published, in seconds since 1970.";
        let published_at = Opts::new("centerx_camera_published_timestamp_seconds", published_at);
        let detections = Opts::new("centerx_camera_detections_total", "Objects published, by camera.");
        let metrics = Self {
            age: HistogramVec::new(seconds("centerx_age_at_publish_seconds", age), &["camera"])?,
            detections: IntCounterVec::new(detections, &["camera"])?,
            published_at: GaugeVec::new(published_at, &["camera"])?,
        };
        registry.register(Box::new(metrics.age.clone()))?;
        registry.register(Box::new(metrics.detections.clone()))?;
        registry.register(Box::new(metrics.published_at.clone()))?;
        Ok(metrics)
    }

    /// A frame is published `now`.
    fn published(&self, frame: &FrameDetections, now: Instant) {
        let camera = [frame.camera.as_str()];
        let age = now.saturating_duration_since(frame.capture.monotonic);
        self.age.with_label_values(&camera).observe(age.as_secs_f64());
        self.detections.with_label_values(&camera).inc_by(frame.detections.len() as u64);
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.published_at.with_label_values(&camera).set(since_1970.as_secs_f64());
    }

    fn forget(&self, camera: &CameraId) {
        // It has no series if it never published; that is as good as forgotten.
        let camera = [camera.as_str()];
        let _ = self.age.remove_label_values(&camera);
        let _ = self.detections.remove_label_values(&camera);
        let _ = self.published_at.remove_label_values(&camera);
    }
}
