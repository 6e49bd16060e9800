//! Losses against teachers.

use burn::tensor::activation::{log_sigmoid, sigmoid};
use burn::tensor::{Device, Int, Tensor, TensorData};
use serde::Deserialize;

use super::{LossError, SizeLoss, Term, check_weights, tensor, weighted_l1};
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
    /// How sizes are.
    pub size: SizeLoss,
    /// Weight of the scores' loss, or the value it is held at.
    pub heat_weight: f32,
    /// That of the sizes'.
    pub size_weight: f32,
    /// That of the offsets'.
    pub offset_weight: f32,
    /// A teacher's peaks below this score tell no size and no offset: most of them are no objects, and so many that their
    /// small boxes would draw all sizes down.
    pub least_peak: f32,
    /// So many cells around a peak tell its size, and its offset from there, too: the student's peak need not be at the
    /// very cell of the teacher's, and what it says there is what counts.
    pub spread: usize,
}

impl Default for DistillConfig {
    fn default() -> Self {
        Self {
            heat: TeacherHeat::default(),
            size: SizeLoss::Normalised,
            heat_weight: 1.0,
            size_weight: 0.5,
            offset_weight: 0.2,
            least_peak: 0.3,
            spread: 1,
        }
    }
}

/// Cells that are farther from a peak than this are no part of what it is of, whatever its size.
const MOST_SPREAD: usize = 8;

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
        if self.spread > MOST_SPREAD {
            let spread = self.spread;
            return Err(LossError::Setting(format!(
                "distill.spread: {spread} is not a number of cells from 0 to {MOST_SPREAD}"
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
    /// How much each cell's size and offset count: the score of the peak that they are of, 0 where there is none,
    /// `[N, 1, h, w]`.
    pub weight: Tensor<4>,
    /// The sum of the peaks' scores in all pictures, `[1]`.
    pub count: Tensor<1>,
}

impl TeacherTarget {
    /// Brings a batch's maps of one teacher to the device. A cell is a peak if none of the eight around it scores more
    /// in its class; where it is one of several classes, the greatest score counts.
    pub fn of(maps: &[&Maps], config: &DistillConfig, device: &Device) -> Self {
        let (classes, height, width) =
            maps.first().map_or((0, 0, 0), |maps| (maps.classes, maps.height, maps.width));
        let gather =
            |of: &dyn Fn(&Maps) -> Vec<f32>| maps.iter().flat_map(|maps| of(maps)).collect::<Vec<f32>>();
        let dims = |channels| [maps.len(), channels, height, width];
        let peaks: Vec<Vec<f32>> = maps.iter().map(|maps| peaks(maps, config.least_peak)).collect();
        let count = peaks.iter().flatten().sum::<f32>();
        let told: Vec<Told> =
            maps.iter().zip(peaks).map(|(maps, peaks)| Told::of(maps, peaks, config.spread)).collect();
        let told = |of: &dyn Fn(&Told) -> &[f32]| told.iter().flat_map(|told| of(told).to_vec()).collect();
        Self {
            heat: tensor(gather(&|maps| maps.heat.clone()), dims(classes), device),
            size: tensor(told(&|told| &told.size), dims(2), device),
            offset: tensor(told(&|told| &told.offset), dims(2), device),
            weight: tensor(told(&|told| &told.weight), dims(1), device),
            count: Tensor::from_data([count], device),
        }
    }
}

/// The greatest score of the classes of which a cell is a peak, row by row; 0 where that is below `least`.
fn peaks(maps: &Maps, least: f32) -> Vec<f32> {
    let cells = maps.height * maps.width;
    let mut peaks = vec![0f32; cells];
    for (index, &score) in maps.heat.iter().enumerate() {
        let (class, cell) = (index / cells, index % cells);
        if score >= least
            && score > peaks[cell]
            && maps.is_peak(class, (cell / maps.width, cell % maps.width))
        {
            peaks[cell] = score;
        }
    }
    peaks
}

/// What each cell tells of an object, row by row.
struct Told {
    size: Vec<f32>,
    offset: Vec<f32>,
    weight: Vec<f32>,
}

impl Told {
    /// Each cell tells of the strongest peak that is at most so many cells away.
    fn of(maps: &Maps, peaks: Vec<f32>, spread: usize) -> Self {
        let (mut size, mut offset, mut weight) = (maps.size.clone(), maps.offset.clone(), peaks.clone());
        let cells = maps.height * maps.width;
        for (peak, &score) in peaks.iter().enumerate().filter(|(_, score)| **score > 0.0) {
            let (row, column) = (peak / maps.width, peak % maps.width);
            let around = |at: usize, count: usize| at.saturating_sub(spread)..(at + spread + 1).min(count);
            for (y, x) in
                around(row, maps.height).flat_map(|y| around(column, maps.width).map(move |x| (y, x)))
            {
                let cell = y * maps.width + x;
                // A peak tells of itself.
                if peaks[cell] > 0.0 || score <= weight[cell] {
                    continue;
                }
                weight[cell] = score;
                let moved = [column as f32 - x as f32, row as f32 - y as f32];
                for (axis, moved) in moved.into_iter().enumerate() {
                    size[axis * cells + cell] = maps.size[axis * cells + peak];
                    offset[axis * cells + cell] = maps.offset[axis * cells + peak] + moved;
                }
            }
        }
        Self { size, offset, weight }
    }
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
    let count = target.count.clone().clamp_min(1.0);
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
        term(
            "size",
            config.size.of(said.wh.clone(), target.size.clone(), &target.weight),
            config.size_weight,
        ),
        term(
            "offset",
            weighted_l1(said.reg.clone(), target.offset.clone(), &target.weight),
            config.offset_weight,
        ),
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
        let error = DistillConfig { spread: 9, ..Default::default() }.check().unwrap_err();
        assert_eq!(error.to_string(), "distill.spread: 9 is not a number of cells from 0 to 8");
        let error = DistillConfig { heat_weight: -2.0, ..Default::default() }.check().unwrap_err();
        assert_eq!(error.to_string(), "distill.heat-weight: -2 is not a number of 0 or more");
    }
}
