//! What is measured of GPUs.

use prometheus::{GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry};

use super::api::MemoryInfo;
use super::error::ErrorKind;

/// Buckets of a step's time in seconds: 10 us to 1 s.
const STEP_BUCKETS: [f64; 16] = [
    0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1,
    0.25, 0.5, 1.0,
];

/// A part of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunStep {
    /// Pictures to the device.
    CopyIn,
    /// Pictures to network input, where the GPU does that.
    Preprocess,
    /// The network.
    Compute,
    /// Detections from the device.
    CopyOut,
}

impl RunStep {
    /// In their order.
    pub const ALL: [Self; 4] = [Self::CopyIn, Self::Preprocess, Self::Compute, Self::CopyOut];

    fn as_str(self) -> &'static str {
        match self {
            Self::CopyIn => "copy_in",
            Self::Preprocess => "preprocess",
            Self::Compute => "compute",
            Self::CopyOut => "copy_out",
        }
    }
}

/// The GPUs' metrics. Clones are the same.
#[derive(Clone, Debug)]
pub struct Metrics {
    steps: HistogramVec,
    memory: IntGaugeVec,
    utilization: GaugeVec,
    errors: IntCounterVec,
}

impl Metrics {
    /// Registers new ones.
    ///
    /// # Errors
    /// A metric registered twice.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let metrics = Self::new()?;
        metrics.register_in(registry)?;
        Ok(metrics)
    }

    /// New ones that nobody can ask for yet: GPUs are found before there is a server to ask.
    ///
    /// # Errors
    /// None that a user can cause.
    pub fn new() -> prometheus::Result<Self> {
        let steps = HistogramOpts::new(
            "centerx_gpu_step_seconds",
            "Time of a step of a run, by the GPU's own clock.",
        );
        let metrics = Self {
            steps: HistogramVec::new(steps.buckets(STEP_BUCKETS.to_vec()), &["step"])?,
            memory: IntGaugeVec::new(
                Opts::new("centerx_gpu_memory_bytes", "Memory of a GPU, used by any process or free."),
                &["device", "kind"],
            )?,
            utilization: GaugeVec::new(
                Opts::new("centerx_gpu_utilization_ratio", "Part of the time in which a GPU computes."),
                &["device"],
            )?,
            errors: IntCounterVec::new(
                Opts::new("centerx_gpu_errors_total", "Calls to a GPU that failed, by what can be done."),
                &["kind"],
            )?,
        };
        RunStep::ALL.iter().for_each(|step| drop(metrics.steps.with_label_values(&[step.as_str()])));
        ErrorKind::ALL.iter().for_each(|kind| metrics.errors.with_label_values(&[kind.as_str()]).reset());
        Ok(metrics)
    }

    /// Registers them.
    ///
    /// # Errors
    /// A metric registered twice.
    pub fn register_in(&self, registry: &Registry) -> prometheus::Result<()> {
        registry.register(Box::new(self.steps.clone()))?;
        registry.register(Box::new(self.memory.clone()))?;
        registry.register(Box::new(self.utilization.clone()))?;
        registry.register(Box::new(self.errors.clone()))
    }

    pub(super) fn observe_step(&self, step: RunStep, seconds: f64) {
        self.steps.with_label_values(&[step.as_str()]).observe(seconds);
    }

    pub(super) fn count_error(&self, kind: ErrorKind) {
        self.errors.with_label_values(&[kind.as_str()]).inc();
    }

    pub(super) fn show_memory(&self, device: usize, memory: MemoryInfo) {
        let set = |kind, bytes: u64| {
            let gauge = self.memory.with_label_values(&[device.to_string().as_str(), kind]);
            gauge.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        };
        set("free", memory.free);
        set("used", memory.total.saturating_sub(memory.free));
    }

    pub(super) fn show_utilization(&self, device: usize, ratio: f64) {
        self.utilization.with_label_values(&[device.to_string().as_str()]).set(ratio);
    }
}
