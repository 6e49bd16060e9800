//! Nodes' operators and attributes.

use super::Attr;
use crate::model::onnx::{AttributeProto, AttributeType, NodeProto};

/// An attribute of a node.
pub(in crate::model) fn attribute(name: &str, value: Attr<'_>) -> AttributeProto {
    let mut proto = AttributeProto { name: Some(name.to_owned()), ..Default::default() };
    let kind = match value {
        Attr::Int(i) => {
            proto.i = Some(i);
            AttributeType::Int
        }
        Attr::Float(f) => {
            proto.f = Some(f);
            AttributeType::Float
        }
        Attr::Ints(ints) => {
            proto.ints = ints.to_vec();
            AttributeType::Ints
        }
        Attr::Text(text) => {
            proto.s = Some(text.as_bytes().to_vec());
            AttributeType::String
        }
    };
    proto.r#type = Some(kind as i32);
    proto
}

/// Removes an attribute of a node and returns it.
pub(in crate::model) fn take_attribute(node: &mut NodeProto, name: &str) -> Option<AttributeProto> {
    let at = node.attribute.iter().position(|attribute| attribute.name.as_deref() == Some(name))?;
    Some(node.attribute.remove(at))
}

/// Gives a node an attribute, in place of one of that name.
pub(in crate::model) fn set_attribute(node: &mut NodeProto, value: AttributeProto) {
    node.attribute.retain(|attribute| attribute.name != value.name);
    node.attribute.push(value);
}

/// A whole number among the node's attributes.
pub(in crate::model) fn int(node: &NodeProto, name: &str) -> Option<i64> {
    find(node, name)?.i
}

/// A number among the node's attributes.
pub(in crate::model) fn float(node: &NodeProto, name: &str) -> Option<f32> {
    find(node, name)?.f
}

/// A list of whole numbers among the node's attributes.
pub(in crate::model) fn ints<'a>(node: &'a NodeProto, name: &str) -> Option<&'a [i64]> {
    find(node, name).map(|attribute| &attribute.ints[..])
}

fn find<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute.iter().find(|attribute| attribute.name.as_deref() == Some(name))
}

/// The node's operator if it is one of ONNX's own, else nothing.
pub(in crate::model) fn op(node: &NodeProto) -> &str {
    match node.domain.as_deref() {
        None | Some("" | "ai.onnx") => node.op_type.as_deref().unwrap_or(""),
        Some(_) => "",
    }
}
