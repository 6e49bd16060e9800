//! What `load` takes and refuses.

use std::path::Path;

use proptest::prelude::*;
use prost::Message as _;

use super::graph::Graph;
use super::metadata::tests::example;
use super::onnx::{Dim, ElementType, ModelProto, TensorProto};
use super::*;

/// A model by the engine contract that computes nothing.
fn detector(change: impl FnOnce(&mut ModelProto)) -> Vec<u8> {
    let mut graph = Graph::new("g");
    let [n, k, h, w, c, six] = [
        Dim::Param("N".into()),
        Dim::Value(100),
        Dim::Value(384),
        Dim::Value(640),
        Dim::Value(3),
        Dim::Value(6),
    ];
    let images = graph.input(INPUT, ElementType::Uint8, &[n.clone(), h, w, c]);
    let detections = graph.node("Something", &[&images], OUTPUT, &[]);
    graph.output(&detections, ElementType::Float, &[n, k, six]);
    let mut model = graph.into_model();
    example().write_to(&mut model);
    change(&mut model);
    model.encode_to_vec()
}

fn loaded(bytes: &[u8]) -> Result<DetectorModel, ModelError> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    load(file.path())
}

#[test]
fn a_detector_is_taken_with_its_metadata_and_checksum() {
    let bytes = detector(|_| ());
    let model = loaded(&bytes).unwrap();
    assert_eq!(model.metadata, example());
    assert_eq!(model.bytes, bytes);
    assert_eq!(model.sha256, hex(&Sha256::digest(&bytes)));
    assert_eq!(hex(&[0, 0xab]), "00ab");
}

#[test]
fn what_is_not_onnx_is_told() {
    for bytes in [b"".as_slice(), b"\xff\xd8\xff\xe0 a picture", b"PK\x03\x04", &[0; 64]] {
        let error = loaded(bytes).unwrap_err();
        assert!(error.to_string().ends_with(" is not an ONNX file"), "{error}");
    }
    let error = load(Path::new("/nowhere/x.onnx")).unwrap_err().to_string();
    assert!(error.contains("cannot read the model /nowhere/x.onnx: No such file"), "{error}");
    assert!(matches!(load(Path::new("/")), Err(ModelError::Read { .. })));
}

#[test]
fn cut_files_are_refused_at_every_length() {
    let bytes = detector(|_| ());
    assert!(matches!(loaded(&bytes[..40]), Err(ModelError::Damaged { .. })));
    for length in 0..bytes.len() {
        parse(bytes[..length].to_vec(), Path::new("cut.onnx")).unwrap_err();
    }
}

#[test]
fn models_that_are_no_detectors_are_told_what_was_found_and_expected() {
    let graph = |model: &mut ModelProto| model.graph.take().unwrap();
    type Change = Box<dyn Fn(&mut ModelProto)>;
    let edit = |f: fn(&mut onnx::GraphProto)| -> Change {
        Box::new(move |model| {
            let mut inner = graph(model);
            f(&mut inner);
            model.graph = Some(inner);
        })
    };
    let dims = |value: &mut ValueInfoProto, at: usize, to: Dim| {
        let tensor = value.r#type.as_mut().unwrap().tensor_type.as_mut().unwrap();
        tensor.shape.as_mut().unwrap().dim[at].value = Some(to);
    };
    let metadata = |f: fn(&mut ModelMetadata)| -> Change {
        Box::new(move |model| {
            let mut metadata = example();
            f(&mut metadata);
            metadata.write_to(model);
        })
    };
    let cases: [(Change, &str); 8] = [
        (edit(|g| g.input[0].name = Some("x".into())), r#""x" is not called images"#),
        (edit(|g| g.output.clear()), "it has 0 outputs"),
        (edit(|g| g.output.push(g.output[0].clone())), "it has 2 outputs"),
        (
            Box::new(move |m| dims(&mut m.graph.as_mut().unwrap().input[0], 0, Dim::Value(1))),
            "batches of 1 only",
        ),
        (
            Box::new(move |m| dims(&mut m.graph.as_mut().unwrap().input[0], 3, Dim::Value(1))),
            "shape of images",
        ),
        (Box::new(move |m| dims(&mut m.graph.as_mut().unwrap().output[0], 2, Dim::Value(7))), "7 numbers"),
        (metadata(|m| m.top_k = 5), "5 detections, its graph of 640x384 and 100"),
        (metadata(|m| m.landmarks = vec!["nose".into()]), "1 landmarks do not make"),
    ];
    for (change, expected) in cases {
        let error = loaded(&detector(&change)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(error.contains("expected input images uint8 [N,H,W,3]"), "{error}");
    }
    let error = loaded(&detector(|m| m.metadata_props.clear())).unwrap_err().to_string();
    assert!(
        error.contains("does not describe itself") && error.contains("centerx.name is missing"),
        "{error}"
    );
}

#[test]
fn weights_in_other_files_are_told() {
    let outside = TensorProto { name: Some("w".into()), data_location: Some(1), ..Default::default() };
    let error = loaded(&detector(|m| m.graph.as_mut().unwrap().initializer.push(outside))).unwrap_err();
    assert!(matches!(error, ModelError::ExternalData { tensor, .. } if tensor == "w"));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        parse(bytes, Path::new("x.onnx")).unwrap_err();
    }

    #[test]
    fn damaged_detectors_never_panic(damage in prop::collection::vec((0usize..2000, any::<u8>()), 1..6)) {
        let mut bytes = detector(|_| ());
        for (at, byte) in damage {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        let _ = parse(bytes, Path::new("x.onnx"));
    }
}
