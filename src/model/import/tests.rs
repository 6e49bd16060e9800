//! What imports and what is refused, with a probe that makes up what a runtime would say.

use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::model::graph::Attr;
use crate::model::onnx::{self, Dim, OperatorSetIdProto, TensorProto};
use crate::model::{INPUT, parse};

/// A network as exporters write it: float32 NCHW, batch 1, 256x128, opset 11, heads hm (3), wh and reg.
fn network(change: impl FnOnce(&mut ModelProto)) -> Vec<u8> {
    let mut graph = Graph::new("g");
    let dims = [1, 3, 128, 256].map(Dim::Value);
    let x = graph.input("input", ElementType::Float, &dims);
    let kernel = |graph: &mut Graph, out: usize, input: usize| {
        let data: Vec<f32> = (0..out * input * 9).map(|at| (at % 7) as f32 * 0.01 - 0.03).collect();
        graph.floats("kernel", &[out, input, 3, 3], &data)
    };
    let window = |stride: &'static [i64]| [("strides", Attr::Ints(stride)), ("pads", Attr::Ints(&[1; 4]))];
    let w = kernel(&mut graph, 8, 3);
    let x = graph.node("Conv", &[&x, &w], "stem", &window(&[4, 4]));
    let ones = |graph: &mut Graph, value: f32| graph.floats("norm", &[8], &[value; 8]);
    let norms: Vec<String> = [1.0, 0.1, 0.2, 4.0].map(|v| ones(&mut graph, v)).to_vec();
    let x = graph.node("BatchNormalization", &[&x, &norms[0], &norms[1], &norms[2], &norms[3]], "norm", &[]);
    let x = graph.node("Relu", &[&x], "relu", &[]);
    for (head, channels) in [("reg", 2), ("hm", 3), ("wh", 2)] {
        let w = kernel(&mut graph, channels, 8);
        let y = graph.node("Conv", &[&x, &w], &format!("{head}_logits"), &window(&[1, 1]));
        let op = if head == "hm" { "Sigmoid" } else { "Identity" };
        let y = graph.node(op, &[&y], head, &[]);
        graph.output(&y, ElementType::Float, &[1, channels as i64, 32, 64].map(Dim::Value));
    }
    let mut model = graph.into_model();
    model.opset_import = vec![OperatorSetIdProto { domain: None, version: Some(11) }];
    change(&mut model);
    model.encode_to_vec()
}

/// Says that the outputs have a quarter of the input's sides, and 3 channels if they are called `hm`.
fn quarter(bytes: &[u8], batch: usize, size: Size) -> Result<Vec<Probed>, String> {
    let model = ModelProto::decode(bytes).map_err(|error| error.to_string())?;
    let names = model.graph.unwrap_or_default().output.into_iter().filter_map(|value| value.name);
    Ok(names
        .map(|name| {
            let channels = if name.starts_with("hm") { 3 } else { 2 };
            let shape = vec![batch as i64, channels, (size.height / 4) as i64, (size.width / 4) as i64];
            Probed { name, element: 1, shape, least: 0.0, greatest: 1.0 }
        })
        .collect())
}

fn imported(bytes: &[u8], options: &Options) -> Result<Imported, String> {
    import(bytes, Path::new("net.onnx"), options, &quarter).map_err(|error| error.to_string())
}

fn ops(bytes: &[u8]) -> Vec<String> {
    let graph = ModelProto::decode(bytes).unwrap().graph.unwrap();
    graph.node.into_iter().filter_map(|node| node.op_type).collect()
}

#[test]
fn a_network_becomes_a_detector_by_the_contract() {
    let made = imported(&network(|_| ()), &Options::default()).unwrap();
    let detector = parse(made.bytes.clone(), Path::new("out.onnx")).unwrap();
    let about = &detector.metadata;
    assert_eq!((about.family.as_str(), about.input_width, about.input_height), ("centernet", 256, 128));
    assert_eq!(about.classes, ["class_0", "class_1", "class_2"]);
    let recipe = about.recipe.as_ref().unwrap();
    assert_eq!(recipe.heads.heatmap.value, "hm_logits", "the sigmoid is taken of the best only");
    assert_eq!((recipe.heads.heat, recipe.heads.stride), (Heat::Logits, 4.0));
    assert_eq!(made.simplified.batch_norms, 1);
    let ops = ops(&made.bytes);
    assert!(!ops.iter().any(|op| op == "BatchNormalization"), "{ops:?}");
    assert_eq!(ops.iter().filter(|op| *op == "Sigmoid").count(), 1, "{ops:?}");
    assert!(made.notes.is_empty(), "{:?}", made.notes);
}

#[test]
fn the_folded_normalisation_is_the_same_function() {
    let made = imported(&network(|_| ()), &Options::default()).unwrap();
    let graph = ModelProto::decode(&*made.bytes).unwrap().graph.unwrap();
    let conv = graph.node.iter().find(|node| node.op_type.as_deref() == Some("Conv")).unwrap();
    let weight = |at: usize| {
        let name = &conv.input[at];
        graph.initializer.iter().find(|w| w.name.as_ref() == Some(name)).unwrap().floats().unwrap()
    };
    // Gain 1 / sqrt(4), shift 0.1, mean 0.2.
    assert!((weight(1)[0] - -0.03 / 2.0).abs() < 1e-6);
    assert!((weight(2)[0] - (0.1 - 0.2 / 2.0)).abs() < 1e-6);
}

