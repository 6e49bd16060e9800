//! Conversions of small detectors, by what their graphs become.

use super::calibrate::Ranges;
use super::quantize::Plan;
use super::*;
use crate::model::decode::{self, CENTERNET, Choice, Head, Heads, Heat};
use crate::model::graph::Attr;
use crate::model::onnx::ElementType;
use crate::model::recipe::{Input, Recipe};

/// A CenterNet: a convolution, a depthwise one, another, a transposed one, and a convolution for each head.
fn detector() -> ModelProto {
    let mut graph = Graph::new("small");
    let pixels = decode::images(&mut graph, 32, 32);
    let scaled = graph.with_number("Mul", &pixels, 1.0 / 255.0);
    let input = graph.node("Identity", &[&scaled], "input", &[]);
    let body = convolve(&mut graph, &input, [8, 3], 4, "stem", 1);
    let body = graph.node("Relu", &[&body], "relu", &[]);
    let body = convolve(&mut graph, &body, [8, 1], 1, "depthwise", 8);
    let body = convolve(&mut graph, &body, [8, 8], 2, "middle", 1);
    let kernel = graph.floats("up_weight", &[8, 4, 2, 2], &[0.25; 128]);
    let bias = graph.floats("up_bias", &[4], &[0.5; 4]);
    let up = graph.node("ConvTranspose", &[&body, &kernel, &bias], "up", &[("strides", Attr::Ints(&[2, 2]))]);
    let mut head = |name: &str, channels| {
        let value = convolve(&mut graph, &up, [channels, 4], 1, name, 1);
        Head { value, channels, height: 8, width: 8 }
    };
    let heads = Heads {
        heatmap: head("hm", 2),
        heat: Heat::Logits,
        regressions: vec![Some(head("wh", 2)), Some(head("reg", 2))],
        stride: 4.0,
    };
    decode::append(&mut graph, &CENTERNET, &heads, Choice { top_k: 5, nms: Some(0.5) }).unwrap();
    let recipe = Recipe { input: Input::plain("input"), heads, nms: Some(0.5), float16: false };
    let mut model = graph.into_model();
    let about = ModelMetadata {
        family: "centernet".into(),
        top_k: 5,
        input_width: 32,
        input_height: 32,
        recipe: Some(recipe),
        ..crate::model::metadata::tests::example()
    };
    about.write_to(&mut model);
    model
}

fn convolve(
    graph: &mut Graph,
    x: &str,
    [out, per]: [usize; 2],
    stride: i64,
    name: &str,
    group: i64,
) -> String {
    let values: Vec<f32> = (0..out * per).map(|at| at as f32 - 3.0).collect();
    let weight = graph.floats(&format!("{name}_weight"), &[out, per, 1, 1], &values);
    let bias = graph.floats(&format!("{name}_bias"), &[out], &vec![0.5; out]);
    let attributes = [("strides", Attr::Ints(&[stride, stride])), ("group", Attr::Int(group))];
    graph.node("Conv", &[x, &weight, &bias], name, &attributes)
}

fn without_recipe(mut model: ModelProto) -> ModelProto {
    ModelMetadata { recipe: None, ..ModelMetadata::read_from(&model).unwrap() }.write_to(&mut model);
    model
}

fn ranges(plan: &Plan) -> Ranges {
    plan.activations().into_iter().map(|value| (value.to_owned(), 127.0)).collect()
}

fn int8(model: ModelProto, keep: &[&str]) -> Result<Graph, PrecisionError> {
    let keep: Vec<String> = keep.iter().map(|&name| name.to_owned()).collect();
    let plan = Plan::of(model, &keep)?;
    let ranges = ranges(&plan);
    Ok(Graph::from_model(plan.apply(&ranges)?))
}

/// The node that makes a value.
fn maker<'a>(graph: &'a Graph, value: &str) -> &'a NodeProto {
    graph.maker(value).unwrap_or_else(|| panic!("nobody makes {value}"))
}

fn element(graph: &Graph, weight: &str) -> Option<i32> {
    graph.weight(weight).unwrap_or_else(|| panic!("{weight} is no weight")).data_type
}

#[test]
fn precisions_are_read_as_they_are_written() {
    for precision in Precision::ALL {
        assert_eq!(precision.to_string().parse(), Ok(precision));
        assert_eq!(serde_json::json!(precision), precision.to_string());
    }
    assert!("bf16".parse::<Precision>().unwrap_err().contains("fp32, fp16 and int8"));
}

