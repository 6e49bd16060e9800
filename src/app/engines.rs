//! What models are loaded into: TensorRT where that is wanted and possible, ONNX Runtime on the CPU otherwise.

use std::path::Path;

use crate::config::{Config, ModelConfig};
use crate::engine::gpu::{Backend, Settings};
use crate::engine::onnx::Threads;
use crate::model::{self, DetectorModel, ModelError, plan};

use super::LoadedModel;
use super::models::{load_runtime, on_cpu};

/// What models are loaded into.
#[derive(Clone, Debug)]
pub struct Engines {
    backend: Backend,
    /// Read where centerx was built for GPUs.
    #[cfg_attr(not(feature = "tensorrt"), allow(dead_code))]
    settings: Settings,
    threads: Threads,
}

/// Why a model is not on a GPU.
pub struct NotOnGpu {
    /// In words, with the step that failed and the cure.
    pub why: String,
    /// A machine without a GPU is no fault.
    pub usual: bool,
}

impl Engines {
    /// As `config` says.
    pub fn new(config: &Config) -> Self {
        Self {
            backend: config.engine.backend,
            settings: config.tensorrt.clone(),
            threads: Threads::throughput(config.engine.lanes),
        }
    }

    /// Loads the model at `path`: a detector's ONNX file, or a plan. Blocks for as long as compiling takes, if it
    /// must be compiled.
    ///
    /// # Errors
    /// A model that is missing or no detector, no runtime library, or a plan that fits nothing here.
    pub fn load(&self, config: &ModelConfig, path: &Path) -> anyhow::Result<LoadedModel> {
        if plan::is_plan(path) {
            return self.load_plan(config, path);
        }
        let detector = model::load(path)?;
        match self.on_gpu(config, &detector) {
            Some(Ok(model)) => return Ok(model),
            Some(Err(reason)) => self.tell(&config.name, &reason),
            None => {}
        }
        self.load_on_cpu(config, detector)
    }

    fn load_on_cpu(&self, config: &ModelConfig, detector: DetectorModel) -> anyhow::Result<LoadedModel> {
        Ok(on_cpu(&load_runtime()?, &config.name, detector, self.threads))
    }

    /// A plan runs on TensorRT. On the CPU runs what it was made of, if that lies beside it.
    fn load_plan(&self, config: &ModelConfig, path: &Path) -> anyhow::Result<LoadedModel> {
        let reason = match self.plan_on_gpu(config, path)? {
            Ok(model) => return Ok(model),
            Err(reason) => reason,
        };
        let onnx = path.with_extension("onnx");
        if !onnx.is_file() {
            let problem = format!(
                "it runs on TensorRT only. {}; or put the ONNX file it was built from beside it as {}, to be served on \
                 the CPU",
                reason.why,
                onnx.display()
            );
            return Err(ModelError::Plan { path: path.to_owned(), problem }.into());
        }
        self.tell(&config.name, &NotOnGpu { usual: false, ..reason });
        self.load_on_cpu(config, model::load(&onnx)?)
    }

    /// Says why a model is served on the CPU: as a warning where somebody asked for something else.
    fn tell(&self, name: &str, reason: &NotOnGpu) {
        if reason.usual && self.backend == Backend::Auto {
            tracing::debug!(model = name, "served on the CPU: {}", reason.why);
            return;
        }
        let why = &reason.why;
        tracing::warn!(model = name, "served on the CPU: {why}. `[engine] backend = \"cpu\"` silences this");
    }

    /// The model in TensorRT; none if nobody wants that.
    fn on_gpu(
        &self,
        config: &ModelConfig,
        detector: &DetectorModel,
    ) -> Option<Result<LoadedModel, NotOnGpu>> {
        (self.backend != Backend::Cpu).then(|| self.compiled(config, detector))
    }
}

#[cfg(feature = "tensorrt")]
impl Engines {
    fn compiled(&self, config: &ModelConfig, detector: &DetectorModel) -> Result<LoadedModel, NotOnGpu> {
        super::gpu::start(&self.settings)?.load(config, detector)
    }

    fn plan_on_gpu(
        &self,
        config: &ModelConfig,
        path: &Path,
    ) -> anyhow::Result<Result<LoadedModel, NotOnGpu>> {
        if self.backend == Backend::Cpu {
            return Ok(Err(not_wanted()));
        }
        match super::gpu::start(&self.settings) {
            Ok(gpus) => gpus.load_plan(config, path),
            Err(reason) => Ok(Err(reason)),
        }
    }
}

#[cfg(not(feature = "tensorrt"))]
impl Engines {
    fn compiled(&self, _: &ModelConfig, _: &DetectorModel) -> Result<LoadedModel, NotOnGpu> {
        Err(not_built())
    }

    fn plan_on_gpu(&self, _: &ModelConfig, _: &Path) -> anyhow::Result<Result<LoadedModel, NotOnGpu>> {
        Ok(Err(if self.backend == Backend::Cpu { not_wanted() } else { not_built() }))
    }
}

fn not_wanted() -> NotOnGpu {
    NotOnGpu { why: "[engine] backend is \"cpu\"; set it to \"tensorrt\"".into(), usual: true }
}

#[cfg(not(feature = "tensorrt"))]
fn not_built() -> NotOnGpu {
    let why = "this centerx was built without TensorRT; build it with `cargo build --release --features tensorrt` \
               (docs/gpu.md)";
    NotOnGpu { why: why.into(), usual: true }
}
