//! What the re-stream counts.

use prometheus::{IntGauge, Registry};

/// The re-stream's metrics.
#[derive(Clone, Debug)]
pub struct Metrics {
    clients: IntGauge,
    encoders: IntGauge,
}

impl Metrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// A metric registered twice.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let metrics = Self {
            clients: IntGauge::new("centerx_restream_clients", "RTSP clients of the re-stream.")?,
            encoders: IntGauge::new(
                "centerx_restream_encoders",
                "Cameras that are being encoded for the re-stream.",
            )?,
        };
        registry.register(Box::new(metrics.clients.clone()))?;
        registry.register(Box::new(metrics.encoders.clone()))?;
        Ok(metrics)
    }

    pub(super) fn clients(&self) -> i64 {
        self.clients.get()
    }

    /// Counts a client until what is returned is let go.
    pub(super) fn client(&self) -> Counted {
        Counted::new(&self.clients)
    }

    /// Counts an encoder until what is returned is let go.
    pub(super) fn encoder(&self) -> Counted {
        Counted::new(&self.encoders)
    }
}

/// One that is there.
#[derive(Debug)]
pub(super) struct Counted(IntGauge);

impl Counted {
    fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}
