//! Compiles the protos into `OUT_DIR`, and with the feature `tensorrt` the shim over TensorRT and the GPU's kernel for
//! the tests. Describes the protos for the live page as well.

use std::path::{Path, PathBuf};

use prost::Message as _;

#[cfg(feature = "tensorrt")]
#[path = "build/kernel.rs"]
mod kernel;
#[path = "build/schema.rs"]
mod schema;
#[cfg(feature = "tensorrt")]
#[path = "build/shim.rs"]
mod shim;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    #[cfg(feature = "tensorrt")]
    if let Err(problem) = shim::build() {
        println!("cargo::error={problem}");
        return Ok(());
    }
    // Said, because cargo would build anew after a change to any file here, the documents included.
    println!("cargo::rerun-if-changed=proto");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let descriptors = out.join("centerx_descriptor.bin");
    // Pictures are shared by all who look, and not copied for each.
    let config = tonic_prost_build::configure().bytes(".centerx.v1.WatchResponse.jpeg");
    config.file_descriptor_set_path(&descriptors).compile_protos(
        &[
            "proto/centerx/v1/cameras.proto",
            "proto/centerx/v1/detections.proto",
            "proto/centerx/v1/live.proto",
            "proto/centerx/v1/models.proto",
        ],
        &["proto"],
    )?;
    write_schema(&descriptors, &out.join("schema.json"))?;
    #[cfg(feature = "tensorrt")]
    kernel::compile();
    Ok(())
}

fn write_schema(descriptors: &Path, to: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let set = prost_types::FileDescriptorSet::decode(std::fs::read(descriptors)?.as_slice())?;
    Ok(std::fs::write(to, schema::json(&set).to_string())?)
}
