//! The student: its network, what changes it, what its weights come to, and the files that are made of it.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use burn::module::Module as _;
use burn::tensor::{Device, Gradients};
use centerx::cli::UsageError;
use centerx::engine::onnx::OnnxRuntime;
use serde::{Deserialize, Serialize};

use super::folder::{Folder, UNFINISHED, replaced};
use super::recipe::Recipe;
use crate::export::{self, About, caffe};
use crate::loss::Levels;
use crate::nn::{self, CenterNet, weights};
use crate::optim::{Average, Optimiser};

/// A student on its way.
pub struct Student {
    /// The network.
    pub network: CenterNet,
    optimiser: Optimiser,
    moving: Option<Average<CenterNet>>,
    mean: Option<Average<CenterNet>>,
    /// How far it is.
    pub progress: Progress,
}

/// How far a student is.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Progress {
    /// Steps done.
    pub step: u64,
    /// The step of the best student so far and how good it was; none before the first evaluation.
    pub best: Option<(u64, f64)>,
    /// What its loss terms have come to.
    #[serde(default)]
    pub levels: Levels,
    /// What the channels of its scores are.
    classes: Vec<String>,
    moved: u64,
    added: u64,
}

/// The files of a checkpoint. Those in burn's form keep the parameters' ids, by which the optimiser knows them.
const NETWORK: &str = "network.bpk";
const OPTIMISER: &str = "optimiser.bpk";
const MOVING: &str = "moving.bpk";
const MEAN: &str = "mean.bpk";
const PROGRESS: &str = "progress.json";

impl Student {
    /// One that knows nothing, but for the backbone's weights where the recipe has some.
    pub fn new(recipe: &Recipe, device: &Device) -> anyhow::Result<Self> {
        let mut network = CenterNet::new(&recipe.network, recipe.classes.len(), device)?;
        if let Some(path) = &recipe.weights {
            let (loaded, found) = weights::load_backbone(network, path)?;
            network = loaded;
            let (taken, missing, unused) = (found.taken.len(), found.missing.len(), found.unused.len());
            eprintln!("{}: {taken} tensors taken, {missing} not there, {unused} not used", path.display());
        }
        let optimiser = Optimiser::new(&recipe.optimiser, &network);
        let moving = (recipe.train.ema > 0.0).then(|| Average::new(&network));
        let progress = Progress { classes: recipe.classes.clone(), ..Progress::default() };
        Ok(Self { network, optimiser, moving, mean: None, progress })
    }

    /// The one of a checkpoint.
    ///
    /// # Errors
    /// Files that cannot be read, or are of another recipe's network.
    pub fn resume(recipe: &Recipe, folder: &Path, device: &Device) -> anyhow::Result<Self> {
        let read = |name: &str| -> anyhow::Result<CenterNet> {
            let made = CenterNet::new(&recipe.network, recipe.classes.len(), device)?;
            let path = folder.join(name);
            made.try_load_file(&path).map_err(|error| {
                anyhow::anyhow!("{}: {error}; is it of this recipe? Begin anew with --force", path.display())
            })
        };
        let path = folder.join(PROGRESS);
        let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let progress: Progress = serde_json::from_slice(&text).with_context(|| path.display().to_string())?;
        if progress.classes != recipe.classes {
            let (was, is) = (progress.classes.join(", "), recipe.classes.join(", "));
            let problem =
                format!("the checkpoint {} is of the classes {was}, the recipe has {is}", folder.display());
            return Err(
                UsageError(format!("{problem}; restore their order, or begin anew with --force")).into()
            );
        }
        let network = read(NETWORK)?;
        let optimiser = Optimiser::new(&recipe.optimiser, &network).load(&folder.join(OPTIMISER))?;
        let average = |name: &str, count: u64| -> anyhow::Result<Option<Average<CenterNet>>> {
            let is_there = folder.join(name).exists();
            is_there.then(|| Ok(Average::resume(read(name)?.valid(), count))).transpose()
        };
        let moving = average(MOVING, progress.moved)?;
        let mean = average(MEAN, progress.added)?;
        Ok(Self { network, optimiser, moving, mean, progress })
    }

