//! Element types, and values as people read them.

use std::collections::HashSet;
use std::fmt;

use super::{Dim, DimensionProto, GraphProto, ModelProto, OperatorSetIdProto, TensorProto, ValueInfoProto};

/// The element types that are made or looked at here, by their numbers in the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
#[expect(missing_docs)]
pub enum ElementType {
    Float = 1,
    Uint8 = 2,
    Int8 = 3,
    Int32 = 6,
    Int64 = 7,
    Float16 = 10,
}

/// All element types' names, indexed by their numbers in the format.
const ELEMENT_NAMES: [&str; 24] = [
    "undefined",
    "float32",
    "uint8",
    "int8",
    "uint16",
    "int16",
    "int32",
    "int64",
    "string",
    "bool",
    "float16",
    "float64",
    "uint32",
    "uint64",
    "complex64",
    "complex128",
    "bfloat16",
    "float8e4m3fn",
    "float8e4m3fnuz",
    "float8e5m2",
    "float8e5m2fnuz",
    "uint4",
    "int4",
    "float4e2m1",
];

/// The name of an element type, such as `float32`.
pub fn element_name(number: i32) -> &'static str {
    usize::try_from(number).ok().and_then(|n| ELEMENT_NAMES.get(n)).unwrap_or(&"an unknown type")
}

impl ModelProto {
    /// The version of ONNX's own operators that the model uses.
    pub fn opset(&self) -> Option<i64> {
        let own = |set: &&OperatorSetIdProto| matches!(set.domain.as_deref(), None | Some("" | "ai.onnx"));
        self.opset_import.iter().find(own).and_then(|set| set.version)
    }
}

impl GraphProto {
    /// The inputs that have to be fed: old files list their weights among the inputs.
    pub fn fed_inputs(&self) -> impl Iterator<Item = &ValueInfoProto> {
        let weights: HashSet<_> = self.initializer.iter().filter_map(|w| w.name.as_deref()).collect();
        let is_weight =
            move |value: &ValueInfoProto| value.name.as_deref().is_some_and(|n| weights.contains(n));
        self.input.iter().filter(move |value| !is_weight(value))
    }
}

impl TensorProto {
    /// Whether the elements lie in another file.
    pub fn is_external(&self) -> bool {
        self.data_location == Some(1)
    }

    /// The float32 elements, row by row; none for tensors of another type or with too few or many elements.
    pub fn floats(&self) -> Option<Vec<f32>> {
        if self.data_type != Some(ElementType::Float as i32) {
            return None;
        }
        let values = match &self.raw_data {
            Some(raw) => raw.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect(),
            None => self.float_data.clone(),
        };
        Some(values).filter(|values| self.holds(values.len()))
    }

    /// The int64 elements, as [`TensorProto::floats`].
    pub fn int64s(&self) -> Option<Vec<i64>> {
        if self.data_type != Some(ElementType::Int64 as i32) {
            return None;
        }
        let values = match &self.raw_data {
            Some(raw) => raw.as_chunks().0.iter().map(|&bytes| i64::from_le_bytes(bytes)).collect(),
            None => self.int64_data.clone(),
        };
        Some(values).filter(|values| self.holds(values.len()))
    }

    /// Whether the dimensions multiply to `count`.
    fn holds(&self, count: usize) -> bool {
        self.elements() == Some(count)
    }

    /// How many elements the dimensions say; none for negative ones and more than memory could hold.
    pub fn elements(&self) -> Option<usize> {
        self.dims.iter().try_fold(1usize, |product, &d| product.checked_mul(usize::try_from(d).ok()?))
    }

    /// The one float of a tensor that holds just one, with at most one dimension.
    pub fn as_scalar(&self) -> Option<f32> {
        if self.data_type != Some(ElementType::Float as i32)
            || self.dims.len() > 1
            || self.dims.iter().any(|&d| d != 1)
        {
            return None;
        }
        match &self.raw_data {
            Some(raw) => Some(f32::from_le_bytes(raw.as_slice().try_into().ok()?)),
            None => self.float_data.first().copied(),
        }
    }
}

impl fmt::Display for DimensionProto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(Dim::Value(number)) => write!(f, "{number}"),
            Some(Dim::Param(name)) => f.write_str(name),
            None => f.write_str("?"),
        }
    }
}

/// As `images uint8 [N,512,512,3]`.
impl fmt::Display for ValueInfoProto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.name.as_deref().unwrap_or("(no name)"))?;
        let Some(tensor) = self.r#type.as_ref().and_then(|t| t.tensor_type.as_ref()) else {
            return f.write_str("(not a tensor)");
        };
        write!(f, "{}", element_name(tensor.elem_type.unwrap_or(0)))?;
        let Some(shape) = &tensor.shape else { return f.write_str(" of any shape") };
        let dims: Vec<_> = shape.dim.iter().map(DimensionProto::to_string).collect();
        write!(f, " [{}]", dims.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{TensorShapeProto, TensorTypeProto, TypeProto};
    use super::*;

    #[test]
    fn values_are_shown_with_type_and_shape() {
        let dim = |value| DimensionProto { value, denotation: None };
        let shape = TensorShapeProto {
            dim: vec![dim(Some(Dim::Param("N".into()))), dim(Some(Dim::Value(3))), dim(None)],
        };
        let tensor = TensorTypeProto { elem_type: Some(10), shape: Some(shape) };
        let value = ValueInfoProto {
            name: Some("x".into()),
            r#type: Some(TypeProto { tensor_type: Some(tensor), ..Default::default() }),
            ..Default::default()
        };
        assert_eq!(value.to_string(), "x float16 [N,3,?]");
        assert_eq!(ValueInfoProto::default().to_string(), "(no name) (not a tensor)");
        assert_eq!(element_name(-1), "an unknown type");
    }

    #[test]
    fn scalars_are_read_from_either_field() {
        let typed = TensorProto { data_type: Some(1), float_data: vec![3.0], ..Default::default() };
        let raw = TensorProto {
            data_type: Some(1),
            dims: vec![1],
            raw_data: Some(6f32.to_le_bytes().to_vec()),
            ..Default::default()
        };
        assert_eq!((typed.as_scalar(), raw.as_scalar()), (Some(3.0), Some(6.0)));
        let vector = TensorProto { dims: vec![2], ..raw.clone() };
        let short = TensorProto { raw_data: Some(vec![0; 3]), ..raw };
        assert_eq!((vector.as_scalar(), short.as_scalar()), (None, None));
    }
}
