//! Compiles the protos into `OUT_DIR`.

use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let descriptors = PathBuf::from(std::env::var("OUT_DIR")?).join("centerx_descriptor.bin");
    tonic_prost_build::configure().file_descriptor_set_path(descriptors).compile_protos(
        &[
            "proto/centerx/v1/cameras.proto",
            "proto/centerx/v1/detections.proto",
            "proto/centerx/v1/models.proto",
        ],
        &["proto"],
    )?;
    Ok(())
}
