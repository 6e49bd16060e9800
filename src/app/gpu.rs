//! The GPUs of this machine, with TensorRT: found once, used by every model.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::Registry;

use crate::config::ModelConfig;
use crate::detection::ModelInfo;
use crate::engine::EngineError;
use crate::engine::flavour::{Capability, Flavour};
use crate::engine::gpu::Settings;
use crate::engine::tensorrt::device::startup::{self, Step, Trouble, Unavailable};
use crate::engine::tensorrt::device::watch::{PERIOD, Watcher};
use crate::engine::tensorrt::device::{Gpu, Metrics, Setup, TensorRtEngine};
use crate::engine::tensorrt::execution::CompiledPlan;
use crate::engine::tensorrt::{TensorRt, TensorRtError};
use crate::model::plan::{self, Machine, PlanFile, Plans};
use crate::model::{self, DetectorModel, ModelMetadata};

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

/// TensorRT as `settings` say: the flavour they name, or the first that loads.
///
/// # Errors
/// Why none does.
pub fn load_library(settings: &Settings) -> Result<TensorRt, TensorRtError> {
    let folder = settings.library_dir.as_deref();
    let wanted = match settings.library {
        Some(flavour) => vec![flavour],
        None => Flavour::ALL.to_vec(),
    };
    let mut first_error = None;
    for flavour in wanted {
        match TensorRt::load(flavour, folder) {
            Ok(tensorrt) => return Ok(tensorrt),
            // One that was not built is no news where the other one is missing.
            Err(TensorRtError::NotBuilt(_)) if first_error.is_some() => {}
            Err(error) => {
                let told = first_error.take().filter(|told| !matches!(told, TensorRtError::NotBuilt(_)));
                first_error = Some(told.unwrap_or(error));
            }
        }
    }
    Err(first_error.unwrap_or(TensorRtError::NotBuilt(Flavour::Enterprise)))
}

fn trouble(error: TensorRtError) -> (Step, Trouble) {
    let step = match error {
        TensorRtError::WrongFlavour { .. } | TensorRtError::Version { .. } => Step::Version,
        _ => Step::Library,
    };
    // The error names its own cure.
    let text = error.to_string();
    let (cause, cure) = text.split_once("; ").unwrap_or((&text, "see docs/gpu.md"));
    (step, Trouble::new(cause, cure))
}

impl Gpus {
    /// Step by step: driver, device, library, version.
    fn find(settings: &Settings) -> Result<Self, NotOnGpu> {
        let metrics = Metrics::new().map_err(|error| plan_trouble(&error))?;
        let gpus = devices(settings, &metrics)?;
        let tensorrt = load_library(settings).map_err(|error| {
            let (step, trouble) = trouble(error);
            NotOnGpu::from(trouble.at(step))
        })?;
        let plans = Plans::from_env().map_err(|error| plan_trouble(&error))?;
        let watcher = Watcher::start(gpus.clone(), metrics.clone(), PERIOD);
        let watcher = watcher.inspect_err(|error| tracing::warn!("GPUs are not measured: {error}")).ok();
        Ok(Self { tensorrt, gpus, settings: settings.clone(), plans, metrics, _watcher: watcher })
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
            && let Err(unfit) = record.key.check(&self.machine())
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
        let (lanes, graphs) = (self.settings.lanes, self.settings.graphs);
        Ok((plan, Setup { lanes, graphs, ..Setup::new(name, description, promise(metadata)) }))
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

/// A detector on the first GPU, and what it takes to open engines of it. For benchmarks.
pub struct OnGpu {
    /// What is known of the model.
    pub info: ModelInfo,
    /// What it was loaded from: a pulled model's name or a path.
    pub source: String,
    gpu: Arc<Gpu>,
    plan: Arc<CompiledPlan>,
    setup: Setup,
}

impl OnGpu {
    /// The GPU.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// The plan.
    pub fn plan(&self) -> &CompiledPlan {
        &self.plan
    }

    /// An engine with no lanes yet.
    ///
    /// # Errors
    /// A plan that is not what the model's metadata promise.
    pub fn engine(&self, graphs: bool) -> Result<TensorRtEngine, EngineError> {
        let (plan, setup) = (Arc::clone(&self.plan), Setup { graphs, ..self.setup.clone() });
        TensorRtEngine::new(std::slice::from_ref(&self.gpu), plan, setup)
    }
}

impl Gpus {
    /// The detector called `source`, a pulled model's name or a path, on the first GPU.
    ///
    /// # Errors
    /// A model that is missing, or does not compile.
    pub fn detector(&self, source: &str) -> anyhow::Result<OnGpu> {
        let path = model::zoo::resolve(source)?;
        let detector = model::load(&path)?;
        let config = ModelConfig { name: source.to_owned(), source: None };
        let failed = |reason: NotOnGpu| anyhow::anyhow!("{}", reason.why);
        let plan = self.compiled(&config, &detector).map_err(failed)?;
        let (plan, setup) = self.opened(source, &detector.metadata, plan).map_err(failed)?;
        let on_gpu = |engine| loaded(source, detector.metadata.clone(), detector.sha256.clone(), engine);
        let (plan, gpu) = (Arc::new(plan), Arc::clone(&self.gpus[0]));
        let engine = TensorRtEngine::new(std::slice::from_ref(&gpu), plan.clone(), setup.clone())?;
        let info = on_gpu(Box::new(engine)).info;
        Ok(OnGpu { info, source: source.to_owned(), gpu, plan, setup })
    }
}

/// The devices to use: those that the settings name, or all; those that cannot run the same plan as the first are left
/// out, which is said.
fn devices(settings: &Settings, metrics: &Metrics) -> Result<Vec<Arc<Gpu>>, NotOnGpu> {
    let driver = startup::driver().map_err(|trouble| trouble.at(Step::Driver))?;
    let all = startup::some_devices(&driver).map_err(|trouble| trouble.at(Step::Device))?;
    let wanted = |index: &usize| settings.devices.is_empty() || settings.devices.contains(index);
    if let Some(missing) =
        settings.devices.iter().find(|wanted| all.iter().all(|info| info.index != **wanted))
    {
        let cause = format!("[tensorrt] devices names GPU {missing}, and the driver shows {}", all.len());
        let trouble = Trouble::new(cause, "Number them from 0, as nvidia-smi lists them");
        return Err(trouble.at(Step::Device).into());
    }
    let mut chosen: Vec<_> = all.iter().filter(|info| wanted(&info.index)).collect();
    let capability = chosen[0].capability;
    chosen.retain(|info| {
        let same = info.capability == capability;
        if !same {
            tracing::warn!(
                gpu = info.index,
                "not used: its compute capability is {}, that of the others is {capability}; run a server of its own \
                 on it, with [tensorrt] devices",
                info.capability
            );
        }
        same
    });
    let open = |info: &_| startup::open(&driver, info).map(|device| Gpu::new(device, metrics.clone()));
    let opened: Result<Vec<_>, Trouble> = chosen.into_iter().map(open).collect();
    Ok(opened.map_err(|trouble| trouble.at(Step::Device))?)
}

fn plan_trouble(error: &dyn std::error::Error) -> NotOnGpu {
    let text = error.to_string();
    let (cause, cure) = text.split_once("; ").unwrap_or((&text, "See docs/gpu.md"));
    Trouble::new(cause, cure).at(Step::Plan).into()
}
