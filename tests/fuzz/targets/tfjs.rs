//! TF.js models: a description up to the first zero byte, weights after it.
#![no_main]

use centerx::model::{coco, pose};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let (description, weights) =
        bytes.split_at(bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len()));
    for size in [None, Some([64, 96])] {
        let _ = coco::build(description, weights, "0", size);
        let _ = pose::build(description, weights, "0", size);
    }
});
