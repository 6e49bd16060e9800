//! Losses against teachers.

use burn::tensor::activation::{log_sigmoid, sigmoid};
use burn::tensor::{Device, Int, Tensor, TensorData};
use serde::Deserialize;

use super::{LossError, Term, check_weights, tensor, weighted_l1};
use crate::maps::{Heads, Maps};

/// How a student's scores are held against a teacher's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TeacherHeat {
    /// Cross entropy to the teacher's score, times the squared difference (Generalized Focal Loss, Li et al. 2020),
    /// summed and divided by the scores of the teacher's peaks. Squared differences alone leave a student that says
    /// "nothing anywhere", which is nearly right, with hardly a gradient: the sigmoid is flat there.
    #[default]
    Focal,
    /// Squared differences, summed and divided likewise.
    Mse,
    /// The plain mean of squared differences over all cells, as centerX has it.
    MeanMse,
}

/// Settings of the losses against teachers.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct DistillConfig {
    /// How scores are held against the teacher's.
    pub heat: TeacherHeat,
    /// Weight of the scores' loss, or the value it is held at.
    pub heat_weight: f32,
    /// That of the sizes'.
    pub size_weight: f32,
    /// That of the offsets'.
    pub offset_weight: f32,
    /// A teacher's peaks below this score tell no size and no offset.
    pub least_peak: f32,
}

impl Default for DistillConfig {
    fn default() -> Self {
        Self {
            heat: TeacherHeat::default(),
            heat_weight: 1.0,
            size_weight: 0.1,
            offset_weight: 1.0,
            least_peak: 0.1,
        }
    }
}

impl DistillConfig {
    /// Checks the ranges.
    ///
    /// # Errors
    /// The first setting that makes no sense.
    pub fn check(&self) -> Result<(), LossError> {
        if !(0.0..=1.0).contains(&self.least_peak) {
            let least = self.least_peak;
            return Err(LossError::Setting(format!(
                "distill.least-peak: {least} is not a score from 0 to 1"
            )));
        }
        let weights = [
            ("heat-weight", self.heat_weight),
            ("size-weight", self.size_weight),
            ("offset-weight", self.offset_weight),
        ];
        check_weights("distill", weights)
    }
}

/// What a teacher says of a batch of pictures.
#[derive(Clone, Debug)]
pub struct TeacherTarget {
    /// Scores of its c classes, `[N, c, h, w]`.
    pub heat: Tensor<4>,
    /// Width and height in cells, `[N, 2, h, w]`.
    pub size: Tensor<4>,
    /// Offset x and y in cells, `[N, 2, h, w]`.
    pub offset: Tensor<4>,
    /// The score of each of its peaks, the greatest of its classes, 0 elsewhere, `[N, 1, h, w]`.
    pub peaks: Tensor<4>,
}

impl TeacherTarget {
    /// Brings a batch's maps of one teacher to the device. A cell is a peak if none of the eight around it scores more
    /// in its class.
    pub fn of(maps: &[&Maps], device: &Device) -> Self {
        let (classes, height, width) =
            maps.first().map_or((0, 0, 0), |maps| (maps.classes, maps.height, maps.width));
        let gather =
            |of: &dyn Fn(&Maps) -> Vec<f32>| maps.iter().flat_map(|maps| of(maps)).collect::<Vec<f32>>();
        let dims = |channels| [maps.len(), channels, height, width];
        Self {
            heat: tensor(gather(&|maps| maps.heat.clone()), dims(classes), device),
            size: tensor(gather(&|maps| maps.size.clone()), dims(2), device),
            offset: tensor(gather(&|maps| maps.offset.clone()), dims(2), device),
            peaks: tensor(gather(&peaks), dims(1), device),
        }
    }
}

/// The greatest score of the classes of which a cell is a peak, row by row.
fn peaks(maps: &Maps) -> Vec<f32> {
    let cells = maps.height * maps.width;
    let mut peaks = vec![0f32; cells];
    for (index, &score) in maps.heat.iter().enumerate() {
        let (class, cell) = (index / cells, index % cells);
        if score > peaks[cell] && maps.is_peak(class, (cell / maps.width, cell % maps.width)) {
            peaks[cell] = score;
        }
    }
    peaks
}

/// The losses of the classes `owns`, by the student's index, against the teacher that owns them: `NAME.heat`,
/// `NAME.size`, `NAME.offset`. Sizes and offsets count by the teacher's score where it has a peak, so that several
/// teachers can share the student's one size.
pub fn teacher_terms(
    name: &str,
    said: &Heads<Tensor<4>>,
    target: &TeacherTarget,
    owns: &[usize],
    config: &DistillConfig,
    weight: f32,
) -> Vec<Term> {
    let owned: Vec<i64> = owns.iter().map(|class| *class as i64).collect();
    let owned = Tensor::<1, Int>::from_data(TensorData::new(owned, [owns.len()]), &said.cls.device());
    let (logits, truth) = (said.cls.clone().select(1, owned), target.heat.clone());
    let squares = (sigmoid(logits.clone()) - truth.clone()).powi_scalar(2);
    let sure = target.peaks.clone().greater_equal_elem(config.least_peak).float() * target.peaks.clone();
    let count = sure.clone().sum().clamp_min(1.0);
    let heat = match config.heat {
        TeacherHeat::Focal => (squares * cross_entropy(logits, truth)).sum() / count,
        TeacherHeat::Mse => squares.sum() / count,
        TeacherHeat::MeanMse => squares.mean(),
    };
    let term = |part: &str, loss, target: f32| Term {
        name: format!("{name}.{part}"),
        loss,
        target: target * weight,
    };
    vec![
        term("heat", heat, config.heat_weight),
        term("size", weighted_l1(said.wh.clone(), target.size.clone(), &sure), config.size_weight),
        term("offset", weighted_l1(said.reg.clone(), target.offset.clone(), &sure), config.offset_weight),
    ]
}

/// `-(t ln p + (1 - t) ln (1 - p))` with the score p of each logit and the teacher's score t.
fn cross_entropy(logits: Tensor<4>, truth: Tensor<4>) -> Tensor<4> {
    let found = truth.clone() * log_sigmoid(logits.clone());
    let left = (truth.neg() + 1.0) * log_sigmoid(logits.neg());
    (found + left).neg()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_make_no_sense_are_refused() {
        assert_eq!(DistillConfig::default().check(), Ok(()));
        let error = DistillConfig { least_peak: 1.5, ..Default::default() }.check().unwrap_err();
        assert_eq!(error.to_string(), "distill.least-peak: 1.5 is not a score from 0 to 1");
        let error = DistillConfig { heat_weight: -2.0, ..Default::default() }.check().unwrap_err();
        assert_eq!(error.to_string(), "distill.heat-weight: -2 is not a number of 0 or more");
    }
}
