mod average;
mod settings;
mod steps;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig};
use burn::tensor::{Device, Tensor, TensorData};

/// A small network with all that a large one has: kernels, biases, BatchNorm.
#[derive(Module, Debug)]
struct Tiny {
    conv: Conv2d,
    norm: BatchNorm,
    out: Conv2d,
}

impl Tiny {
    fn new(seed: u64) -> Self {
        let device = Device::flex().autodiff();
        let made = Self {
            conv: Conv2dConfig::new([1, 3], [2, 2]).init(&device),
            norm: BatchNormConfig::new(3).init(&device),
            out: Conv2dConfig::new([3, 1], [1, 1]).init(&device),
        };
        // Tests side by side share the device's generator.
        made.map(&mut Draw(fastrand::Rng::with_seed(seed)))
    }

    fn forward(&self, pictures: Tensor<4>) -> Tensor<4> {
        self.out.forward(self.norm.forward(self.conv.forward(pictures)).powi_scalar(2))
    }

    /// The squared distance to something that can be learned.
    fn loss(&self) -> Tensor<1> {
        let pictures = pictures();
        let truth = pictures.clone().narrow(2, 0, 3).narrow(3, 0, 3) * 2.0 + 1.0;
        (self.forward(pictures) - truth).powi_scalar(2).mean()
    }
}

fn pictures() -> Tensor<4> {
    let mut rng = fastrand::Rng::with_seed(9);
    let values: Vec<f32> = (0..4 * 16).map(|_| rng.f32()).collect();
    Tensor::from_data(TensorData::new(values, [4, 1, 4, 4]), &Device::flex().autodiff())
}

struct Draw(fastrand::Rng);

impl ModuleMapper for Draw {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|value| {
            let shape = value.dims();
            let values: Vec<f32> = (0..shape.iter().product()).map(|_| 0.1 + self.0.f32()).collect();
            let drawn = Tensor::from_data(TensorData::new(values, shape), &value.device());
            drawn.set_require_grad(value.is_require_grad())
        })
    }
}

/// All numbers of a module, each with how many axes its tensor has.
fn numbers<M: Module>(module: &M) -> Vec<(usize, f32)> {
    struct All(Vec<(usize, f32)>);
    impl ModuleVisitor for All {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let values: Vec<f32> = param.val().into_data().try_to_vec().unwrap();
            self.0.extend(values.into_iter().map(|value| (D, value)));
        }
    }
    let mut all = All(Vec::new());
    module.visit(&mut all);
    all.0
}

fn number(tensor: Tensor<1>) -> f32 {
    tensor.into_scalar::<f32>()
}
