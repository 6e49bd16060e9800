//! Compiles the GPU preprocessing's source for the host, where the tests compare it with the CPU path.
#![cfg(feature = "tensorrt")]

use std::path::Path;

/// Makes a static library of the kernel and has it linked.
pub fn compile() {
    let folder = Path::new("src/engine/tensorrt/preprocess");
    for name in ["kernel.cu", "host.cpp"] {
        println!("cargo::rerun-if-changed={}", folder.join(name).display());
    }
    // Neither exceptions nor the standard library: the kernel has none on a GPU.
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .cpp_link_stdlib(None)
        .flag("-fno-exceptions")
        .flag("-fno-rtti")
        .extra_warnings(true)
        .opt_level(2)
        .file(folder.join("host.cpp"))
        .compile("centerx_kernel_host");
}
