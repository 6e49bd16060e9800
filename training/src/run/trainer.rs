//! The loop over steps, and what happens between its pieces: evaluation, keeping, showing.

use std::path::Path;
use std::time::Instant;

use anyhow::Context as _;
use burn::tensor::{Device, Tensor};

use super::batch::Batch;
use super::diverged::Diverged;
use super::folder::Folder;
use super::log::TermValue;
use super::materials::Materials;
use super::recipe::Recipe;
use super::records::{Records, Step};
use super::referee::Verdict;
use super::show::Show;
use super::student::{self, Student};
use super::{Begin, Outcome};
use crate::data::{Loader, Sample, Settings};
use crate::export::ExportError;
use crate::loss::{self, Combined, Term};
use crate::maps::Heads;
use crate::nn::{self, CenterNet, weights};
use crate::optim;

/// Batches from which the statistics of a mean of weights are estimated anew.
const ESTIMATES: usize = 50;

/// A student on its way.
pub struct Trainer<'a> {
    recipe: &'a Recipe,
    folder: Folder,
    materials: Materials,
    device: Device,
    loader: Loader,
    student: Student,
    records: Records,
    show: Show,
}

impl<'a> Trainer<'a> {
    /// Makes the student, or takes it from the run's last checkpoint.
    ///
    /// # Errors
    /// A checkpoint that cannot be read, or is of another recipe.
    pub fn new(
        recipe: &'a Recipe,
        folder: Folder,
        materials: Materials,
        begin: Begin,
    ) -> anyhow::Result<Self> {
        let device = nn::device().autodiff();
        device.seed(recipe.seed);
        let student = match begin {
            Begin::Resume => Student::resume(recipe, &folder.last(), &device)?,
            Begin::Fresh | Begin::Anew => Student::new(recipe, &device)?,
        };
        let settings = Settings {
            input: recipe.input(),
            stride: nn::STRIDE as u32,
            batch: recipe.train.batch,
            seed: recipe.seed,
            threads: recipe.train.loaders,
            augment: recipe.augment.clone(),
            shuffle: true,
            memory: recipe.train.picture_cache_mb << 20,
        };
        let loader = Loader::new(materials.learn.clone(), materials.lessons.clone(), settings)?;
        let epochs = recipe.train.steps.div_ceil(loader.batches());
        let names = names(&materials);
        let records =
            Records::open(recipe, folder.log(), folder.plot(), names, student.progress.step, epochs)?;
        let show = Show::new(recipe, &materials)?;
        Ok(Self { recipe, folder, materials, device, loader, student, records, show })
    }

    /// Trains to the last step.
    ///
    /// # Errors
    /// A loss that is no number, told by its term: the last checkpoint is from before. A full disk.
    pub fn train(mut self) -> anyhow::Result<Outcome> {
        let steps = self.recipe.train.steps as u64;
        let an_epoch = self.loader.batches() as u64;
        let every = match self.recipe.train.evaluate_every as u64 {
            0 => an_epoch,
            every => every,
        };
        let mut best = None;
        while self.student.progress.step < steps {
            let (epoch, begun) =
                (self.student.progress.step / an_epoch, self.student.progress.step % an_epoch);
            // A run that goes on makes the batches it had and leaves them, so that it gets the others as it would have.
            let mut batches = self.loader.epoch(epoch).skip(begun as usize);
            let mut begin = Instant::now();
            while self.student.progress.step < steps
                && let Some(samples) = batches.next()
            {
                let samples = samples?;
                if self.student.progress.step == 0 {
                    self.show.samples(&samples, &self.materials, &self.folder.first_batch())?;
                }
                let losses = self.step(&samples, epoch, begin)?;
                let step = self.student.progress.step;
                if step.is_multiple_of(every) || step == steps {
                    best = self.evaluate(&losses)?.or(best);
                }
                begin = Instant::now();
            }
        }
        self.records.end();
        self.outcome(best)
    }

    fn outcome(&self, best: Option<Verdict>) -> anyhow::Result<Outcome> {
        let detector = self.folder.detector(&self.recipe.name);
        let best = match best {
            Some(best) => best,
            // It was found before the run was interrupted.
            None => self.judge(&detector)?,
        };
        let step = self.student.progress.best.map_or(0, |(step, _)| step);
        Ok(Outcome { detector, best, step, parameters: self.student.network.parameters() })
    }

