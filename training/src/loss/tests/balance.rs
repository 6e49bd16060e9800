use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor, TensorData};

use super::{near, number, numbers};
use crate::loss::{Balance, Combined, Levels, LossError, Term};

fn term(name: &str, loss: Tensor<1>, target: f32) -> Term {
    Term { name: name.to_owned(), loss, target }
}

const ALL: [Balance; 3] = [Balance::Static, Balance::Communism, Balance::CommunismOfBatch];

/// Without a step before.
fn combine(terms: &[Term], balance: Balance) -> Result<Combined, LossError> {
    crate::loss::combine(terms, balance, &mut Levels::default())
}

fn value(value: f32, device: &Device) -> Tensor<1> {
    Tensor::from_data(TensorData::new(vec![value], [1]), device)
}

#[test]
fn static_weights_are_the_targets() {
    let device = Device::flex();
    let terms = [term("a", value(3.0, &device), 1.0), term("b", value(50.0, &device), 0.1)];
    let combined = combine(&terms, Balance::Static).unwrap();
    assert!(near(number(&combined.total), 8.0));
    assert_eq!((combined.values, combined.weights), (vec![3.0, 50.0], vec![1.0, 0.1]));
}

#[test]
fn communism_gives_each_term_its_target() {
    let device = Device::flex();
    let terms = [
        term("a", value(3.0, &device), 1.0),
        term("b", value(5e7, &device), 0.1),
        term("c", value(0.0, &device), 2.0),
    ];
    for balance in [Balance::Communism, Balance::CommunismOfBatch] {
        let combined = combine(&terms, balance).unwrap();
        let shares: Vec<f32> = combined.values.iter().zip(&combined.weights).map(|(l, w)| l * w).collect();
        let expected = [1.0, 0.1, 0.0];
        assert!(shares.iter().zip(expected).all(|(is, should)| (is - should).abs() < 1e-4), "{shares:?}");
        assert!((number(&combined.total) - 1.1).abs() < 1e-4);
        assert!(combined.weights[2].is_finite());
    }
}

/// A rare class: most batches have next to nothing of it, every tenth is full of it.
#[test]
fn batches_with_little_to_say_pull_less_than_those_with_much() {
    let device = Device::flex();
    let mut levels = Levels::default();
    let mut share = |loss: f32, balance| {
        let combined = crate::loss::combine(&[term("rare", value(loss, &device), 1.0)], balance, &mut levels);
        number(&combined.unwrap().total)
    };
    for _ in 0..10 {
        assert!(
            (share(0.01, Balance::CommunismOfBatch) - share(20.0, Balance::CommunismOfBatch)).abs() < 0.02
        );
    }
    for _ in 0..20 {
        for _ in 0..9 {
            assert!(share(0.01, Balance::Communism) <= 1.0);
        }
        assert!((share(20.0, Balance::Communism) - 1.0).abs() < 1e-4, "it is held");
    }
    assert!(share(0.01, Balance::Communism) < 0.01);
    // Batches that say nothing at all leave the level where it is.
    (0..1000).for_each(|_| assert_eq!(share(0.0, Balance::Communism), 0.0));
    assert!(share(0.01, Balance::Communism) < 0.01);
}

#[test]
fn gradients_are_those_of_the_terms_times_their_weights() {
    let device = Device::flex().autodiff();
    for balance in ALL {
        let x = value(3.0, &device).require_grad();
        // 9 with a slope of 6, and 30 with a slope of 10.
        let terms = [term("a", x.clone().powi_scalar(2), 0.5), term("b", x.clone() * 10.0, 0.1)];
        let combined = combine(&terms, balance).unwrap();
        let gradient = numbers(&x.grad(&combined.total.backward()).unwrap())[0];
        let expected = 6.0 * combined.weights[0] + 10.0 * combined.weights[1];
        assert!(near(gradient, expected), "{balance:?}: {gradient} {expected}");
    }
}

#[test]
fn what_is_no_number_is_named() {
    let device = Device::flex();
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for balance in ALL {
            let terms =
                [term("labels.heat", value(1.0, &device), 1.0), term("coco.size", value(bad, &device), 1.0)];
            let error = combine(&terms, balance).unwrap_err();
            let told = error.to_string();
            let LossError::NotANumber { term, value } = error else { panic!("{told}") };
            assert_eq!(term, "coco.size");
            assert!(value.is_nan() == bad.is_nan() && (value == bad || bad.is_nan()));
            assert!(told.contains("coco.size") && told.contains("optimiser.rate"), "{told}");
        }
    }
    assert_eq!(combine(&[], Balance::Static).unwrap_err(), LossError::Nothing);
}

/// Two layers that learn three sizes in steps against the gradient; the distance to them before each step, for as long as
/// it is a number.
fn distances(balance: Balance, rate: f64, steps: usize) -> Vec<f32> {
    let device = Device::flex().autodiff();
    let layer = |from, to| LinearConfig::new(from, to).with_bias(false).init(&device);
    let layers: [Linear; 2] = [spread(layer(3, 8), 1), spread(layer(8, 1), 2)];
    let sizes = Tensor::<2>::from_data([[90.0], [30.0], [60.0]], &device);
    let pictures = Tensor::<2>::from_data([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], &device);
    let mut weights = layers.map(|layer| layer.weight.val());
    let (mut distances, mut levels) = (Vec::new(), Levels::default());
    for _ in 0..steps {
        weights = weights.map(|weight| weight.detach().require_grad());
        let said = pictures.clone().matmul(weights[0].clone()).matmul(weights[1].clone());
        let distance = (said - sizes.clone()).powi_scalar(2).mean();
        let terms = [term("size", distance, 1.0)];
        let Ok(combined) = crate::loss::combine(&terms, balance, &mut levels) else { break };
        distances.push(combined.values[0]);
        let gradients = combined.total.backward();
        weights = weights.map(|weight| {
            let step = Tensor::from_inner(weight.grad(&gradients).unwrap() * rate);
            weight - step
        });
    }
    distances
}

/// Its weights, which the device would draw at random, from -0.5 to 0.5.
fn spread(layer: Linear, seed: u64) -> Linear {
    let mut rng = fastrand::Rng::with_seed(seed);
    let [rows, columns] = layer.weight.dims();
    let values: Vec<f32> = (0..rows * columns).map(|_| rng.f32() - 0.5).collect();
    let device = layer.weight.val().device();
    let mut layer = layer.no_grad();
    layer.weight = layer.weight.map(|_| Tensor::from_data(TensorData::new(values, [rows, columns]), &device));
    layer
}

#[test]
fn communism_learns_at_a_rate_that_tears_static_weights_away() {
    let torn = distances(Balance::Static, 0.5, 300);
    assert!(torn.len() < 10, "ends in what is no number: {torn:?}");
    for balance in [Balance::Communism, Balance::CommunismOfBatch] {
        let held = distances(balance, 0.5, 300);
        assert_eq!(held.len(), 300);
        assert!(held.iter().all(|distance| *distance <= held[0]), "{held:?}");
        assert!(held[299] < held[0] / 10.0, "{} {}", held[0], held[299]);
    }
}
