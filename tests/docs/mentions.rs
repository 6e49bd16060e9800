//! Defaults that documents mention beside a setting, as in `hang_timeout` (8 s), are those of the reference.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

fn docs() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")
}

/// The defaults of each key, of all tables that have it.
fn defaults() -> HashMap<String, Vec<String>> {
    let text = fs::read_to_string(docs().join("reference/configuration.md")).unwrap();
    let mut defaults: HashMap<String, Vec<String>> = HashMap::new();
    for row in text.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<_> = row.split(" | ").collect();
        let plain = |cell: &str| cell.trim_matches(|c| " |`\"".contains(c)).to_owned();
        defaults.entry(plain(cells[0])).or_default().push(plain(cells[2]));
    }
    defaults
}

/// `60 s` as `1m`, `2,000` as `2000`, `32 MiB` as its bytes.
fn as_written(mention: &str) -> String {
    let plain = mention.replace(',', "");
    if let Some(mebibytes) = plain.strip_suffix(" MiB") {
        return (mebibytes.parse::<u64>().unwrap() << 20).to_string();
    }
    match humantime::parse_duration(&plain.replace(' ', "")) {
        Ok(time) if plain.contains(' ') => humantime::format_duration(time).to_string(),
        _ => plain,
    }
}

/// Settings with a number in brackets behind them: the key and what is said of it.
fn mentions(text: &str) -> Vec<(String, String)> {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let behind = words.split("` (").collect::<Vec<_>>();
    let pairs = behind.windows(2).filter_map(|pair| {
        let key = pair[0].rsplit(['`', ' ']).next()?.to_owned();
        let said = pair[1].split_once(')')?.0;
        said.starts_with(|c: char| c.is_ascii_digit()).then(|| (key, said.to_owned()))
    });
    pairs.collect()
}

#[test]
fn mentioned_defaults_are_those_of_the_reference() {
    let defaults = defaults();
    let mut seen = 0;
    for entry in fs::read_dir(docs()).unwrap() {
        let path = entry.unwrap().path();
        let Ok(text) = fs::read_to_string(&path) else { continue };
        for (key, said) in mentions(&text) {
            let Some(known) = defaults.get(&key) else { continue };
            seen += 1;
            assert!(known.contains(&as_written(&said)), "{}: `{key}` ({said}) is {known:?}", path.display());
        }
    }
    assert!(seen > 5, "only {seen} mentions were found: the test does not see them any more");
}

#[test]
fn mentions_are_read_as_people_write_them() {
    let text = "`[engine] hang_timeout` (8 s), `peer_streams`\n(2,000), `x` (see there), `bytes` (32 MiB)";
    let read: Vec<_> = mentions(text).into_iter().map(|(key, said)| (key, as_written(&said))).collect();
    let expected = [("hang_timeout", "8s"), ("peer_streams", "2000"), ("bytes", "33554432")];
    assert_eq!(read, expected.map(|(key, said)| (key.to_owned(), said.to_owned())));
}
