//! Compiles the protos into `OUT_DIR`, and under feature `tensorrt` the GPU's kernel for the tests.

use std::path::PathBuf;

#[path = "build/kernel.rs"]
mod kernel;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Said, because cargo would build anew after a change to any file here, the documents included.
    println!("cargo::rerun-if-changed=proto");
    let descriptors = PathBuf::from(std::env::var("OUT_DIR")?).join("centerx_descriptor.bin");
    tonic_prost_build::configure().file_descriptor_set_path(descriptors).compile_protos(
        &[
            "proto/centerx/v1/cameras.proto",
            "proto/centerx/v1/detections.proto",
            "proto/centerx/v1/models.proto",
        ],
        &["proto"],
    )?;
    #[cfg(feature = "tensorrt")]
    kernel::compile();
    Ok(())
}
