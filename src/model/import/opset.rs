//! Old operators in today's words: raises a graph to [`OPSET`].
//!
//! What changed between opsets is in ONNX's public change log of operators; most of it is attributes that
//! became inputs. Only what networks of pictures use is known here; the rest is an error that names the
//! operator.

use super::ImportError;
use crate::model::graph::{Attr, Graph, attribute, int, op, set_attribute, take_attribute};
use crate::model::onnx::{AttributeProto, NodeProto, OPSET};

/// Before this one, `Add` and its like broadcast by an attribute.
const OLDEST: i64 = 7;

/// Raises the graph's operators to at least [`OPSET`]; newer ones stay as they are.
pub(super) fn raise(graph: &mut Graph) -> Result<(), ImportError> {
    let from = graph.opset();
    if from >= OPSET {
        return Ok(());
    }
    if from < OLDEST {
        return Err(ImportError::Operator {
            node: String::new(),
            problem: format!(
                "opset {from} is older than {OLDEST}; export the network again with opset {OPSET}"
            ),
        });
    }
    let nodes = std::mem::take(&mut graph.proto_mut().node);
    for mut node in nodes {
        Raise { graph, from }.node(&mut node).map_err(|problem| ImportError::of(&node, problem))?;
        graph.proto_mut().node.push(node);
    }
    graph.set_opset(OPSET);
    Ok(())
}

struct Raise<'a> {
    graph: &'a mut Graph,
    from: i64,
}

impl Raise<'_> {
    fn node(&mut self, node: &mut NodeProto) -> Result<(), String> {
        if node.attribute.iter().any(|attribute| attribute.g.is_some()) && self.from < 13 {
            return Err(format!(
                "has inner graphs, which are not raised from opset {}; export the network again with opset {OPSET}",
                self.from
            ));
        }
        let before = |version| self.from < version;
        match op(node) {
            "Upsample" => self.resize(node, true),
            "Resize" if before(11) => self.resize(node, false),
            "Clip" if before(11) => self.bounds(node),
            "Pad" if before(11) => self.pads(node),
            "Slice" if before(10) => self.slices(node),
            "Squeeze" | "Unsqueeze" | "ReduceSum" if before(13) => self.ints_to_input(node, &["axes"]),
            "Split" if before(13) => self.ints_to_input(node, &["split"]),
            "Scatter" => {
                node.op_type = Some("ScatterElements".to_owned());
                Ok(())
            }
            "BatchNormalization" if before(14) => {
                take_attribute(node, "spatial");
                node.output.truncate(1);
                Ok(())
            }
            "Softmax" | "LogSoftmax" | "Hardmax" if before(13) => self.softmax(node),
            "TopK" if before(10) => {
                Err(format!("is of opset {}; export the network again with opset {OPSET}", self.from))
            }
            _ => Ok(()),
        }
    }

    /// Opsets before 13 flattened everything from the axis on; only along a last axis is that the same.
    fn softmax(&mut self, node: &mut NodeProto) -> Result<(), String> {
        match int(node, "axis") {
            Some(-1) => Ok(()),
            _ => Err(format!(
                "means something else since opset 13; export the network again with opset {OPSET}"
            )),
        }
    }

    /// Factors as they were before opset 11: corners of pixels aligned, the nearest one rounded down.
    fn resize(&mut self, node: &mut NodeProto, upsample: bool) -> Result<(), String> {
        let scales = match (take_attribute(node, "scales"), node.input.get(1)) {
            (Some(scales), _) if upsample => {
                self.graph.floats("scales", &[scales.floats.len()], &scales.floats)
            }
            (_, Some(input)) => input.clone(),
            _ => return Err("has no scales".to_owned()),
        };
        node.input.truncate(1);
        node.input.extend([String::new(), scales]);
        node.op_type = Some("Resize".to_owned());
        set_attribute(node, text("coordinate_transformation_mode", "asymmetric"));
        set_attribute(node, text("nearest_mode", "floor"));
        Ok(())
    }

    fn bounds(&mut self, node: &mut NodeProto) -> Result<(), String> {
        for name in ["min", "max"] {
            let bound = take_attribute(node, name).and_then(|attribute| attribute.f);
            node.input.push(bound.map_or_else(String::new, |bound| self.graph.float(name, bound)));
        }
        Ok(())
    }

    fn pads(&mut self, node: &mut NodeProto) -> Result<(), String> {
        self.ints_to_input(node, &["pads"])?;
        let value = take_attribute(node, "value").and_then(|attribute| attribute.f).unwrap_or(0.0);
        node.input.push(self.graph.float("value", value));
        Ok(())
    }

    fn slices(&mut self, node: &mut NodeProto) -> Result<(), String> {
        self.ints_to_input(node, &["starts", "ends", "axes"])
    }

    /// Lists of numbers that became inputs, in their order; those that are absent end the list.
    fn ints_to_input(&mut self, node: &mut NodeProto, names: &[&str]) -> Result<(), String> {
        for name in names {
            let Some(attribute) = take_attribute(node, name) else { break };
            let ints = attribute.ints;
            node.input.push(self.graph.int64s(name, &[ints.len()], &ints));
        }
        Ok(())
    }
}

