//! A hand-made graph, and what must be refused.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{GraphModel, ImportError};
use crate::model::graph::Graph;
use crate::model::onnx::{Dim, ElementType, NodeProto};

/// `images [1,5,6,3] -> conv 3x3 stride 2, bias, relu ("conv") -> times 2 ("out")`, weights 0, 1, 2, ...
fn description() -> Value {
    json!({
        "modelTopology": { "node": [
            { "name": "images", "op": "Placeholder", "attr": {
                "shape": { "shape": { "dim": [{"size": "1"}, {"size": "5"}, {"size": 6}, {"size": "3"}] } } } },
            { "name": "kernel", "op": "Const" },
            { "name": "bias", "op": "Const" },
            { "name": "two", "op": "Const" },
            { "name": "conv", "op": "_FusedConv2D", "input": ["images", "kernel", "bias"], "attr": {
                "data_format": { "s": "TkhXQw==" },
                "padding": { "s": "U0FNRQ==" },
                "strides": { "list": { "i": ["1", "2", "2", "1"] } },
                "dilations": { "list": { "i": ["1", "1", "1", "1"] } },
                "fused_ops": { "list": { "s": ["Qmlhc0FkZA==", "UmVsdQ=="] } } } },
            { "name": "out", "op": "Mul", "input": ["two", "conv:0"] }
        ] },
        "weightsManifest": [{ "paths": ["w.bin"], "weights": [
            { "name": "kernel", "shape": [3, 3, 3, 2], "dtype": "float32", "quantization": { "dtype": "float16" } },
            { "name": "bias", "shape": [2], "dtype": "float32" },
            { "name": "two", "shape": [], "dtype": "float32" }
        ] }]
    })
}

fn weights() -> Vec<u8> {
    let kernel = (0..54u16).flat_map(|i| half::f16::from_f32(f32::from(i)).to_le_bytes());
    kernel.chain([1f32, -1.0, 2.0].into_iter().flat_map(f32::to_le_bytes)).collect()
}

fn import(description: &Value, weights: &[u8], head: &str) -> Result<(Graph, super::Feature), ImportError> {
    let model = GraphModel::parse(description.to_string().as_bytes(), weights)?;
    let mut graph = Graph::new("g");
    let pixels = graph.input("pixels", ElementType::Float, &[Dim::Param("N".into())]);
    let head = model.convert(&mut graph, &pixels, &[head])?.remove(0);
    graph.output(&head.value, ElementType::Float, &[]);
    Ok((graph, head))
}

fn ints<'a>(node: &'a NodeProto, name: &str) -> &'a [i64] {
    &node.attribute.iter().find(|a| a.name.as_deref() == Some(name)).unwrap().ints
}

#[test]
fn a_convolution_becomes_nchw_with_explicit_padding() {
    let (graph, head) = import(&description(), &weights(), "out").unwrap();
    graph.check().unwrap();
    assert_eq!((head.channels, head.height, head.width), (2, 3, 3));
    let nodes = &graph.proto().node;
    let ops: Vec<_> = nodes.iter().map(|node| node.op_type.as_deref().unwrap()).collect();
    assert_eq!(ops, ["Conv", "Relu", "Mul"]);
    // 5 rows in steps of 2 need one row of padding on both sides, 6 columns only one at the end.
    assert_eq!(ints(&nodes[0], "pads"), [1, 0, 1, 1]);
    assert_eq!(ints(&nodes[0], "strides"), [2, 2]);
    let kernel = &graph.proto().initializer[0];
    assert_eq!(kernel.dims, [2, 3, 3, 3]);
    let data: Vec<f32> =
        kernel.raw_data.as_ref().unwrap().as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    // Output 0, input 0 runs over the kernel's rows and columns in steps of inputs * outputs.
    assert_eq!(data[..4], [0.0, 6.0, 12.0, 18.0]);
    assert_eq!(data[27], 1.0);
}

/// What is done to the description, to the weights' length, and what the error must say.
type Case = (&'static str, fn(&mut Value), usize, &'static str);

