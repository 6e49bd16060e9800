//! From detectors to plans.

use std::ops::ControlFlow;
use std::sync::Mutex;

use centerx::engine::tensorrt::{BuildRequest, Progress, TensorRtError};
use centerx::model::decode::{CENTERNET, Choice, FAMILIES, Head, Heads, Heat};
use centerx::model::fetch::Fetcher;
use centerx::model::graph::{Attr, Graph};
use centerx::model::home::Home;
use centerx::model::onnx::{ElementType, ModelProto, TensorProto};
use centerx::model::zoo::Zoo;
use centerx::model::{self, DetectorModel, decode};
use prost::Message as _;

use super::support::{CAPABILITIES, assert_loads, build, capabilities, profiles, rtx};
use super::synthetic::{HEIGHT, Variant, WIDTH, detector, original};
use super::{files, process};

/// ONNX's number of the type.
const INT8: i32 = 3;
const ONE: &[[i64; 3]] = &[[1, 4, 8]];
const THREE: &[[i64; 3]] = &[[1, 1, 1], [1, 4, 4], [1, 8, 8]];

/// Builds a plan of a detector and sees that it loads.
fn built(model: &DetectorModel, batches: &[[i64; 3]], targets: &[&str]) -> Vec<u8> {
    let metadata = &model.metadata;
    let size = [metadata.input_height as usize, metadata.input_width as usize];
    let plan = build(&model.bytes, &profiles(size, batches), targets);
    let plan = plan.unwrap_or_else(|error| panic!("{}: {error}", metadata.family));
    assert_loads(&plan, batches);
    plan
}

#[test]
fn every_family_and_variant_becomes_a_plan() {
    for variant in Variant::all() {
        built(&detector(variant, |_| ()), ONE, &["8.9"]);
    }
}

#[test]
fn every_family_becomes_a_plan_with_three_profiles() {
    for family in FAMILIES {
        built(&detector(Variant::of(family), |_| ()), THREE, &["8.6"]);
    }
}

/// The generations that a plan names as its own, such as `sm75 sm89`.
fn generations(plan: &[u8]) -> String {
    let text = String::from_utf8_lossy(plan);
    let named = text.split("accelerators={").skip(1).filter_map(|rest| rest.split_once('}'));
    named.map(|(names, _)| names.trim()).find(|names| *names != "*").unwrap_or_default().to_owned()
}

#[test]
fn every_generation_gets_a_plan_and_one_plan_may_be_for_all() {
    let model = detector(Variant::of(&CENTERNET), |_| ());
    for capability in CAPABILITIES {
        let name = format!("sm{}", capability.replace('.', ""));
        assert_eq!(generations(&built(&model, ONE, &[capability])), name);
    }
    assert_eq!(generations(&built(&model, ONE, &CAPABILITIES)), "sm75 sm80 sm86 sm89 sm120");
}

fn pulled(name: &str) -> DetectorModel {
    let zoo = Zoo::new(Home::at(files::centerx_home()), Fetcher::default());
    model::load(&zoo.resolve(name).unwrap()).unwrap()
}

#[test]
fn coco_and_pose_become_plans() {
    built(&pulled("coco"), ONE, &["8.9"]);
    built(&pulled("pose"), ONE, &["8.9"]);
}

#[test]
fn face_becomes_a_plan_with_three_profiles() {
    built(&pulled("face"), THREE, &["8.9"]);
}

#[test]
fn a_float16_detector_becomes_a_plan() {
    let folder = tempfile::tempdir().unwrap();
    let [network, half] = ["net.onnx", "half.onnx"].map(|name| folder.path().join(name));
    std::fs::write(&network, original(Variant::of(&CENTERNET)).encode_to_vec()).unwrap();
    let [network, output] = [&network, &half].map(|path| path.to_str().unwrap());
    let output = process::run(&["model", "import", network, "-o", output, "--fp16"]);
    assert!(output.status.success(), "{}", process::errors(&output));
    let model = model::load(&half).unwrap();
    let graph = ModelProto::decode(&*model.bytes).unwrap().graph.unwrap();
    let is_half = |data_type: Option<i32>| data_type == Some(ElementType::Float16 as i32);
    assert!(graph.initializer.iter().any(|weight| is_half(weight.data_type)));
    built(&model, ONE, &["7.5", "8.9"]);
}

