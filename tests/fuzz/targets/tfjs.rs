//! TF.js models: a description up to the first zero byte, weights after it.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let (description, weights) = bytes.split_at(bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len()));
    let _ = centerx::model::coco::build(description, weights, "0");
});
