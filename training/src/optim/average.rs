//! Averages of weights over steps.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Tensor, TensorData};

/// An average of a module's weights, BatchNorm's statistics included.
///
/// With a share per step it is an exponential moving average (EMA); with a share of 1/n at the nth it is their mean, as
/// stochastic weight averaging (SWA, Izmailov et al. 2018) has it.
#[derive(Clone, Debug)]
pub struct Average<M> {
    module: M,
    count: u64,
}

impl<M: Module> Average<M> {
    /// Begins with these weights, for inference.
    pub fn new(module: &M) -> Self {
        Self { module: module.valid(), count: 1 }
    }

    /// One that goes on from `count` weights.
    pub fn resume(module: M, count: u64) -> Self {
        Self { module, count }
    }

    /// How many weights it is of.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The weights it has come to.
    pub fn module(&self) -> &M {
        &self.module
    }

    /// Adds weights that a moving average forgets by `decay` a step. At first it forgets faster, so that what it began
    /// with, which is random, does not stay: the nth weights get a share of 10 / (10 + n) at least.
    pub fn move_to(mut self, module: &M, decay: f64) -> Self {
        let share = (1.0 - decay).max(10.0 / (10.0 + self.count as f64));
        self.module = mix(self.module, &module.valid(), share);
        self.count += 1;
        self
    }

    /// Adds weights that count as much as each before.
    #[expect(
        clippy::should_implement_trait,
        reason = "a module and an average are no one kind of thing to be added"
    )]
    pub fn add(mut self, module: &M) -> Self {
        self.count += 1;
        self.module = mix(self.module, &module.valid(), 1.0 / self.count as f64);
        self
    }
}

/// `(1 - share) * old + share * new` of every number of two modules that are made alike, by their place; for inference.
pub fn mix<M: Module>(old: M, new: &M, share: f64) -> M {
    // Clones share BatchNorm's statistics, which are mapped in place: those of `old` would change with it.
    old.valid().map(&mut Mixer { values: values(new).into_iter(), share })
}

/// All numbers of a module, tensor by tensor.
pub(super) fn values<M: Module>(module: &M) -> Vec<TensorData> {
    let mut values = Values::default();
    module.visit(&mut values);
    values.0
}

#[derive(Default)]
struct Values(Vec<TensorData>);

impl ModuleVisitor for Values {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.push(param.val().into_data());
    }
}

struct Mixer {
    values: std::vec::IntoIter<TensorData>,
    share: f64,
}

impl ModuleMapper for Mixer {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(new) = self.values.next() else { return param };
        param.map(|old| {
            let new = Tensor::<D>::from_data(new, &old.device());
            old.mul_scalar(1.0 - self.share) + new.mul_scalar(self.share)
        })
    }
}
