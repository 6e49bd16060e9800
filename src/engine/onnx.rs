//! ONNX Runtime on the CPU: batch 1, one single-threaded session a core.
//!
//! On a CPU a batch makes each picture slower (docs/benchmarks.md), so throughput comes from lanes side by
//! side. The library is loaded at run time.

use std::path::Path;
use std::time::Duration;

use ort::environment::Environment;
use ort::logging::LogLevel;
use ort::memory::Allocator;
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::Tensor;

use super::check::{Promise, check};
use super::{Engine, EngineError, Lane, Limits, Rows};

/// ONNX Runtime's own switch in the environment, from 1.29 on: set to 1 before the library is loaded, nothing is
/// gathered, kept on disk or sent to its maker.
pub const NO_REPORTS: &str = "ORT_DISABLE_TELEMETRY";

/// ONNX Runtime, loaded.
#[derive(Clone, Debug)]
pub struct OnnxRuntime {
    environment: Environment,
    version: String,
}

impl OnnxRuntime {
    /// Loads the library at `path`. A process can hold one; the first one loaded stays.
    ///
    /// # Errors
    /// A file that is no ONNX Runtime, or one too old.
    pub fn load(path: &Path) -> Result<Self, EngineError> {
        let refuse = |cause: String| EngineError::Runtime { path: path.display().to_string(), cause };
        if std::env::var_os(NO_REPORTS).is_none() {
            tracing::warn!(
                "ONNX Runtime may report to its maker what it runs: set {NO_REPORTS}=1 to keep it quiet"
            );
        }
        let environment = ort::init_from(path)
            .map_err(|error| refuse(error.to_string()))?
            .with_name("centerx")
            .with_telemetry(false)
            .build()
            .map_err(|error| refuse(error.to_string()))?;
        let version = version_of(path).unwrap_or_else(|| "of unknown version".into());
        Ok(Self { environment, version })
    }

    /// Loads a model that follows the engine contract.
    ///
    /// `model` is the ONNX file's bytes. What the runtime does not like about it shows when a lane is opened.
    pub fn engine(&self, name: &str, model: &[u8], promise: Promise, threads: Threads) -> OnnxEngine {
        OnnxEngine { runtime: self.clone(), name: name.into(), model: model.into(), promise, threads }
    }

    /// A session on `model`'s bytes that runs on `threads` threads.
    ///
    /// # Errors
    /// A model that the runtime refuses.
    pub fn session(&self, model: &[u8], threads: usize) -> ort::Result<Session> {
        Session::builder(&self.environment)?
            // What it would print comes back as an error as well.
            .with_log_level(LogLevel::Fatal)?
            .with_optimization_level(GraphOptimizationLevel::All)?
            .with_intra_threads(threads)?
            .with_inter_threads(1)?
            .commit_from_memory(model)
    }
}

/// How many cores an engine uses, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Threads {
    /// Sessions side by side.
    pub lanes: usize,
    /// Threads a session.
    pub per_lane: usize,
}

impl Threads {
    /// The most pictures a second: one single-threaded session a core, or `lanes` of them if not 0.
    pub fn throughput(lanes: usize) -> Self {
        Self { lanes: if lanes == 0 { cores() } else { lanes }, per_lane: 1 }
    }

    /// The least time a picture: one session on all cores.
    pub fn latency() -> Self {
        Self { lanes: 1, per_lane: cores() }
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The version in the library's own file name, `libonnxruntime.so.1.32.0`; links are followed to it.
fn version_of(path: &Path) -> Option<String> {
    let path = path.canonicalize().ok()?;
    let version = path.file_name()?.to_str()?.strip_prefix("libonnxruntime.so.")?;
    Some(version.to_owned())
}

/// A model in ONNX Runtime.
#[derive(Clone, Debug)]
pub struct OnnxEngine {
    runtime: OnnxRuntime,
    name: String,
    model: Vec<u8>,
    promise: Promise,
    threads: Threads,
}

impl Engine for OnnxEngine {
    fn description(&self) -> String {
        format!("onnxruntime {}", self.runtime.version)
    }

    fn limits(&self) -> Limits {
        Limits {
            max_batch: 1,
            preferred_batch: 1,
            max_queue_delay: Duration::ZERO,
            lanes: self.threads.lanes,
        }
    }

    fn open_lane(&self) -> Result<Box<dyn Lane>, EngineError> {
        let refuse =
            |error: ort::Error| EngineError::Load { model: self.name.clone(), cause: error.to_string() };
        let session = self.runtime.session(&self.model, self.threads.per_lane).map_err(refuse)?;
        let (width, height) = (self.promise.input.0 as usize, self.promise.input.1 as usize);
        let input = Tensor::<u8>::new(&Allocator::default(), [1usize, height, width, 3]).map_err(refuse)?;
        let mut lane = OnnxLane { session, input, output: Vec::new() };
        check(&self.name, &mut lane, self.promise)?;
        Ok(Box::new(lane))
    }
}

struct OnnxLane {
    session: Session,
    input: Tensor<u8>,
    output: Vec<f32>,
}

impl Lane for OnnxLane {
    fn input(&mut self) -> &mut [u8] {
        self.input.extract_tensor_mut().1
    }

    fn infer(&mut self, batch: usize) -> Result<Rows<'_>, EngineError> {
        let failed = |error: ort::Error| EngineError::Run(error.to_string());
        let outputs = self.session.run(ort::inputs!["images" => &self.input]).map_err(failed)?;
        let (shape, values) = outputs["detections"].try_extract_tensor::<f32>().map_err(failed)?;
        let &[n, top_k, row] = &shape[..] else {
            return Err(EngineError::Output { got: shape.to_vec(), batch });
        };
        if n != batch as i64 || row < 6 {
            return Err(EngineError::Output { got: shape.to_vec(), batch });
        }
        self.output.clear();
        self.output.extend_from_slice(values);
        Ok(Rows { data: &self.output, values: row as usize, top_k: top_k as usize })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_off_the_library_behind_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (library, link) =
            (folder.path().join("libonnxruntime.so.1.32.0"), folder.path().join("libonnxruntime.so"));
        std::fs::write(&library, "").unwrap();
        std::os::unix::fs::symlink(&library, &link).unwrap();
        assert_eq!(version_of(&link).as_deref(), Some("1.32.0"));
        assert_eq!(version_of(folder.path()), None);
    }

    #[test]
    fn a_file_that_is_no_library_is_refused_with_the_cure() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = OnnxRuntime::load(file.path()).unwrap_err().to_string();
        assert!(error.contains("centerx runtime pull"), "{error}");
    }
}
