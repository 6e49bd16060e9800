//! Libraries that are not the wanted ones.

use std::path::Path;
use std::process::Command;

use centerx::engine::tensorrt::{BuildRequest, Flavour, TensorRt, TensorRtError, VARIABLE};

use tempfile::TempDir;

use super::support::{disguised, fetched, has_driver, rtx};
use super::{files, process};

/// What is said of the libraries in `folder`.
fn refused(flavour: Flavour, folder: &Path) -> String {
    TensorRt::load(flavour, Some(folder)).unwrap_err().to_string()
}

fn assert_says(message: &str, parts: &[&str]) {
    assert!(parts.iter().all(|part| message.contains(part)), "{parts:?} are not all in: {message}");
}

#[test]
fn the_library_tells_its_version_and_place() {
    let library = rtx();
    assert_eq!((library.flavour(), library.version().to_string().as_str()), (Flavour::Rtx, "1.7.1"));
    assert!(library.path().ends_with("tensorrt-rtx/libtensorrt_rtx.so.1"), "{}", library.path());
}

#[test]
fn the_environment_names_the_folder() {
    let test = "libraries::the_environment_names_the_folder";
    if std::env::var_os("CENTERX_TEST_CHILD").is_some() {
        let library = TensorRt::load(Flavour::Rtx, None).unwrap_or_else(|error| panic!("{error}"));
        assert!(library.path().ends_with("tensorrt-rtx/libtensorrt_rtx.so.1"), "{}", library.path());
        return;
    }
    let child = |folder: &Path| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", test]).env("CENTERX_TEST_CHILD", "1").env(VARIABLE, folder);
        command.output().unwrap()
    };
    let right = child(&fetched("tensorrt-rtx"));
    assert!(right.status.success(), "{}", String::from_utf8_lossy(&right.stdout));
    let wrong = child(Path::new("/nowhere"));
    assert!(!wrong.status.success());
    assert_says(&String::from_utf8_lossy(&wrong.stdout), &["from /nowhere", "No such file"]);
}

#[test]
fn a_missing_library_is_told_with_where_to_get_it() {
    let empty = tempfile::tempdir().unwrap();
    let folder = empty.path().display().to_string();
    let rtx = refused(Flavour::Rtx, empty.path());
    assert_says(&rtx, &["TensorRT-RTX cannot be loaded", &folder, "install TensorRT-RTX 1.7.1", VARIABLE]);
    let enterprise = refused(Flavour::Enterprise, empty.path());
    assert_says(&enterprise, &["libnvinfer.so.11", &folder, "install TensorRT 11.4.0", VARIABLE]);
}

#[test]
fn the_other_flavour_is_told_by_its_version_whatever_the_file_is_called() {
    let folder = disguised("libnvinfer.so.11", &fetched("tensorrt-rtx").join("libtensorrt_rtx.so.1"));
    let error = refused(Flavour::Enterprise, folder.path());
    assert_says(&error, &["libnvinfer.so.11 is TensorRT-RTX 1.7.1, but TensorRT was asked for"]);
    let folder = disguised("libtensorrt_rtx.so", &fetched("tensorrt-lean").join("libnvinfer_lean.so.11"));
    let error = refused(Flavour::Rtx, folder.path());
    assert_says(&error, &["libtensorrt_rtx.so is TensorRT 11.4.0, but TensorRT-RTX was asked for"]);
}

/// A library that is made of this source.
fn compiled(name: &str, source: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("library.c");
    std::fs::write(&file, source).unwrap();
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-o"]).arg(folder.path().join(name)).arg(&file);
    assert!(compiler.status().unwrap().success());
    folder
}

/// A library that tells this version, and is nothing beyond that.
fn of_version(name: &str, number: i32) -> TempDir {
    compiled(name, &format!("int getInferLibVersion(void) {{ return {number}; }}\n"))
}

/// The full library loads more of its kind from there when it builds.
#[test]
fn the_enterprise_library_is_told_the_folder() {
    let source = r#"
        #include <stdio.h>
        int getInferLibVersion(void) { return 110400; }
        void* createInferRuntime_INTERNAL(void* logger, int version) { return (void*)0x228; }
        _Bool setInternalLibraryPath(char const* path) {
            char file[4096];
            snprintf(file, sizeof file, "%sheard", path);
            FILE* heard = fopen(file, "w");
            return heard && fputs(path, heard) > 0 && fclose(heard) == 0;
        }
    "#;
    let folder = compiled("libnvinfer.so.11", source);
    let library = TensorRt::load(Flavour::Enterprise, Some(folder.path())).unwrap();
    let heard = std::fs::read_to_string(folder.path().join("heard")).unwrap();
    assert_eq!(heard, format!("{}/", folder.path().display()));
    // What this one answers is no runtime either.
    let error = library.runtime().unwrap_err().to_string();
    assert_says(&error, &["TensorRT 11.4.0 cannot run here: TensorRT did not say why", "nvidia-smi"]);
}

