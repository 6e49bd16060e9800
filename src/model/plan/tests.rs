//! Plans are bytes here: what is tested is which of them count, and what is said of the others.

use std::fs;
use std::path::Path;

use super::super::home::Home;
use super::super::metadata::tests::example;
use super::*;

fn key() -> Key {
    Key {
        onnx_sha256: "ab".repeat(32),
        library: "TensorRT-RTX".into(),
        version: "1.7.1".into(),
        capabilities: vec!["8.9".into(), "12.0".into()],
        profiles: profiles(8, &[1, 4]).unwrap(),
    }
}

fn record(plan: &[u8]) -> Record {
    Record::of(plan, key(), example(), "yard.onnx".into())
}

fn here() -> Machine {
    Machine { library: "TensorRT-RTX".into(), version: "1.7.1".into(), capability: Some("8.9".into()) }
}

#[test]
fn a_plan_fits_its_library_and_gpu_only() {
    assert_eq!(key().check(&here()), Ok(()));
    assert_eq!(key().check(&Machine { capability: None, ..here() }), Ok(()));
    let other = key().check(&Machine { version: "1.8.0".into(), ..here() }).unwrap_err().to_string();
    assert_eq!(other, "it was built by TensorRT-RTX 1.7.1, but this machine has TensorRT-RTX 1.8.0");
    let other = key().check(&Machine { library: "TensorRT".into(), ..here() }).unwrap_err();
    assert!(matches!(other, Unfit::Library { .. }), "{other}");
    let other = key().check(&Machine { capability: Some("9.0".into()), ..here() }).unwrap_err().to_string();
    assert_eq!(other, "it was built for GPUs of compute capability 8.9, 12.0, but this one's is 9.0");
}

#[test]
fn every_part_of_the_key_makes_another_plan() {
    let others = [
        Key { onnx_sha256: "cd".repeat(32), ..key() },
        Key { library: "TensorRT".into(), ..key() },
        Key { version: "1.7.2".into(), ..key() },
        Key { capabilities: vec!["8.9".into()], ..key() },
        Key { profiles: profiles(8, &[1]).unwrap(), ..key() },
    ];
    let folder = tempfile::tempdir().unwrap();
    let plans = Plans::new(Home::at(folder.path()));
    plans.put(&record(b"plan"), b"plan").unwrap();
    assert_eq!(plans.find(&key()).unwrap().bytes, b"plan");
    for other in others {
        assert!(plans.find(&other).is_none(), "{other:?}");
    }
}

#[test]
fn a_damaged_plan_in_the_cache_counts_as_missing_and_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let plans = Plans::new(Home::at(folder.path()));
    let path = plans.put(&record(b"plan"), b"plan").unwrap();
    for damage in [&b"pla"[..], b"plam"] {
        fs::write(&path, damage).unwrap();
        assert!(plans.find(&key()).is_none());
    }
    fs::write(record_path(&path), "{").unwrap();
    assert!(plans.find(&key()).is_none());
    plans.put(&record(b"new"), b"new").unwrap();
    assert_eq!(plans.find(&key()).unwrap().bytes, b"new");
}

#[test]
fn a_plan_file_is_read_with_its_record() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("yard.plan");
    write(&path, b"plan", &record(b"plan")).unwrap();
    let plan = open(&path).unwrap();
    assert_eq!((plan.bytes, plan.metadata), (b"plan".to_vec(), example()));
    assert_eq!(plan.record.unwrap().key, key());

    fs::write(&path, b"plan and more").unwrap();
    let error = open(&path).unwrap_err().to_string();
    let command =
        format!("centerx model compile yard.onnx --max-batch 8 --best 1,4 -o {} --force", path.display());
    assert!(error.contains("13 bytes") && error.ends_with(&command), "{error}");
    fs::write(&path, b"plam").unwrap();
    let error = open(&path).unwrap_err().to_string();
    assert!(error.contains("its content is not what") && error.ends_with(&command), "{error}");
}

#[test]
fn a_plan_of_another_model_than_lies_beside_it_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (path, onnx) = (folder.path().join("yard.plan"), folder.path().join("yard.onnx"));
    assert_eq!(record(b"plan").check_source(&path), Ok(()), "there is none");
    fs::write(&onnx, b"another").unwrap();
    let error = record(b"plan").check_source(&path).unwrap_err().to_string();
    assert_eq!(error, format!("it was built from another model than {} beside it", onnx.display()));
    let key = Key { onnx_sha256: super::super::sha256(b"another"), ..key() };
    let same = Record::of(b"plan", key, example(), "yard.onnx".into());
    assert_eq!(same.check_source(&path), Ok(()));
}

#[test]
fn a_foreign_plan_needs_its_onnx_file_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("yard.engine");
    fs::write(&path, b"made by another tool").unwrap();
    let error = open(&path).unwrap_err().to_string();
    assert!(error.contains("yard.onnx") && error.contains("yard.engine.json"), "{error}");
    fs::write(folder.path().join("yard.onnx"), b"no detector").unwrap();
    let error = open(&path).unwrap_err().to_string();
    assert!(error.contains("yard.onnx is not an ONNX file"), "{error}");
}

#[test]
fn records_of_another_format_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("yard.plan");
    write(&path, b"plan", &record(b"plan")).unwrap();
    for (text, expected) in [
        (r#"{"format": 2}"#, "its format is 2, known is 1"),
        ("{}", "it has no format"),
        ("plan", "expected value"),
        (r#"{"format": 1}"#, "missing field"),
    ] {
        fs::write(record_path(&path), text).unwrap();
        let error = open(&path).unwrap_err().to_string();
        assert!(error.contains("yard.plan.json") && error.contains(expected), "{error}");
    }
}

#[test]
fn what_a_library_learnt_is_kept_by_library_and_gpu() {
    let folder = tempfile::tempdir().unwrap();
    let plans = Plans::new(Home::at(folder.path()));
    assert!(plans.timing("TensorRT", "11.4.0", "A").is_empty());
    plans.put_timing(["TensorRT", "11.4.0", "A"], b"learnt").unwrap();
    assert_eq!(plans.timing("TensorRT", "11.4.0", "A"), b"learnt");
    assert!(plans.timing("TensorRT", "11.4.0", "B").is_empty());
}

#[test]
fn profiles_begin_at_one_and_are_tuned_for_the_sizes_asked_for() {
    assert_eq!(profiles(8, &[]), Ok(vec![Batches { min: 1, opt: 8, max: 8 }]));
    let two = vec![Batches { min: 1, opt: 1, max: 8 }, Batches { min: 1, opt: 4, max: 8 }];
    assert_eq!(profiles(8, &[4, 1, 4]), Ok(two));
    assert!(profiles(8, &[9]).unwrap_err().contains("9 is not a batch size from 1 to the greatest, 8"));
    assert!(profiles(8, &[0]).is_err());
}

#[test]
fn plans_are_told_by_their_ending() {
    assert!(is_plan(Path::new("a/yard.plan")) && is_plan(Path::new("yard.ENGINE")));
    assert!(!is_plan(Path::new("yard.onnx")) && !is_plan(Path::new("plan")));
}
