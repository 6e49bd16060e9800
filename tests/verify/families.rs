//! The library: synthetic networks of every family and variant.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use centerx::app::verify::verify;
use centerx::engine::onnx::OnnxRuntime;
use centerx::model::decode::{self, FAMILIES};
use centerx::model::recipe::Recipe;
use centerx::model::verify::pictures::{RgbPicture, random};
use centerx::model::verify::{Disagreement, Report};
use centerx::model::{self, DetectorModel};
use prost::Message as _;

use super::synthetic::{HEIGHT, Variant, WIDTH, detector, original};
use super::{files, process};

/// The runtime that the binary would use. A process can hold one.
static RUNTIME: LazyLock<OnnxRuntime> = LazyLock::new(|| {
    let output = process::run(&["runtime", "path"]);
    assert!(output.status.success(), "{}", process::errors(&output));
    OnnxRuntime::load(Path::new(String::from_utf8(output.stdout).unwrap().trim())).unwrap()
});

fn pictures() -> Vec<RgbPicture> {
    random(7, [WIDTH, HEIGHT], 11)
}

fn against_original(variant: Variant) -> Report {
    let (network, detector) = (original(variant), detector(variant, |_| ()));
    verify(&RUNTIME, Some(&network), &detector, &pictures(), None).unwrap()
}

#[test]
fn every_family_and_variant_decodes_as_its_formula_says() {
    for variant in Variant::all() {
        let report = against_original(variant);
        report.verdict().unwrap_or_else(|error| panic!("{variant:?}: {error}"));
        for agreement in [&report.single, &report.batched] {
            let numbers = format!("{variant:?}: {agreement:?}");
            assert!(agreement.bbox.iter().chain(&agreement.landmark).all(|px| *px <= 0.01), "{numbers}");
            assert!(agreement.score <= 1e-5 && agreement.landmark_score <= 1e-5, "{numbers}");
            assert_eq!((agreement.missing, agreement.extra), (0, 0), "{numbers}");
            // There was something to compare, and doubt is no way out.
            assert!(agreement.rows >= 200, "{numbers}");
            assert!(agreement.near_ties * 50 <= agreement.rows, "{numbers}");
            assert!(agreement.landmark_near_ties * 50 <= agreement.landmarks, "{numbers}");
            let marks = agreement.rows * variant.family.landmarks.len();
            assert_eq!(agreement.landmarks + agreement.landmark_near_ties, marks, "{numbers}");
        }
    }
}

#[test]
fn a_detectors_own_heads_do_as_well() {
    for family in FAMILIES {
        let detector = detector(Variant::of(family), |_| ());
        let report = verify(&RUNTIME, None, &detector, &pictures(), None).unwrap();
        assert_eq!((report.verdict(), report.against_original), (Ok(()), false));
    }
}

/// What comes of a detector whose recipe tells something else than what its graph does.
fn told(variant: Variant, told: impl FnOnce(&mut Recipe)) -> Disagreement {
    let detector = detector(variant, told);
    verify(&RUNTIME, None, &detector, &pictures(), None).unwrap().verdict().unwrap_err()
}

#[test]
fn a_wrong_decode_is_found_whatever_is_wrong() {
    let plain = Variant::of(&decode::CENTERNET);
    let stride = told(plain, |recipe| recipe.heads.stride = 8.0);
    let rows = stride.to_string();
    assert!(rows.contains("expected class") && rows.contains("detector class"), "{rows}");
    told(Variant { nms: Some(0.5), ..plain }, |recipe| recipe.nms = None);
    told(plain, |recipe| recipe.nms = Some(0.5));
    told(plain, |recipe| recipe.heads.regressions[1] = None);
    told(plain, |recipe| recipe.heads.heat = decode::Heat::Scores);
    let swap = |recipe: &mut Recipe| recipe.heads.regressions.swap(0, 1);
    told(plain, swap);
    told(Variant::of(&decode::CENTERFACE), swap);
    told(Variant::of(&decode::QUAD), |recipe| recipe.heads.regressions[1] = None);
    told(Variant::of(&decode::CENTERPOSE), |recipe| recipe.heads.regressions[4] = None);
}

#[test]
fn a_picture_that_is_prepared_in_another_way_is_found() {
    let variant = Variant::of(&decode::TTF);
    for wrong in [|r: &mut Recipe| r.input.bgr = false, |r: &mut Recipe| r.input.add[0] = 0.0] {
        let detector = detector(variant, wrong);
        let report = verify(&RUNTIME, Some(&original(variant)), &detector, &pictures(), None).unwrap();
        assert!(report.verdict().is_err());
    }
}

#[test]
fn networks_that_do_not_belong_together_are_told() {
    let detector = detector(Variant::of(&decode::TTF), |_| ());
    let other = original(Variant::of(&decode::CENTERNET));
    let error = verify(&RUNTIME, Some(&other), &detector, &pictures(), None).unwrap_err();
    assert!(format!("{error:#}").contains(r#"no value "ltrb""#), "{error:#}");
}

#[test]
fn weights_that_are_no_numbers_are_named_by_head() {
    let variant = Variant::of(&decode::TTF);
    let mut network = original(variant);
    let weights = &mut network.graph.as_mut().unwrap().initializer;
    let bias = weights.iter_mut().rfind(|weight| weight.dims.len() == 1).unwrap();
    bias.raw_data.as_mut().unwrap()[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    let error = verify(&RUNTIME, Some(&network), &detector(variant, |_| ()), &pictures(), None).unwrap_err();
    assert!(format!("{error:#}").contains("head ltrb holds NaN"), "{error:#}");
}

#[test]
fn a_detector_without_recipe_is_told_with_the_cure() {
    let mut detector: DetectorModel = detector(Variant::of(&decode::TTF), |_| ());
    detector.metadata.recipe = None;
    let error = verify(&RUNTIME, None, &detector, &pictures(), None).unwrap_err().to_string();
    assert!(error.contains("to be pulled or imported again"), "{error}");
}

/// The official checker and its shape inference take every detector.
#[test]
fn onnx_checker_takes_every_family() {
    let folder = tempfile::tempdir().unwrap();
    let files = Variant::all().into_iter().enumerate().map(|(nth, variant)| {
        let file = folder.path().join(format!("{nth}.onnx"));
        std::fs::write(&file, detector(variant, |_| ()).bytes).unwrap();
        file
    });
    let files: Vec<_> = files.collect();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/python/check_onnx.py");
    let check = |files: &[PathBuf]| Command::new(files::python()).arg(&script).args(files).output().unwrap();
    let good = check(&files);
    assert!(good.status.success(), "{}", String::from_utf8_lossy(&good.stderr));
    // The checker does check: an output declared with another shape is refused.
    let mut broken = model::onnx::ModelProto::decode(std::fs::read(&files[0]).unwrap().as_slice()).unwrap();
    let output = &mut broken.graph.as_mut().unwrap().output[0];
    let tensor = output.r#type.as_mut().unwrap().tensor_type.as_mut().unwrap();
    tensor.shape.as_mut().unwrap().dim[1].value = Some(model::onnx::Dim::Value(7));
    std::fs::write(&files[0], broken.encode_to_vec()).unwrap();
    assert!(!check(&files[..1]).status.success());
}
