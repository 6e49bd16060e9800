//! BatchNorm's statistics, estimated anew.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Tensor, TensorData};

use super::average::values;

/// What burn's BatchNorm moves its running statistics by at each training pass, unless told otherwise.
pub const MOMENTUM: f64 = 0.1;

/// The module for inference, with statistics of BatchNorm that are the plain mean of those of `passes` batches, as
/// weights need that no batch has seen yet (SWA, Izmailov et al. 2018). `pass` runs one batch forward through the
/// module that it gets, which is in training. `momentum` is that of all the module's norms, [`MOMENTUM`] by default.
///
/// A running statistic follows `r[k] = (1 - m) r[k-1] + m b[k]`, where b is the batch's. So the sum of all b is
/// `(r[K] - r[0]) / m + r[0] + ... + r[K-1]`: the mean of the batches can be read off the running values, though these
/// themselves still hold much of what they were before and little of the first batches. What does not move, all
/// weights, comes to itself by the same sum, so that no one need know which numbers are statistics; it is taken in
/// float64, where that is exact.
///
/// # Errors
/// The first error of `pass`. With no passes the module is as it was.
pub fn reestimate<M: Module, E>(
    module: &M,
    momentum: f64,
    passes: usize,
    mut pass: impl FnMut(&M) -> Result<(), E>,
) -> Result<M, E> {
    let module = module.valid().train();
    let first = flat(&module);
    let mut sum = vec![0.0; first.len()];
    let mut now = first.clone();
    for _ in 0..passes {
        sum.iter_mut().zip(&now).for_each(|(sum, value)| *sum += value);
        pass(&module)?;
        now = flat(&module);
    }
    if passes == 0 {
        return Ok(module.valid());
    }
    let moved = now.iter().zip(&first).map(|(now, first)| (now - first) / momentum);
    let mean = moved.zip(sum).map(|(moved, sum)| ((moved + sum) / passes as f64) as f32);
    Ok(module.valid().map(&mut Refill(mean.collect::<Vec<f32>>().into_iter())))
}

/// Every number of a module. Asking for its form for inference brings running statistics up to date.
fn flat<M: Module>(module: &M) -> Vec<f64> {
    values(&module.valid()).iter().flat_map(|data| data.iter::<f64>()).collect()
}

struct Refill(std::vec::IntoIter<f32>);

impl ModuleMapper for Refill {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|old| {
            let values: Vec<f32> = self.0.by_ref().take(old.shape().num_elements()).collect();
            Tensor::from_data(TensorData::new(values, old.shape()), &old.device())
        })
    }
}

#[cfg(test)]
mod tests {
    use burn::module::Module as _;
    use burn::nn::conv::{Conv2d, Conv2dConfig};
    use burn::nn::{BatchNorm, BatchNormConfig};
    use burn::tensor::{Device, Distribution, Tensor};

    use super::*;

    #[derive(Module, Debug)]
    struct Net {
        conv: Conv2d,
        norm: BatchNorm,
    }

    fn net() -> (Net, Vec<Tensor<4>>) {
        let device = Device::flex().autodiff();
        device.seed(3);
        let net = Net {
            conv: Conv2dConfig::new([2, 3], [1, 1]).init(&device),
            norm: BatchNormConfig::new(3).init(&device),
        };
        let batch = |at: usize| {
            Tensor::random([2, 2, 4, 4], Distribution::Normal(at as f64, 1.0 + at as f64), &device)
        };
        (net, (0..7).map(batch).collect())
    }

    fn forward(net: &Net, x: &Tensor<4>) -> Result<(), &'static str> {
        net.norm.forward(net.conv.forward(x.clone()));
        Ok(())
    }

    fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.into_data().iter::<f32>().collect()
    }

    #[test]
    fn statistics_are_the_mean_of_the_batches_whatever_they_were_before() {
        let (net, batches) = net();
        // Far off, as statistics of other weights may be.
        (0..30).for_each(|_| forward(&net, &(batches[6].clone() * 5.0)).unwrap());
        let mut left = batches.iter();
        let found = reestimate(&net, MOMENTUM, batches.len(), |net| {
            left.next().ok_or("more passes than batches").and_then(|x| forward(net, x))
        })
        .unwrap();
        let (mut mean, mut variance) = (vec![0.0; 3], vec![0.0; 3]);
        for x in &batches {
            let said = net.conv.forward(x.clone());
            let one = said.clone().mean_dims(&[0, 2, 3]);
            let spread = (said - one.clone()).powi_scalar(2).mean_dims(&[0, 2, 3]);
            let add = |sum: &mut Vec<f32>, values: Vec<f32>| {
                sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += value / batches.len() as f32);
            };
            add(&mut mean, numbers(one));
            add(&mut variance, numbers(spread));
        }
        let close = |found: Vec<f32>, expected: &[f32]| {
            found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-3 * (1.0 + b.abs()))
        };
        assert!(close(numbers(found.norm.running_mean.value()), &mean));
        // burn keeps the variance of the batch itself, without Bessel's correction.
        assert!(close(numbers(found.norm.running_var.value()), &variance));
    }

    #[test]
    fn weights_stay_bit_for_bit_and_the_module_asked_about_is_left_alone() {
        let (net, batches) = net();
        let before = values(&net.valid());
        let found = reestimate(&net, MOMENTUM, 5, |net| forward(net, &batches[5])).unwrap();
        assert_eq!(values(&net.valid()), before);
        assert_eq!(numbers(found.conv.weight.val()), numbers(net.conv.weight.val()));
        assert_eq!(numbers(found.norm.gamma.val()), numbers(net.norm.gamma.val()));
        assert_ne!(numbers(found.norm.running_mean.value()), numbers(net.norm.running_mean.value()));
    }

    #[test]
    fn a_pass_that_fails_ends_it_and_none_changes_nothing() {
        let (net, _) = net();
        assert_eq!(reestimate(&net, MOMENTUM, 2, |_| Err("no picture")).unwrap_err(), "no picture");
        let same = reestimate(&net, MOMENTUM, 0, |_| Err("not called")).unwrap();
        assert_eq!(values(&same), values(&net.valid()));
    }
}
