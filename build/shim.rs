//! Compiles src/engine/tensorrt/shim.cpp for each flavour of TensorRT whose headers are found, and says so by the
//! cfgs `tensorrt_enterprise` and `tensorrt_rtx`.

use std::path::{Path, PathBuf};

const VARIABLE: &str = "TENSORRT_INCLUDE_DIR";
const SHIM: &str = "src/engine/tensorrt/shim.cpp";
const SHIM_HEADER: &str = "src/engine/tensorrt/shim.hpp";
/// Stands in for CUDA's own headers.
const OWN_HEADERS: &str = "src/engine/tensorrt/include";
/// What scripts/tensorrt-headers.sh fills.
const FETCHED: &str = ".cache/tensorrt-headers";
/// Where packages and archives put them.
const SYSTEM: [&str; 6] = [
    "/usr/local/include",
    "/usr/local/tensorrt/include",
    "/opt/tensorrt/include",
    "/usr/include/x86_64-linux-gnu",
    "/usr/include/aarch64-linux-gnu",
    "/usr/include",
];

struct Flavour {
    name: &'static str,
    /// In NvInferVersion.h, before the major version.
    marker: &'static str,
    major: u32,
}

const FLAVOURS: [Flavour; 2] = [
    Flavour { name: "enterprise", marker: "TRT_MAJOR_ENTERPRISE", major: 11 },
    Flavour { name: "rtx", marker: "TRT_MAJOR_RTX", major: 1 },
];

/// Builds what can be built.
///
/// # Errors
/// No headers at all, with the cures.
pub fn build() -> Result<(), String> {
    println!("cargo::rustc-check-cfg=cfg(tensorrt_enterprise, tensorrt_rtx)");
    println!("cargo::rerun-if-env-changed={VARIABLE}");
    for file in [SHIM, SHIM_HEADER, OWN_HEADERS] {
        println!("cargo::rerun-if-changed={file}");
    }
    let named = std::env::var_os(VARIABLE).filter(|folder| !folder.is_empty()).map(PathBuf::from);
    let folders = header_folders(named.as_deref());
    if named.as_ref().is_some_and(|named| !folders.iter().any(|folder| folder.starts_with(named))) {
        return Err(missing(named.as_deref()));
    }
    let mut built = 0;
    for flavour in &FLAVOURS {
        let Some(folder) = folders.iter().find(|folder| flavour.has_headers(folder)) else { continue };
        println!("cargo::rerun-if-changed={}", folder.join("NvInferVersion.h").display());
        println!("cargo::rustc-cfg=tensorrt_{}", flavour.name);
        compile(flavour, folder);
        built += 1;
    }
    if built == 0 { Err(missing(named.as_deref())) } else { Ok(()) }
}

/// The folders with headers of any flavour, the wanted ones first.
fn header_folders(named: Option<&Path>) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    for root in named.into_iter().chain([Path::new(FETCHED)]).chain(SYSTEM.map(Path::new)) {
        folders.push(root.to_owned());
        // Not below the system's folders, which have hundreds.
        if !SYSTEM.iter().any(|system| root == Path::new(system)) {
            folders.extend(sub_folders(root));
        }
    }
    folders.retain(|folder| folder.join("NvInfer.h").is_file());
    folders
}

fn sub_folders(root: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root).into_iter().flatten().flatten();
    let mut folders: Vec<_> = entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    // The newest last by name, and wanted first.
    folders.sort_unstable_by(|a, b| b.cmp(a));
    folders
}

impl Flavour {
    fn has_headers(&self, folder: &Path) -> bool {
        let text = std::fs::read_to_string(folder.join("NvInferVersion.h")).unwrap_or_default();
        text.lines().any(|line| {
            let mut words = line.split_whitespace();
            words.next() == Some("#define")
                && words.next() == Some(self.marker)
                && words.next() == Some(&self.major.to_string())
        })
    }
}

/// Two flavours live in one binary as NVIDIA's namespaces are called another way in each.
fn compile(flavour: &Flavour, headers: &Path) {
    let mut build = cc::Build::new();
    build.cpp(true).std("c++17").file(SHIM).warnings(true).extra_warnings(true);
    build.flag("-isystem").flag(OWN_HEADERS);
    // A folder that the compiler knows by itself must keep its place in the order.
    if !headers.starts_with("/usr/include") && headers != Path::new("/usr/local/include") {
        build.flag("-isystem").flag(headers);
    }
    build
        .define("nvinfer1", format!("nvinfer1_{}", flavour.name).as_str())
        .define("nvonnxparser", format!("nvonnxparser_{}", flavour.name).as_str())
        .define("CENTERX_TRT", format!("centerx_trt_{}", flavour.name).as_str())
        .define("CENTERX_TRT_IS_RTX", if flavour.name == "rtx" { "1" } else { "0" })
        .flag("-fvisibility=hidden")
        .flag("-fno-rtti")
        .flag("-fno-exceptions")
        .compile(&format!("centerx_trt_{}", flavour.name));
}

fn missing(named: Option<&Path>) -> String {
    let found = named.map_or_else(String::new, |folder| {
        format!(
            " ({VARIABLE} is {}, where neither the folder nor a folder in it has an NvInfer.h of them)",
            folder.display()
        )
    });
    let wanted = FLAVOURS.map(|flavour| format!("{} {}.x", flavour.name, flavour.major)).join(" or ");
    format!(
        "feature tensorrt needs the headers of TensorRT ({wanted}), and there are none{found}. Either run \
         scripts/tensorrt-headers.sh, which fetches them; or install TensorRT's development package (libnvinfer-dev \
         and libnvonnxparsers-dev); or set {VARIABLE} to the folder with NvInfer.h, or to one with a folder for each \
         flavour"
    )
}
