//! The commands, with a real TensorRT for RTX and without a GPU.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::process;
use super::support::fetched;

/// `centerx` with a cache of its own, so that nothing is compiled yet.
fn centerx(cache: &Path, arguments: &[&str]) -> Command {
    let mut command = process::centerx(arguments);
    command.env("CENTERX_HOME", cache).env("TENSORRT_LIBRARY_DIR", fetched("tensorrt-rtx"));
    command
}

fn run(cache: &Path, arguments: &[&str]) -> Output {
    centerx(cache, arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The pulled default model's file.
fn coco() -> PathBuf {
    let output = process::run(&["model", "pull", "coco"]);
    assert!(output.status.success(), "{}", process::errors(&output));
    text(&output.stdout).trim().into()
}

#[test]
fn the_default_model_is_compiled_without_a_gpu_and_the_second_time_it_is_there() {
    let cache = tempfile::tempdir().unwrap();
    let coco = coco();
    let arguments = [
        "model",
        "compile",
        coco.to_str().unwrap(),
        "--target",
        "rtx:8.9",
        "--max-batch",
        "4",
        "--best",
        "1,4",
    ];
    let first = run(cache.path(), &arguments);
    assert!(first.status.success(), "{}", text(&first.stderr));
    let plan = PathBuf::from(text(&first.stdout).trim());
    assert!(plan.starts_with(cache.path()) && plan.is_file(), "{}", plan.display());
    let told = text(&first.stderr);
    for part in ["compiled in ", "TensorRT-RTX 1.7", "compute capability 8.9", "1..4 (best 1); 1..4 (best 4)"]
    {
        assert!(told.contains(part), "{part} is missing in: {told}");
    }
    let record = std::fs::read_to_string(centerx::model::plan::record_path(&plan)).unwrap();
    let record: serde_json::Value = serde_json::from_str(&record).unwrap();
    assert_eq!(record["key"]["capabilities"], serde_json::json!(["8.9"]));
    assert_eq!(record["metadata"]["name"], "coco");

    let second = run(cache.path(), &arguments);
    assert!(text(&second.stderr).contains("was there already"), "{}", text(&second.stderr));
    assert_eq!(second.stdout, first.stdout);
}

#[test]
fn a_plan_goes_where_it_is_wanted_and_over_nothing() {
    let cache = tempfile::tempdir().unwrap();
    let (coco, plan) = (coco(), cache.path().join("coco.plan"));
    let arguments = |more: &[&'static str]| {
        let out = plan.to_str().unwrap().to_owned();
        let coco = coco.to_str().unwrap().to_owned();
        let mut all = vec!["model".to_owned(), "compile".into(), coco, "--target".into(), "rtx:7.5".into()];
        all.extend(["--max-batch".into(), "1".into(), "--best".into(), "1".into(), "-o".into(), out]);
        all.extend(more.iter().map(|&one| one.to_owned()));
        all
    };
    let compile = |more: &[&'static str]| {
        let all = arguments(more);
        run(cache.path(), &all.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let output = compile(&[]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout).trim(), plan.to_str().unwrap());
    let again = compile(&[]);
    assert_eq!(again.status.code(), Some(2));
    assert!(text(&again.stderr).contains("--force writes over it"), "{}", text(&again.stderr));
    assert!(compile(&["--force"]).status.success());

    // It is for TensorRT alone, unless what it was made of lies beside it.
    let check = ["serve", "--check", "--engine", "tensorrt", "--model", plan.to_str().unwrap()];
    let with_runtime =
        |command: &mut Command| command.env("ORT_DYLIB_PATH", library_of_onnx_runtime()).output().unwrap();
    let alone = with_runtime(&mut centerx(cache.path(), &check));
    assert_eq!(alone.status.code(), Some(3), "{}", text(&alone.stderr));
    for part in ["coco.plan cannot be used", "no NVIDIA driver", "coco.onnx", "to be served on the CPU"] {
        assert!(text(&alone.stderr).contains(part), "{part} is missing in: {}", text(&alone.stderr));
    }
    std::fs::copy(&coco, cache.path().join("coco.onnx")).unwrap();
    let beside = with_runtime(&mut centerx(cache.path(), &check));
    assert!(beside.status.success(), "{}", text(&beside.stderr));
    assert!(text(&beside.stderr).contains("served on the CPU"), "{}", text(&beside.stderr));
}

fn library_of_onnx_runtime() -> String {
    let output = process::run(&["runtime", "path"]);
    text(&output.stdout).trim().to_owned()
}

#[test]
fn what_cannot_be_compiled_is_told_with_what_can_be_done() {
    let cache = tempfile::tempdir().unwrap();
    let coco = coco();
    let coco = coco.to_str().unwrap();
    let no_detector = cache.path().join("net.onnx");
    std::fs::write(&no_detector, "garbage").unwrap();
    let cases: [(&[&str], i32, &[&str]); 6] = [
        (&[coco, "--target", "rtx:9.0"], 1, &["9.0", "build with TensorRT on the GPU itself"]),
        (&[coco], 1, &["no NVIDIA driver", "--target rtx:8.9, which needs no GPU"]),
        (&[coco, "--target", "enterprise:9.0"], 2, &["of this machine only"]),
        (
            &[coco, "--target", "rtx:8.9", "--max-batch", "4", "--best", "8"],
            2,
            &["8 is not a number from 1 to max_batch"],
        ),
        (&[coco, "--target", "rtx:8.9", "-o", "/tmp/coco.bin"], 2, &["does not end in .plan"]),
        (&[no_detector.to_str().unwrap(), "--target", "rtx:8.9"], 3, &["net.onnx is not an ONNX file"]),
    ];
    for (arguments, code, parts) in cases {
        let all: Vec<_> = ["model", "compile"].iter().chain(arguments).copied().collect();
        let output = run(cache.path(), &all);
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {told}");
        parts.iter().for_each(|part| assert!(told.contains(part), "{part} is missing in: {told}"));
    }
}

#[test]
fn without_a_gpu_the_server_serves_on_the_cpu_and_says_why_if_it_was_asked_for_one() {
    let check = |engine: &str| {
        let output = process::run(&["serve", "--check", "--model", "coco", "--engine", engine]);
        assert!(output.status.success(), "{}", process::errors(&output));
        process::errors(&output)
    };
    let told = check("tensorrt");
    for part in
        ["served on the CPU", "no NVIDIA driver (libcuda.so.1 is not there)", "Install NVIDIA's driver"]
    {
        assert!(told.contains(part), "{part} is missing in: {told}");
    }
    assert!(!check("auto").contains("served on the CPU"));
    assert!(!check("cpu").contains("served on the CPU"));
}

/// A driver as far as it is asked: `init` is what `cuInit` answers.
fn driver(init: u32, version: u32, devices: u32) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("driver.c");
    let code = format!(
        "int cuInit(unsigned f) {{ return {init}; }} int cuDriverGetVersion(int *v) {{ *v = {version}; return 0; }} \
         int cuDeviceGetCount(int *n) {{ *n = {devices}; return 0; }}"
    );
    std::fs::write(&source, code).unwrap();
    let library = folder.path().join("libcuda.so.1");
    let built =
        Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).status().unwrap();
    assert!(built.success());
    std::os::unix::fs::symlink(&library, folder.path().join("libcuda.so")).unwrap();
    folder
}

#[test]
fn a_driver_that_is_of_no_use_is_told_by_what_is_wrong_with_it() {
    let check = |folder: &Path| {
        let mut command = process::centerx(&["serve", "--check", "--model", "coco", "--engine", "tensorrt"]);
        let output = command.env("LD_LIBRARY_PATH", folder).output().unwrap();
        assert!(output.status.success(), "{}", process::errors(&output));
        process::errors(&output)
    };
    let cases = [
        (
            driver(100, 12_080, 0),
            "(driver): the NVIDIA driver finds no GPU (cuInit failed: CUDA_ERROR_NO_DEVICE",
        ),
        (driver(803, 12_080, 0), "(driver): the NVIDIA driver does not start"),
        (driver(0, 11_040, 0), "(driver): the NVIDIA driver is for CUDA 11.4"),
        (driver(0, 12_080, 0), "(device): the NVIDIA driver shows no GPU"),
    ];
    for (folder, words) in cases {
        let told = check(folder.path());
        assert!(told.contains("served on the CPU") && told.contains(words), "{words} is missing in: {told}");
    }
}

#[test]
fn the_benchmark_of_a_gpu_says_that_there_is_none() {
    let output = process::run(&["bench", "gpu"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(process::errors(&output).contains("no NVIDIA driver"), "{}", process::errors(&output));
}
