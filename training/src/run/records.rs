//! What a run writes down and shows: log, plot, progress, the best student.

use std::path::PathBuf;

use anyhow::Context as _;

use super::log::{self, Log, Row, TermValue};
use super::progress::{Progress, Status};
use super::recipe::Recipe;
use super::referee::Verdict;

/// Steps a row of the log.
const STEPS_A_ROW: u64 = 10;

/// A step, as it was.
#[derive(Clone, Debug)]
pub struct Step {
    /// Steps done.
    pub step: u64,
    /// The epoch, from 0.
    pub epoch: u64,
    /// Learning rate.
    pub rate: f64,
    /// Norm of all gradients, before clipping.
    pub norm: f32,
    /// Seconds it took, waiting for its pictures included.
    pub seconds: f32,
    /// The loss terms: values and weights.
    pub terms: Vec<TermValue>,
}

/// The records of a run.
pub struct Records {
    path: PathBuf,
    plot: PathBuf,
    title: String,
    log: Log,
    progress: Progress,
    names: Vec<String>,
    epochs: usize,
    since: Vec<Step>,
    written: Option<Row>,
}

impl Records {
    /// Begins or, after `done` steps, continues them. `names` are the loss terms'.
    pub fn open(
        recipe: &Recipe,
        path: PathBuf,
        plot: PathBuf,
        names: Vec<String>,
        done: u64,
        epochs: usize,
    ) -> anyhow::Result<Self> {
        let terms: Vec<&str> = names.iter().map(String::as_str).collect();
        let log = match done {
            0 => Log::create(&path, &terms)?,
            done => Log::resume(&path, &terms, done)?,
        };
        let progress = Progress::start(done, recipe.train.steps as u64);
        Ok(Self {
            path,
            plot,
            title: recipe.name.clone(),
            log,
            progress,
            names,
            epochs,
            since: Vec::new(),
            written: None,
        })
    }

    /// A step was done.
    pub fn step(&mut self, step: Step) -> anyhow::Result<()> {
        let values: Vec<(&str, f32)> =
            self.names.iter().map(String::as_str).zip(step.terms.iter().map(|term| term.value)).collect();
        self.progress.step(&Status {
            step: step.step,
            epoch: step.epoch as u32 + 1,
            epochs: self.epochs as u32,
            rate: step.rate,
            total: total(&step.terms),
            terms: &values,
        });
        let is_due = step.step.is_multiple_of(STEPS_A_ROW);
        self.since.push(step);
        if is_due { self.write_row(None) } else { Ok(()) }
    }

    /// The student was evaluated; the plot is drawn anew.
    pub fn evaluated(&mut self, step: u64, verdict: &Verdict, is_best: bool) -> anyhow::Result<()> {
        let best = if is_best { ", the best so far" } else { "" };
        self.progress.say(&format!("step {step}: {verdict}{best}"));
        self.write_row(Some(verdict.value))?;
        super::plot::plot(&log::read(&self.path)?, &self.title, &self.plot)?;
        Ok(())
    }

    /// Means of what was not written yet. A row that holds a score says what the last row said if there is nothing new.
    fn write_row(&mut self, score: Option<f64>) -> anyhow::Result<()> {
        let steps = std::mem::take(&mut self.since);
        let row = match steps.last() {
            Some(last) => mean(&steps, last, score),
            None => Row { score, ..self.written.take().context("an evaluation comes after a step")? },
        };
        self.log.write(&row)?;
        self.written = Some(row);
        Ok(())
    }

    /// The run is over.
    pub fn end(&self) {
        self.progress.end();
    }
}

fn total(terms: &[TermValue]) -> f32 {
    terms.iter().map(|term| term.value * term.weight).sum()
}

fn mean(steps: &[Step], last: &Step, score: Option<f64>) -> Row {
    let over = |value: &dyn Fn(&Step) -> f32| steps.iter().map(value).sum::<f32>() / steps.len() as f32;
    let term = |at: usize| TermValue {
        value: over(&|step| step.terms[at].value),
        weight: over(&|step| step.terms[at].weight),
    };
    Row {
        step: last.step,
        epoch: last.epoch as u32 + 1,
        rate: last.rate,
        gradient_norm: over(&|step| step.norm),
        seconds: over(&|step| step.seconds),
        total: over(&|step| total(&step.terms)),
        score,
        terms: (0..last.terms.len()).map(term).collect(),
    }
}
