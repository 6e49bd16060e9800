//! `centerx model compile`: a detector to a plan for TensorRT.

use std::path::PathBuf;

#[cfg(feature = "tensorrt")]
use {
    crate::app::compile::{Compiled, Compiler, Wish, phases},
    crate::app::gpu,
    crate::cli::output,
    crate::cli::progress::Progress,
    crate::model::plan::{Plans, Record},
    crate::model::{self, zoo},
    anyhow::Context,
    std::path::Path,
};

use crate::cli::UsageError;
use crate::engine::flavour::{Capability, Flavour};
use crate::engine::gpu::Settings;
use crate::model::plan::{self, Batches};

/// Compile a detector for NVIDIA GPUs.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Without --output the plan goes to the cache, where `centerx serve` finds it; it would compile \
    the model itself on first use. The precision is the ONNX file's own: see `centerx model quantize`.\n\n\
    Examples:\n  centerx model compile coco\n  \
    centerx model compile yard.onnx --max-batch 32 --best 1,16\n  \
    centerx model compile yard.onnx --target rtx:8.6,8.9 -o yard.plan"
)]
pub struct Args {
    /// The name of a pulled model, or a detector's ONNX file.
    #[arg(value_name = "MODEL")]
    pub(super) model: String,
    /// Library and compute capabilities to compile for, such as rtx:8.6,8.9 [default: the TensorRT and the
    /// GPUs of this machine].
    #[arg(long, value_name = "LIBRARY[:CAPABILITY,...]", value_parser = target)]
    pub(super) target: Option<Target>,
    /// Pictures a run at most.
    #[arg(long, value_name = "N", default_value_t = Settings::default().max_batch)]
    max_batch: usize,
    /// Batch sizes to tune for, one profile each.
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_values_t = Settings::default().best_batches)]
    best: Vec<usize>,
    /// Folder of TensorRT's libraries [default: where the system finds them].
    #[arg(long, env = "TENSORRT_LIBRARY_DIR", value_name = "FOLDER")]
    pub(super) library_dir: Option<PathBuf>,
    /// Memory of the GPU, in MiB, that the compiler may use to try things [default: all].
    #[arg(long, value_name = "MIB")]
    pub(super) workspace: Option<u64>,
    /// The plan to write; what it is goes beside it as JSON.
    #[arg(long, short, value_name = "OUT.plan")]
    pub(super) output: Option<PathBuf>,
    /// Compile even if the plan is there.
    #[arg(long)]
    pub(super) force: bool,
}

/// What to compile for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Which TensorRT.
    pub library: Flavour,
    /// Compute capabilities, sorted; none means those of this machine's GPUs.
    pub capabilities: Vec<Capability>,
}

impl Args {
    /// Compiles, and prints where the plan lies.
    ///
    /// # Errors
    /// What keeps the model from being compiled: a library that is missing, a detector that TensorRT refuses.
    pub fn run(self) -> anyhow::Result<()> {
        let profiles = self.profiles()?;
        if let Some(output) = &self.output {
            if !plan::is_plan(output) {
                let problem = format!("--output: {} does not end in .plan or .engine", output.display());
                return Err(UsageError(problem).into());
            }
            super::target::check(output, self.force)?;
        }
        self.compile(&profiles)
    }

    fn profiles(&self) -> Result<Vec<Batches>, UsageError> {
        let settings =
            Settings { max_batch: self.max_batch, best_batches: self.best.clone(), ..Settings::default() };
        settings.validate().map_err(|problem| UsageError(format!("--max-batch, --best: {problem}")))?;
        plan::profiles(self.max_batch, &self.best).map_err(|problem| UsageError(format!("--best: {problem}")))
    }

    #[cfg(feature = "tensorrt")]
    fn compile(self, profiles: &[Batches]) -> anyhow::Result<()> {
        let path = zoo::resolve(&self.model)?;
        let detector = model::load(&path)?;
        // The command that rebuilds a plan must work in any folder.
        let source = if path == Path::new(&self.model) {
            std::path::absolute(&path)?.display().to_string()
        } else {
            self.model.clone()
        };
        let wish = Wish { detector: &detector, source: &source, profiles };
        let settings = Settings {
            library: self.target.as_ref().map(|target| target.library),
            library_dir: self.library_dir.clone(),
            ..Settings::default()
        };
        let workspace = self.workspace.map(|mib| (mib as usize) << 20);
        let elsewhere = self.target.clone().filter(|target| !target.capabilities.is_empty());
        let Some(Target { capabilities, .. }) = elsewhere else {
            let gpus = gpu::start(&settings).map_err(|reason| no_gpu(&reason.why))?;
            return gpus.with_compiler(workspace, |compiler| self.compile_by(compiler, wish))?;
        };
        let (tensorrt, plans) = (gpu::load_library(&settings)?, Plans::from_env()?);
        let (tensorrt, plans) = (&tensorrt, &plans);
        self.compile_by(&Compiler { tensorrt, plans, capabilities, gpu: None, workspace }, wish)
    }

