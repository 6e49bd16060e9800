//! What the learning rate does over a run.

use std::f64::consts::PI;

use serde::Deserialize;

/// What the rate is multiplied by as training goes on.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, tag = "kind")]
pub enum Schedule {
    /// Half a cosine from 1 down to `floor` (SGDR, Loshchilov and Hutter 2017, without restarts).
    Cosine {
        /// Where it ends.
        #[serde(default = "hundredth")]
        floor: f64,
    },
    /// Times `factor` at each milestone, which are shares of the run.
    MultiStep {
        /// Shares of the run, rising.
        milestones: Vec<f64>,
        /// What the rate is multiplied by.
        #[serde(default = "tenth")]
        factor: f64,
    },
    /// Always 1.
    Constant {},
}

fn hundredth() -> f64 {
    0.01
}

fn tenth() -> f64 {
    0.1
}

impl Default for Schedule {
    fn default() -> Self {
        Self::Cosine { floor: hundredth() }
    }
}

impl Schedule {
    /// The factor of a step, counted from 0, of so many.
    pub fn factor(&self, step: usize, steps: usize) -> f64 {
        let share = (step as f64 / steps.max(1) as f64).min(1.0);
        match self {
            Self::Cosine { floor } => floor + (1.0 - floor) * (1.0 + (PI * share).cos()) / 2.0,
            Self::MultiStep { milestones, factor } => {
                let passed = milestones.iter().filter(|milestone| share >= **milestone).count();
                factor.powi(passed as i32)
            }
            Self::Constant {} => 1.0,
        }
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let is_share = |value: &f64| (0.0..=1.0).contains(value);
        match self {
            Self::Cosine { floor } if !is_share(floor) => {
                Err(format!("schedule.floor: {floor} is not a share from 0 to 1"))
            }
            Self::MultiStep { milestones, .. }
                if !milestones.iter().all(is_share) || !milestones.is_sorted() =>
            {
                Err(format!(
                    "schedule.milestones: {milestones:?} are not rising shares of the run from 0 to 1"
                ))
            }
            Self::MultiStep { factor, .. } if !is_share(factor) => {
                Err(format!("schedule.factor: {factor} is not a share from 0 to 1"))
            }
            _ => Ok(()),
        }
    }
}
