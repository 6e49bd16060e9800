//! The libraries that scripts/tensorrt-rtx.sh fetched, and what is built with them.

use std::path::{Path, PathBuf};

use centerx::engine::tensorrt::{
    BatchRange, BuildRequest, Capability, Flavour, Profile, TensorRt, TensorRtError,
};
use centerx::model::INPUT;
use tempfile::TempDir;

/// The generations that TensorRT-RTX has and that are common.
pub const CAPABILITIES: [&str; 5] = ["7.5", "8.0", "8.6", "8.9", "12.0"];

/// A folder of fetched libraries: `tensorrt-rtx` or `tensorrt-lean`.
pub fn fetched(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache").join(name);
    let there = folder.join("wheel.sha256").is_file();
    assert!(there, "{} is missing: run bash scripts/tensorrt-rtx.sh, which fetches it", folder.display());
    folder
}

pub fn rtx() -> TensorRt {
    TensorRt::load(Flavour::Rtx, Some(&fetched("tensorrt-rtx"))).unwrap()
}

/// A folder in which `name` is really `file`.
pub fn disguised(name: &str, file: &Path) -> TempDir {
    assert!(file.is_file(), "{} is missing", file.display());
    let folder = TempDir::new().unwrap();
    std::os::unix::fs::symlink(file, folder.path().join(name)).unwrap();
    folder
}

pub fn capabilities(texts: &[&str]) -> Vec<Capability> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// Profiles of pictures of this height and width for these least, best and greatest batches.
pub fn profiles([height, width]: [usize; 2], batches: &[[i64; 3]]) -> Vec<Profile> {
    let picture = [height as i64, width as i64, 3];
    batches.iter().map(|&batch| Profile::of_batches(INPUT, &picture, batch)).collect()
}

/// Builds a plan with TensorRT-RTX.
pub fn build(onnx: &[u8], profiles: &[Profile], targets: &[&str]) -> Result<Vec<u8>, TensorRtError> {
    let capabilities = capabilities(targets);
    let request = BuildRequest { capabilities: &capabilities, ..BuildRequest::new(onnx, profiles) };
    let built = rtx().build(&request)?;
    assert_eq!(built.timing_cache, None, "TensorRT-RTX keeps none");
    Ok(built.plan)
}

/// Whether this machine has an NVIDIA GPU.
pub fn has_driver() -> bool {
    ["/dev/nvidiactl", "/dev/dxg"].iter().any(|device| Path::new(device).exists())
}

/// TensorRT-RTX checks a plan before it looks for a GPU, so a good one is told by what is missed then.
pub fn assert_loads(plan: &[u8], batches: &[[i64; 3]]) {
    match rtx().runtime().unwrap().deserialize(plan) {
        Ok(engine) => {
            let expected: Vec<_> =
                batches.iter().map(|&[min, opt, max]| BatchRange { min, opt, max }).collect();
            assert_eq!(engine.batches(), expected);
            let names: Vec<_> = engine.tensors().map(|tensor| tensor.name.as_str()).collect();
            assert_eq!(names, ["images", "detections"]);
        }
        // It may be for another generation than this machine's.
        Err(_) if has_driver() => (),
        Err(error @ TensorRtError::Runtime { .. }) => {
            let error = error.to_string();
            assert!(error.contains("CUDA driver version is insufficient"), "{error}");
            assert!(error.contains("see that nvidia-smi shows a GPU"), "{error}");
        }
        Err(error) => panic!("{error}"),
    }
}
