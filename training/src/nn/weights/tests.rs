use burn::tensor::{Device, Distribution, Tensor, TensorData};

use super::*;
use crate::nn::{BackboneKind, NeckKind, NetworkConfig};

fn network(backbone: BackboneKind, width: f32, device: &Device) -> CenterNet {
    let config = NetworkConfig { backbone, width, neck: NeckKind::Resize, skips: true, head_channels: 8 };
    CenterNet::new(&config, 2, device).unwrap()
}

fn picture(device: &Device) -> Tensor<4> {
    Tensor::random([2, 3, 32, 32], Distribution::Default, device)
}

fn output(network: &CenterNet, x: &Tensor<4>) -> TensorData {
    network.forward(x.clone()).cls.into_data()
}

#[test]
fn what_was_saved_is_loaded_statistics_included() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    let (plain, train) = (Device::flex(), Device::flex().autodiff());
    let trained = network(BackboneKind::MobilenetSmall, 0.25, &train);
    // Statistics move away from where they begin; the last step's are the ones that may be forgotten.
    for _ in 0..2 {
        trained.forward(picture(&train));
    }
    save(&trained, &path).unwrap();
    save(&trained, &path).unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
    let x = picture(&plain);
    let other = network(BackboneKind::MobilenetSmall, 0.25, &plain);
    let expected = output(&trained.valid(), &x);
    assert_ne!(output(&other, &x), expected);
    assert_eq!(output(&load(other, &path).unwrap(), &x), expected);
    // Into a network that trains as well.
    let other = load(network(BackboneKind::MobilenetSmall, 0.25, &train), &path).unwrap();
    assert_eq!(output(&other.valid(), &x), expected);
    other.forward(picture(&train));
    assert_ne!(
        output(&other.valid(), &x),
        expected,
        "its statistics still move, as what was saved was trained"
    );
}

#[test]
fn other_and_broken_files_are_told_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    let device = Device::flex();
    save(&network(BackboneKind::MobilenetSmall, 0.125, &device), &path).unwrap();
    for other in [(BackboneKind::MobilenetSmall, 0.25), (BackboneKind::Resnet18, 0.125)] {
        let error = load(network(other.0, other.1, &device), &path).unwrap_err();
        assert!(matches!(error, WeightsError::Other { .. }), "{error}");
        assert!(error.to_string().contains("weights.safetensors"), "{error}");
    }
    let whole = std::fs::read(&path).unwrap();
    for broken in [&whole[..whole.len() / 2], &whole[..4], b"no weights, a letter"] {
        std::fs::write(&path, broken).unwrap();
        let same = || network(BackboneKind::MobilenetSmall, 0.125, &device);
        let errors = [load(same(), &path).unwrap_err(), load_backbone(same(), &path).unwrap_err()];
        for error in errors {
            assert!(matches!(error, WeightsError::Read { .. }), "{error}");
            assert!(error.to_string().contains("weights.safetensors"), "{error}");
        }
    }
    let gone = folder.path().join("gone/weights.safetensors");
    let net = network(BackboneKind::MobilenetSmall, 0.125, &device);
    assert!(matches!(save(&net, &gone).unwrap_err(), WeightsError::Write { .. }));
    assert!(matches!(load(net, &gone).unwrap_err(), WeightsError::Read { .. }));
}

