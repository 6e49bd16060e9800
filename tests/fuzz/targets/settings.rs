//! Settings and camera URLs: no panic, and no password in anything that is printed.
#![no_main]

use centerx::camera::CameraUrl;
use centerx::config::Config;

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(config) = Config::parse(text, "fuzzed.toml") {
        let _ = config.validate();
    }
    if let Ok(url) = CameraUrl::parse(text) {
        let shown = url.to_string();
        // Short ones can stand in the host or path by chance.
        for secret in url.secrets().iter().filter(|secret| secret.len() > 8) {
            let elsewhere = url.expose().host_str().is_some_and(|host| host.contains(secret.as_str()))
                || url.expose().path().contains(secret.as_str())
                || url.expose().username().contains(secret.as_str());
            assert!(elsewhere || !shown.contains(secret.as_str()), "{shown}");
        }
    }
});