#[test]
fn what_is_asked_for_is_done() {
    let options = Options {
        size: Size::new(512, 320),
        top_k: Some(20),
        nms: Some(0.6),
        float16: true,
        labels: Some(vec!["a".into(), "b".into(), "c".into()]),
        ..Options::default()
    };
    let made = imported(&network(|_| ()), &options).unwrap();
    let about = parse(made.bytes.clone(), Path::new("out.onnx")).unwrap().metadata;
    assert_eq!((about.input_width, about.input_height, about.top_k), (512, 320, 20));
    assert_eq!(about.classes, ["a", "b", "c"]);
    assert!(about.recipe.is_some_and(|recipe| recipe.float16 && recipe.nms == Some(0.6)));
    assert!(ops(&made.bytes).contains(&"MatMul".to_owned()));
}

#[test]
fn a_value_called_like_ours_makes_room() {
    let bytes = network(|model| {
        let mut graph = Graph::from_model(model.clone());
        graph.rename_value("input", INPUT);
        *model = graph.into_model();
    });
    let made = imported(&bytes, &Options::default()).unwrap();
    parse(made.bytes, Path::new("out.onnx")).unwrap();
}

#[test]
fn labels_and_sizes_that_do_not_fit_are_told() {
    let labels = Options { labels: Some(vec!["a".into()]), ..Options::default() };
    let error = imported(&network(|_| ()), &labels).unwrap_err();
    assert!(error.contains("names 1 classes, the network's heatmap has 3"), "{error}");
    let odd = Options { size: Size::new(250, 128), ..Options::default() };
    let error = imported(&network(|_| ()), &odd).unwrap_err();
    assert!(error.contains("the heatmap is 62x32 at an input of 250x128"), "{error}");
    assert!(error.contains("try --size 256x128"), "{error}");
    let stride = Options { stride: Some(8), ..Options::default() };
    let error = imported(&network(|_| ()), &stride).unwrap_err();
    assert!(error.contains("no stride of 8; leave --stride out"), "{error}");
}

#[test]
fn unsound_files_are_told_with_the_weight_or_node() {
    let edit = |change: fn(&mut onnx::GraphProto)| network(|model| change(model.graph.as_mut().unwrap()));
    let nan = edit(|graph| {
        graph.initializer[0].raw_data.as_mut().unwrap()[..4].copy_from_slice(&f32::NAN.to_le_bytes())
    });
    let huge = edit(|graph| graph.initializer[0].dims = vec![i64::MAX, 4]);
    let negative = edit(|graph| graph.initializer[0].dims = vec![-8]);
    let short = edit(|graph| graph.initializer[0].raw_data.as_mut().unwrap().truncate(10));
    let outside = edit(|graph| {
        graph.initializer[0] =
            TensorProto { name: Some("kernel".into()), data_location: Some(1), ..Default::default() }
    });
    let circle = edit(|graph| graph.node[0].input[0] = "relu".into());
    let two = edit(|graph| {
        graph.input.push(onnx::ValueInfoProto { name: Some("second".into()), ..graph.input[0].clone() })
    });
    let shapeless = edit(|graph| graph.input[0].r#type = None);
    let old = network(|model| model.opset_import[0].version = Some(3));
    for (bytes, expected) in [
        (nan, r#"weight "kernel": it holds NaN"#),
        (huge, r#"weight "kernel": its shape is impossible"#),
        (negative, r#"weight "kernel": its shape is impossible"#),
        (short, r#"weight "kernel": it has not as many elements as its shape says"#),
        (outside, r#"keeps weight "kernel" in another file"#),
        (circle, "not in order, or runs in a circle"),
        (two, "must have one input"),
        (shapeless, "must be a tensor"),
        (old, "opset 3 is older than 7"),
    ] {
        let error = imported(&bytes, &Options::default()).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn what_the_runtime_says_is_passed_on_with_a_cure() {
    let fails = |_: &[u8], _: usize, _: Size| Err("no operator Deform".to_owned());
    let error =
        import(&network(|_| ()), Path::new("n"), &Options::default(), &fails).unwrap_err().to_string();
    assert!(
        error.contains("does not run at 256x128: no operator Deform") && error.contains("--size"),
        "{error}"
    );
    let fixed = |bytes: &[u8], _: usize, size: Size| quarter(bytes, 1, size);
    let error =
        import(&network(|_| ()), Path::new("n"), &Options::default(), &fixed).unwrap_err().to_string();
    assert!(error.contains("on two pictures at once") && error.contains("dynamic batch axis"), "{error}");
    let nan = |bytes: &[u8], batch: usize, size: Size| {
        quarter(bytes, batch, size)
            .map(|all| all.into_iter().map(|p| Probed { least: f32::NAN, ..p }).collect())
    };
    let error = import(&network(|_| ()), Path::new("n"), &Options::default(), &nan).unwrap_err().to_string();
    assert!(error.contains("holds NaN"), "{error}");
}

#[test]
fn cut_files_are_refused_at_every_length() {
    let bytes = network(|_| ());
    for length in (0..bytes.len()).step_by(7) {
        imported(&bytes[..length], &Options::default()).unwrap_err();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn damaged_networks_never_panic(damage in prop::collection::vec((0usize..20_000, any::<u8>()), 1..8)) {
        let mut bytes = network(|_| ());
        for (at, byte) in damage {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        let _ = imported(&bytes, &Options::default());
    }
}
