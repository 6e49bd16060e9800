//! How the parts of a loss are weighed against each other.

use std::collections::BTreeMap;

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::Term;

/// How terms become one loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Balance {
    /// Each term times its target.
    Static,
    /// centerX's "communism" loss: each term is held at its target T by the weight T / (L + eps), which is taken for a
    /// constant. All terms pull with their share from the first step to the last, whatever their scale, and a loss that
    /// explodes pulls no harder than one that is small: its gradient is that of T * ln L. So the step is bounded where
    /// static weights are torn away by one term. The other side of it: towards L = 0 the weight grows, up to T / eps, so
    /// the learning rate has to fall for weights to come to rest.
    ///
    /// L is what the term comes to on average of the last steps, or its value now where that is more. Were it only the
    /// value now, batches in which a class is hardly to be seen would pull as hard as those that are full of it, and a
    /// rare class would be taught to be nowhere.
    #[default]
    Communism,
    /// The same with each batch's own values, as centerX has it.
    CommunismOfBatch,
}

/// Keeps the weight of a term that has come to nothing finite.
const EPSILON: f32 = 1e-4;

/// What loss terms have come to on average of the last steps, by their names.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Levels(BTreeMap<String, f32>);

impl Levels {
    /// Share of the old average that each step keeps.
    const KEPT: f32 = 0.95;

    /// Takes note of a value; its average, or the value itself if that is more. A value of 0 is that of a batch of which
    /// the term has nothing to say.
    fn note(&mut self, term: &str, value: f32) -> f32 {
        let average = self.0.entry(term.to_owned()).or_insert(value);
        if *average == 0.0 {
            *average = value;
        } else if value != 0.0 {
            *average = Self::KEPT * *average + (1.0 - Self::KEPT) * value;
        }
        average.max(value)
    }
}

/// One loss.
#[derive(Clone, Debug)]
pub struct Combined {
    /// What gradients are taken of, `[1]`.
    pub total: Tensor<1>,
    /// The terms before they are weighed.
    pub values: Vec<f32>,
    /// What each is multiplied by.
    pub weights: Vec<f32>,
}

/// Why there is no loss.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum LossError {
    /// It is no number.
    #[error(
        "the loss term {term} is {value}: training stops here, before it spoils the weights. Lower optimiser.rate, set \
         optimiser.clip, or use balance = \"communism\"; if it happens at once, look at the data"
    )]
    NotANumber {
        /// The first such term.
        term: String,
        /// What it is.
        value: f32,
    },
    /// A setting that makes no sense: its name, what it is, what it should be.
    #[error("{0}")]
    Setting(String),
    /// There is nothing to learn from.
    #[error("there is no loss term: neither labels nor a teacher")]
    Nothing,
}

/// Weighs the terms; `levels` are those of the steps before.
///
/// # Errors
/// A term that is NaN or infinite, by its name.
pub fn combine(terms: &[Term], balance: Balance, levels: &mut Levels) -> Result<Combined, LossError> {
    let losses: Vec<Tensor<1>> = terms.iter().map(|term| term.loss.clone().reshape([1])).collect();
    if losses.is_empty() {
        return Err(LossError::Nothing);
    }
    // All in one go: on a GPU each reading waits for everything before it.
    let all = Tensor::cat(losses.clone(), 0).detach().into_data().convert::<f32>();
    let values: Vec<f32> = all.iter::<f32>().collect();
    if let Some((term, &value)) = terms.iter().zip(&values).find(|(_, value)| !value.is_finite()) {
        return Err(LossError::NotANumber { term: term.name.clone(), value });
    }
    let weight = |(term, value): (&Term, &f32)| match balance {
        Balance::Static => term.target,
        Balance::Communism => term.target / (levels.note(&term.name, *value) + EPSILON),
        Balance::CommunismOfBatch => term.target / (value + EPSILON),
    };
    let weights: Vec<f32> = terms.iter().zip(&values).map(weight).collect();
    let weighed = losses.into_iter().zip(&weights).map(|(loss, weight)| loss.mul_scalar(*weight));
    let total = weighed.reduce(|sum, loss| sum + loss).ok_or(LossError::Nothing)?;
    Ok(Combined { total, values, weights })
}
