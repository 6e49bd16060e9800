//! The kernel through NVRTC, for GPUs that are not here.

use std::path::PathBuf;

use centerx::engine::tensorrt::preprocess::nvrtc::{FOLDER_VARIABLE, ImageKind, Nvrtc};
use centerx::engine::tensorrt::preprocess::{Batch, KernelError, SOURCE, launch};

/// Where `scripts/nvrtc.sh` puts the library.
fn folder() -> PathBuf {
    let folder = std::env::var_os(FOLDER_VARIABLE)
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(".cache/nvrtc"), PathBuf::from);
    assert!(folder.is_dir(), "{} is missing: run bash scripts/nvrtc.sh, which fetches it", folder.display());
    folder
}

fn nvrtc() -> Nvrtc {
    Nvrtc::load(Some(&folder())).unwrap()
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// The text for the newest GPU that this NVRTC knows.
fn text(nvrtc: &Nvrtc) -> String {
    let image = nvrtc.compile((25, 5)).unwrap();
    let (bytes, kind) = (image.bytes(), image.kind());
    assert_eq!((kind, bytes.last()), (ImageKind::Ptx, Some(&0)));
    String::from_utf8(bytes[..bytes.len() - 1].to_vec()).unwrap()
}

#[test]
fn the_kernel_compiles_for_every_gpu_served() {
    let nvrtc = nvrtc();
    for capability in [(7, 5), (8, 0), (8, 6), (8, 9), (9, 0), (10, 0), (12, 0)] {
        let image = nvrtc.compile(capability).unwrap();
        let number = capability.0 * 10 + capability.1;
        assert_eq!((image.kind(), image.target()), (ImageKind::Cubin, &*format!("sm_{number}")));
        assert!(image.bytes().starts_with(b"\x7fELF"), "{image:?}");
        assert!(holds(image.bytes(), launch::NAME.to_str().unwrap()), "{image:?}");
        // The architecture in the ELF file's flags: the lowest byte, from compute capability 10 on the second.
        assert!(
            image.bytes()[48] == number || image.bytes()[49] == number,
            "{image:?}: {:x?}",
            &image.bytes()[48..52]
        );
    }
}

#[test]
fn a_gpu_newer_than_the_compiler_gets_text_for_its_driver() {
    let nvrtc = nvrtc();
    let text = text(&nvrtc);
    assert!(text.contains(".target sm_1"), "{}", &text[..400]);
    // A capability between two known ones gets the text of the one before.
    let between = nvrtc.compile((8, 8)).unwrap();
    assert_eq!((between.kind(), between.target()), (ImageKind::Ptx, "compute_87"));
}

#[test]
fn what_is_compiled_takes_one_batch_and_computes_in_integers() {
    let text = text(&nvrtc());
    let entry = format!(".visible .entry {}(", launch::NAME.to_str().unwrap());
    let (_, rest) = text.split_once(&entry).unwrap();
    let (parameters, body) = rest.split_once(')').unwrap();
    let expected =
        format!(".param .align 8 .b8 {}_param_0[{}]", launch::NAME.to_str().unwrap(), size_of::<Batch>());
    assert_eq!(parameters.trim(), expected);
    // Bytes come out equal on all devices because there is nothing that each may round its own way.
    for float in [".f16", ".f32", ".f64"] {
        assert!(!body.contains(float), "{float} in the kernel");
    }
    // Arrays that the compiler cannot keep in registers would make every pixel slow.
    assert!(!text.contains(".local"), "the kernel keeps arrays in memory");
}

#[test]
fn a_broken_source_is_refused_in_the_compilers_words() {
    let mut broken = SOURCE.to_str().unwrap().replace("luma_offset", "lumma_offset");
    broken = broken.replacen("lumma_offset", "luma_offset", 1);
    let source = std::ffi::CString::new(broken).unwrap();
    let refusal = nvrtc().compile_source(&source, (8, 9)).unwrap_err();
    assert!(matches!(&refusal, KernelError::Compile { log, .. } if log.contains("kernel.cu(")), "{refusal}");
    let text = refusal.to_string();
    for part in ["sm_89", "NVRTC_ERROR_COMPILATION", "lumma_offset", "preprocess = \"cpu\""] {
        assert!(text.contains(part), "{part} in: {text}");
    }
}

#[test]
fn a_gpu_too_old_is_refused_by_its_name() {
    let refusal = nvrtc().compile((3, 5)).unwrap_err().to_string();
    assert!(refusal.contains("compute capability 3.5") && refusal.contains("5.0"), "{refusal}");
}

#[test]
fn a_folder_without_nvrtc_is_named_with_what_to_do() {
    let empty = tempfile::tempdir().unwrap();
    let refusal = Nvrtc::load(Some(empty.path())).unwrap_err().to_string();
    let place = format!("there is no libnvrtc.so.12 in {}", empty.path().display());
    assert!(refusal.contains(&place) && refusal.contains(FOLDER_VARIABLE), "{refusal}");
}

#[test]
fn what_is_not_nvrtc_is_refused() {
    let folder_of = |content: &[u8]| {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("libnvrtc.so.12"), content).unwrap();
        folder
    };
    let garbage = folder_of(b"not a library");
    let refusal = Nvrtc::load(Some(garbage.path())).unwrap_err().to_string();
    assert!(refusal.contains(&format!("{}/libnvrtc.so.12: ", garbage.path().display())), "{refusal}");
    // A library that lacks the functions.
    let builtins = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let builtins = builtins.into_iter().find(|path| path.display().to_string().contains("builtins")).unwrap();
    let other = folder_of(&std::fs::read(builtins).unwrap());
    let refusal = Nvrtc::load(Some(other.path())).unwrap_err().to_string();
    assert!(refusal.contains("nvrtcVersion"), "{refusal}");
}