#[test]
fn the_network_is_what_comes_before_the_decode() {
    for model in [detector(), without_recipe(detector())] {
        let about = ModelMetadata::read_from(&model).unwrap();
        let network = Network::of(model.graph.as_ref().unwrap(), about.recipe.as_ref()).unwrap();
        assert_eq!(network.heads, ["hm", "wh", "reg"]);
        assert_eq!(network.entry, if about.recipe.is_some() { "input" } else { "pixels" });
        let graph = Graph::from_model(model);
        let inside = graph.proto().node.iter().zip(&network.nodes).filter(|(_, mine)| **mine);
        let ops: Vec<_> = inside.map(|(node, _)| op(node)).collect();
        let network =
            ["Cast", "Transpose", "Mul", "Identity", "Conv", "Relu", "Conv", "Conv", "ConvTranspose"];
        assert_eq!(ops, [&network[..], &["Conv"; 3]].concat());
    }
}

#[test]
fn a_network_in_half_is_decoded_in_float() {
    let model = to_float16(detector()).unwrap();
    let about = ModelMetadata::read_from(&model).unwrap();
    assert_eq!(
        (about.precision, about.recipe.map(|recipe| recipe.float16)),
        (Precision::Float16, Some(true))
    );
    let graph = Graph::from_model(model);
    for weight in ["stem_weight", "stem_bias", "up_weight", "hm_weight"] {
        assert_eq!(element(&graph, weight), Some(ElementType::Float16 as i32), "{weight}");
    }
    for head in ["hm", "wh", "reg"] {
        assert_eq!(op(maker(&graph, head)), "Cast", "{head} is cast back");
    }
    let float = graph.proto().initializer.iter().filter(|w| w.data_type == Some(ElementType::Float as i32));
    // The normalisation's one, and those of the decode.
    assert!(float.count() > 2);
    let sigmoid = graph.proto().node.iter().find(|node| op(node) == "Sigmoid").unwrap();
    assert_ne!(op(maker(&graph, &sigmoid.input[0])), "Conv");
}

#[test]
fn values_that_float16_cannot_hold_are_named() {
    assert_eq!(convolved(&detector()).unwrap(), ["stem", "depthwise", "middle", "up", "hm", "wh", "reg"]);
    let mut seen = Calibrator::default();
    assert_eq!(check_float16(&seen), Ok(()));
    seen.add("hm", &[-65504.0, 3.0]).unwrap();
    assert_eq!(check_float16(&seen), Ok(()));
    seen.add("up", &[-70000.0]).unwrap();
    let error = check_float16(&seen).unwrap_err().to_string();
    assert!(error.contains("\"up\" comes to 7e4") && error.contains("65504"), "{error}");
}

#[test]
fn weights_that_the_decode_reads_as_well_stay_float_there() {
    let mut model = detector();
    let graph = model.graph.as_mut().unwrap();
    // The decode's stride is the bias of nothing else than this.
    let shared = "normalize_shared".to_owned();
    let mut weight =
        graph.initializer.iter().find(|w| w.dims.is_empty() && w.floats().is_some()).unwrap().clone();
    weight.name = Some(shared.clone());
    graph.initializer.push(weight);
    let relu = graph.node.iter().position(|node| op(node) == "Relu").unwrap();
    graph.node[relu].op_type = Some("Mul".into());
    graph.node[relu].input.push(shared.clone());
    let scale = graph.node.iter().rposition(|n| op(n) == "Mul" && n.input[1] != shared).unwrap();
    graph.node[scale].input[1] = shared.clone();
    let graph = Graph::from_model(to_float16(model).unwrap());
    let readers = |kind: ElementType| {
        let of_kind = |name: &String| graph.weight(name).is_some_and(|w| w.data_type == Some(kind as i32));
        let shared = |name: &&String| name.starts_with("normalize_shared");
        graph.proto().node.iter().flat_map(|n| &n.input).filter(shared).filter(|n| of_kind(n)).count()
    };
    assert_eq!((readers(ElementType::Float16), readers(ElementType::Float)), (1, 1));
}

