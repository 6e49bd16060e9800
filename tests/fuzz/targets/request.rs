//! gRPC requests: the first byte chooses which, the others are its message.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Some((&kind, message)) = bytes.split_first() {
        centerx::api::fuzzing::request(kind, message);
    }
});
