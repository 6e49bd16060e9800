//! Whether an export computes what the network computes.
//!
//! The network before its folding is run by burn, what was exported by ONNX Runtime: the network by itself on normalised
//! pixels, and the detector up to its heads on the pixels themselves; one picture at a time and several at once.

use centerx::engine::onnx::OnnxRuntime;
use centerx::model::verify::pictures::{RgbPicture, random};
use centerx::model::{DetectorModel, INPUT, recipe};
use ort::session::Session;
use ort::value::{DynValue, Tensor};

use super::ExportError;
use super::onnx::{self, HEADS, values};
use crate::nn::{self, CenterNet};

/// The most by which a head may differ, as a part of its value, or of 1 where that is less.
pub const LIMIT: f32 = 1e-4;
/// A picture of blobs and one of noise.
const PICTURES: usize = 2;
const SEED: u64 = 7;
const NETWORK: &str = "network";
const DETECTOR: &str = "detector";

/// The greatest differences between an export's heads and the network's, as parts of the values, or of 1 where they are
/// less.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[expect(missing_docs)]
pub struct Parity {
    pub cls: f32,
    pub wh: f32,
    pub reg: f32,
}

impl std::fmt::Display for Parity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cls {:.1e}, wh {:.1e}, reg {:.1e}", self.cls, self.wh, self.reg)
    }
}

/// Compares `exported`, the bytes of the network's ONNX file, and the detector made of it with the network itself.
pub(super) fn check(
    network: &CenterNet,
    exported: &[u8],
    detector: &DetectorModel,
    runtime: &OnnxRuntime,
) -> Result<Parity, ExportError> {
    let about = &detector.metadata;
    let size = [about.input_width as usize, about.input_height as usize];
    let truth = Truth::of(network, size)?;
    let mut worst = [0.0; HEADS.len()];
    let mut session = session(runtime, exported, NETWORK)?;
    truth.hold_against(NETWORK, &mut worst, |first, count| {
        let (shape, pixels) = truth.normalised(first, count);
        let pixels = Tensor::from_array((shape, pixels))?;
        heads(&mut session, onnx::INPUT, pixels.into_dyn())
    })?;
    let to_heads = recipe::up_to_heads(detector)?;
    let mut session = self::session(runtime, &to_heads, DETECTOR)?;
    truth.hold_against(DETECTOR, &mut worst, |first, count| {
        let (shape, pixels) = truth.pixels(first, count);
        let pixels = Tensor::from_array((shape, pixels))?;
        heads(&mut session, INPUT, pixels.into_dyn())
    })?;
    let [cls, wh, reg] = worst;
    Ok(Parity { cls, wh, reg })
}

/// Pictures and what the network says of them.
struct Truth {
    pictures: Vec<RgbPicture>,
    size: [usize; 2],
    normalised: Vec<f32>,
    heads: [Vec<f32>; 3],
}

impl Truth {
    fn of(network: &CenterNet, size: [usize; 2]) -> Result<Self, ExportError> {
        let pictures = random(PICTURES, size, SEED);
        let rgb: Vec<u8> = pictures.iter().flat_map(|picture| picture.rgb.iter().copied()).collect();
        let x = nn::pixels(&rgb, PICTURES, size[1], size[0], &network.device());
        let normalised = values(x.clone())?;
        let heads = network.forward(x);
        let heads = [values(heads.cls)?, values(heads.wh)?, values(heads.reg)?];
        Ok(Self { pictures, size, normalised, heads })
    }

    /// So many pictures as float32 `[count, 3, H, W]`.
    fn normalised(&self, first: usize, count: usize) -> ([usize; 4], Vec<f32>) {
        let [width, height] = self.size;
        let one = 3 * width * height;
        ([count, 3, height, width], self.normalised[first * one..(first + count) * one].to_vec())
    }

    /// So many pictures as uint8 `[count, H, W, 3]`.
    fn pixels(&self, first: usize, count: usize) -> ([usize; 4], Vec<u8>) {
        let [width, height] = self.size;
        let pictures = &self.pictures[first..first + count];
        let rgb = pictures.iter().flat_map(|picture| picture.rgb.iter().copied()).collect();
        ([count, height, width, 3], rgb)
    }

    /// `run` gives the heads of so many pictures from the first one on.
    fn hold_against(
        &self,
        what: &'static str,
        worst: &mut [f32; 3],
        mut run: impl FnMut(usize, usize) -> ort::Result<Vec<Vec<f32>>>,
    ) -> Result<(), ExportError> {
        let each = (0..PICTURES).map(|first| (first, 1));
        for (first, count) in each.chain([(0, PICTURES)]) {
            let found =
                run(first, count).map_err(|error| ExportError::Run { what, cause: error.to_string() })?;
            for (head, (found, all)) in found.iter().zip(&self.heads).enumerate() {
                let one = all.len() / PICTURES;
                let difference = difference(found, &all[first * one..(first + count) * one]);
                if difference.is_nan() || difference > LIMIT {
                    return Err(ExportError::Parity { what, head: HEADS[head], difference });
                }
                worst[head] = worst[head].max(difference);
            }
        }
        Ok(())
    }
}

/// The greatest difference as a part of the value, or of 1; infinite if there are not as many values, NaN if one is.
fn difference(found: &[f32], expected: &[f32]) -> f32 {
    if found.len() != expected.len() {
        return f32::INFINITY;
    }
    let each = found.iter().zip(expected).map(|(a, b)| (a - b).abs() / b.abs().max(1.0));
    // `f32::max` passes over NaN.
    each.fold(0.0, |worst, one| if worst.is_nan() || one.is_nan() { f32::NAN } else { worst.max(one) })
}

fn session(runtime: &OnnxRuntime, model: &[u8], what: &'static str) -> Result<Session, ExportError> {
    runtime.session(model, 0).map_err(|error| ExportError::Run { what, cause: error.to_string() })
}

fn heads(session: &mut Session, input: &str, pixels: DynValue) -> ort::Result<Vec<Vec<f32>>> {
    let outputs = session.run(ort::inputs![input => pixels])?;
    HEADS.iter().map(|&head| Ok(outputs[head].try_extract_tensor::<f32>()?.1.to_vec())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_parts_of_the_value_or_of_one() {
        assert_eq!(difference(&[0.5, 8.0], &[0.25, 8.0]), 0.25);
        assert_eq!(difference(&[12.0, 0.0], &[8.0, 0.0]), 0.5);
        assert_eq!(difference(&[1.0], &[1.0, 2.0]), f32::INFINITY);
        assert!(difference(&[f32::NAN, 1.0, 3.0], &[1.0, 1.0, 1.0]).is_nan());
        assert!(difference(&[f32::INFINITY, 1.0], &[f32::INFINITY, 0.0]).is_nan());
    }
}
