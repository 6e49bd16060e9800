//! From a configured model to one in an engine.

use std::sync::Arc;

use crate::config::{Config, ModelConfig};
use crate::detection::ModelInfo;
use crate::engine::Engine;
use crate::engine::onnx::{OnnxRuntime, Threads};
use crate::model;

use super::LoadedModel;

/// Loads every model of the config into ONNX Runtime.
///
/// # Errors
/// A missing runtime library or model, each with the command that fetches it.
pub fn load_all(config: &Config) -> anyhow::Result<Vec<LoadedModel>> {
    let runtime = load_runtime()?;
    config
        .models
        .iter()
        .map(|model| load(&runtime, model, Threads::throughput(config.engine.lanes)))
        .collect()
}

/// Finds and loads ONNX Runtime's library.
///
/// # Errors
/// None to be found, or one that cannot be used.
pub fn load_runtime() -> anyhow::Result<OnnxRuntime> {
    let path = model::runtime::locate()?;
    tracing::debug!(path = %path.display(), "loading ONNX Runtime");
    Ok(OnnxRuntime::load(&path)?)
}

/// Loads one model.
///
/// # Errors
/// A model that is missing or no detector.
pub fn load(runtime: &OnnxRuntime, config: &ModelConfig, threads: Threads) -> anyhow::Result<LoadedModel> {
    let detector = model::load(&model::zoo::resolve(config.source())?)?;
    let metadata = detector.metadata;
    let input = (metadata.input_width, metadata.input_height);
    let engine = runtime.engine(&config.name, &detector.bytes, input, threads);
    let info = ModelInfo {
        name: config.name.as_str().into(),
        family: metadata.family,
        classes: metadata.classes.iter().map(|class| Arc::from(class.as_str())).collect(),
        landmarks: metadata.landmarks.iter().map(|name| Arc::from(name.as_str())).collect(),
        skeleton: metadata.skeleton,
        input_width: metadata.input_width,
        input_height: metadata.input_height,
        top_k: metadata.top_k,
        engine: engine.description(),
        source: metadata.source,
        license: metadata.license,
        sha256: detector.sha256,
    };
    Ok(LoadedModel { info, engine: Box::new(engine) })
}