#[test]
fn broken_models_are_refused_by_name() {
    let cases: [Case; 12] = [
        ("/", |d| *d = json!({}), 120, "cannot be read"),
        ("short", |_| {}, 119, r#"weight "two": shape [] needs more than the 3 bytes left"#),
        ("long", |_| {}, 121, "1 bytes of the weight file belong to no weight"),
        (
            "huge",
            |d| d["weightsManifest"][0]["weights"][1]["shape"] = json!([u64::MAX, 3]),
            120,
            r#"weight "bias": shape"#,
        ),
        (
            "node gone",
            |d| d["modelTopology"]["node"][5]["input"][1] = json!("nobody"),
            120,
            r#"node "out" (Mul): reads "nobody""#,
        ),
        ("cycle", |d| d["modelTopology"]["node"][4]["input"][0] = json!("out"), 120, "depends on itself"),
        (
            "channels",
            |d| d["weightsManifest"][0]["weights"][0]["shape"] = json!([3, 3, 2, 3]),
            120,
            r#"node "conv" (_FusedConv2D): a kernel of shape [3, 3, 2, 3] does not fit 3 channels"#,
        ),
        (
            "op",
            |d| d["modelTopology"]["node"][5]["op"] = json!("Erf"),
            120,
            r#"node "out" (Erf): this operation"#,
        ),
        (
            "stride",
            |d| d["modelTopology"]["node"][4]["attr"]["strides"]["list"]["i"] = json!(["1", "0", "0", "1"]),
            120,
            r#"attribute "strides" is [1, 0, 0, 1]"#,
        ),
        (
            "layout",
            |d| d["modelTopology"]["node"][4]["attr"]["data_format"]["s"] = json!("TkNIVw=="),
            120,
            "layout NHWC",
        ),
        (
            "base64",
            |d| d["modelTopology"]["node"][4]["attr"]["padding"]["s"] = json!("*"),
            120,
            r#"attribute "padding" cannot be read"#,
        ),
        ("twin", |d| d["modelTopology"]["node"][5]["name"] = json!("conv"), 120, "two nodes are called"),
    ];
    for (name, damage, length, expected) in cases {
        let mut description = description();
        damage(&mut description);
        let mut weights = weights();
        weights.resize(length, 0);
        let error = import(&description, &weights, "out").unwrap_err().to_string();
        assert!(error.contains(expected), "{name}: {error}");
    }
    let error = import(&description(), &weights(), "heads").unwrap_err().to_string();
    assert!(error.contains(r#"no node "heads""#), "{error}");
}

/// Puts `what` at a place of `value` chosen by `path`.
fn damage(value: &mut Value, path: &[usize], what: &Value) {
    let Some((&step, rest)) = path.split_first() else { return *value = what.clone() };
    match value {
        Value::Array(list) if !list.is_empty() => {
            let at = step % list.len();
            damage(&mut list[at], rest, what);
        }
        Value::Object(map) if !map.is_empty() => {
            let key = map.keys().nth(step % map.len()).unwrap().clone();
            damage(&mut map[&key], rest, what);
        }
        _ => *value = what.clone(),
    }
}

fn any_leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!(null)),
        any::<i64>().prop_map(|n| json!(n)),
        (-2i64..70).prop_map(|n| json!(n.to_string())),
        prop::collection::vec(-1i64..9, 0..5).prop_map(|n| json!(n)),
        prop::sample::select(vec![
            "conv",
            "out",
            "images",
            "kernel",
            "VkFMSUQ=",
            "Mean",
            "ConcatV2",
            "ResizeBilinear"
        ])
        .prop_map(|s| json!(s)),
    ]
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(description: Vec<u8>, weights: Vec<u8>) {
        let _ = GraphModel::parse(&description, &weights);
    }

    #[test]
    fn damaged_models_never_panic(
        paths in prop::collection::vec((prop::collection::vec(0usize..9, 1..9), any_leaf()), 1..4),
        length in 100usize..140,
    ) {
        let mut description = description();
        for (path, what) in &paths {
            damage(&mut description, path, what);
        }
        let mut weights = weights();
        weights.resize(length, 7);
        if let Ok((graph, _)) = import(&description, &weights, "out") {
            prop_assert_eq!(graph.check(), Ok(()));
        }
    }
}