    /// Writes a checkpoint: the old one is there until the new one is whole.
    ///
    /// # Errors
    /// A full disk; the old one is still there then.
    pub fn save(&mut self, folder: &Path) -> anyhow::Result<()> {
        let parent = folder.parent().context("a checkpoint lies in a run's folder")?;
        let told =
            || format!("cannot write the checkpoint {}; the one before is still there", folder.display());
        let scratch = tempfile::Builder::new().prefix(UNFINISHED).tempdir_in(parent).with_context(told)?;
        let write = |network: &CenterNet, name: &str| {
            network
                .clone()
                .save_file(scratch.path().join(name))
                .map_err(anyhow::Error::msg)
                .with_context(told)
        };
        // In a network that trains, BatchNorm's statistics lag behind until it is asked for its form for inference.
        let _ = self.network.valid();
        write(&self.network, NETWORK)?;
        self.progress.moved = self.moving.as_ref().map_or(0, Average::count);
        self.progress.added = self.mean.as_ref().map_or(0, Average::count);
        for (average, name) in [(&self.moving, MOVING), (&self.mean, MEAN)] {
            average.iter().try_for_each(|average| write(average.module(), name))?;
        }
        self.optimiser.save(&scratch.path().join(OPTIMISER)).with_context(told)?;
        fs::write(scratch.path().join(PROGRESS), serde_json::to_vec(&self.progress)?).with_context(told)?;
        replace(scratch, folder).with_context(told)
    }

    /// Changes the weights once, at this rate; returns the norm of the gradients.
    pub fn learn(&mut self, gradients: Gradients, rate: f64, recipe: &Recipe) -> f32 {
        let (network, norm) = self.optimiser.step(self.network.clone(), gradients, rate);
        self.network = network;
        self.progress.step += 1;
        let decay = recipe.train.ema;
        self.moving = self.moving.take().map(|average| average.move_to(&self.network, decay));
        if recipe
            .train
            .swa_from
            .is_some_and(|from| self.progress.step as f32 >= from * recipe.train.steps as f32)
        {
            self.mean = Some(match self.mean.take() {
                Some(average) => average.add(&self.network),
                None => Average::new(&self.network),
            });
        }
        norm
    }

    /// The weights to be judged: their mean if it has begun, or their moving average, or themselves. Of a mean the
    /// statistics of BatchNorm must be estimated anew, which is told.
    pub fn judged(&self) -> (CenterNet, bool) {
        match (&self.mean, &self.moving) {
            (Some(mean), _) => (mean.module().clone(), true),
            (None, Some(moving)) => (moving.module().clone(), false),
            (None, None) => (self.network.valid(), false),
        }
    }
}

/// Puts a whole folder where another one may be.
fn replace(scratch: tempfile::TempDir, folder: &Path) -> std::io::Result<()> {
    for entry in scratch.path().read_dir()? {
        fs::File::open(entry?.path())?.sync_all()?;
    }
    let old = replaced(folder);
    if folder.exists() {
        if old.exists() {
            fs::remove_dir_all(&old)?;
        }
        fs::rename(folder, &old)?;
    }
    fs::rename(scratch.keep(), folder)?;
    if old.exists() { fs::remove_dir_all(&old) } else { Ok(()) }
}

/// A run's best student, or the last one.
///
/// # Errors
/// A run without one.
pub fn load(recipe: &Recipe, last: bool) -> anyhow::Result<CenterNet> {
    let device = nn::device();
    let folder = Folder::of(&recipe.output);
    if last {
        return Ok(Student::resume(recipe, &folder.last(), &device)?.judged().0);
    }
    let network = CenterNet::new(&recipe.network, recipe.classes.len(), &device)?;
    Ok(weights::load(network, &folder.best())?)
}

/// Writes the detector of a student; what it says of it.
///
/// # Errors
/// A detector that computes something else than the network; a file that cannot be written.
pub fn write_detector(
    recipe: &Recipe,
    network: &CenterNet,
    runtime: &OnnxRuntime,
    path: &Path,
) -> anyhow::Result<String> {
    let about = About {
        name: recipe.name.clone(),
        version: recipe.version.clone(),
        classes: recipe.classes.clone(),
        input: recipe.input(),
        top_k: recipe.export.top_k,
        nms: recipe.export.nms,
        source: recipe.export.source.clone(),
        license: recipe.export.license.clone(),
    };
    let exported = export::detector(network, &about, runtime)?;
    write(path, &exported.bytes)?;
    Ok(format!("{}: {}", path.display(), exported.parity))
}

/// Writes `NAME.prototxt` and `NAME.caffemodel`.
///
/// # Errors
/// A network that Caffe cannot have; a file that cannot be written.
pub fn write_caffe(recipe: &Recipe, network: &CenterNet, name: &Path) -> anyhow::Result<String> {
    let about = caffe::About {
        name: &recipe.name,
        input: recipe.input(),
        classes: &recipe.classes,
        mean: nn::MEAN,
        std: nn::STD,
    };
    let network = network.valid();
    let made = caffe::export(|ops, image| network.run(ops, image), &about)?;
    let files = [("prototxt", made.prototxt.as_bytes()), ("caffemodel", made.caffemodel.as_slice())];
    for (ending, bytes) in files {
        write(&with_ending(name, ending), bytes)?;
    }
    Ok(format!("{} and its .caffemodel", with_ending(name, "prototxt").display()))
}

fn with_ending(name: &Path, ending: &str) -> std::path::PathBuf {
    let mut name = name.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    name.into()
}

fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    centerx::model::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}
