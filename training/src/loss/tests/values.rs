use burn::tensor::{Device, Tensor};

use super::{labels, near, number, numbers, object, says};
use crate::loss::{
    DistillConfig, LabelHeat, LabelLossConfig, LabelTarget, SizeLoss, TeacherHeat, TeacherTarget, Term,
    label_terms, teacher_terms,
};
use crate::maps::{Heads, Labels, Maps};

/// One object of class 0 in one cell of six, 2.5 by 1.5 cells, its centre three quarters and one quarter into it.
fn one_object(device: &Device) -> LabelTarget {
    let labels = labels(&[object(0, [2.0, 2.0, 12.0, 8.0])]);
    LabelTarget::encode(&[Some(&labels)], 2, (2, 3), 4, device)
}

fn values(terms: &[Term]) -> Vec<f32> {
    terms.iter().map(|term| number(&term.loss)).collect()
}

fn close(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| near(*a, *b))
}

#[test]
fn losses_against_labels_by_hand() {
    let device = Device::flex();
    // Scores of a half and of a quarter.
    let said = says([0.0, -(3f32.ln())], [2.0, 3.0], [0.5, 0.5], &device);
    let terms = label_terms(&said, &one_object(&device), &LabelLossConfig::default());
    let names: Vec<&str> = terms.iter().map(|term| term.name.as_str()).collect();
    assert_eq!(names, ["labels.heat", "labels.size", "labels.offset"]);
    let targets: Vec<f32> = terms.iter().map(|term| term.target).collect();
    assert_eq!(targets, [1.0, 0.1, 1.0]);
    // At the centre (1/2)^2 ln(1/2), as at 5 other cells of its class; at 6 of the other class (1/4)^2 ln(3/4).
    let heat = -(6.0 * 0.25 * 0.5f32.ln() + 6.0 / 16.0 * 0.75f32.ln());
    assert!(close(&values(&terms), &[heat, 0.5 + 1.5, 0.25 + 0.25]), "{:?}", values(&terms));
}

#[test]
fn around_a_centre_scores_count_less() {
    let device = Device::flex();
    let labels = labels(&[object(0, [0.0, 0.0, 104.0, 104.0])]);
    let target = LabelTarget::encode(&[Some(&labels)], 1, (26, 26), 4, &device);
    let zeros = |channels| Tensor::<4>::zeros([1, channels, 26, 26], &device);
    let said = Heads { cls: zeros(1), wh: zeros(2), reg: zeros(2) };
    let heat = number(&label_terms(&said, &target, &LabelLossConfig::default())[0].loss);
    let weights: f32 = numbers(&target.heat).iter().map(|truth| (1.0 - truth).powi(4)).sum();
    assert!(weights < 26.0 * 26.0 - 1.0 - 5.0, "the Gaussian's middle hardly counts");
    assert!(near(heat, -(1.0 + weights) * 0.25 * 0.5f32.ln()), "{heat}");
}

#[test]
fn squared_differences_and_shares_of_sizes_by_hand() {
    let device = Device::flex();
    let said = says([0.0, -(3f32.ln())], [2.0, 3.0], [0.5, 0.5], &device);
    let config = LabelLossConfig { heat: LabelHeat::Mse, size: SizeLoss::Normalised, ..Default::default() };
    let terms = label_terms(&said, &one_object(&device), &config);
    let size = 0.5 / 2.5 + 1.5 / 1.5;
    assert!(close(&values(&terms), &[6.0 / 4.0 + 6.0 / 16.0, size, 0.5]), "{:?}", values(&terms));
}

#[test]
fn losses_are_by_object_and_not_by_picture() {
    let device = Device::flex();
    let labels = labels(&[object(0, [2.0, 2.0, 12.0, 8.0])]);
    let say = || says([0.3, -1.0], [2.0, 3.0], [0.5, 0.5], &device);
    let heads = |of: fn(Heads<Tensor<4>>) -> Tensor<4>| Tensor::cat(vec![of(say()), of(say())], 0);
    let twice = Heads { cls: heads(|said| said.cls), wh: heads(|said| said.wh), reg: heads(|said| said.reg) };
    for heat in [LabelHeat::Focal, LabelHeat::Mse] {
        let config = LabelLossConfig { heat, ..Default::default() };
        let both = LabelTarget::encode(&[Some(&labels), Some(&labels)], 2, (2, 3), 4, &device);
        let one = values(&label_terms(&say(), &one_object(&device), &config));
        assert!(close(&values(&label_terms(&twice, &both, &config)), &one));
    }
}

