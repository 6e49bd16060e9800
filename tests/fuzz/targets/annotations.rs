//! COCO's JSON: any bytes are ground truth or an error, and what is ground truth can be scored.
#![no_main]

use std::collections::BTreeMap;

use centerx::eval::annotations::Annotations;
use centerx::eval::metric;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(annotations) = Annotations::parse(bytes) {
        let found: BTreeMap<_, _> = annotations.images.iter().map(|image| (image.id, Vec::new())).collect();
        let _ = metric::score(&annotations, &found);
    }
});