#[test]
fn a_version_that_is_too_old_is_told_with_the_wanted_one() {
    let cases = [
        ("libnvinfer.so", Flavour::Enterprise, 101_600, "libnvinfer.so is version 10.16.0", "11.4.0"),
        ("libnvinfer.so.11", Flavour::Enterprise, 110_300, "libnvinfer.so.11 is version 11.3.0", "11.4.0"),
        ("libnvinfer.so", Flavour::Enterprise, 120_000, "libnvinfer.so is version 12.0.0", "11.4.0"),
        ("libtensorrt_rtx.so.1", Flavour::Rtx, 10_600, "libtensorrt_rtx.so.1 is version 1.6.0", "1.7.1"),
    ];
    for (name, flavour, number, found, wanted) in cases {
        let error = refused(flavour, of_version(name, number).path());
        assert_says(&error, &[found, &format!("was built for {wanted}"), "or a newer"]);
    }
    // Nothing is wrong with the version of these, but the rest is missing.
    for (name, flavour, number) in
        [("libnvinfer.so.11", Flavour::Enterprise, 110_400), ("libtensorrt_rtx.so", Flavour::Rtx, 11_000)]
    {
        let error = refused(flavour, of_version(name, number).path());
        assert_says(&error, &["it has no createInferRuntime_INTERNAL"]);
    }
}

#[test]
fn a_library_that_is_not_tensorrt_is_told() {
    let output = process::run(&["runtime", "path"]);
    let onnx_runtime = String::from_utf8(output.stdout).unwrap();
    let folder = disguised("libtensorrt_rtx.so.1", Path::new(onnx_runtime.trim()));
    let error = refused(Flavour::Rtx, folder.path());
    assert_says(
        &error,
        &["libtensorrt_rtx.so.1 is not TensorRT-RTX: it has no getInferLibVersion", VARIABLE],
    );
}

#[test]
fn a_file_that_is_no_library_is_told() {
    let folder = disguised("libtensorrt_rtx.so.1", &files::sample("messi5.jpg"));
    assert_says(&refused(Flavour::Rtx, folder.path()), &["invalid ELF header", "install TensorRT-RTX"]);
}

/// The parser is only missed by who builds.
#[test]
fn a_missing_or_wrong_parser_is_told_at_the_first_build() {
    let core = fetched("tensorrt-rtx").join("libtensorrt_rtx.so.1");
    let folder = disguised("libtensorrt_rtx.so.1", &core);
    let library = TensorRt::load(Flavour::Rtx, Some(folder.path())).unwrap();
    let error = |library: &TensorRt| library.build(&BuildRequest::new(b"", &[])).unwrap_err().to_string();
    assert_says(&error(&library), &["libtensorrt_onnxparser_rtx.so.1: cannot open shared object file"]);
    std::os::unix::fs::symlink(core, folder.path().join("libtensorrt_onnxparser_rtx.so.1")).unwrap();
    assert_says(&error(&library), &["is not TensorRT-RTX: it has no createNvOnnxParser_INTERNAL"]);
}

/// Its factory answers 0x228 in place of null, which must not be taken for a runtime.
#[test]
fn the_enterprise_runtime_without_a_driver_is_told_as_that() {
    let folder = disguised("libnvinfer.so.11", &fetched("tensorrt-lean").join("libnvinfer_lean.so.11"));
    let library = TensorRt::load(Flavour::Enterprise, Some(folder.path())).unwrap();
    let cannot_build = library.build(&BuildRequest::new(b"", &[])).unwrap_err();
    assert!(matches!(cannot_build, TensorRtError::NoBuilder { .. }), "{cannot_build:?}");
    assert_says(&cannot_build.to_string(), &["runs plans but builds none; install the full TensorRT"]);
    match library.runtime() {
        Ok(_) => assert!(has_driver(), "a runtime without a driver"),
        Err(error) => {
            assert_says(
                &error.to_string(),
                &["TensorRT 11.4.0 cannot run here: createInferRuntime", "nvidia-smi"],
            );
        }
    }
}