    #[cfg(feature = "tensorrt")]
    fn compile_by(&self, compiler: &Compiler<'_>, wish: Wish<'_>) -> anyhow::Result<()> {
        let compiled = match compiler.cached(wish).filter(|_| !self.force) {
            Some(compiled) => compiled,
            None => {
                let progress = Progress::start();
                let tell = |phase: &str, percent: u32| progress.phase(&format!("{phase}: {percent} %"));
                progress.step(&format!("compiling {}", wish.source));
                let compiled = compiler.compile(wish, &phases(&tell));
                progress.end();
                compiled?
            }
        };
        let path = match &self.output {
            Some(output) => {
                let written = plan::write(output, &compiled.plan, &compiled.record);
                written.with_context(|| format!("cannot write {}", output.display()))?;
                output.clone()
            }
            None if compiled.seconds.is_none() => compiler.plans.path(&compiled.record.key),
            None => compiler.keep(&compiled)?,
        };
        eprintln!("{}", about(&compiled));
        output::line(path.display())?;
        Ok(())
    }

    #[cfg(not(feature = "tensorrt"))]
    fn compile(self, _: &[Batches]) -> anyhow::Result<()> {
        anyhow::bail!(
            "this centerx was built without TensorRT; build it with `cargo build --release --features tensorrt` \
             (docs/gpu.md)"
        )
    }
}

/// What to say of a plan.
#[cfg(feature = "tensorrt")]
fn about(compiled: &Compiled) -> String {
    let Record { key, bytes, .. } = &compiled.record;
    let profiles: Vec<_> = key.profiles.iter().map(Batches::to_string).collect();
    let made = match compiled.seconds {
        Some(seconds) => format!("compiled in {seconds:.1} s"),
        None => "was there already".to_owned(),
    };
    format!(
        "{made}: {} for compute capability {}, batches {}, {:.1} MiB",
        key.product(),
        key.capabilities.join(", "),
        profiles.join("; "),
        *bytes as f64 / f64::from(1 << 20)
    )
}

/// Nothing is served here, so that the CPU is no way out.
#[cfg(feature = "tensorrt")]
fn no_gpu(why: &str) -> anyhow::Error {
    anyhow::anyhow!("{why}; or name what to compile for, such as --target rtx:8.9, which needs no GPU")
}

/// Reads `LIBRARY[:CAPABILITY,...]`.
fn target(text: &str) -> Result<Target, String> {
    let (library, capabilities) = text.split_once(':').unwrap_or((text, ""));
    let library: Flavour = library.parse()?;
    let given = capabilities.split(',').filter(|one| !one.is_empty());
    let mut capabilities = given.map(str::parse).collect::<Result<Vec<Capability>, _>>()?;
    capabilities.sort_unstable();
    capabilities.dedup();
    if library == Flavour::Enterprise && !capabilities.is_empty() {
        return Err(
            "enterprise compiles for the GPU of this machine only; name no capability, or take rtx".into()
        );
    }
    Ok(Target { library, capabilities })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_library_and_capabilities() {
        let of = |library, numbers: &[&str]| {
            Ok(Target { library, capabilities: numbers.iter().map(|one| one.parse().unwrap()).collect() })
        };
        assert_eq!(target("enterprise"), of(Flavour::Enterprise, &[]));
        assert_eq!(target("rtx:8.9"), of(Flavour::Rtx, &["8.9"]));
        assert_eq!(target("rtx:120,8.9,8.6,89"), of(Flavour::Rtx, &["8.6", "8.9", "12.0"]));
        assert!(target("cuda").unwrap_err().contains("neither enterprise nor rtx"));
        assert!(target("rtx:8").unwrap_err().contains("such as 8.9"));
        assert!(target("enterprise:9.0").unwrap_err().contains("of this machine only"));
    }
}
