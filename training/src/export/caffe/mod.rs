//! Export to Caffe: a `.prototxt` that tells the layers and a `.caffemodel` with their weights.
//!
//! The network ends in its three heads; peaks are found by whoever runs it, and the sigmoid of the scores is theirs
//! too. BatchNorm is folded into the convolutions. Only layers of the first Caffe are used, so that its forks, OpenCV's
//! `dnn` and converters of vendors read it.

mod layers;
mod messages;
mod text;

use prost::Message as _;

use self::messages::{BlobShape, InputParameter, LayerParameter, NetParameter};
use super::ExportError;
use crate::maps::Heads;
pub use layers::{Blob, CaffeOps};

/// Name of the input.
const INPUT: &str = "images";

/// A network that Caffe cannot have.
#[derive(Debug, thiserror::Error)]
pub enum CaffeError {
    /// A convolution's padding differs from side to side.
    #[error(
        "Caffe pads both sides alike, and a convolution here has the padding {padding}: give it one number for top and bottom and one for left and right"
    )]
    Padding {
        /// As burn tells it.
        padding: String,
    },
    /// A transposed convolution with rows or columns more than it makes by itself.
    #[error(
        "Caffe has no output padding, and a transposed convolution here has {padding:?}: choose kernel and padding so that none is needed"
    )]
    PaddingOut {
        /// Rows, columns.
        padding: [usize; 2],
    },
    /// Weights that are not on hand.
    #[error("{0}")]
    Weights(String),
    /// A head that is not a layer of its own.
    #[error("the head {head} is not what a layer of its own makes: let its last operation be a convolution")]
    Head {
        /// Its name.
        head: &'static str,
    },
    /// No network to run.
    #[error("the input is {0}x{1} pixels: give at least one of each")]
    Input(u32, u32),
}

impl From<ExportError> for CaffeError {
    fn from(error: ExportError) -> Self {
        Self::Weights(error.to_string())
    }
}

/// What a reader of the files has to know.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// The network's name.
    pub name: &'a str,
    /// Width and height of the input in pixels. Caffe's files are made for one size; OpenCV takes others too.
    pub input: (u32, u32),
    /// The classes, in the order of the scores' channels.
    pub classes: &'a [String],
    /// What is subtracted from red, green and blue, 0 to 255.
    pub mean: [f32; 3],
    /// What they are divided by then.
    pub std: [f32; 3],
}

/// A network in Caffe's form.
#[derive(Clone, Debug)]
pub struct Caffe {
    /// The layers, as text.
    pub prototxt: String,
    /// The layers with their weights.
    pub caffemodel: Vec<u8>,
}

/// Exports the network that `run` runs on the operations it is given.
///
/// The outputs are `cls` `[1, C, H/4, W/4]`, the scores before the sigmoid, and `wh` and `reg` `[1, 2, H/4, W/4]`.
///
/// # Errors
/// See [`CaffeError`].
pub fn export(
    run: impl FnOnce(&mut CaffeOps, Blob) -> Heads<Blob>,
    about: &About,
) -> Result<Caffe, CaffeError> {
    let (width, height) = about.input;
    if width == 0 || height == 0 {
        return Err(CaffeError::Input(width, height));
    }
    let mut ops = CaffeOps::default();
    let dim = [1, 3, height, width].map(i64::from).into();
    let input_param = Some(InputParameter { shape: vec![BlobShape { dim }] });
    let image = ops.add("Input", &[], 3, LayerParameter { input_param, ..Default::default() });
    let heads = run(&mut ops, image.clone());
    let CaffeOps { mut layers, error } = ops;
    if let Some(error) = error {
        return Err(error);
    }
    rename(&mut layers, &image.name, INPUT);
    for (head, blob) in [("cls", &heads.cls), ("wh", &heads.wh), ("reg", &heads.reg)] {
        if blob.name == image.name || !rename(&mut layers, &blob.name, head) {
            return Err(CaffeError::Head { head });
        }
    }
    let mut net = NetParameter { name: Some(about.name.to_owned()), layer: layers };
    let caffemodel = net.encode_to_vec();
    net.layer.iter_mut().for_each(|layer| layer.blobs.clear());
    Ok(Caffe { prototxt: text::prototxt(&net, &comment(about)), caffemodel })
}

/// Gives a layer and what it makes another name; false if there is none of the old one.
fn rename(layers: &mut [LayerParameter], old: &str, new: &str) -> bool {
    let mut found = false;
    for layer in layers {
        for name in layer.bottom.iter_mut().chain(&mut layer.top).filter(|name| *name == old) {
            new.clone_into(name);
        }
        if layer.name() == old {
            layer.name = Some(new.to_owned());
            found = true;
        }
    }
    found
}

fn comment(about: &About) -> String {
    let About { input: (width, height), classes, mean, std, .. } = about;
    format!(
        "{INPUT}: 1 x 3 x {height} x {width}, red, green, blue, each (value - mean) / std of values from 0 to 255\n\
         mean: {mean:?}\n\
         std: {std:?}\n\
         cls: the scores before the sigmoid, a channel for each class: {}\n\
         wh: width and height of the object at each cell, in cells of 4 x 4 pixels\n\
         reg: x and y of its centre from the cell's corner, in cells",
        classes.join(", ")
    )
}
