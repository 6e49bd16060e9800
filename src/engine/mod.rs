//! The engine: batches of pictures in, detections out.
//!
//! [`Engine`] is a loaded model on a device; it opens [`Lane`]s, and a thread owns each
//! ([`lane::spawn`]). A lane exposes the memory its input is read from, so that pictures are letterboxed
//! straight into it.
//!
//! The contract of the model: input uint8 `[N, H, W, 3]` RGB, output float32 `[N, K, V]` with `V >= 6`:
//! x1, y1, x2, y2 in input pixels, score, class.

use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, IntCounter, Registry};

use crate::telemetry::SECONDS_BUCKETS;

pub mod check;
pub mod fake;
pub mod lane;
pub mod onnx;
pub mod preprocess;
pub mod resize;

/// Settings of the engines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Runs side by side on a CPU, one thread each; 0 means one a core.
    pub lanes: usize,
}

/// Why an engine cannot be made or fails at work.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// ONNX Runtime's library is there but cannot be used.
    #[error(
        "the ONNX Runtime library {path} cannot be used: {cause}; run `centerx runtime pull` and unset ORT_DYLIB_PATH"
    )]
    Runtime {
        /// The library.
        path: String,
        /// What the loader said.
        cause: String,
    },
    /// The runtime refuses the model.
    #[error("model {model} cannot be loaded: {cause}")]
    Load {
        /// The model's name.
        model: String,
        /// What the runtime said.
        cause: String,
    },
    /// A run failed.
    #[error("inference failed: {0}")]
    Run(String),
    /// The output is not what the model's metadata promise.
    #[error("the model's output has shape {got:?}, expected [{batch}, K, 6 or more]")]
    Output {
        /// Shape of the output.
        got: Vec<i64>,
        /// Pictures that went in.
        batch: usize,
    },
    /// It runs, but what comes out makes no sense.
    #[error("model {model} runs, but {problem}; export it again")]
    Broken {
        /// The model's name.
        model: String,
        /// What makes no sense.
        problem: String,
    },
    /// A picture was refused.
    #[error(transparent)]
    Preprocess(#[from] preprocess::PreprocessError),
}

/// How an engine wants to be fed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Pictures a run at most.
    pub max_batch: usize,
    /// Pictures a run at which it is most efficient.
    pub preferred_batch: usize,
    /// How long to wait for a preferred batch.
    pub max_queue_delay: Duration,
    /// Runs side by side.
    pub lanes: usize,
}

/// A loaded model on a device.
pub trait Engine: Send + Sync {
    /// Name and version for people, such as `onnxruntime 1.32.0`.
    fn description(&self) -> String;

    /// How it wants to be fed.
    fn limits(&self) -> Limits;

    /// Opens one of its lanes, warmed up and [checked](check::check).
    ///
    /// # Errors
    /// Whatever the runtime refuses.
    fn open_lane(&self) -> Result<Box<dyn Lane>, EngineError>;
}

/// One line of execution. Owned by one thread.
pub trait Lane: Send {
    /// The memory the input is read from: uint8 `[max_batch, H, W, 3]`.
    fn input(&mut self) -> &mut [u8];

    /// Runs over the first `batch` pictures in [`Lane::input`].
    ///
    /// # Errors
    /// A failed run or an output of the wrong shape.
    fn infer(&mut self, batch: usize) -> Result<Rows<'_>, EngineError>;
}

/// An engine's output: float32 `[batch, K, values]`.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// All values, row after row.
    pub data: &'a [f32],
    /// Values a row, at least 6.
    pub values: usize,
    /// Rows a picture.
    pub top_k: usize,
}

impl<'a> Rows<'a> {
    /// The rows of picture `index`, each at least x1, y1, x2, y2, score, class.
    pub fn picture(&self, index: usize) -> impl Iterator<Item = &'a [f32]> + use<'a> {
        let size = self.top_k * self.values;
        self.data[index * size..(index + 1) * size].chunks_exact(self.values)
    }
}

/// What the engine measures.
#[derive(Clone, Debug)]
pub struct Metrics {
    preprocess_seconds: Histogram,
    infer_seconds: Histogram,
    errors: IntCounter,
}

impl Metrics {
    /// Registers the engine's metrics.
    ///
    /// # Errors
    /// A metric registered twice.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let histogram = |name: &str, help: &str| {
            Histogram::with_opts(HistogramOpts::new(name, help).buckets(SECONDS_BUCKETS.to_vec()))
        };
        let metrics = Self {
            preprocess_seconds: histogram("centerx_preprocess_seconds", "Time to letterbox one batch.")?,
            infer_seconds: histogram("centerx_infer_seconds", "Time to run the network over one batch.")?,
            errors: IntCounter::new("centerx_engine_errors_total", "Batches the engine failed on.")?,
        };
        registry.register(Box::new(metrics.preprocess_seconds.clone()))?;
        registry.register(Box::new(metrics.infer_seconds.clone()))?;
        registry.register(Box::new(metrics.errors.clone()))?;
        Ok(metrics)
    }
}
