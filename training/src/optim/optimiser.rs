//! One step of a module's weights.

use std::path::Path;

use burn::module::{Module, ModuleVisitor, Param, ParamGroup, ParamId};
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamConfig, AdamWConfig, GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::{Gradients, Tensor};

use super::{Kind, OptimConfig, OptimError};

/// Changes weights; keeps what it must remember of each.
///
/// What it remembers goes by the parameters' ids, which burn's own files keep: a module that goes on has to come from
/// one ([`Module::save_file`]), beside this one's [`Optimiser::save`].
pub struct Optimiser {
    inner: ModuleOptimizer,
    clip: Option<f32>,
}

impl Optimiser {
    /// For the parameters of `module`; those of one axis, biases and BatchNorm's, do not decay.
    pub fn new<M: Module>(config: &OptimConfig, module: &M) -> Self {
        let mut flat = Flat::default();
        module.visit(&mut flat);
        let flat = ParamGroup::from_ids(flat.0);
        let inner = match config.kind {
            Kind::Adam => {
                let plain = AdamConfig::new();
                let decay = WeightDecayConfig::new(config.weight_decay);
                let decayed = plain.clone().with_weight_decay(Some(decay));
                ModuleOptimizer::from(decayed.build()).with_group(flat, plain.build(), None)
            }
            Kind::Adamw => {
                let with = |decay| AdamWConfig::new().with_weight_decay(decay).build();
                ModuleOptimizer::from(with(config.weight_decay)).with_group(flat, with(0.0), None)
            }
            Kind::Sgd => {
                let momentum = MomentumConfig { momentum: config.momentum, dampening: 0.0, nesterov: false };
                let plain = SgdConfig::new().with_momentum(Some(momentum));
                let decay = WeightDecayConfig::new(config.weight_decay);
                let decayed = plain.clone().with_weight_decay(Some(decay));
                ModuleOptimizer::from(decayed.build()).with_group(flat, plain.build(), None)
            }
        };
        Self { inner, clip: config.clip }
    }

    /// Changes the weights once; returns them, and the norm that all gradients together had. Where that is no finite number,
    /// neither may the weights be: who trains has to stop there.
    pub fn step<M: Module>(&mut self, module: M, gradients: Gradients, rate: f64) -> (M, f32) {
        let mut gradients = GradientsParams::from_grads(gradients, &module);
        let mut norm = Norm { gradients: &gradients, squares: Vec::new() };
        module.visit(&mut norm);
        let squares = norm.squares;
        let norm = match squares.is_empty() {
            true => 0.0,
            false => Tensor::cat(squares, 0).sum().sqrt().into_scalar::<f32>(),
        };
        if let Some(clip) = self.clip.filter(|clip| norm > *clip) {
            let mut scale = Scale { gradients: &mut gradients, factor: clip / norm };
            module.visit(&mut scale);
        }
        (self.inner.step(rate, module, gradients), norm)
    }

    /// Writes what it remembers.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), OptimError> {
        let failed = |cause: String| OptimError::Write { path: path.to_owned(), cause };
        self.inner.save(path).map_err(|error| failed(error.to_string()))
    }

    /// Reads what [`Optimiser::save`] wrote.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn load(self, path: &Path) -> Result<Self, OptimError> {
        let failed = |cause: String| OptimError::Read { path: path.to_owned(), cause };
        let inner = self.inner.load(path).map_err(|error| failed(error.to_string()))?;
        Ok(Self { inner, clip: self.clip })
    }
}

/// The parameters of one axis.
#[derive(Default)]
struct Flat(Vec<ParamId>);

impl ModuleVisitor for Flat {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if D == 1 {
            self.0.push(param.id);
        }
    }
}

/// The sum of squares of each gradient.
struct Norm<'a> {
    gradients: &'a GradientsParams,
    squares: Vec<Tensor<1>>,
}

impl ModuleVisitor for Norm<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.get::<D>(param.id) {
            self.squares.push(gradient.powi_scalar(2).sum());
        }
    }
}

struct Scale<'a> {
    gradients: &'a mut GradientsParams,
    factor: f32,
}

impl ModuleVisitor for Scale<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.remove::<D>(param.id) {
            self.gradients.register(param.id, gradient.mul_scalar(self.factor));
        }
    }
}
