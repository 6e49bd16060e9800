//! Runs a network once, to see what it gives: the [`Probe`](crate::model::import::Probe) of an import.

use half::f16;
use ort::value::TensorElementType;
use ort::value::{DynValue, Tensor, ValueType};

use crate::engine::onnx::OnnxRuntime;
use crate::model::INPUT;
use crate::model::import::{Probed, Size};

/// Runs `model` over `batch` pictures of noise and tells its outputs.
///
/// # Errors
/// What the runtime says, in its words.
pub fn probe(runtime: &OnnxRuntime, model: &[u8], batch: usize, size: Size) -> Result<Vec<Probed>, String> {
    let mut session = runtime.session(model, 0).map_err(|error| error.to_string())?;
    let shape = [batch, size.height, size.width, 3];
    let pictures = (shape, noise(shape.iter().product()));
    let pictures = Tensor::<u8>::from_array(pictures).map_err(|error| error.to_string())?;
    let outputs = session.run(ort::inputs![INPUT => pictures]).map_err(|error| error.to_string())?;
    Ok(outputs.iter().map(|(name, value)| probed(name, &value)).collect())
}

fn probed(name: &str, value: &DynValue) -> Probed {
    let (element, shape) = match value.dtype() {
        ValueType::Tensor { ty, shape, .. } => (element(*ty), shape.to_vec()),
        _ => (0, Vec::new()),
    };
    let (least, greatest) = range(value);
    Probed { name: name.to_owned(), element, shape, least, greatest }
}

/// Numbers in the ONNX format.
fn element(kind: TensorElementType) -> i32 {
    match kind {
        TensorElementType::Float32 => 1,
        TensorElementType::Uint8 => 2,
        TensorElementType::Int8 => 3,
        TensorElementType::Int32 => 6,
        TensorElementType::Int64 => 7,
        TensorElementType::Bool => 9,
        TensorElementType::Float16 => 10,
        TensorElementType::Float64 => 11,
        _ => 0,
    }
}

/// The least and the greatest element of a float tensor; NaN if one is NaN, or if it is something else.
fn range(value: &DynValue) -> (f32, f32) {
    if let Ok((_, values)) = value.try_extract_tensor::<f32>() {
        return extremes(values.iter().copied());
    }
    match value.try_extract_tensor::<f16>() {
        Ok((_, values)) => extremes(values.iter().map(|v| v.to_f32())),
        Err(_) => (f32::NAN, f32::NAN),
    }
}

fn extremes(values: impl Iterator<Item = f32>) -> (f32, f32) {
    values.fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), v| {
        if v.is_nan() || low.is_nan() { (f32::NAN, f32::NAN) } else { (low.min(v), high.max(v)) }
    })
}

/// The same noise each time.
fn noise(count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    fastrand::Rng::with_seed(1).fill(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nan_is_not_overlooked() {
        assert_eq!(extremes([0.5, -1.0].into_iter()), (-1.0, 0.5));
        assert!(extremes([0.5, f32::NAN, 1.0].into_iter()).0.is_nan());
    }
}