/// Through int8 and back, with a zero point that says that it is int8.
fn quantise(graph: &mut Graph, value: &str, scale: f32) -> String {
    let scale = graph.float("scale", scale);
    let narrow = graph.node("QuantizeLinear", &[value, &scale, "zero"], "narrow", &[]);
    graph.node("DequantizeLinear", &[&narrow, &scale, "zero"], "wide", &[])
}

/// A detector whose convolutions are in int8.
fn quantised() -> Vec<u8> {
    let mut graph = Graph::new("quantised");
    let pixels = decode::images(&mut graph, HEIGHT, WIDTH);
    let pixels = quantise(&mut graph, &pixels, 2.0);
    let mut head = |name: &str, channels: usize| {
        let weights: Vec<f32> = (0..channels * 3 * 16).map(|n| (n % 17) as f32 * 0.01 - 0.08).collect();
        let weights = graph.floats("weights", &[channels, 3, 4, 4], &weights);
        let weights = quantise(&mut graph, &weights, 0.001);
        let value = graph.node("Conv", &[&pixels, &weights], name, &[("strides", Attr::Ints(&[4, 4]))]);
        Head { value, channels, height: HEIGHT / 4, width: WIDTH / 4 }
    };
    let heatmap = head("hm", 3);
    let regressions = vec![Some(head("wh", 2)), Some(head("reg", 2))];
    let heads = Heads { heatmap, heat: Heat::Logits, regressions, stride: 4.0 };
    decode::append(&mut graph, &CENTERNET, &heads, Choice { top_k: 100, nms: None }).unwrap();
    let mut model = graph.into_model();
    model.graph.as_mut().unwrap().initializer.push(TensorProto {
        name: Some("zero".into()),
        data_type: Some(INT8),
        raw_data: Some(vec![0]),
        ..Default::default()
    });
    model.encode_to_vec()
}

#[test]
fn a_quantised_detector_becomes_a_plan() {
    let plan = build(&quantised(), &profiles([HEIGHT, WIDTH], ONE), &["7.5", "8.9"]).unwrap();
    assert_loads(&plan, ONE);
}

#[test]
fn progress_is_told_and_a_build_can_be_stopped() {
    let model = detector(Variant::of(&CENTERNET), |_| ());
    let (library, profiles) = (rtx(), profiles([HEIGHT, WIDTH], ONE));
    let targets = capabilities(&["8.9"]);
    let request = BuildRequest { capabilities: &targets, ..BuildRequest::new(&model.bytes, &profiles) };
    let phases = Mutex::new(Vec::new());
    let tell = |progress: Progress<'_>| {
        if let Progress::Begin { phase, steps, .. } = progress {
            phases.lock().unwrap().push((phase.to_owned(), steps));
        }
        ControlFlow::Continue(())
    };
    library.build(&BuildRequest { progress: Some(&tell), ..request }).unwrap();
    let phases = phases.into_inner().unwrap();
    assert!(phases.iter().any(|(phase, steps)| !phase.is_empty() && *steps > 0), "{phases:?}");
    let stop = |_: Progress<'_>| ControlFlow::Break(());
    let stopped = library.build(&BuildRequest { progress: Some(&stop), ..request });
    assert_eq!(stopped, Err(TensorRtError::Cancelled));
}

/// TensorRT-RTX cannot by itself: a build for one generation fails while another one is under way.
#[test]
fn plans_for_several_generations_are_built_side_by_side() {
    let model = detector(Variant::of(&CENTERNET), |_| ());
    let (onnx, shapes) = (&model.bytes, &profiles([HEIGHT, WIDTH], ONE));
    std::thread::scope(|scope| {
        let good = CAPABILITIES.map(|target| scope.spawn(move || build(onnx, shapes, &[target])));
        let bad = scope.spawn(|| build(onnx, &[], &["8.9"]));
        good.into_iter().for_each(|plan| assert_loads(&plan.join().unwrap().unwrap(), ONE));
        let error = bad.join().unwrap().unwrap_err().to_string();
        assert!(error.contains("no optimization profile has been defined"), "{error}");
    });
}