fn text(name: &str, value: &str) -> AttributeProto {
    attribute(name, Attr::Text(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::onnx::ElementType;

    /// One node of an old opset, raised; its inputs after the first are looked up.
    fn raised(
        opset: i64,
        name: &str,
        attributes: &[(&str, Attr<'_>)],
    ) -> Result<(NodeProto, Graph), ImportError> {
        let mut graph = Graph::new("g");
        graph.set_opset(opset);
        let x = graph.input("x", ElementType::Float, &[]);
        let y = graph.node(name, &[&x], "y", attributes);
        graph.output(&y, ElementType::Float, &[]);
        raise(&mut graph)?;
        graph.check().unwrap();
        assert_eq!(graph.opset(), OPSET);
        Ok((graph.proto().node[0].clone(), graph))
    }

    fn ints(graph: &Graph, name: &str) -> Option<Vec<i64>> {
        graph.proto().initializer.iter().find(|weight| weight.name.as_deref() == Some(name))?.int64s()
    }

    #[test]
    fn attributes_that_became_inputs_are_moved() {
        let (node, graph) =
            raised(9, "Slice", &[("starts", Attr::Ints(&[1])), ("ends", Attr::Ints(&[3]))]).unwrap();
        assert_eq!(ints(&graph, &node.input[1]), Some(vec![1]));
        assert_eq!(ints(&graph, &node.input[2]), Some(vec![3]));
        assert!(node.attribute.is_empty());
        let (node, graph) = raised(11, "Unsqueeze", &[("axes", Attr::Ints(&[0, 2]))]).unwrap();
        assert_eq!(ints(&graph, &node.input[1]), Some(vec![0, 2]));
        let (node, _) = raised(9, "Clip", &[("max", Attr::Float(6.0))]).unwrap();
        assert_eq!((node.input.len(), node.input[1].as_str()), (3, ""));
    }

    #[test]
    fn what_is_as_it_was_is_left_alone() {
        let (node, _) = raised(13, "Unsqueeze", &[("axes", Attr::Ints(&[0]))]).unwrap();
        assert_eq!(node.input.len(), 1);
        let mut graph = Graph::new("g");
        graph.set_opset(20);
        raise(&mut graph).unwrap();
        assert_eq!(graph.opset(), 20);
    }

    #[test]
    fn what_cannot_be_raised_is_named() {
        let error = raised(11, "Softmax", &[]).unwrap_err().to_string();
        assert!(
            error.contains("Softmax") && error.contains("export the network again with opset 17"),
            "{error}"
        );
        let error = raised(6, "Relu", &[]).unwrap_err().to_string();
        assert!(error.contains("opset 6 is older than 7"), "{error}");
    }
}
