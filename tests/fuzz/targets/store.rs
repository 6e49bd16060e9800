//! The files of cameras and models: any bytes give the good entries, and these are whole once written again.
#![no_main]

use centerx::app::model_store::StoredModel;
use centerx::camera::CameraSpec;
use centerx::json_file::{Entry, read};

fn check<T: Entry>(bytes: &[u8], list: &str) {
    let found = read::<T>(bytes, 1, list);
    let text = serde_json::to_vec(&serde_json::json!({ "version": 1, list: found.entries }))
        .expect("it can be written");
    let again = read::<T>(&text, 1, list);
    assert!(again.problems.is_empty(), "{:?}", again.problems);
    let keys = |entries: &[T]| entries.iter().map(|entry| entry.key().to_owned()).collect::<Vec<_>>();
    assert_eq!(keys(&again.entries), keys(&found.entries));
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    check::<CameraSpec>(bytes, "cameras");
    check::<StoredModel>(bytes, "models");
});
