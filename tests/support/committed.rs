//! References in `docs/reference`, which are written from the code and committed.

use std::path::Path;

/// Set to anything, it has the references written instead of compared.
const WRITE: &str = "CENTERX_WRITE_REFERENCES";

/// Holds what the code says now against the file that is committed.
///
/// # Panics
/// If they differ, with the first line that does and the cure.
pub fn holds(name: &str, now: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference").join(name);
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&path, now).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    if committed == now {
        return;
    }
    let (mut old, mut new) = (committed.lines(), now.lines());
    let differs = (1..).map(|line| (line, old.next(), new.next())).find(|(_, old, new)| old != new);
    panic!(
        "docs/reference/{name} is not what the code says any more; run this test with {WRITE}=1 and commit what \
         changes. The first line that differs, as it is and as it should be: {differs:#?}"
    );
}
