//! Weights in safetensors files: a network's own, and backbones' that others trained.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use burn::module::Module as _;
use burn_store::{ModuleSnapshot as _, ModuleStore as _, SafetensorsStore, bridge};

use super::CenterNet;

/// Why weights are not saved or not loaded.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// They cannot be written.
    #[error("cannot write the weights {}: {cause}; see that the disk has room and the folder can be written to", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: String,
    },
    /// The file is not there, no safetensors file, or cut short.
    #[error("cannot read the weights {}: {cause}; it must be a whole safetensors file", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: String,
    },
    /// They are another network's.
    #[error("the weights {} are another network's: {problem}; see that backbone, width, neck, head-channels and classes are those it was trained with", path.display())]
    Other {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        problem: String,
    },
    /// A backbone's tensor has another shape.
    #[error(
        "in {} the tensor {name} is {found:?}, this backbone's is {expected:?}; take the weights of the same backbone, \
         and a width of 1",
        path.display()
    )]
    Shape {
        /// The file.
        path: PathBuf,
        /// The tensor's name in the file.
        name: String,
        /// Its shape there.
        found: Vec<usize>,
        /// The one it should have.
        expected: Vec<usize>,
    },
    /// Nothing in it is known.
    #[error(
        "{} holds no tensor of this backbone; tensors must have torchvision's names, as {example}", path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// A name that was looked for.
        example: String,
    },
}

/// Which of a backbone's tensors came from a file; names are the file's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Those that were taken.
    pub taken: Vec<String>,
    /// Those that the backbone has and the file has not; they keep their random start.
    pub missing: Vec<String>,
    /// Those of the file that the backbone has no use for, as the classifier's.
    pub unused: Vec<String>,
}

impl std::fmt::Display for Loaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} tensors taken", self.taken.len())?;
        if let Some(first) = self.missing.first() {
            write!(f, ", {} not in the file ({first} ...)", self.missing.len())?;
        }
        match self.unused.first() {
            Some(first) => write!(f, ", {} not needed ({first} ...)", self.unused.len()),
            None => Ok(()),
        }
    }
}

/// Writes all weights, BatchNorm's statistics included. The file appears whole or not at all.
///
/// # Errors
/// A folder that cannot be written to, a full disk.
pub fn save(network: &CenterNet, path: &Path) -> Result<(), WeightsError> {
    let mut store = SafetensorsStore::from_file(path).overwrite(true);
    // In a network that trains, statistics lag one step behind until it is asked for its form for inference.
    let written = network.valid().save_into(&mut store);
    written.map_err(|error| WeightsError::Write { path: path.to_owned(), cause: error.to_string() })
}

/// Reads what [`save`] wrote into a network of the same description, made anew.
///
/// # Errors
/// A file that cannot be read, or that holds another network's weights.
pub fn load(mut network: CenterNet, path: &Path) -> Result<CenterNet, WeightsError> {
    let read = |cause: String| WeightsError::Read { path: path.to_owned(), cause };
    let mut store = SafetensorsStore::from_file(path).validate(false).allow_partial(true);
    store.keys().map_err(|error| read(error.to_string()))?;
    let result = network.load_from(&mut store).map_err(|error| read(error.to_string()))?;
    let problem = result
        .errors
        .first()
        .map(ToString::to_string)
        .or_else(|| result.missing.first().map(|(name, _)| format!("there is no {name}")))
        .or_else(|| result.unused.first().map(|name| format!("there is {name} too many")));
    match problem {
        Some(problem) => Err(WeightsError::Other { path: path.to_owned(), problem }),
        None => Ok(network),
    }
}

/// Reads a backbone's weights by torchvision's names of ResNet, RegNet and MobileNetV3, which timm's ResNets have as
/// well. Neck and heads stay as they are.
///
/// # Errors
/// A file that cannot be read, that holds nothing of the backbone, or tensors of other shapes.
pub fn load_backbone(mut network: CenterNet, path: &Path) -> Result<(CenterNet, Loaded), WeightsError> {
    let read = |cause: String| WeightsError::Read { path: path.to_owned(), cause };
    let mut store = SafetensorsStore::from_file(path);
    let file = store.get_all_tensors().map_err(|error| read(error.to_string()))?;
    let (mut loaded, mut renamed) = (Loaded::default(), Vec::new());
    for own in network.collect(None, None, true) {
        let Some(name) = published_name(&network, &own.name) else { continue };
        let Some(found) = file.get(&name) else {
            loaded.missing.push(name);
            continue;
        };
        let (found_shape, expected) = (found.shape.to_vec(), own.shape.to_vec());
        if found_shape != expected {
            return Err(WeightsError::Shape { path: path.to_owned(), name, found: found_shape, expected });
        }
        let data = bridge::to_data(found).map_err(|error| read(format!("{name}: {error}")))?;
        renamed.push(bridge::from_data(data.convert::<f32>(), own.name, None));
        loaded.taken.push(name);
    }
    if loaded.taken.is_empty() {
        let example = loaded.missing.first().cloned().unwrap_or_default();
        return Err(WeightsError::Foreign { path: path.to_owned(), example });
    }
    let taken: BTreeSet<&String> = loaded.taken.iter().collect();
    // PyTorch counts each BatchNorm's batches; that is no weight.
    let weights = file.keys().filter(|name| !name.ends_with(".num_batches_tracked"));
    loaded.unused = weights.filter(|name| !taken.contains(name)).cloned().collect();
    let applied = network.apply(renamed, None, None, true);
    match applied.errors.first() {
        Some(error) => Err(read(error.to_string())),
        None => Ok((network, loaded)),
    }
}

/// torchvision's name for the tensor at `path` of a network; none if it is not one of the backbone's weights.
fn published_name(network: &CenterNet, path: &str) -> Option<String> {
    let path: Vec<&str> = path.split('.').collect();
    let (&leaf, layer) = path.strip_prefix(&["backbone"])?.split_last()?;
    let (part, name) = match (layer.last()?, leaf) {
        (&"norm", "gamma") => (1, "weight"),
        (&"norm", "beta") => (1, "bias"),
        (&"norm", "running_mean" | "running_var") => (1, leaf),
        (_, "weight" | "bias") => (0, leaf),
        _ => return None,
    };
    let layer = match layer {
        [layer @ .., "conv" | "norm"] => layer,
        layer => layer,
    };
    let published = network.backbone.published_layer(layer)?;
    Some(format!("{}.{name}", published[part]))
}

impl CenterNet {
    /// How many numbers are learned; BatchNorm's running statistics, which are not, do not count.
    pub fn parameters(&self) -> usize {
        self.learned("")
    }

    /// Those of the backbone alone.
    pub fn backbone_parameters(&self) -> usize {
        self.learned("backbone.")
    }

    fn learned(&self, part: &str) -> usize {
        let running = |name: &str| name.ends_with("running_mean") || name.ends_with("running_var");
        let tensors = self.collect(None, None, true).into_iter();
        let learned = tensors.filter(|tensor| {
            tensor.name.starts_with(part) && tensor.dtype.is_float() && !running(&tensor.name)
        });
        learned.map(|tensor| tensor.shape.iter().product::<usize>()).sum()
    }
}

#[cfg(test)]
mod tests;
