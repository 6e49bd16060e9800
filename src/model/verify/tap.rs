//! A copy of a network that takes float32 pictures of any number and gives inner values.

use std::collections::HashSet;

use crate::model::graph::{Attr, Graph};
use crate::model::onnx::{Dim, ElementType, ModelProto, ValueInfoProto};
use crate::model::recipe::Input;

/// A network with its taps.
#[derive(Clone, Debug)]
pub struct Tapped {
    /// The network.
    pub model: ModelProto,
    /// The name of its input, float32, in the layout of the original.
    pub input: String,
    /// The names of its outputs, float32, in the order of the values asked for.
    pub outputs: Vec<String>,
}

/// Why there are no taps.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TapError {
    /// The input is not there.
    #[error("the network has no input {name:?}; it has {have}. Is it the one that the detector was made of?")]
    NoInput {
        /// The input.
        name: String,
        /// Those it has.
        have: String,
    },
    /// A value is not there.
    #[error(
        "the network has no value {name:?}, which the detector's recipe takes for a head. Is it the one that the detector was made of?"
    )]
    NoValue {
        /// The value.
        name: String,
    },
    /// The copy came out broken.
    #[error("the network is not well-formed: {0}")]
    Graph(#[from] crate::model::graph::GraphError),
}

/// Makes the copy: `values` become its outputs, all else goes; sizes that were fixed in the input or noted
/// along the way are forgotten.
///
/// # Errors
/// An input or a value that is not there.
pub fn tap(model: &ModelProto, input: &Input, values: &[&str]) -> Result<Tapped, TapError> {
    let mut model = model.clone();
    // Until then weights had to be inputs as well.
    model.ir_version = model.ir_version.map(|version| version.max(4));
    let mut graph = Graph::from_model(model);
    let rank = strip(&mut graph, input)?;
    let made: HashSet<&str> =
        graph.proto().node.iter().flat_map(|node| &node.output).map(String::as_str).collect();
    if let Some(name) = values.iter().find(|&&name| !made.contains(name)) {
        return Err(TapError::NoValue { name: (*name).to_owned() });
    }
    let dims: Vec<_> = (0..rank).map(|axis| Dim::Param(format!("pictures_{axis}"))).collect();
    let pictures = graph.input("pictures", ElementType::Float, &dims);
    let to = Attr::Int(i64::from(input.element));
    graph.node_into("Cast", &[&pictures], std::slice::from_ref(&input.name), &[("to", to)]);
    graph.proto_mut().node.rotate_right(1);
    let outputs: Vec<String> = values.iter().map(|value| output_of(&mut graph, value)).collect();
    graph.remove_dead();
    graph.check()?;
    Ok(Tapped { model: graph.into_model(), input: pictures, outputs })
}

/// Makes the value an output of any shape.
fn output_of(graph: &mut Graph, value: &str) -> String {
    let output = graph.cast(value, ElementType::Float);
    graph.output(&output, ElementType::Float, &[]);
    let declared = graph.proto_mut().output.last_mut().and_then(|value| value.r#type.as_mut());
    if let Some(tensor) = declared.and_then(|kind| kind.tensor_type.as_mut()) {
        tensor.shape = None;
    }
    output
}

/// Takes away inputs, outputs and noted shapes; returns how many axes the input has.
fn strip(graph: &mut Graph, input: &Input) -> Result<usize, TapError> {
    let inputs: Vec<ValueInfoProto> = graph.proto().fed_inputs().cloned().collect();
    let proto = graph.proto_mut();
    proto.input.clear();
    proto.output.clear();
    proto.value_info.clear();
    let Some(value) = inputs.iter().find(|value| value.name.as_deref() == Some(&input.name)) else {
        let have = crate::model::listed(&inputs);
        return Err(TapError::NoInput { name: input.name.clone(), have });
    };
    let shape = value.r#type.as_ref().and_then(|kind| kind.tensor_type.as_ref()?.shape.as_ref());
    Ok(shape.map_or(4, |shape| shape.dim.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network() -> ModelProto {
        let mut graph = Graph::new("g");
        let dims = [1, 3, 32, 32].map(Dim::Value);
        let x = graph.input("x", ElementType::Float, &dims);
        let hm = graph.node("Relu", &[&x], "hm", &[]);
        let out = graph.node("Neg", &[&hm], "out", &[]);
        graph.output(&out, ElementType::Float, &dims);
        graph.proto_mut().value_info.push(ValueInfoProto::default());
        graph.into_model()
    }

    #[test]
    fn inner_values_come_out_and_sizes_are_free() {
        let tapped = tap(&network(), &Input::plain("x"), &["hm"]).unwrap();
        let graph = tapped.model.graph.unwrap();
        assert_eq!(graph.input.len(), 1);
        let dims = "[pictures_0,pictures_1,pictures_2,pictures_3]";
        assert_eq!(graph.input[0].to_string(), format!("{} float32 {dims}", tapped.input));
        let ops: Vec<_> = graph.node.iter().filter_map(|node| node.op_type.as_deref()).collect();
        assert_eq!(ops, ["Cast", "Relu", "Cast"], "what only the old output needed is gone");
        assert_eq!(graph.node[0].output, ["x"]);
        assert_eq!(graph.output[0].to_string(), format!("{} float32 of any shape", tapped.outputs[0]));
        assert!(graph.value_info.is_empty());
    }

    #[test]
    fn a_foreign_network_is_told() {
        let error = tap(&network(), &Input::plain("y"), &["hm"]).unwrap_err().to_string();
        assert!(error.contains(r#"no input "y"; it has x float32 [1,3,32,32]"#), "{error}");
        let error = tap(&network(), &Input::plain("x"), &["wh"]).unwrap_err();
        assert_eq!(error, TapError::NoValue { name: "wh".to_owned() });
    }
}
