//! Gradients against differences of values.

use burn::tensor::{Device, Tensor, TensorData};

use super::{labels, number, numbers, object, says};
use crate::loss::{
    DistillConfig, LabelHeat, LabelLossConfig, LabelTarget, SizeLoss, TeacherHeat, TeacherTarget,
    label_terms, teacher_terms,
};
use crate::maps::{Heads, Labels, Maps, Object};

const CELLS: usize = 6;

/// What a network of two classes says of two pictures of 2 by 3 cells: all channels of `cls`, `wh`, `reg`.
fn heads(values: &[f32], device: &Device) -> (Tensor<4>, Heads<Tensor<4>>) {
    let all = Tensor::<4>::from_data(TensorData::new(values.to_vec(), [2, 6, 2, 3]), device).require_grad();
    let head = |first| all.clone().narrow(1, first, 2);
    let said = Heads { cls: head(0), wh: head(2), reg: head(4) };
    (all, said)
}

fn random(seed: u64) -> Vec<f32> {
    let mut rng = fastrand::Rng::with_seed(seed);
    (0..2 * 6 * CELLS).map(|_| 4.0 * rng.f32() - 2.0).collect()
}

/// The gradient of a loss at these values.
fn gradient(values: &[f32], loss: impl Fn(&Heads<Tensor<4>>) -> Tensor<1>) -> Vec<f32> {
    let (all, said) = heads(values, &Device::flex().autodiff());
    let gradients = loss(&said).backward();
    all.grad(&gradients).map_or(vec![0.0; values.len()], |gradient| numbers(&gradient))
}

/// Holds it against central differences at every value; returns it.
fn checked(loss: impl Fn(&Heads<Tensor<4>>) -> Tensor<1>) -> Vec<f32> {
    const REACH: f32 = 5e-3;
    let values = random(3);
    let gradient = gradient(&values, &loss);
    let device = Device::flex().autodiff();
    for (index, analytic) in gradient.iter().enumerate() {
        let at = |by: f32| {
            let mut moved = values.clone();
            moved[index] += by;
            number(&loss(&heads(&moved, &device).1))
        };
        let numeric = (at(REACH) - at(-REACH)) / (2.0 * REACH);
        assert!((numeric - analytic).abs() < 3e-4 + 0.01 * analytic.abs(), "{index}: {numeric} {analytic}");
    }
    assert!(gradient.iter().any(|value| value.abs() > 0.01), "something pulls");
    gradient
}

/// Two pictures, of the second of which only class 1 is labelled.
fn target(device: &Device) -> LabelTarget {
    let first = labels(&[object(0, [2.0, 2.0, 12.0, 8.0]), object(1, [0.0, 0.0, 3.0, 2.0])]);
    let second = Labels { known: [false, true].into(), ..labels(&[object(1, [5.0, 0.0, 9.0, 7.0])]) };
    LabelTarget::encode(&[Some(&first), Some(&second)], 2, (2, 3), 4, device)
}

#[test]
fn of_the_losses_against_labels() {
    let device = Device::flex().autodiff();
    for (heat, size) in [(LabelHeat::Focal, SizeLoss::Plain), (LabelHeat::Mse, SizeLoss::Normalised)] {
        let config = LabelLossConfig { heat, size, ..Default::default() };
        for term in 0..3 {
            let gradient =
                checked(|said| label_terms(said, &target(&device), &config).swap_remove(term).loss);
            // Each term knows its own head only.
            for (index, value) in gradient.iter().enumerate() {
                assert!(index / CELLS % 6 / 2 == term || *value == 0.0);
            }
        }
    }
}

#[test]
fn of_the_losses_against_a_teacher() {
    let device = Device::flex().autodiff();
    let mut rng = fastrand::Rng::with_seed(5);
    let mut maps = Maps::empty(1, 2, 3);
    maps.heat.iter_mut().chain(&mut maps.size).chain(&mut maps.offset).for_each(|value| *value = rng.f32());
    let target = TeacherTarget::of(&[&maps, &maps.flipped()], &DistillConfig::default(), &device);
    for heat in [TeacherHeat::Focal, TeacherHeat::Mse, TeacherHeat::MeanMse] {
        let config = DistillConfig { heat, ..Default::default() };
        for term in 0..3 {
            let gradient =
                checked(|said| teacher_terms("a", said, &target, &[1], &config, 1.0).swap_remove(term).loss);
            let not_owned = |index: usize| (index / CELLS).is_multiple_of(6);
            assert!(gradient.iter().enumerate().all(|(index, value)| !not_owned(index) || *value == 0.0));
        }
    }
}

#[test]
fn there_is_none_where_nothing_is_known() {
    let device = Device::flex().autodiff();
    let crowd = Object { ignore: true, ..object(1, [0.0, 0.0, 12.0, 4.0]) };
    let first = Labels { known: [false, true].into(), objects: vec![crowd] };
    let target = LabelTarget::encode(&[Some(&first), None], 2, (2, 3), 4, &device);
    for heat in [LabelHeat::Focal, LabelHeat::Mse] {
        let config = LabelLossConfig { heat, ..Default::default() };
        let gradient = gradient(&random(1), |said| {
            let terms = label_terms(said, &target, &config);
            terms.into_iter().map(|term| term.loss).reduce(|a, b| a + b).unwrap()
        });
        // Class 1 of the first picture, below the crowd, is all that is judged.
        let judged = CELLS + 3..2 * CELLS;
        for (index, value) in gradient.iter().enumerate() {
            assert_eq!(judged.contains(&index), *value != 0.0, "{index}: {value}");
        }
    }
}

#[test]
fn who_is_sure_and_wrong_is_still_pulled() {
    let device = Device::flex().autodiff();
    let labels = labels(&[object(0, [2.0, 2.0, 12.0, 8.0])]);
    let target = LabelTarget::encode(&[Some(&labels)], 2, (2, 3), 4, &device);
    let said = says([-20.0, 20.0], [0.0; 2], [0.0; 2], &device);
    let logits = said.cls.require_grad();
    let said = Heads { cls: logits.clone(), ..said };
    let gradients = label_terms(&said, &target, &LabelLossConfig::default()).swap_remove(0).loss.backward();
    let gradient = numbers(&logits.grad(&gradients).unwrap());
    assert!((gradient[4] + 1.0).abs() < 1e-3, "the centre's: {}", gradient[4]);
    assert!(gradient[CELLS..].iter().all(|value| (value - 1.0).abs() < 1e-3), "{gradient:?}");
}
