//! Documents that are made from the code, and compared with it by a test.

use std::path::Path;

/// Set to write the documents anew in place of comparing them.
const WRITE: &str = "CENTERX_WRITE_REFERENCE";

/// Fails where `path` does not say `text`.
pub(crate) fn check(path: &Path, text: &str) {
    if std::env::var_os(WRITE).is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        return;
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    let differs = committed.lines().zip(text.lines()).find(|(was, is)| was != is);
    assert!(
        committed == text,
        "{} is not what the code says{}; write it anew: {WRITE}=1 cargo test --lib reference",
        path.display(),
        differs
            .map(|(was, is)| format!(": it has\n  {was}\nwhere the code has\n  {is}\n"))
            .unwrap_or_default()
    );
}
