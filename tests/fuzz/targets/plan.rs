//! What lies beside a compiled model: what is read is written and read again the same, and names a command.
#![no_main]

use centerx::model::plan::Record;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(record) = Record::parse(bytes) else { return };
    let written = serde_json::to_vec(&record).expect("what was read can be written");
    assert_eq!(Record::parse(&written).expect("and read again"), record);
    assert!(record.rebuild(None).starts_with("centerx model compile "));
});
