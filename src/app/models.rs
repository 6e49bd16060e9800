//! From a configured or stored model to one in an engine.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::access::Policy;
use crate::config::{Config, ModelConfig};
use crate::detection::ModelInfo;
use crate::engine::Engine;
use crate::engine::check::Promise;
use crate::engine::onnx::{OnnxRuntime, Threads};
use crate::model::{self, DetectorModel, ModelMetadata};

use super::LoadedModel;
use super::engines::Engines;
use super::model_store::Models;
use super::open_model::OpenModel;

/// Loads every model of the config into what it says runs them.
///
/// # Errors
/// A missing runtime library or model, each with the command that fetches it.
pub fn load_all(config: &Config) -> anyhow::Result<Vec<LoadedModel>> {
    let engines = Engines::new(config);
    config.models.iter().map(|model| engines.load(model, &model::zoo::resolve(model.source())?)).collect()
}

/// Finds ONNX Runtime's library and loads it, the first time.
///
/// # Errors
/// None to be found, or one that cannot be used.
pub fn load_runtime() -> anyhow::Result<OnnxRuntime> {
    // The library itself allows one a process.
    static LOADED: Mutex<Option<OnnxRuntime>> = Mutex::new(None);
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(runtime) = &*loaded {
        return Ok(runtime.clone());
    }
    let path = model::runtime::locate()?;
    tracing::debug!(path = %path.display(), "loading ONNX Runtime");
    let runtime = OnnxRuntime::load(&path)?;
    Ok(loaded.insert(runtime).clone())
}

/// Loads one model into ONNX Runtime.
///
/// # Errors
/// A model that is missing or no detector.
pub fn load(runtime: &OnnxRuntime, config: &ModelConfig, threads: Threads) -> anyhow::Result<LoadedModel> {
    let detector = model::load(&model::zoo::resolve(config.source())?)?;
    Ok(on_cpu(runtime, &config.name, detector, threads))
}

/// A detector in ONNX Runtime.
pub(super) fn on_cpu(
    runtime: &OnnxRuntime,
    name: &str,
    detector: DetectorModel,
    threads: Threads,
) -> LoadedModel {
    let engine = runtime.engine(name, &detector.bytes, promise(&detector.metadata), threads);
    loaded(name, detector.metadata, detector.sha256, Box::new(engine))
}

/// What a model's metadata promise of its output.
pub(super) fn promise(metadata: &ModelMetadata) -> Promise {
    Promise {
        input: (metadata.input_width, metadata.input_height),
        top_k: metadata.top_k,
        classes: metadata.classes.len(),
    }
}

/// A model in an engine; `sha256` is that of its file.
pub(super) fn loaded(
    name: &str,
    metadata: ModelMetadata,
    sha256: String,
    engine: Box<dyn Engine>,
) -> LoadedModel {
    let info = ModelInfo {
        name: name.into(),
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
        sha256,
    };
    LoadedModel { info, engine }
}

/// Opens models that are asked for by API, or were so before a restart.
pub struct Loader {
    engines: Engines,
    policy: Policy,
    /// What the config file names may be loaded again.
    trusted: Vec<String>,
}

impl Loader {
    /// A loader of models into what `config` says runs them: pulled ones, files that `policy` allows, and what
    /// `config` names.
    pub fn new(policy: Policy, config: &Config) -> Self {
        let trusted = config.models.iter().map(|model| model.source().to_owned()).collect();
        Self { engines: Engines::new(config), policy, trusted }
    }

    /// The file of a model that a caller names.
    fn locate(&self, source: &str) -> anyhow::Result<PathBuf> {
        let path = Path::new(source);
        if self.trusted.iter().any(|trusted| trusted == source) {
            return Ok(model::zoo::resolve(source)?);
        }
        if source.contains('/') || model::is_called_model(path) || path.is_file() {
            self.policy.check_model(path).map_err(anyhow::Error::msg)?;
        }
        Ok(model::zoo::resolve(source)?)
    }

    /// Loads a model, and opens, warms up and checks all its lanes. `source` is a pulled model's name or the
    /// path of an ONNX file. Blocks for a second or more.
    ///
    /// # Errors
    /// A model that is missing, may not be opened, is no detector, or does not run.
    pub fn open(&self, name: &str, source: &str) -> anyhow::Result<OpenModel> {
        let path = self.locate(source)?;
        if std::fs::metadata(&path).is_ok_and(|about| !about.is_file() && !about.is_dir()) {
            // A pipe would block for ever, a device never end.
            anyhow::bail!("{} is not a regular file", path.display());
        }
        // Where it lies must be known after a restart in another folder too.
        let source = match path == Path::new(source) {
            true => std::path::absolute(&path)?.display().to_string(),
            false => source.to_owned(),
        };
        let config = ModelConfig { name: name.to_owned(), source: Some(source.clone()) };
        let model = self.engines.load(&config, &path)?;
        Ok(OpenModel::open(model, source)?)
    }
}

/// Opens the models of the config file, with what the API swapped of them since, and those that it loaded.
/// Blocks for a second or more each.
///
/// # Errors
/// A model of the config file that does not run. A stored one is logged and left out.
pub fn open_all(
    config: &Config,
    models: Vec<LoadedModel>,
    stored: &Models,
    loader: &Loader,
) -> anyhow::Result<Vec<OpenModel>> {
    let mut open = Vec::new();
    for model in models {
        let name = model.info.name.to_string();
        let configured = config.models.iter().find(|model| model.name == name);
        let source = configured.map_or(&*name, ModelConfig::source).to_owned();
        open.push(match swapped(&name, &source, stored, loader) {
            Some(swapped) => swapped,
            None => OpenModel::open(model, source)?,
        });
    }
    let by_api = |name: &String| config.models.iter().all(|model| model.name != *name);
    for (name, model) in stored.iter().filter(|(name, _)| by_api(name)) {
        match loader.open(name, &model.source) {
            Ok(model) => open.push(model),
            Err(error) => tracing::error!(
                model = name,
                "a model that was loaded by API cannot be loaded any more: {error:#}; frames of its cameras are \
                 dropped as no_model until it is loaded again"
            ),
        }
    }
    Ok(open)
}

/// The model that the API swapped for the config file's, if that still says what it said then.
fn swapped(name: &str, configured: &str, stored: &Models, loader: &Loader) -> Option<OpenModel> {
    let model = stored.get(name)?;
    let source = &model.source;
    if model.instead_of.as_deref() != Some(configured) {
        tracing::warn!(model = name, source, "the config file changed since the model was swapped, and wins");
        return None;
    }
    match loader.open(name, source) {
        Ok(open) => {
            tracing::info!(model = name, source, "serving what the model was swapped for");
            Some(open)
        }
        Err(error) => {
            tracing::error!(
                model = name,
                "what the model was swapped for cannot be loaded any more: {error:#}; serving {configured}, as \
                 the config file says"
            );
            None
        }
    }
}

/// Checks the name of a model: 1 to 64 letters, digits, `-`, `_`, `.` and `@`.
///
/// # Errors
/// What would do, for the user to read.
pub fn check_name(name: &str) -> Result<(), String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@');
    if name.is_empty() || name.len() > 64 || !name.chars().all(allowed) {
        let shown: String = name.chars().take(64).collect();
        return Err(format!(
            "{shown:?} is not a model's name: use 1 to 64 letters, digits, '-', '_', '.' or '@'"
        ));
    }
    Ok(())
}