/// A tensor of a file: name, type, shape, bytes.
type Entry = (String, &'static str, Vec<usize>, Vec<u8>);

fn floats(name: &str, shape: Vec<usize>, values: &[f32]) -> Entry {
    (name.to_owned(), "F32", shape, values.iter().flat_map(|value| value.to_le_bytes()).collect())
}

/// Writes the backbone's tensors by their published names, changed by `change`, a classifier's, and BatchNorm's count of
/// batches, as PyTorch does; returns how many are the backbone's.
fn publish(network: &CenterNet, path: &Path, change: impl Fn(&str, Vec<f32>) -> Vec<f32>) -> usize {
    let mut tensors = Vec::new();
    for own in network.collect(None, None, true) {
        let Some(name) = published_name(network, &own.name) else { continue };
        let values = bridge::to_data(&own).unwrap().try_to_vec::<f32>().unwrap();
        tensors.push(floats(&name, own.shape.to_vec(), &change(&name, values)));
    }
    let count = tensors.len();
    tensors.push(floats("fc.weight", vec![3, 2], &[0.0; 6]));
    tensors.push(("bn1.num_batches_tracked".to_owned(), "I64", vec![], vec![0; 8]));
    write_safetensors(path, tensors);
    count
}

/// The format is a length, a header in JSON and the numbers: <https://github.com/huggingface/safetensors>.
fn write_safetensors(path: &Path, tensors: Vec<Entry>) {
    let (mut header, mut body) = (serde_json::Map::new(), Vec::new());
    for (name, dtype, shape, bytes) in tensors {
        let offsets = [body.len(), body.len() + bytes.len()];
        body.extend(bytes);
        header.insert(name, serde_json::json!({"dtype": dtype, "shape": shape, "data_offsets": offsets}));
    }
    let header = serde_json::Value::Object(header).to_string();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.extend(body);
    std::fs::write(path, file).unwrap();
}

#[test]
fn published_names_are_torchvisions() {
    let device = Device::flex();
    let names = |backbone, width| {
        let network = network(backbone, width, &device);
        let own = network.collect(None, None, true).into_iter();
        own.filter_map(|tensor| published_name(&network, &tensor.name)).collect::<BTreeSet<String>>()
    };
    let has = |names: &BTreeSet<String>, expected: &[&str]| {
        for name in expected {
            assert!(names.contains(*name), "{name} is not among {names:?}");
        }
    };
    let resnet = names(BackboneKind::Resnet50, 0.125);
    has(
        &resnet,
        &["conv1.weight", "bn1.running_mean", "layer1.0.downsample.0.weight", "layer1.0.downsample.1.bias"],
    );
    has(&resnet, &["layer3.5.conv3.weight", "layer4.2.bn2.running_var", "layer4.0.conv1.weight"]);
    assert_eq!(resnet.len(), 53 * 5, "53 convolutions, each with a BatchNorm of four");
    let regnet = names(BackboneKind::RegnetY400, 0.25);
    has(&regnet, &["stem.0.weight", "stem.1.bias", "trunk_output.block1.block1-0.proj.0.weight"]);
    has(
        &regnet,
        &["trunk_output.block4.block4-5.f.b.1.running_var", "trunk_output.block2.block2-0.f.se.fc1.bias"],
    );
    let mobilenet = names(BackboneKind::MobilenetSmall, 0.25);
    has(&mobilenet, &["features.0.0.weight", "features.1.block.0.0.weight", "features.1.block.1.fc1.weight"]);
    has(&mobilenet, &["features.2.block.2.1.running_mean", "features.11.block.2.fc2.bias"]);
    has(&mobilenet, &["features.11.block.3.0.weight"]);
}

#[test]
fn a_backbone_is_taken_from_a_file_of_published_names() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("imagenet.safetensors");
    let device = Device::flex();
    let x = picture(&device);
    let features = |network: &CenterNet| {
        network.backbone.run(&mut crate::nn::Forward, x.clone()).pop().unwrap().into_data()
    };
    for backbone in [BackboneKind::Resnet18, BackboneKind::RegnetY200, BackboneKind::MobilenetLarge] {
        let theirs = network(backbone, 0.125, &device);
        let count = publish(&theirs, &path, |_, values| values);
        let own = network(backbone, 0.125, &device);
        let neck_and_heads = |network: &CenterNet| {
            network
                .collect(None, None, true)
                .into_iter()
                .filter(|tensor| !tensor.name.starts_with("backbone") && tensor.dtype.is_float())
                .map(|tensor| bridge::to_data(&tensor).unwrap())
                .collect::<Vec<_>>()
        };
        let (rest, before) = (neck_and_heads(&own), features(&own));
        let (own, loaded) = load_backbone(own, &path).unwrap();
        assert_ne!(before, features(&theirs));
        assert_eq!(features(&own), features(&theirs), "{backbone:?}");
        assert_eq!(neck_and_heads(&own), rest);
        assert_eq!((loaded.taken.len(), loaded.missing.len()), (count, 0));
        assert_eq!(loaded.unused, ["fc.weight"]);
        // The last BatchNorm without shift and factor: nothing comes of it, which shows that it is the right one.
        if backbone == BackboneKind::MobilenetLarge {
            let last = "features.15.block.3.1.";
            publish(&theirs, &path, |name, values| {
                let silent = name == format!("{last}weight") || name == format!("{last}bias");
                if silent { vec![0.0; values.len()] } else { values }
            });
            let (silent, _) = load_backbone(network(backbone, 0.125, &device), &path).unwrap();
            assert_ne!(features(&silent), features(&theirs));
        }
    }
}

#[test]
fn backbones_of_other_shapes_and_other_networks_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("imagenet.safetensors");
    let device = Device::flex();
    publish(&network(BackboneKind::Resnet18, 0.25, &device), &path, |_, values| values);
    let error = load_backbone(network(BackboneKind::Resnet18, 0.125, &device), &path).unwrap_err();
    assert!(matches!(error, WeightsError::Shape { .. }), "{error}");
    assert!(error.to_string().contains("conv1.weight"), "{error}");
    let error = load_backbone(network(BackboneKind::RegnetX200, 0.25, &device), &path).unwrap_err();
    assert!(error.to_string().contains("stem.0.weight"), "{error}");
}

#[test]
fn a_part_of_a_backbone_is_taken_whatever_its_float_type() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("part.safetensors");
    let device = Device::flex();
    let halves = [0x00, 0x40].repeat(16);
    write_safetensors(&path, vec![("bn1.weight".to_owned(), "F16", vec![16], halves)]);
    let (network, loaded) = load_backbone(network(BackboneKind::Resnet18, 0.25, &device), &path).unwrap();
    assert_eq!(loaded.taken, ["bn1.weight"]);
    assert!(loaded.missing.contains(&"conv1.weight".to_owned()));
    assert!(loaded.to_string().starts_with("1 tensors taken, "), "{loaded}");
    let gamma = network.collect(None, None, true).into_iter();
    let gamma = gamma.filter(|tensor| tensor.name == "backbone.stem.norm.gamma");
    let gamma: Vec<f32> =
        gamma.flat_map(|tensor| bridge::to_data(&tensor).unwrap().try_to_vec().unwrap()).collect();
    assert_eq!(gamma, [2.0; 16]);
}
