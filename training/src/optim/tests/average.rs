use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::{Tiny, numbers, pictures};
use crate::optim::{Average, mix};

fn values(module: &Tiny) -> Vec<f32> {
    numbers(module).into_iter().map(|(_, value)| value).collect()
}

/// Weights, or what they should be, as sums of shares of three modules.
fn shares(modules: [&Tiny; 3], shares: [f32; 3]) -> Vec<f32> {
    let [a, b, c] = modules.map(values);
    let sum = |index: usize| shares[0] * a[index] + shares[1] * b[index] + shares[2] * c[index];
    (0..a.len()).map(sum).collect()
}

fn close(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5)
}

fn three() -> [Tiny; 3] {
    [1, 2, 3].map(Tiny::new)
}

#[test]
fn a_module_has_numbers_for_all_that_it_is_made_of() {
    // A kernel of 2 by 2 and a bias for each of three channels, BatchNorm's four, the last kernel and bias.
    assert_eq!(values(&Tiny::new(1)).len(), 12 + 3 + 4 * 3 + 3 + 1);
}

#[test]
fn a_mean_counts_all_alike() {
    let [a, b, c] = three();
    let mean = Average::new(&a).add(&b).add(&c);
    assert_eq!(mean.count(), 3);
    assert!(close(&values(mean.module()), &shares([&a, &b, &c], [1.0 / 3.0; 3])));
}

#[test]
fn a_moving_average_forgets_what_it_began_with_and_then_slowly() {
    let [a, b, c] = three();
    let moved = Average::new(&a).move_to(&b, 0.999);
    assert!(close(&values(moved.module()), &shares([&a, &b, &c], [1.0 / 11.0, 10.0 / 11.0, 0.0])));
    let moved = moved.move_to(&c, 0.999);
    let last = 10.0 / 12.0;
    let expected = shares([&a, &b, &c], [(1.0 - last) / 11.0, (1.0 - last) * 10.0 / 11.0, last]);
    assert!(close(&values(moved.module()), &expected));
    assert_eq!(moved.count(), 3);
    let late = Average::resume(a.valid(), 1_000_000).move_to(&b, 0.9);
    assert!(close(&values(late.module()), &shares([&a, &b, &c], [0.9, 0.1, 0.0])));
    assert_eq!(late.count(), 1_000_001);
}

#[test]
fn it_has_the_newest_statistics_of_a_network_that_trains() {
    let [a, b, _] = three();
    let before = values(&b.valid());
    b.forward(pictures());
    let average = Average::resume(a.valid(), 1).add(&b);
    let after = values(&b.valid());
    assert!(before != after, "a forward pass moves the statistics");
    let expected: Vec<f32> = values(&a).iter().zip(&after).map(|(a, b)| (a + b) / 2.0).collect();
    assert!(close(&values(average.module()), &expected));
}

#[test]
fn it_is_for_inference() {
    let average = Average::new(&Tiny::new(1)).add(&Tiny::new(2));
    let before = values(average.module());
    let picture = Tensor::<4>::ones([1, 1, 4, 4], &Device::flex());
    average.module().forward(picture);
    assert_eq!(values(average.module()), before, "looking does not move its statistics");
}

#[test]
fn what_was_taken_of_it_stays_as_it_was() {
    let [a, b, c] = three();
    let average = Average::new(&a).add(&b);
    let (taken, other) = (average.module().clone(), average.clone());
    let before = values(&taken);
    let average = average.add(&c);
    assert!(values(average.module()) != before);
    assert_eq!((values(&taken), values(other.module())), (before.clone(), before));
    assert_eq!(values(&a), values(&Tiny::new(1)));
}

#[test]
fn shares_of_nothing_and_of_all() {
    let [a, b, _] = three();
    assert_eq!(values(&mix(a.valid(), &b.valid(), 0.0)), values(&a));
    assert_eq!(values(&mix(a.valid(), &b.valid(), 1.0)), values(&b));
}
