//! The engine contract: what a model file must look like for an engine to run it as a detector.

use std::path::Path;

use super::metadata::ModelMetadata;
use super::onnx::{Dim, ElementType, GraphProto, ModelProto, ValueInfoProto};
use super::{INPUT, ModelError, OUTPUT, listed};

/// Checks inputs, outputs and metadata of `model`, which was read from `path`.
pub(super) fn check(model: &ModelProto, path: &Path) -> Result<ModelMetadata, ModelError> {
    let empty = GraphProto::default();
    let graph = model.graph.as_ref().unwrap_or(&empty);
    let inputs: Vec<_> = graph.fed_inputs().collect();
    let not_detector = |problem| ModelError::NotDetector {
        path: path.to_owned(),
        problem,
        inputs: listed(inputs.iter().copied()),
        outputs: listed(&graph.output),
    };
    let [height, width] = input_size(&inputs).map_err(not_detector)?;
    let [top_k, columns] = output_size(&graph.output).map_err(not_detector)?;
    let metadata = ModelMetadata::read_from(model)
        .map_err(|cause| ModelError::Metadata { path: path.to_owned(), cause })?;
    let told = [metadata.input_height, metadata.input_width, metadata.top_k].map(i64::from);
    if told != [height, width, top_k] {
        let problem = format!(
            "its metadata tells of an input of {}x{} and {} detections, its graph of {width}x{height} and {top_k}",
            metadata.input_width, metadata.input_height, metadata.top_k
        );
        return Err(not_detector(problem));
    }
    if columns != 6 + 3 * metadata.landmarks.len() as i64 {
        let names = metadata.landmarks.len();
        let problem = format!("a detection has {columns} numbers, which {names} landmarks do not make");
        return Err(not_detector(problem));
    }
    Ok(metadata)
}

/// Height and width of the one input.
fn input_size(inputs: &[&ValueInfoProto]) -> Result<[i64; 2], String> {
    let &[input] = inputs else {
        return Err(format!("it has {} inputs", inputs.len()));
    };
    match shape(input, INPUT, ElementType::Uint8)?[..] {
        [None, Some(height @ 1..=8192), Some(width @ 1..=8192), Some(3)] => Ok([height, width]),
        [Some(n), ..] => Err(format!("it takes batches of {n} only")),
        _ => Err(format!("the shape of {INPUT} is another")),
    }
}

/// Detections a picture and numbers a detection of the one output.
fn output_size(outputs: &[ValueInfoProto]) -> Result<[i64; 2], String> {
    let [output] = outputs else {
        return Err(format!("it has {} outputs", outputs.len()));
    };
    match shape(output, OUTPUT, ElementType::Float)?[..] {
        [None, Some(top_k @ 1..=10_000), Some(columns @ 6..=1000)] => Ok([top_k, columns]),
        _ => Err(format!("the shape of {OUTPUT} is another")),
    }
}

/// The dimensions of `value`, those chosen at run time being absent.
fn shape(value: &ValueInfoProto, name: &str, element: ElementType) -> Result<Vec<Option<i64>>, String> {
    if value.name.as_deref() != Some(name) {
        return Err(format!("{:?} is not called {name}", value.name.as_deref().unwrap_or("")));
    }
    let tensor = value.r#type.as_ref().and_then(|kind| kind.tensor_type.as_ref());
    let Some(tensor) = tensor.filter(|tensor| tensor.elem_type == Some(element as i32)) else {
        return Err(format!("{name} has another element type"));
    };
    let dims = tensor.shape.iter().flat_map(|shape| &shape.dim);
    Ok(dims
        .map(|dim| match dim.value {
            Some(Dim::Value(size)) => Some(size),
            Some(Dim::Param(_)) | None => None,
        })
        .collect())
}
