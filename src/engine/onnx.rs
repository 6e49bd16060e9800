//! ONNX Runtime on the CPU: batch 1, one single-threaded session a core.
//!
//! On a CPU a batch makes each picture slower (docs/benchmarks.md), so throughput comes from lanes side by
//! side. The library is loaded at run time.

use std::path::Path;
use std::time::Duration;

use ort::environment::Environment;
use ort::memory::Allocator;
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::Tensor;

use super::{Engine, EngineError, Lane, Limits, Rows};

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
        let environment = ort::init_from(path)
            .map_err(|error| refuse(error.to_string()))?
            .with_name("centerx")
            .with_telemetry(false)
            .build()
            .map_err(|error| refuse(error.to_string()))?;
        let version = version_of(ort::info()).unwrap_or("of unknown version").to_owned();
        Ok(Self { environment, version })
    }

    /// Loads a model that follows the engine contract.
    ///
    /// `model` is the ONNX file's bytes, `input` its width and height, `lanes` how many sessions to run side
    /// by side (0: one a core).
    ///
    /// # Errors
    /// A model that the runtime refuses.
    pub fn engine(
        &self,
        name: &str,
        model: &[u8],
        input: (u32, u32),
        lanes: usize,
    ) -> Result<OnnxEngine, EngineError> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let lanes = if lanes == 0 { cores } else { lanes };
        let engine =
            OnnxEngine { runtime: self.clone(), name: name.into(), model: model.into(), input, lanes };
        Ok(engine)
    }

    /// A single-threaded session on `model`'s bytes.
    ///
    /// # Errors
    /// A model that the runtime refuses.
    pub fn session(&self, model: &[u8]) -> ort::Result<Session> {
        Ok(Session::builder(&self.environment)?
            .with_optimization_level(GraphOptimizationLevel::All)?
            .with_intra_threads(1)?
            .with_inter_threads(1)?
            .commit_from_memory(model)?)
    }
}

/// Finds `x.y.z` in the library's description of its build.
fn version_of(info: &str) -> Option<&str> {
    info.split([',', ' ', '='])
        .find(|word| word.split('.').count() == 3 && word.split('.').all(|part| part.parse::<u32>().is_ok()))
}

/// A model in ONNX Runtime.
#[derive(Clone, Debug)]
pub struct OnnxEngine {
    runtime: OnnxRuntime,
    name: String,
    model: Vec<u8>,
    input: (u32, u32),
    lanes: usize,
}

impl Engine for OnnxEngine {
    fn description(&self) -> String {
        format!("onnxruntime {}", self.runtime.version)
    }

    fn limits(&self) -> Limits {
        Limits { max_batch: 1, preferred_batch: 1, max_queue_delay: Duration::ZERO, lanes: self.lanes }
    }

    fn open_lane(&self) -> Result<Box<dyn Lane>, EngineError> {
        let refuse =
            |error: ort::Error| EngineError::Load { model: self.name.clone(), cause: error.to_string() };
        let session = self.runtime.session(&self.model).map_err(refuse)?;
        let (width, height) = (self.input.0 as usize, self.input.1 as usize);
        let input = Tensor::<u8>::new(&Allocator::default(), [1usize, height, width, 3]).map_err(refuse)?;
        let mut lane = OnnxLane { session, input, output: Vec::new() };
        lane.input().fill(0);
        lane.infer(1)?;
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
    fn the_version_is_found_in_the_build_description() {
        let info = "ORT Build Info: git-branch=rel-1.32.0, git-commit-id=3d4, version 1.32.0 flags: -O3";
        assert_eq!(version_of(info), Some("1.32.0"));
        assert_eq!(version_of("no version"), None);
    }

    #[test]
    fn a_file_that_is_no_library_is_refused_with_the_cure() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = OnnxRuntime::load(file.path()).unwrap_err().to_string();
        assert!(error.contains("centerx runtime pull"), "{error}");
    }
}
