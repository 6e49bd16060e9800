//! Measures what a model's graph does not tell, by running it once.

use std::collections::HashMap;

use anyhow::anyhow;
use ort::value::Tensor;
use prost::Message as _;

use crate::engine::onnx::OnnxRuntime;
use crate::model::inspect::{Flops, flops, only_input, values_to_measure};
use crate::model::onnx::ModelProto;
use crate::model::recipe::{Input, Recipe};
use crate::model::verify::tap::tap;

/// Counts the work of one picture.
///
/// # Errors
/// A model that does not run, or takes no picture of a fixed size.
pub fn measure(runtime: &OnnxRuntime, model: &ModelProto, recipe: Option<&Recipe>) -> anyhow::Result<Flops> {
    let (name, element, shape) = only_input(model).map_err(|problem| anyhow!(problem))?;
    let values = values_to_measure(model);
    let names: Vec<&str> = values.iter().map(String::as_str).collect();
    let tapped = tap(model, &Input { element, ..Input::plain(&name) }, &names)?;
    let mut session = runtime.session(&tapped.model.encode_to_vec(), 1)?;
    let black = vec![0f32; shape.iter().product()];
    let outputs = session.run(ort::inputs![tapped.input.as_str() => Tensor::from_array((shape, black))?])?;
    let shapes = values.iter().zip(&tapped.outputs);
    let shapes =
        shapes.filter_map(|(value, output)| Some((value.clone(), outputs.get(output)?.shape().to_vec())));
    Ok(flops(model, &shapes.collect::<HashMap<_, _>>(), recipe))
}