    /// Changes the weights once; the losses before that.
    fn step(&mut self, samples: &[Sample], epoch: u64, begin: Instant) -> anyhow::Result<Vec<f32>> {
        let batch = Batch::of(samples, &self.materials.shape, &self.device);
        let heads = self.student.network.forward(batch.images.clone());
        let terms = self.terms(&heads, &batch);
        let Combined { total, values, weights } =
            loss::combine(&terms, self.recipe.balance, &mut self.student.progress.levels).with_context(
                || {
                    let (step, last) = (self.student.progress.step + 1, self.folder.last());
                    format!("at step {step}; the last good checkpoint is {}", last.display())
                },
            )?;
        let rate = self.recipe.optimiser.rate(self.student.progress.step as usize, self.recipe.train.steps);
        let norm = self.student.learn(total.backward(), rate, self.recipe);
        let step = self.student.progress.step;
        if !norm.is_finite() {
            return Err(self.diverged(format!("the gradients at step {step} are {norm}"), &values).into());
        }
        let weighted = values.iter().zip(weights).map(|(&value, weight)| TermValue { value, weight });
        let (terms, seconds) = (weighted.collect(), begin.elapsed().as_secs_f32());
        self.records.step(Step { step, epoch, rate, norm, seconds, terms })?;
        Ok(values)
    }

    fn diverged(&self, cause: String, losses: &[f32]) -> Diverged {
        let losses = names(&self.materials).into_iter().zip(losses.iter().copied()).collect();
        Diverged { cause, step: self.student.progress.step, losses, last: self.folder.last() }
    }

    fn terms(&self, heads: &Heads<Tensor<4>>, batch: &Batch) -> Vec<Term> {
        let mut terms = Vec::new();
        if let Some(labels) = &batch.labels {
            terms.extend(loss::label_terms(heads, labels, &self.recipe.labels));
        }
        for (teacher, target) in self.materials.lessons.teachers().iter().zip(&batch.teachers) {
            let (name, weight) = (teacher.name(), teacher.config().weight);
            terms.extend(loss::teacher_terms(
                name,
                heads,
                target,
                teacher.owns(),
                &self.recipe.distill,
                weight,
            ));
        }
        terms
    }

    /// Holds the student against what it never saw, and keeps it; how good it is if it is the best so far. `losses` are
    /// the last step's.
    fn evaluate(&mut self, losses: &[f32]) -> anyhow::Result<Option<Verdict>> {
        let network = self.judged()?;
        let (candidate, step) = (self.folder.candidate(), self.student.progress.step);
        student::write_detector(self.recipe, &network, &self.materials.runtime, &candidate).map_err(
            |error| match error.downcast_ref() {
                Some(ExportError::Model(_) | ExportError::Parity { .. }) => {
                    let cause = format!("no detector comes of the student after step {step}: {error}");
                    self.diverged(cause, losses).into()
                }
                _ => error,
            },
        )?;
        let verdict = self.judge(&candidate)?;
        let is_best = self.student.progress.best.is_none_or(|(_, value)| verdict.value > value);
        if is_best {
            let detector = self.folder.detector(&self.recipe.name);
            std::fs::rename(&candidate, &detector)
                .with_context(|| format!("cannot move {} to {}", candidate.display(), detector.display()))?;
            weights::save(&network, &self.folder.best())?;
            if self.recipe.export.caffe {
                student::write_caffe(self.recipe, &network, &self.folder.caffe(&self.recipe.name))?;
            }
            self.student.progress.best = Some((step, verdict.value));
        } else {
            std::fs::remove_file(&candidate)
                .with_context(|| format!("cannot remove {}", candidate.display()))?;
        }
        self.student.save(&self.folder.last())?;
        self.show.draw(&network, &self.folder.preview(step as usize))?;
        self.records.evaluated(step, &verdict, is_best)?;
        Ok(is_best.then_some(verdict))
    }

    fn judge(&self, detector: &Path) -> anyhow::Result<Verdict> {
        let name = detector.to_str().context("the run's folder is not valid UTF-8; choose another")?;
        self.materials.referee.judge(&self.materials.runtime, name)
    }

    /// The weights to be judged, with statistics that are theirs.
    fn judged(&self) -> anyhow::Result<CenterNet> {
        let (network, needs_statistics) = self.student.judged();
        if !needs_statistics {
            return Ok(network);
        }
        let mut batches = (0..).flat_map(|epoch| self.loader.epoch(u64::MAX - epoch));
        optim::reestimate(&network, optim::MOMENTUM, ESTIMATES, |network| {
            let samples = batches.next().context("there is no batch")??;
            network.forward(Batch::of(&samples, &self.materials.shape, &self.device).images);
            Ok(())
        })
    }
}

/// The names of the loss terms.
fn names(materials: &Materials) -> Vec<String> {
    let labels = materials.shape.labelled.then(|| "labels".to_owned());
    let teachers = materials.lessons.teachers().iter().map(|teacher| teacher.name().to_owned());
    let parts = |name: String| ["heat", "size", "offset"].map(|part| format!("{name}.{part}"));
    labels.into_iter().chain(teachers).flat_map(parts).collect()
}
