//! The GPUs of this machine, with TensorRT: found once, used by every model.

mod here;
mod on_gpu;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::Registry;

use crate::config::ModelConfig;
use crate::engine::flavour::{Capability, Flavour};
use crate::engine::gpu::Settings;
use crate::engine::tensorrt::device::startup::{self, Step, Trouble, Unavailable};
use crate::engine::tensorrt::device::watch::{PERIOD, Watcher};
use crate::engine::tensorrt::device::{Gpu, Metrics, Setup, TensorRtEngine};
use crate::engine::tensorrt::execution::CompiledPlan;
use crate::engine::tensorrt::preprocess::nvrtc::Image;
use crate::engine::tensorrt::{TensorRt, TensorRtError, preprocess};
use crate::model::plan::{self, Machine, PlanFile, Plans};
use crate::model::{DetectorModel, ModelMetadata};

pub use here::load_library;
use here::{Here, in_words};
pub use on_gpu::OnGpu;

use super::LoadedModel;
use super::compile::{Compiler, Wish, phases};
use super::engines::NotOnGpu;
use super::models::{loaded, promise};

/// TensorRT and the GPUs to use it on.
pub struct Gpus {
    tensorrt: TensorRt,
    /// One at least, all of one compute capability.
    gpus: Vec<Arc<Gpu>>,
    settings: Settings,
    plans: Plans,
    /// The preprocessing for these GPUs, if it is to be done there and can be.
    kernel: Option<Arc<Image>>,
    metrics: Metrics,
    _watcher: Option<Watcher>,
}

impl From<Unavailable> for NotOnGpu {
    fn from(why: Unavailable) -> Self {
        Self { usual: why.step == Step::Driver, why: why.to_string() }
    }
}

/// The GPUs of this machine, the first time found as `settings` say.
///
/// # Errors
/// The step that failed, and the cure.
pub fn start(settings: &Settings) -> Result<Arc<Gpus>, NotOnGpu> {
    let mut started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(gpus) = &*started {
        return Ok(Arc::clone(gpus));
    }
    let gpus = Arc::new(Gpus::find(settings)?);
    Ok(Arc::clone(started.insert(gpus)))
}

/// A process has one context a GPU, and loads a library once.
static STARTED: Mutex<Option<Arc<Gpus>>> = Mutex::new(None);

/// Registers the GPUs' metrics, if any are in use.
///
/// # Errors
/// A metric registered twice.
pub fn register(registry: &Registry) -> prometheus::Result<()> {
    match &*STARTED.lock().unwrap_or_else(PoisonError::into_inner) {
        Some(gpus) => gpus.metrics.register_in(registry),
        None => Ok(()),
    }
}

fn plan_trouble(error: &dyn std::error::Error) -> NotOnGpu {
    in_words(error).at(Step::Plan).into()
}

impl Gpus {
    /// Step by step: driver, device, library, version.
    fn find(settings: &Settings) -> Result<Self, NotOnGpu> {
        let mut here = Here { settings, driver: None };
        let (devices, tensorrt) = startup::start_up(&mut here)?;
        let metrics = Metrics::new().map_err(|error| plan_trouble(&error))?;
        let open = |info: &_| {
            let driver =
                here.driver.as_ref().ok_or_else(|| Trouble::new("there is no driver", "Install it"))?;
            startup::open(driver, info).map(|device| Gpu::new(device, metrics.clone()))
        };
        let gpus: Result<Vec<_>, Trouble> = devices.iter().map(open).collect();
        let gpus = gpus.map_err(|trouble| trouble.at(Step::Device))?;
        let plans = Plans::from_env().map_err(|error| plan_trouble(&error))?;
        let watcher = Watcher::start(gpus.clone(), metrics.clone(), PERIOD);
        let watcher = watcher.inspect_err(|error| tracing::warn!("GPUs are not measured: {error}")).ok();
        let compile = || preprocess::compile(devices[0].capability);
        let kernel = preprocess::choose(settings.preprocess, compile).map(Arc::new);
        let settings = settings.clone();
        Ok(Self { tensorrt, gpus, settings, plans, kernel, metrics, _watcher: watcher })
    }

    fn capability(&self) -> Capability {
        self.gpus[0].info().capability
    }

    /// A detector, compiled if it was not before.
    ///
    /// # Errors
    /// The plan step failed, and why.
    pub(super) fn load(
        &self,
        config: &ModelConfig,
        detector: &DetectorModel,
    ) -> Result<LoadedModel, NotOnGpu> {
        let plan = self.compiled(config, detector)?;
        let engine = self.engine(&config.name, &detector.metadata, plan)?;
        Ok(loaded(&config.name, detector.metadata.clone(), detector.sha256.clone(), Box::new(engine)))
    }

    fn compiled(&self, config: &ModelConfig, detector: &DetectorModel) -> Result<Vec<u8>, NotOnGpu> {
        let profiles = plan::profiles(self.settings.max_batch, &self.settings.best_batches);
        let profiles = profiles.map_err(|problem| NotOnGpu { why: problem, usual: false })?;
        let wish = Wish { detector, source: config.source(), profiles: &profiles };
        let made = self.with_compiler(None, |compiler| match compiler.cached(wish) {
            Some(compiled) => Ok(compiled.plan),
            None => self.compile(&config.name, compiler, wish),
        });
        made.and_then(|made| made.map_err(anyhow::Error::from)).map_err(|error| plan_trouble(&*error))
    }

