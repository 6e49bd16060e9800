//! What live pictures are counted by.

use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, IntCounter, IntGauge, Registry};

use crate::telemetry::SECONDS_BUCKETS;

/// The metrics of live pictures.
#[derive(Clone, Debug)]
pub struct Metrics {
    pub(super) viewers: IntGauge,
    pictures: IntCounter,
    failures: IntCounter,
    bytes: IntCounter,
    encode: Histogram,
}

impl Metrics {
    /// Registers them.
    ///
    /// # Errors
    /// A metric registered twice.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let metrics = Self {
            viewers: IntGauge::new("centerx_live_viewers", "Views of cameras that are open.")?,
            pictures: IntCounter::new(
                "centerx_live_pictures_total",
                "Live pictures made, each once for all viewers that ask for the same.",
            )?,
            failures: IntCounter::new(
                "centerx_live_failures_total",
                "Live pictures that could not be made.",
            )?,
            bytes: IntCounter::new("centerx_live_bytes_total", "Bytes of live pictures handed to viewers.")?,
            encode: Histogram::with_opts(
                HistogramOpts::new(
                    "centerx_live_encode_seconds",
                    "Time to scale a live picture, draw on it and encode it.",
                )
                .buckets(SECONDS_BUCKETS.to_vec()),
            )?,
        };
        registry.register(Box::new(metrics.viewers.clone()))?;
        registry.register(Box::new(metrics.pictures.clone()))?;
        registry.register(Box::new(metrics.failures.clone()))?;
        registry.register(Box::new(metrics.bytes.clone()))?;
        registry.register(Box::new(metrics.encode.clone()))?;
        Ok(metrics)
    }

    /// Counts a picture that took so long.
    pub(super) fn made(&self, took: Duration) {
        self.pictures.inc();
        self.encode.observe(took.as_secs_f64());
    }

    /// Counts a picture that could not be made.
    pub(super) fn failed(&self) {
        self.failures.inc();
    }

    /// Counts a picture that a viewer took.
    pub(super) fn taken(&self, bytes: usize) {
        self.bytes.inc_by(bytes as u64);
    }
}
