use burn::module::{ModuleMapper, Param};
use burn::tensor::{Device, Distribution, Tensor, TensorData};
use centerx::app::models::load_runtime;
use centerx::app::verify::verify;
use centerx::model::verify::pictures::random;
use prost::Message as _;

use super::*;
use crate::nn::{BackboneKind, NeckKind, NetworkConfig};

/// Moves all numbers away from where they begin: a fresh head gives next to nothing, which anything equals. It has its
/// own generator, as tests side by side share the device's.
struct Shake(fastrand::Rng);

impl ModuleMapper for Shake {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|value| {
            let shape = value.dims();
            let fan_in: usize = shape[1..].iter().product();
            let reach = if D == 4 { (6.0 / fan_in as f32).sqrt() } else { 0.3 };
            let count = shape.iter().product();
            let random: Vec<f32> = (0..count).map(|_| reach * (2.0 * self.0.f32() - 1.0)).collect();
            let random = Tensor::<D>::from_data(TensorData::new(random, shape), &value.device());
            if D == 4 { random } else { value + random }
        })
    }
}

/// A network after some training: its BatchNorms have seen pictures.
fn trained(backbone: BackboneKind, neck: NeckKind, seed: u64) -> CenterNet {
    let device = Device::flex().autodiff();
    let config = NetworkConfig { backbone, width: 0.125, neck, skips: true, head_channels: 8 };
    let shake = &mut Shake(fastrand::Rng::with_seed(seed));
    let network = CenterNet::new(&config, 2, &device).unwrap().map(shake);
    let pictures: Vec<u8> = random(4, [64, 64], 100).into_iter().flat_map(|picture| picture.rgb).collect();
    let pictures = nn::pixels(&pictures, 4, 64, 64, &device);
    // Until the statistics are those of the pictures: far from them, values grow from layer to layer.
    for _ in 0..20 {
        network.forward(pictures.clone());
    }
    network
}

fn about() -> About {
    About {
        name: "student".to_owned(),
        version: "3".to_owned(),
        classes: vec!["person".to_owned(), "car".to_owned()],
        input: (96, 64),
        top_k: 20,
        nms: None,
        source: "a test".to_owned(),
        license: "Apache-2.0".to_owned(),
    }
}

fn runtime() -> OnnxRuntime {
    load_runtime().expect("these tests need ONNX Runtime: centerx runtime pull")
}

#[test]
fn every_network_is_exported_as_it_computes() {
    let runtime = runtime();
    for (nth, backbone) in BackboneKind::ALL.into_iter().enumerate() {
        for neck in [NeckKind::Transposed, NeckKind::Resize] {
            // Each neck once with each kind of backbone is enough.
            if nth > 3 && (nth % 2 == 0) != (neck == NeckKind::Resize) {
                continue;
            }
            let network = trained(backbone, neck, nth as u64);
            let exported = detector(&network, &about(), &runtime);
            let parity = exported.unwrap_or_else(|error| panic!("{backbone:?} {neck:?}: {error}")).parity;
            println!("{backbone:?} {neck:?}: {parity}");
        }
    }
}

#[test]
fn the_detector_says_what_it_is_and_decodes_its_heads() {
    let runtime = runtime();
    let network = trained(BackboneKind::Resnet18, NeckKind::Transposed, 1);
    let exported = detector(&network, &About { nms: Some(0.5), ..about() }, &runtime).unwrap();
    let detector = model::parse(exported.bytes, Path::new("student.onnx")).unwrap();
    let found = &detector.metadata;
    assert_eq!(
        (found.name.as_str(), found.version.as_str(), found.family.as_str()),
        ("student", "3", "centernet")
    );
    assert_eq!(found.classes, ["person", "car"]);
    assert_eq!((found.input_width, found.input_height, found.top_k), (96, 64, 20));
    assert_eq!((found.source.as_str(), found.license.as_str()), ("a test", "Apache-2.0"));
    assert_eq!(found.recipe.as_ref().unwrap().nms, Some(0.5));
    let original = onnx::network(&network.valid()).unwrap();
    let original = centerx::model::onnx::ModelProto::decode(original.as_slice()).unwrap();
    let pictures = random(3, [96, 64], 5);
    let report = verify(&runtime, Some(&original), &detector, &pictures, None).unwrap();
    assert!(report.verdict().is_ok(), "{report:?}");
}

#[test]
fn the_network_by_itself_takes_any_batch_and_size() {
    let network = trained(BackboneKind::MobilenetSmall, NeckKind::Resize, 2).valid();
    let mut session = runtime().session(&onnx::network(&network).unwrap(), 1).unwrap();
    for shape in [[1, 3, 32, 32], [3, 3, 64, 128]] {
        let x = Tensor::<4>::random(shape, Distribution::Default, &network.device());
        let input = ort::value::Tensor::from_array((shape, onnx::values(x.clone()).unwrap())).unwrap();
        let outputs = session.run(ort::inputs![onnx::INPUT => input]).unwrap();
        let (found, values) = outputs["wh"].try_extract_tensor::<f32>().unwrap();
        let expected = network.forward(x).wh;
        assert_eq!(found.to_vec(), expected.dims().map(|size| size as i64));
        let expected = onnx::values(expected).unwrap();
        assert!(values.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-4));
    }
}

#[test]
fn an_export_of_another_network_is_found_out() {
    let runtime = runtime();
    let [network, other] = [1, 2].map(|seed| trained(BackboneKind::Resnet18, NeckKind::Resize, seed).valid());
    let made = detector(&network, &about(), &runtime).unwrap();
    let made = model::parse(made.bytes, Path::new("student.onnx")).unwrap();
    let bytes = [&network, &other].map(|network| onnx::network(network).unwrap());
    assert!(parity::check(&network, &bytes[0], &made, &runtime).is_ok());
    let error = parity::check(&network, &bytes[1], &made, &runtime).unwrap_err();
    assert!(matches!(error, ExportError::Parity { what: "network", head: "cls", .. }), "{error}");
    let error = parity::check(&other, &bytes[1], &made, &runtime).unwrap_err();
    assert!(matches!(error, ExportError::Parity { what: "detector", head: "cls", .. }), "{error}");
}

#[test]
fn what_does_not_fit_is_told_before_anything_runs() {
    let runtime = runtime();
    let network = trained(BackboneKind::MobilenetSmall, NeckKind::Resize, 1);
    let refused = |about: About| detector(&network, &about, &runtime).unwrap_err().to_string();
    let error = refused(About { classes: vec!["person".to_owned()], ..about() });
    assert!(error.contains("1 class names") && error.contains("network of 2"), "{error}");
    let error = refused(About { input: (100, 64), ..about() });
    assert!(error.contains("100x64") && error.contains("multiples of 32"), "{error}");
    let error = refused(About { top_k: 100_000, ..about() });
    assert!(error.contains("100000"), "{error}");
}

#[test]
fn nan_is_not_exported() {
    struct Spoil;
    impl ModuleMapper for Spoil {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.map(|value| value * f32::NAN)
        }
    }
    let network = trained(BackboneKind::MobilenetSmall, NeckKind::Resize, 1).map(&mut Spoil);
    let error = detector(&network, &about(), &runtime()).unwrap_err().to_string();
    assert!(error.contains("NaN"), "{error}");
}
