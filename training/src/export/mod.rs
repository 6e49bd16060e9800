//! A trained network as files for others: the detector that centerx serves, and Caffe's two files.

pub mod caffe;
mod error;
pub mod onnx;
pub mod parity;

use std::path::Path;

use burn::module::Module as _;
use centerx::app::probe::probe;
use centerx::engine::onnx::OnnxRuntime;
use centerx::model;
use centerx::model::decode::{self, Heat};
use centerx::model::import::{Normalize, Options, Probe, Size, import};
use centerx::model::recipe::Layout;

use crate::nn::{self, CenterNet};
pub use error::ExportError;
pub use parity::Parity;

/// What a detector says of itself, and how it is made.
#[derive(Clone, Debug, PartialEq)]
pub struct About {
    /// Its name.
    pub name: String,
    /// Its edition.
    pub version: String,
    /// The classes' names, in the network's order.
    pub classes: Vec<String>,
    /// Width and height of its input in pixels.
    pub input: (u32, u32),
    /// Detections a picture.
    pub top_k: usize,
    /// Overlap from which a worse object of the same class is left out; none keeps all.
    pub nms: Option<f32>,
    /// Where the weights come from.
    pub source: String,
    /// Their licence, as an SPDX expression.
    pub license: String,
}

/// A detector that was made and checked.
#[derive(Clone, Debug)]
pub struct Exported {
    /// The ONNX file, by the engine contract.
    pub bytes: Vec<u8>,
    /// How far its heads are from the network's.
    pub parity: Parity,
}

/// Makes a detector of a network: BatchNorm folded into the convolutions, the normalisation of pixels before them and
/// the decode behind. Its heads are compared with those of the network itself.
///
/// # Errors
/// A description that does not fit the network, a network that cannot be run or gives NaN, heads that differ by more
/// than [`parity::LIMIT`].
pub fn detector(network: &CenterNet, about: &About, runtime: &OnnxRuntime) -> Result<Exported, ExportError> {
    check(network, about)?;
    let network = network.valid();
    let bytes = onnx::network(&network)?;
    let path = Path::new(&about.name);
    let run: Probe<'_> = &|bytes, batch, size| probe(runtime, bytes, batch, size);
    let imported = import(&bytes, path, &options(about), run)?;
    let detector = model::parse(imported.bytes, path)?;
    let parity = parity::check(&network, &bytes, &detector, runtime)?;
    Ok(Exported { bytes: detector.bytes, parity })
}

fn check(network: &CenterNet, about: &About) -> Result<(), ExportError> {
    if about.classes.len() != network.classes() {
        return Err(ExportError::Classes { names: about.classes.len(), classes: network.classes() });
    }
    let (width, height) = about.input;
    if [width, height].iter().any(|&side| side == 0 || !(side as usize).is_multiple_of(CenterNet::MULTIPLE)) {
        return Err(ExportError::Input { width, height });
    }
    Ok(())
}

/// What the import needs not find out.
fn options(about: &About) -> Options {
    let head = |family: &str, own: &str| (family.to_owned(), own.to_owned());
    let [cls, wh, reg] = onnx::HEADS;
    Options {
        name: about.name.clone(),
        version: about.version.clone(),
        family: Some(&decode::CENTERNET),
        heads: vec![head("hm", cls), head("wh", wh), head("reg", reg)],
        heat: Some(Heat::Logits),
        labels: Some(about.classes.clone()),
        layout: Some(Layout::Nchw),
        normalize: Normalize { mean: nn::MEAN, std: nn::STD, scale: 1.0, bgr: false },
        size: Some(Size { width: about.input.0 as usize, height: about.input.1 as usize }),
        stride: Some(nn::STRIDE),
        top_k: Some(about.top_k),
        nms: about.nms,
        float16: false,
        source: about.source.clone(),
        license: about.license.clone(),
    }
}

#[cfg(test)]
mod tests;