#[test]
fn pictures_without_objects_have_finite_losses() {
    let device = Device::flex();
    let said = says([0.0, 0.0], [2.0, 3.0], [0.5, 0.5], &device);
    let empty = Labels { objects: Vec::new(), known: [true, false].into() };
    let target = LabelTarget::encode(&[Some(&empty)], 2, (2, 3), 4, &device);
    let terms = values(&label_terms(&said, &target, &LabelLossConfig::default()));
    assert!(close(&terms, &[-6.0 * 0.25 * 0.5f32.ln(), 0.0, 0.0]), "{terms:?}");
    let target = LabelTarget::encode(&[None], 2, (2, 3), 4, &device);
    for heat in [LabelHeat::Focal, LabelHeat::Mse] {
        let config = LabelLossConfig { heat, ..Default::default() };
        assert_eq!(values(&label_terms(&said, &target, &config)), [0.0; 3]);
    }
}

#[test]
fn scores_that_are_sure_have_finite_losses() {
    let device = Device::flex();
    let loss = |logit: f32| {
        let said = says([logit, -logit], [0.0; 2], [0.0; 2], &device);
        number(&label_terms(&said, &one_object(&device), &LabelLossConfig::default())[0].loss)
    };
    // Wrong in 5 cells of one class and right in all others, or wrong in 6 of the other and at the centre.
    assert!(near(loss(1000.0), 5000.0) && near(loss(-1000.0), 7000.0), "{} {}", loss(1000.0), loss(-1000.0));
}

/// Where only peaks tell sizes.
const PEAKS: DistillConfig = DistillConfig {
    heat: TeacherHeat::Focal,
    size: SizeLoss::Plain,
    heat_weight: 1.0,
    size_weight: 0.1,
    offset_weight: 1.0,
    least_peak: 0.1,
    spread: 0,
};

/// A teacher of one class on 2 by 3 cells: a peak of 0.8 and one of 0.05, which is too low to tell a size.
fn teacher(device: &Device) -> TeacherTarget {
    let mut maps = Maps::empty(1, 2, 3);
    maps.heat = vec![0.8, 0.5, 0.0, 0.0, 0.0, 0.05];
    maps.size = [[4.0; 6], [2.0; 6]].concat();
    maps.offset = [[0.5; 6], [0.25; 6]].concat();
    TeacherTarget::of(&[&maps], &PEAKS, device)
}

#[test]
fn losses_against_a_teacher_by_hand() {
    let device = Device::flex();
    let said = says([7.0, 0.0], [2.0, 3.0], [0.5, 0.5], &device);
    let config = DistillConfig { heat: TeacherHeat::Mse, size_weight: 0.2, ..PEAKS };
    let terms = teacher_terms("coco", &said, &teacher(&device), &[1], &config, 0.5);
    let names: Vec<&str> = terms.iter().map(|term| term.name.as_str()).collect();
    assert_eq!(names, ["coco.heat", "coco.size", "coco.offset"]);
    let targets: Vec<f32> = terms.iter().map(|term| term.target).collect();
    assert_eq!(targets, [0.5, 0.1, 0.5]);
    // The class that is not owned says 7, which is nobody's business.
    let squares = 0.09 + 0.0 + 3.0 * 0.25 + 0.45f32.powi(2);
    // By the peaks' scores, 0.8 in all, but at least by 1.
    let expected = [squares, 0.8 * (2.0 + 1.0), 0.8 * 0.25];
    assert!(close(&values(&terms), &expected), "{:?}", values(&terms));
    let heat = |heat| {
        let config = DistillConfig { heat, ..config.clone() };
        values(&teacher_terms("coco", &said, &teacher(&device), &[1], &config, 1.0))[0]
    };
    assert!(near(heat(TeacherHeat::MeanMse), squares / 6.0));
    // The student says 0.5 everywhere, so that each cell's cross entropy is ln 2 whatever the teacher says.
    assert!(near(heat(TeacherHeat::Focal), squares * 2f32.ln()));
}