    /// Compiles a model for the first time.
    fn compile(&self, name: &str, compiler: &Compiler<'_>, wish: Wish<'_>) -> Result<Vec<u8>, TensorRtError> {
        let (product, version) = (self.tensorrt.flavour().product(), self.tensorrt.version());
        let gpu = &self.gpus[0].info().name;
        tracing::info!(
            model = name,
            gpu,
            "compiling the model with {product} {version}, which may take minutes; the next start will not have to"
        );
        let tell = |phase: &str, percent: u32| tracing::debug!(model = name, phase, percent, "compiling");
        let compiled = compiler.compile(wish, &phases(&tell))?;
        let seconds = format!("{:.1}", compiled.seconds.unwrap_or_default());
        tracing::info!(model = name, seconds, "compiled the model");
        if let Err(error) = compiler.keep(&compiled) {
            tracing::warn!(
                model = name,
                "the plan cannot be kept, and the next start compiles again: {error}"
            );
        }
        Ok(compiled.plan)
    }

    /// Lets `work` compile for these GPUs; the first one's context is the thread's meanwhile.
    ///
    /// # Errors
    /// That GPU cannot be used.
    pub fn with_compiler<T>(
        &self,
        workspace: Option<usize>,
        work: impl FnOnce(&Compiler<'_>) -> T,
    ) -> anyhow::Result<T> {
        let context = self.gpus[0].retain()?;
        context.enter()?;
        let gpu = &self.gpus[0].info().name;
        let compiler = Compiler {
            tensorrt: &self.tensorrt,
            plans: &self.plans,
            capabilities: vec![self.capability()],
            gpu: (self.tensorrt.flavour() == Flavour::Enterprise).then(|| gpu.clone()),
            workspace,
        };
        Ok(work(&compiler))
    }

    /// A plan from a file.
    ///
    /// # Errors
    /// A file that cannot be read is an error; one that does not fit this machine is a failed plan step.
    pub(super) fn load_plan(
        &self,
        config: &ModelConfig,
        path: &Path,
    ) -> anyhow::Result<Result<LoadedModel, NotOnGpu>> {
        // What is beside it first: the plan itself may be large.
        if let Some(record) = plan::record(path)?
            && let Err(unfit) = record.key.check(&self.machine()).and_then(|()| record.check_source(path))
        {
            let command = record.rebuild(Some(path));
            let trouble = Trouble::new(
                format!("{}: {unfit}", path.display()),
                format!("build it for this machine: {command}"),
            );
            return Ok(Err(trouble.at(Step::Plan).into()));
        }
        let PlanFile { bytes, metadata, sha256, .. } = plan::open(path)?;
        Ok(self
            .engine(&config.name, &metadata, bytes)
            .map(|engine| loaded(&config.name, metadata, sha256, Box::new(engine))))
    }

    /// What plans must fit.
    fn machine(&self) -> Machine {
        Machine {
            library: self.tensorrt.flavour().product().to_owned(),
            version: self.tensorrt.version().to_string(),
            capability: Some(self.capability().to_string()),
        }
    }

    fn engine(
        &self,
        name: &str,
        metadata: &ModelMetadata,
        plan: Vec<u8>,
    ) -> Result<TensorRtEngine, NotOnGpu> {
        let (plan, setup) = self.opened(name, metadata, plan)?;
        TensorRtEngine::new(&self.gpus, Arc::new(plan), setup).map_err(|error| plan_trouble(&error))
    }

    /// A plan that this machine takes, and how it is to be run.
    fn opened(
        &self,
        name: &str,
        metadata: &ModelMetadata,
        plan: Vec<u8>,
    ) -> Result<(CompiledPlan, Setup), NotOnGpu> {
        let (product, version) = (self.tensorrt.flavour().product(), self.tensorrt.version().to_string());
        // The other flavour compiles all its kernels beforehand.
        let kernels = match self.tensorrt.flavour() {
            Flavour::Rtx => self.plans.kernels(&plan, &self.gpus[0].info().name, &version),
            Flavour::Enterprise => None,
        };
        let plan = CompiledPlan::open(&self.tensorrt, plan, &self.gpus[0], kernels);
        let plan = plan.map_err(|error| plan_trouble(&error))?;
        let description = format!("{product} {version} on {}", self.names());
        let (lanes, graphs, kernel) = (self.settings.lanes, self.settings.graphs, self.kernel.clone());
        Ok((plan, Setup { lanes, graphs, kernel, ..Setup::new(name, description, promise(metadata)) }))
    }

    /// The GPUs' names, as `2 x NVIDIA L4`.
    fn names(&self) -> String {
        let name = &self.gpus[0].info().name;
        match self.gpus.len() {
            1 => name.clone(),
            several => format!("{several} x {name}"),
        }
    }
}
