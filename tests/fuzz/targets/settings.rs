//! A whole file of settings: it is read and checked or refused, and a refusal repeats no password of a URL.
#![no_main]

use centerx::config::Config;

const SECRET: &str = "hunter2hunter2";

libfuzzer_sys::fuzz_target!(|text: &str| {
    let refused = match Config::parse(text, "fuzzed.toml") {
        Ok(config) => config.validate().err(),
        Err(error) => Some(error),
    };
    // The secret must stand where a URL has its password, and nowhere else.
    let in_place = text.matches(&format!("://u:{SECRET}@")).count();
    if let Some(error) = refused
        && in_place == text.matches(SECRET).count()
    {
        let told = error.to_string();
        assert!(!told.contains(SECRET), "{told}");
    }
});