#[test]
fn two_peaks_share_the_loss_by_their_scores() {
    let device = Device::flex();
    let mut maps = Maps::empty(2, 2, 3);
    (maps.heat[0], maps.heat[6 + 5]) = (0.9, 0.6);
    (maps.size[0], maps.size[5]) = (4.0, 1.0);
    let said = says([0.0, 0.0], [2.0, 0.0], [0.0, 0.0], &device);
    let target = TeacherTarget::of(&[&maps], &PEAKS, &device);
    let size = values(&teacher_terms("a", &said, &target, &[0, 1], &PEAKS, 1.0))[1];
    assert!(near(size, (0.9 * 2.0 + 0.6 * 1.0) / 1.5), "{size}");
}

#[test]
fn peaks_are_the_greatest_of_their_neighbours_by_class() {
    let mut maps = Maps::empty(2, 3, 3);
    #[rustfmt::skip]
    let heat = [
        // A peak in the corner; a plateau of two, both of which count.
        0.9, 0.2, 0.3,
        0.1, 0.2, 0.3,
        0.0, 0.0, 0.0,
        // A peak beside the first one's, and in the last row.
        0.0, 0.4, 0.0,
        0.0, 0.0, 0.0,
        0.7, 0.0, 0.6,
    ];
    maps.heat = heat.to_vec();
    let target = TeacherTarget::of(&[&maps, &Maps::empty(2, 3, 3)], &PEAKS, &Device::flex());
    assert_eq!(target.heat.dims(), [2, 2, 3, 3]);
    let expected = [0.9, 0.4, 0.3, 0.0, 0.0, 0.3, 0.7, 0.0, 0.6];
    assert_eq!(numbers(&target.weight), [expected, [0.0; 9]].concat());
    assert!(near(number(&target.count), 3.2));
}

#[test]
fn a_peak_tells_its_size_around_it_as_well() {
    let mut maps = Maps::empty(1, 2, 4);
    // Two peaks, of which the left is the stronger, and one that is too weak to tell anything.
    (maps.heat[0], maps.heat[2], maps.heat[7]) = (0.9, 0.6, 0.05);
    (maps.size[0], maps.size[2], maps.size[7]) = (4.0, 1.0, 9.0);
    (maps.offset[0], maps.offset[2]) = (0.5, 0.25);
    let config = DistillConfig { spread: 1, ..PEAKS };
    let target = TeacherTarget::of(&[&maps], &config, &Device::flex());
    assert!(near(number(&target.count), 1.5));
    assert_eq!(numbers(&target.weight), [0.9, 0.9, 0.6, 0.6, 0.9, 0.9, 0.6, 0.6]);
    assert_eq!(numbers(&target.size)[..8], [4.0, 4.0, 1.0, 1.0, 4.0, 4.0, 1.0, 1.0]);
    let x = [0.5, -0.5, 0.25, -0.75, 0.5, -0.5, 0.25, -0.75];
    let y = [0.0, 0.0, 0.0, 0.0, -1.0, -1.0, -1.0, -1.0];
    assert_eq!(numbers(&target.offset), [x, y].concat());
}

#[test]
fn the_order_of_owned_classes_is_the_teachers() {
    let device = Device::flex();
    let mut maps = Maps::empty(2, 2, 3);
    maps.heat[..6].fill(0.5);
    let target = TeacherTarget::of(&[&maps], &PEAKS, &device);
    // The student's class 1 is the teacher's first and says a half.
    let heat = |owns: &[usize]| {
        let said = says([-30.0, 0.0], [0.0; 2], [0.0; 2], &device);
        values(&teacher_terms("a", &said, &target, owns, &PEAKS, 1.0))[0]
    };
    assert!(heat(&[1, 0]) < 1e-6 && heat(&[0, 1]) > 0.5);
}