#[test]
fn pairs_stand_before_what_multiplies_as_tensorrt_wants_them() {
    let graph = int8(detector(), &[]).unwrap();
    for (value, weight_axis, channels) in [("stem", 0, 8), ("middle", 0, 8), ("up", 1, 4)] {
        let node = maker(&graph, value);
        let [activation, weight] = [0, 1].map(|at| maker(&graph, &node.input[at]));
        assert_eq!([op(activation), op(weight)], ["DequantizeLinear"; 2], "{value}");
        assert_eq!(op(maker(&graph, &activation.input[0])), "QuantizeLinear");
        assert_eq!(element(&graph, &weight.input[0]), Some(ElementType::Int8 as i32));
        assert_eq!(crate::model::graph::int(weight, "axis"), Some(weight_axis));
        assert_eq!(graph.weight(&weight.input[1]).unwrap().dims, [channels]);
        assert_eq!(graph.weight(&activation.input[1]).unwrap().floats(), Some(vec![1.0]));
        for zero in [&weight.input[2], &activation.input[2]] {
            let zero = graph.weight(zero).unwrap();
            assert_eq!(zero.data_type, Some(ElementType::Int8 as i32));
            assert!(zero.raw_data.as_ref().unwrap().iter().all(|&byte| byte == 0));
        }
        assert_eq!(element(&graph, &node.input[2]), Some(ElementType::Float as i32), "biases stay");
    }
    for head in ["hm", "wh", "reg"] {
        let node = maker(&graph, head);
        assert_eq!(element(&graph, &node.input[1]), Some(ElementType::Float as i32));
        assert_eq!(node.input[0], "up", "the heads' last convolutions read what was not quantised");
    }
    assert_eq!(maker(&graph, "depthwise").input[..2], ["relu", "depthwise_weight"]);
    let count = |name: &str| graph.proto().node.iter().filter(|node| op(node) == name).count();
    assert_eq!((count("QuantizeLinear"), count("DequantizeLinear")), (3, 6));
    assert!(graph.weight("stem_weight").is_none(), "the float32 weight is gone");
}

#[test]
fn what_is_said_of_the_model_stays_and_its_precision_is_told() {
    let before = ModelMetadata::read_from(&detector()).unwrap();
    let plan = Plan::of(detector(), &[]).unwrap();
    let ranges = ranges(&plan);
    let after = ModelMetadata::read_from(&plan.apply(&ranges).unwrap()).unwrap();
    assert_eq!(after, ModelMetadata { precision: Precision::Int8, ..before });
}

#[test]
fn nodes_are_kept_by_name_or_value() {
    let all = Plan::of(detector(), &[]).unwrap();
    assert_eq!((all.nodes(), all.activations()), (3, vec!["input", "depthwise", "middle"]));
    for name in ["stem", "centerx/stem"] {
        let graph = int8(detector(), &[name]).unwrap();
        assert_eq!(element(&graph, &maker(&graph, "stem").input[1]), Some(ElementType::Float as i32));
    }
    let error = int8(detector(), &["stern"]).unwrap_err().to_string();
    assert!(error.contains("\"stern\"") && error.contains("centerx/stem, centerx/middle"), "{error}");
    assert_eq!(int8(detector(), &["stem", "middle", "up"]).unwrap_err(), PrecisionError::Nothing);
}

#[test]
fn what_was_not_seen_is_told() {
    let error = Plan::of(detector(), &[]).unwrap().apply(&Ranges::default()).unwrap_err();
    assert_eq!(error, PrecisionError::NoRange("input".into()));
}

#[test]
fn a_converted_model_is_refused_by_what_it_is() {
    let half = to_float16(detector()).unwrap();
    assert_eq!(to_float16(half.clone()), Err(PrecisionError::Converted(Precision::Float16)));
    assert_eq!(int8(half, &[]).unwrap_err(), PrecisionError::Converted(Precision::Float16));
    let plan = Plan::of(detector(), &[]).unwrap();
    let ranges = ranges(&plan);
    let mut int = plan.apply(&ranges).unwrap();
    assert_eq!(to_float16(int.clone()), Err(PrecisionError::Converted(Precision::Int8)));
    // Whatever it says of itself.
    ModelMetadata { precision: Precision::Float32, ..ModelMetadata::read_from(&int).unwrap() }
        .write_to(&mut int);
    assert_eq!(to_float16(int), Err(PrecisionError::Converted(Precision::Int8)));
}

#[test]
fn old_operators_and_functions_are_refused() {
    let mut old = detector();
    old.opset_import[0].version = Some(12);
    assert_eq!(int8(old, &[]).unwrap_err(), PrecisionError::Opset(12));
    let functions = ModelProto { functions: vec![vec![]], ..detector() };
    assert_eq!(to_float16(functions.clone()), Err(PrecisionError::Functions));
    assert_eq!(int8(functions, &[]).unwrap_err(), PrecisionError::Functions);
}
