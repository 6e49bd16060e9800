//! Which frames are traced, and where the traces go: nowhere, unless the server was built with the feature `otlp` and
//! the settings name a collector.

use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus::Registry;

use crate::camera::CameraId;
use crate::otlp;
use crate::trace::Trace;

/// What the last traces get of a shutdown's time.
pub const PATIENCE: Duration = Duration::from_millis(500);

/// Samples frames. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Tracer {
    #[cfg(feature = "otlp")]
    exporter: Option<otlp::Exporter>,
}

#[cfg(feature = "otlp")]
impl Tracer {
    /// As the settings say.
    ///
    /// # Errors
    /// An endpoint that is no address.
    pub fn start(config: &otlp::Config, registry: &Registry) -> anyhow::Result<Self> {
        if config.endpoint.is_none() {
            return Ok(Self::default());
        }
        Ok(Self { exporter: otlp::Exporter::start(config, otlp::Metrics::new(registry)?)? })
    }

    /// The trace of a frame, if it is to have one.
    pub fn sample(&self, camera: &CameraId, sequence: u64, arrived: Instant) -> Option<Arc<Trace>> {
        self.exporter.as_ref()?.sample(camera, sequence, arrived)
    }

    /// Sends what waits to be sent.
    pub async fn finish(&self) {
        if let Some(exporter) = &self.exporter {
            exporter.finish().await;
        }
    }
}

#[cfg(not(feature = "otlp"))]
impl Tracer {
    /// Nothing is traced; settings that ask for it were refused.
    ///
    /// # Errors
    /// None.
    pub fn start(_: &otlp::Config, _: &Registry) -> anyhow::Result<Self> {
        Ok(Self {})
    }

    /// None.
    pub fn sample(&self, _: &CameraId, _: u64, _: Instant) -> Option<Arc<Trace>> {
        None
    }

    /// There is nothing to send.
    pub async fn finish(&self) {}
}
