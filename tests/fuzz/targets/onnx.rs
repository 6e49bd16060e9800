//! Model files: any bytes are a model or an error.
#![no_main]

use std::path::Path;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = centerx::model::parse(bytes.to_vec(), Path::new("fuzzed.onnx"));
});
