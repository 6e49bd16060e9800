//! The engine: batches of pictures in, detections out.
//!
//! [`Engine`] is a loaded model on a device; it opens [`Lane`]s, and a thread owns each ([`post::Post`]). A
//! lane exposes the memory its input is read from, so that pictures are letterboxed straight into it.
//!
//! A lane that panics or fails is opened anew by its thread, one that hangs by the
//! [`supervisor`](supervisor::Supervisor), with another thread.
//!
//! The contract of the model: input uint8 `[N, H, W, 3]` RGB, output float32 `[N, K, V]` with `V >= 6`:
//! x1, y1, x2, y2 in input pixels, score, class.

use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use crate::frame::Picture;
use crate::letterbox::{Letterbox, PreprocessError};
use crate::telemetry::SECONDS_BUCKETS;

pub mod check;
pub mod fake;
pub mod flavour;
pub mod gpu;
pub mod lane;
pub mod onnx;
pub mod post;
pub mod supervisor;
#[cfg(feature = "tensorrt")]
pub mod tensorrt;

/// Settings of the engines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// What runs the models.
    pub backend: gpu::Backend,
    /// Runs side by side on a CPU, one thread each; 0 means one a core, 256 at most.
    pub lanes: usize,
    /// A run that takes longer hangs: its lane is given up, and another one opened. 50 ms at least; warm-up is not
    /// meant.
    #[serde(with = "humantime_serde")]
    pub hang_timeout: Duration,
    /// Lanes that hang at a time, of all models, before no new ones are opened in their place and the server says
    /// that it needs a restart.
    pub max_hung: usize,
}

impl Default for Config {
    fn default() -> Self {
        // With the noticing and the opening, a lane is replaced within ten seconds.
        Self { backend: gpu::Backend::default(), lanes: 0, hang_timeout: Duration::from_secs(8), max_hung: 4 }
    }
}

impl Config {
    /// Each lane holds a copy of the model's working memory; more than this is a slip of the hand.
    const MAX_LANES: usize = 256;
    /// A computer under load may stand still for shorter times than this.
    const MIN_HANG_TIMEOUT: Duration = Duration::from_millis(50);

    /// Checks the ranges.
    ///
    /// # Errors
    /// The setting that cannot be accepted, and what would be right.
    pub fn validate(&self) -> Result<(), String> {
        if self.lanes > Self::MAX_LANES {
            return Err(format!(
                "lanes: {} is more than {}; 0 means one a core",
                self.lanes,
                Self::MAX_LANES
            ));
        }
        if self.hang_timeout < Self::MIN_HANG_TIMEOUT {
            return Err("hang_timeout: must be 50ms at least; 8s suits slow machines too".into());
        }
        if self.max_hung == 0 || self.max_hung > Self::MAX_LANES {
            return Err(format!("max_hung: {} is not a number from 1 to {}", self.max_hung, Self::MAX_LANES));
        }
        Ok(())
    }
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
    /// A run panicked.
    #[error("the engine panicked ({0}) and is started anew; try again in a moment")]
    Panicked(String),
    /// A run did not end.
    #[error("the engine hung for more than {}; it was given up and is started anew", humantime::format_duration(*.0))]
    Hung(Duration),
    /// A lane did not open.
    #[error("the engine hung while it opened a lane, for more than {}; it was given up", humantime::format_duration(*.0))]
    OpeningHung(Duration),
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
    Preprocess(#[from] PreprocessError),
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
    /// Takes decoded pictures, those of the next run in their order, to letterbox them by itself; tells how each lies
    /// in the input. None for one, or none given for it, is one that the caller letterboxes into [`Lane::input`].
    /// What was taken before and not run is forgotten.
    fn take(&mut self, _pictures: &[&Picture]) -> Vec<Option<Letterbox>> {
        Vec::new()
    }

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
    restarts: IntCounterVec,
    hung: IntGauge,
}

/// Why a lane is opened anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// It panicked.
    Panic,
    /// A run did not end.
    Hang,
    /// It failed several times in a row, or could not be opened anew.
    Error,
}

impl Cause {
    const ALL: [Self; 3] = [Self::Panic, Self::Hang, Self::Error];

    fn as_str(self) -> &'static str {
        match self {
            Self::Panic => "panic",
            Self::Hang => "hang",
            Self::Error => "error",
        }
    }
}

impl Metrics {
    fn count_restart(&self, cause: Cause) {
        self.restarts.with_label_values(&[cause.as_str()]).inc();
    }

    /// Registers the engine's metrics.
    ///
    /// # Errors
    /// A metric registered twice.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let histogram = |name: &str, help: &str| {
            Histogram::with_opts(HistogramOpts::new(name, help).buckets(SECONDS_BUCKETS.to_vec()))
        };
        let metrics = Self {
            preprocess_seconds: histogram(
                "centerx_preprocess_seconds",
                "Time to letterbox one batch, or to hand it over to a GPU that does.",
            )?,
            infer_seconds: histogram("centerx_infer_seconds", "Time to run the network over one batch.")?,
            errors: IntCounter::new("centerx_engine_errors_total", "Batches the engine failed on.")?,
            restarts: IntCounterVec::new(
                Opts::new("centerx_engine_restarts_total", "Times a lane had to be opened anew, by cause."),
                &["cause"],
            )?,
            hung: IntGauge::new("centerx_engine_hung_lanes", "Lanes that were given up and still hang.")?,
        };
        Cause::ALL.iter().for_each(|cause| metrics.restarts.with_label_values(&[cause.as_str()]).reset());
        registry.register(Box::new(metrics.preprocess_seconds.clone()))?;
        registry.register(Box::new(metrics.infer_seconds.clone()))?;
        registry.register(Box::new(metrics.errors.clone()))?;
        registry.register(Box::new(metrics.restarts.clone()))?;
        registry.register(Box::new(metrics.hung.clone()))?;
        Ok(metrics)
    }
}
