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
    let size = model.saved_size()?.unwrap_or([64, 96]);
    let head = model.convert(&mut graph, &pixels, &[head], size)?.remove(0);
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

/// As [`description`], but `out` is `conv` halved again, made as large as `conv` and added to it. The size is
/// a constant, or follows from the shape of `conv`'s half where `computed`.
fn pyramid(size: [i64; 2], computed: bool) -> (Value, Vec<u8>) {
    let mut description = description();
    let nodes = description["modelTopology"]["node"].as_array_mut().unwrap();
    let sides = size.map(|side| json!({"size": side.to_string()}));
    nodes[0]["attr"]["shape"]["shape"]["dim"] = json!([{"size": "1"}, sides[0], sides[1], {"size": "3"}]);
    let mut half = nodes[4].clone();
    half["name"] = json!("half");
    half["input"] = json!(["conv", "kernel_2", "bias"]);
    nodes[5] = json!({ "name": "out", "op": "AddV2", "input": ["conv", "large"] });
    nodes.push(half);
    for name in ["kernel_2", "size", "from", "to", "step", "double"] {
        nodes.push(json!({ "name": name, "op": "Const" }));
    }
    nodes.push(json!({ "name": "shape", "op": "Shape", "input": ["half"] }));
    nodes.push(json!({ "name": "sides", "op": "StridedSlice", "input": ["shape", "from", "to", "step"] }));
    nodes.push(json!({ "name": "doubled", "op": "Mul", "input": ["sides", "double"] }));
    let size = if computed { "doubled" } else { "size" };
    nodes.push(json!({ "name": "large", "op": "ResizeBilinear", "input": ["half", size], "attr": {
        "half_pixel_centers": { "b": true } } }));
    let ints =
        [("size", vec![4, 6]), ("from", vec![1]), ("to", vec![3]), ("step", vec![1]), ("double", vec![2, 2])];
    let list = description["weightsManifest"][0]["weights"].as_array_mut().unwrap();
    list.push(json!({ "name": "kernel_2", "shape": [1, 1, 2, 2], "dtype": "float32" }));
    let mut weights = weights();
    weights.extend([1f32; 4].into_iter().flat_map(f32::to_le_bytes));
    for (name, numbers) in ints {
        list.push(json!({ "name": name, "shape": [numbers.len()], "dtype": "int32" }));
        weights.extend(numbers.into_iter().flat_map(i32::to_le_bytes));
    }
    (description, weights)
}

/// The first weight that a node of this operation reads after its input, as floats.
fn scales(graph: &Graph) -> Vec<f32> {
    let resize = graph.proto().node.iter().find(|node| node.op_type.as_deref() == Some("Resize")).unwrap();
    let weight =
        graph.proto().initializer.iter().find(|w| w.name.as_deref() == Some(&resize.input[2])).unwrap();
    weight.raw_data.as_ref().unwrap().as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

#[test]
fn another_size_keeps_the_factors() {
    // Saved for 8x12, whose quarter of 2x3 becomes 4x6 by a constant; saved for any size, by its own shape.
    for (saved, computed) in [([8, 12], false), ([8, 12], true), ([-1, -1], true)] {
        let (description, weights) = pyramid(saved, computed);
        let model = GraphModel::parse(description.to_string().as_bytes(), &weights).unwrap();
        for size in [[8, 12], [16, 4], [64, 128]] {
            let mut graph = Graph::new("g");
            let pixels = graph.input("pixels", ElementType::Float, &[]);
            let head = model.convert(&mut graph, &pixels, &["out"], size).unwrap().remove(0);
            assert_eq!([head.height, head.width], size.map(|side| side / 2));
            assert_eq!(scales(&graph), [1.0, 1.0, 2.0, 2.0]);
            graph.output(&head.value, ElementType::Float, &[]);
            graph.check().unwrap();
        }
    }
}

#[test]
fn sizes_that_the_strides_do_not_divide_are_refused_with_the_multiple() {
    for (saved, computed) in [([8, 12], false), ([-1, -1], true)] {
        let (description, weights) = pyramid(saved, computed);
        let model = GraphModel::parse(description.to_string().as_bytes(), &weights).unwrap();
        let refused = |size| {
            let mut graph = Graph::new("g");
            model.convert(&mut graph, "pixels", &["out"], size).unwrap_err().to_string()
        };
        let message = refused([10, 15]);
        assert!(message.contains("15x10") && message.contains("multiples of 4"), "{message}");
        assert!(message.contains("the nearest is 16x12"), "{message}");
        assert!(refused([0, 8]).contains("the nearest is 8x4"), "{}", refused([0, 8]));
        assert!(refused([1 << 20, 8]).contains("the nearest is 8x8192"), "{}", refused([1 << 20, 8]));
    }
}

#[test]
fn pixels_may_be_cast_to_floats_and_to_nothing_else() {
    let cast = |to: &str| {
        let mut description = description();
        let attributes = json!({ "DstT": { "type": to } });
        description["modelTopology"]["node"][5] =
            json!({ "name": "out", "op": "Cast", "input": ["images"], "attr": attributes });
        import(&description, &weights(), "out")
    };
    assert_eq!(cast("DT_FLOAT").unwrap().1.value, "pixels");
    let error = cast("DT_INT32").unwrap_err().to_string();
    assert!(error.contains("cannot become DT_INT32"), "{error}");
}

#[test]
fn only_plain_ranges_and_products_of_shapes_are_translated() {
    type Case = (fn(&mut [Value]), &'static str);
    let cases: [Case; 4] = [
        (|nodes| nodes[14]["attr"] = json!({ "shrink_axis_mask": { "i": "1" } }), "shrink_axis_mask is set"),
        (|nodes| nodes[14]["input"][2] = json!("size"), "is not a begin, an end and a step of 1"),
        (|nodes| nodes[14]["input"][3] = json!("to"), "is not a begin, an end and a step of 1"),
        (|nodes| nodes[15]["input"][1] = json!("step"), "cannot be multiplied"),
    ];
    for (change, expected) in cases {
        let (mut description, weights) = pyramid([8, 12], true);
        change(description["modelTopology"]["node"].as_array_mut().unwrap());
        let error = import(&description, &weights, "out").unwrap_err().to_string();
        assert!(error.contains(expected), "{expected}: {error}");
    }
    let error =
        import(&pyramid([8, 12], true).0, &pyramid([8, 12], true).1, "doubled").unwrap_err().to_string();
    assert!(error.contains(r#""doubled" is not a feature map"#), "{error}");
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
