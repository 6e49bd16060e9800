//! What TensorRT does not take, and what is said then.

use centerx::engine::tensorrt::{BuildRequest, Profile, TensorRtError};
use centerx::model::decode::CENTERNET;
use centerx::model::graph::{Attr, Graph};
use centerx::model::onnx::{Dim, ElementType};
use centerx::model::{INPUT, OUTPUT};
use prost::Message as _;

use super::support::{assert_loads, build, profiles, rtx};
use super::synthetic::{HEIGHT, Variant, WIDTH, detector};

const BATCHES: &[[i64; 3]] = &[[1, 4, 8]];

fn shapes() -> Vec<Profile> {
    profiles([HEIGHT, WIDTH], BATCHES)
}

/// A graph that does this to the pictures.
fn graph(nodes: impl FnOnce(&mut Graph, &str)) -> Vec<u8> {
    let mut graph = Graph::new("g");
    let dims = [Dim::Param("N".into()), Dim::Value(HEIGHT as i64), Dim::Value(WIDTH as i64), Dim::Value(3)];
    let images = graph.input(INPUT, ElementType::Uint8, &dims);
    nodes(&mut graph, &images);
    graph.into_model().encode_to_vec()
}

fn cast(graph: &mut Graph, value: &str, name: &str) -> String {
    graph.node("Cast", &[value], name, &[("to", Attr::Int(ElementType::Float as i64))])
}

/// What is said of a model.
fn refused(onnx: &[u8]) -> TensorRtError {
    build(onnx, &shapes(), &["8.9"]).unwrap_err()
}

fn assert_says(error: &TensorRtError, parts: &[&str]) {
    let error = error.to_string();
    assert!(parts.iter().all(|part| error.contains(part)), "{parts:?} are not all in: {error}");
    assert!(!error.contains("did not say why") && !error.contains('\n'), "{error}");
}

#[test]
fn uint8_that_is_transposed_is_refused_with_the_node() {
    let onnx = graph(|graph, images| {
        let turned = graph.node("Transpose", &[images], "turned", &[("perm", Attr::Ints(&[0, 3, 1, 2]))]);
        let output = cast(graph, &turned, OUTPUT);
        graph.output(&output, ElementType::Float, &[]);
    });
    let error = refused(&onnx);
    assert!(matches!(error, TensorRtError::Parse { .. }));
    assert_says(&error, &["TensorRT-RTX does not take the model: node 0 ", "(Transpose)", "has type UInt8"]);
}

#[test]
fn an_operator_that_nobody_knows_is_named() {
    let onnx = graph(|graph, images| {
        let output = graph.node("Teleport", &[images], OUTPUT, &[]);
        graph.output(&output, ElementType::Float, &[]);
    });
    assert_says(&refused(&onnx), &["node 0 ", "(Teleport)", "Plugin not found"]);
}

#[test]
fn what_is_no_onnx_is_refused() {
    let good = detector(Variant::of(&CENTERNET), |_| ()).bytes;
    for bytes in [b"\xff\xd8\xff\xe0 a picture".as_slice(), &good[..good.len() / 2]] {
        let error = refused(bytes);
        assert!(matches!(error, TensorRtError::Parse { .. }), "{error:?}");
        assert_says(&error, &["Failed to parse the ONNX model"]);
    }
}

#[test]
fn a_model_without_outputs_is_refused_though_it_parses() {
    let onnx = graph(|graph, images| {
        cast(graph, images, "nowhere");
    });
    for bytes in [onnx.as_slice(), b""] {
        assert_eq!(refused(bytes), TensorRtError::NoOutputs);
    }
    assert_says(&TensorRtError::NoOutputs, &["the model has no outputs", "export it again"]);
}

#[test]
fn a_free_batch_without_a_profile_is_refused() {
    let model = detector(Variant::of(&CENTERNET), |_| ());
    let error = build(&model.bytes, &[], &["8.9"]).unwrap_err();
    assert_says(&error, &["failed to build the plan", "no optimization profile has been defined"]);
}

#[test]
fn profiles_that_do_not_fit_are_refused_with_what_does_not_fit() {
    let model = detector(Variant::of(&CENTERNET), |_| ());
    let say = |profiles: &[Profile], parts: &[&str]| {
        assert_says(&build(&model.bytes, profiles, &["8.9"]).unwrap_err(), parts);
    };
    say(&profiles([HEIGHT, WIDTH + 1], BATCHES), &["Dimension mismatch for tensor images", "129"]);
    say(&profiles([HEIGHT, WIDTH], &[[1, 9, 8]]), &["the profiles do not fit the model", "MIN<=OPT<=MAX"]);
    let other = Profile::of_batches("image", &[HEIGHT as i64, WIDTH as i64, 3], [1, 4, 8]);
    say(&[other], &["images"]);
}

#[test]
fn a_generation_that_tensorrt_rtx_has_not_is_refused_with_those_it_has() {
    let model = detector(Variant::of(&CENTERNET), |_| ());
    let error = build(&model.bytes, &shapes(), &["8.9", "9.0"]).unwrap_err();
    assert!(matches!(error, TensorRtError::Capability { .. }), "{error:?}");
    let parts =
        ["no plan for compute capability 8.9, 9.0", "invalid or not supported", "7.5, 8.0, 8.6, 8.9, 12.0"];
    assert_says(&error, &parts);
}

#[test]
fn a_damaged_plan_is_refused_with_the_cure() {
    let model = detector(Variant::of(&CENTERNET), |_| ());
    let plan = build(&model.bytes, &shapes(), &["8.9"]).unwrap();
    assert_loads(&plan, BATCHES);
    let runtime = rtx().runtime().unwrap();
    let picture = vec![0xff; 4096];
    for damaged in [&plan[..plan.len() / 2], &plan[..64], &plan[..7], &picture, b""] {
        let error = runtime.deserialize(damaged).unwrap_err();
        assert!(matches!(error, TensorRtError::Plan { .. }), "{} bytes: {error:?}", damaged.len());
        assert_says(&error, &["TensorRT-RTX 1.7.1 does not take the plan", "build it again"]);
    }
}

#[test]
fn the_optimization_level_and_workspace_reach_the_builder() {
    let model = detector(Variant::of(&CENTERNET), |_| ());
    let (shapes, targets) = (shapes(), ["8.9".parse().unwrap()]);
    let request = BuildRequest {
        capabilities: &targets,
        workspace: Some(64 << 20),
        optimization_level: Some(0),
        ..BuildRequest::new(&model.bytes, &shapes)
    };
    assert_loads(&rtx().build(&request).unwrap().plan, BATCHES);
}
