//! Camera addresses: what is accepted is the same after a restart, and no printed form holds its password.
#![no_main]

use centerx::camera::{CameraId, CameraSpec, CameraUrl, SourceKind};

const SECRET: &str = "hunter2hunter2";

libfuzzer_sys::fuzz_target!(|text: &str| {
    // A tilde stands for the secret: a password is more than a few letters that stand elsewhere by chance.
    let text = text.replace(SECRET, "").replace('~', SECRET);
    let Ok(url) = CameraUrl::parse(&text) else { return };
    let shown = url.to_string();
    let exposed = url.expose();
    let query = exposed.query().filter(|_| url.kind() != SourceKind::Test);
    let count = |text: Option<&str>| text.map_or(0, |text| text.matches(SECRET).count());
    // What stands in user, host or path is no secret.
    let elsewhere = exposed.as_str().matches(SECRET).count() - count(exposed.password()) - count(query);
    assert_eq!(shown.matches(SECRET).count(), elsewhere, "{shown}");
    assert_eq!(format!("{url:?}"), format!("CameraUrl({shown})"));
    for secret in url.secrets() {
        let said = format!("cannot open <{secret}>");
        assert!(
            secret.contains("***")
                || secret.chars().all(|c| "cannot open <>*".contains(c))
                || url.scrub(&said) != said
        );
    }
    // Printing is stable: what was shown is an address that shows the same.
    // Three stars may be more than the secret, and then too many.
    if shown.len() <= exposed.as_str().len() {
        assert_eq!(CameraUrl::parse(&shown).expect("what is shown is an address").to_string(), shown);
    }
    // The store keeps the whole of it.
    let spec = CameraSpec::new(CameraId::new("a").expect("an id"), url);
    let kept = serde_json::to_string(&spec).expect("it can be kept");
    assert_eq!(serde_json::from_str::<CameraSpec>(&kept).expect("and read again"), spec);
});
