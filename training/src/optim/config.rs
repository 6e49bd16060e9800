//! Settings of the optimiser.

use serde::Deserialize;

use super::Schedule;

/// The optimisers there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Kingma and Ba 2015; weight decay is added to the gradient.
    Adam,
    /// Loshchilov and Hutter 2019: decay apart from the gradient.
    #[default]
    Adamw,
    /// With momentum.
    Sgd,
}

/// What values are computed in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// All of it in float32.
    #[default]
    Float32,
    /// Forward and backward in half precision.
    Mixed,
}

/// Settings of the optimiser.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct OptimConfig {
    /// Which.
    pub kind: Kind,
    /// The learning rate at its highest.
    pub rate: f64,
    /// What of each weight is taken away a step, times the rate; biases and BatchNorm excepted.
    pub weight_decay: f32,
    /// Of SGD.
    pub momentum: f64,
    /// The greatest norm of all gradients together; longer ones are scaled down to it. None, or
    /// infinity as a file has it, leaves them.
    pub clip: Option<f32>,
    /// Steps over which the rate rises from 0.
    pub warm_up: usize,
    /// What it does then.
    pub schedule: Schedule,
    /// What values are computed in.
    pub precision: Precision,
}

impl Default for OptimConfig {
    fn default() -> Self {
        Self {
            kind: Kind::default(),
            rate: 1e-3,
            weight_decay: 1e-4,
            momentum: 0.9,
            clip: Some(10.0),
            warm_up: 50,
            schedule: Schedule::default(),
            precision: Precision::default(),
        }
    }
}

/// What is wrong with an optimiser.
#[derive(Debug, thiserror::Error)]
pub enum OptimError {
    /// A setting that makes no sense.
    #[error("optimiser.{0}")]
    Setting(String),
    /// The backend cannot do it.
    #[error(
        "optimiser.precision: mixed precision needs a backend with half-precision kernels, and the CPU's (flex) has \
         none that are faster; take float32"
    )]
    Precision,
    /// Its state cannot be read.
    #[error("the optimiser's state {} cannot be read: {cause}; begin anew with --force", path.display())]
    Read {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        cause: String,
    },
    /// Its state cannot be written.
    #[error("the optimiser's state {} cannot be written: {cause}; is there space left?", path.display())]
    Write {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        cause: String,
    },
}

impl OptimConfig {
    /// Checks the ranges.
    ///
    /// # Errors
    /// The first setting that makes no sense.
    pub fn check(&self) -> Result<(), OptimError> {
        let refuse = |name: &str, is: &dyn std::fmt::Display, would: &str| {
            Err(OptimError::Setting(format!("{name}: {is} is not {would}")))
        };
        if !(self.rate > 0.0 && self.rate.is_finite()) {
            return refuse("rate", &self.rate, "a number above 0");
        }
        if !(0.0..1.0).contains(&self.weight_decay) {
            return refuse("weight-decay", &self.weight_decay, "a number from 0 to less than 1");
        }
        if !(0.0..1.0).contains(&self.momentum) {
            return refuse("momentum", &self.momentum, "a number from 0 to less than 1");
        }
        if let Some(clip) = self.clip.filter(|clip| clip.is_nan() || *clip <= 0.0) {
            return refuse("clip", &clip, "a number above 0; take inf for none");
        }
        if self.precision != Precision::Float32 {
            return Err(OptimError::Precision);
        }
        self.schedule.check().map_err(OptimError::Setting)
    }

    /// The learning rate of a step, counted from 0, of so many.
    pub fn rate(&self, step: usize, steps: usize) -> f64 {
        if step < self.warm_up {
            return self.rate * (step + 1) as f64 / self.warm_up as f64;
        }
        self.rate * self.schedule.factor(step - self.warm_up, steps.saturating_sub(self.warm_up))
    }
}
