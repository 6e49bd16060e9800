//! What the scheduler tells Prometheus.

use prometheus::{Histogram, HistogramOpts, Registry};

use crate::telemetry::SECONDS_BUCKETS;

/// What the scheduler measures.
#[derive(Clone, Debug)]
pub struct Metrics {
    pub(super) queue_seconds: Histogram,
    pub(super) batch_size: Histogram,
}

impl Metrics {
    /// Registers the scheduler's metrics.
    ///
    /// # Errors
    /// A metric registered twice.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let queue_seconds = Histogram::with_opts(
            HistogramOpts::new("centerx_queue_seconds", "Time a dispatched item waited for an engine.")
                .buckets(SECONDS_BUCKETS.to_vec()),
        )?;
        let batch_size = Histogram::with_opts(
            HistogramOpts::new("centerx_batch_size", "Items in a dispatched batch.")
                .buckets(vec![1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0]),
        )?;
        registry.register(Box::new(queue_seconds.clone()))?;
        registry.register(Box::new(batch_size.clone()))?;
        Ok(Self { queue_seconds, batch_size })
    }
}
