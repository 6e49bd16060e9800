//! Losses against labels.

use burn::tensor::Tensor;
use burn::tensor::activation::{log_sigmoid, sigmoid};
use serde::Deserialize;

use super::{LabelTarget, LossError, Term, check_weights, weighted_l1};
use crate::maps::Heads;

/// How scores are held against labels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LabelHeat {
    /// The focal loss of CornerNet (Law and Deng 2018), as *Objects as Points* has it: exponents 2 and 4.
    #[default]
    Focal,
    /// Squared differences.
    Mse,
}

/// How sizes are held against labels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SizeLoss {
    /// Differences in cells.
    #[default]
    Plain,
    /// Differences as shares of the object's own size, so that small objects weigh as much as large ones.
    Normalised,
}

impl SizeLoss {
    /// Sizes `[N, 2, h, w]` against true ones where `weight` `[N, 1, h, w]` is.
    pub(super) fn of(self, said: Tensor<4>, truth: Tensor<4>, weight: &Tensor<4>) -> Tensor<1> {
        match self {
            Self::Plain => weighted_l1(said, truth, weight),
            Self::Normalised => {
                // Of a size of 0, which is where no object is, no share can be taken.
                let own = truth.clone().clamp_min(1e-3);
                weighted_l1(said / own.clone(), truth / own, weight)
            }
        }
    }
}

/// Settings of the losses against labels.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct LabelLossConfig {
    /// How scores are held against labels.
    pub heat: LabelHeat,
    /// How sizes are.
    pub size: SizeLoss,
    /// Weight of the scores' loss, or the value it is held at.
    pub heat_weight: f32,
    /// That of the sizes'.
    pub size_weight: f32,
    /// That of the offsets'.
    pub offset_weight: f32,
}

impl Default for LabelLossConfig {
    fn default() -> Self {
        Self {
            heat: LabelHeat::default(),
            size: SizeLoss::default(),
            heat_weight: 1.0,
            size_weight: 0.1,
            offset_weight: 1.0,
        }
    }
}

impl LabelLossConfig {
    /// Checks the ranges.
    ///
    /// # Errors
    /// The first setting that makes no sense.
    pub fn check(&self) -> Result<(), LossError> {
        let weights = [
            ("heat-weight", self.heat_weight),
            ("size-weight", self.size_weight),
            ("offset-weight", self.offset_weight),
        ];
        check_weights("labels", weights)
    }
}

/// The losses against labels: `labels.heat`, `labels.size`, `labels.offset`.
pub fn label_terms(said: &Heads<Tensor<4>>, target: &LabelTarget, config: &LabelLossConfig) -> Vec<Term> {
    let heat = match config.heat {
        LabelHeat::Focal => focal(said.cls.clone(), target),
        LabelHeat::Mse => squared(said.cls.clone(), target),
    };
    let term = |name: &str, loss, target| Term { name: format!("labels.{name}"), loss, target };
    vec![
        term("heat", heat, config.heat_weight),
        term("size", config.size.of(said.wh.clone(), target.size.clone(), &target.at), config.size_weight),
        term(
            "offset",
            weighted_l1(said.reg.clone(), target.offset.clone(), &target.at),
            config.offset_weight,
        ),
    ]
}

/// By the number of objects.
///
/// Logarithms are taken of logits, not of scores that are kept away from 0 and 1: a network that is wrong and sure of it
/// still has a gradient.
fn focal(logits: Tensor<4>, target: &LabelTarget) -> Tensor<1> {
    let (heat, judged) = (target.heat.clone(), target.judged.clone());
    let (score, miss) = (sigmoid(logits.clone()), sigmoid(logits.clone().neg()));
    let is_centre = heat.clone().greater_equal_elem(1.0).float() * judged.clone();
    let far = (heat.neg() + 1.0).powi_scalar(4) * judged;
    let found = miss.powi_scalar(2) * log_sigmoid(logits.clone()) * is_centre.clone();
    // At a centre `far` is 0.
    let invented = score.powi_scalar(2) * log_sigmoid(logits.neg()) * far;
    (found + invented).sum().neg() / is_centre.sum().clamp_min(1.0)
}

/// By the number of objects.
fn squared(logits: Tensor<4>, target: &LabelTarget) -> Tensor<1> {
    let difference = (sigmoid(logits) - target.heat.clone()) * target.judged.clone();
    difference.powi_scalar(2).sum() / target.at.clone().sum().clamp_min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_that_make_no_sense_are_refused() {
        assert_eq!(LabelLossConfig::default().check(), Ok(()));
        for (size_weight, shown) in [(-1.0, "-1"), (f32::NAN, "NaN"), (f32::INFINITY, "inf")] {
            let error = LabelLossConfig { size_weight, ..Default::default() }.check().unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("labels.size-weight: {shown} is not a number of 0 or more")
            );
        }
    }
}
