//! What is wrong with what a network says: against labels, against teachers, and how the parts are weighed.
//!
//! A loss is a list of [`Term`]s, each by itself a mean that does not depend on the number of pictures; [`combine`]
//! makes one number of them. Peaks of teachers are found on the host, so that everything here is elementwise.

mod balance;
mod distill;
mod labels;
mod targets;

use burn::tensor::{Tensor, TensorData};

pub use balance::{Balance, Combined, Levels, LossError, combine};
pub use distill::{DistillConfig, TeacherHeat, TeacherTarget, teacher_terms};
pub use labels::{LabelHeat, LabelLossConfig, SizeLoss, label_terms};
pub use targets::{LabelTarget, radius};

/// One part of a loss.
#[derive(Clone, Debug)]
pub struct Term {
    /// Its name, such as `labels.heat` or `coco.size`.
    pub name: String,
    /// Its value, `[1]`.
    pub loss: Tensor<1>,
    /// What it is multiplied by, or held at.
    pub target: f32,
}

/// The sum of absolute differences where `weight` `[N, 1, h, w]` is, by the sum of weights.
fn weighted_l1(said: Tensor<4>, truth: Tensor<4>, weight: &Tensor<4>) -> Tensor<1> {
    let sum = ((said - truth).abs() * weight.clone()).sum();
    sum / weight.clone().sum().clamp_min(1.0)
}

fn tensor(values: Vec<f32>, dims: [usize; 4], device: &burn::tensor::Device) -> Tensor<4> {
    Tensor::from_data(TensorData::new(values, dims), device)
}

/// Refuses weights that would teach the opposite, or nothing that is a number.
fn check_weights(table: &str, weights: [(&str, f32); 3]) -> Result<(), LossError> {
    match weights.into_iter().find(|(_, weight)| !(0.0..f32::INFINITY).contains(weight)) {
        Some((name, weight)) => {
            Err(LossError::Setting(format!("{table}.{name}: {weight} is not a number of 0 or more")))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
