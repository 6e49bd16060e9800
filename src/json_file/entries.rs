//! The entries in the bytes of a file, also of one that a broken disk or a careless hand has damaged.
//!
//! The good ones are kept and every fault is named, without repeating values: they may be passwords.

use std::collections::HashSet;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// What a file has a list of.
pub trait Entry: Serialize + DeserializeOwned {
    /// Unlike that of any other entry.
    fn key(&self) -> &str;

    /// Checks what the types alone do not.
    ///
    /// # Errors
    /// What is wrong; it may hold no secret.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

/// What could be read of a file, and what could not.
#[derive(Debug, PartialEq)]
pub struct Read<T> {
    /// The good entries, in the file's order.
    pub entries: Vec<T>,
    /// What is wrong with the rest; empty if there is none.
    pub problems: Vec<String>,
}

/// Problems that are told one by one.
const MAX_PROBLEMS: usize = 10;

/// Reads the bytes of a file of this `version`, whose entries stand in the field `list`.
pub fn read<T: Entry>(bytes: &[u8], version: u32, list: &str) -> Read<T> {
    let mut problems = Vec::new();
    let values = match serde_json::from_slice::<Map<String, Value>>(bytes) {
        Ok(document) => of_document(document, version, list, &mut problems),
        Err(error) => {
            problems.push(format!("it is damaged: {}", tell(&error)));
            match version_of_damaged(bytes) {
                Some(other) if other != u64::from(version) => {
                    problems.push(of_other_version(&other.to_string(), version));
                    Vec::new()
                }
                _ => salvage(bytes, list),
            }
        }
    };
    let entries = good_ones(values, &mut problems);
    let more = problems.len().saturating_sub(MAX_PROBLEMS);
    if more > 0 {
        problems.truncate(MAX_PROBLEMS);
        problems.push(format!("and {more} more faults"));
    }
    Read { entries, problems }
}

fn of_document(
    mut document: Map<String, Value>,
    version: u32,
    list: &str,
    problems: &mut Vec<String>,
) -> Vec<Value> {
    match document.remove("version") {
        Some(Value::Number(number)) if number.as_u64() == Some(version.into()) => {}
        Some(Value::Number(number)) => {
            // What the rest means, only a server of that version knows.
            problems.push(of_other_version(&number.to_string(), version));
            return Vec::new();
        }
        _ => problems.push("it does not tell its version".into()),
    }
    let values = match document.remove(list) {
        Some(Value::Array(values)) => values,
        _ => {
            problems.push(format!("it has no list of {list}"));
            Vec::new()
        }
    };
    if !document.is_empty() {
        problems.push(format!("it has {} field(s) that this server does not know", document.len()));
    }
    values
}

fn of_other_version(found: &str, known: u32) -> String {
    format!("it has version {found}, this server knows {known}: use the server that wrote it")
}

/// The number after the first `"version":`, for bytes that are no JSON any more.
fn version_of_damaged(bytes: &[u8]) -> Option<u64> {
    const KEY: &[u8] = b"\"version\"";
    let at = bytes.windows(KEY.len()).position(|window| window == KEY)?;
    let rest = bytes[at + KEY.len()..].trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
    let end = rest.iter().position(|byte| !byte.is_ascii_digit())?;
    std::str::from_utf8(&rest[..end]).ok()?.parse().ok()
}

/// The whole JSON objects in bytes that are not JSON as a whole. What merely looks like one, inside a text, has
/// its quotes escaped and does not pass.
fn salvage(bytes: &[u8], list: &str) -> Vec<Value> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(next) = bytes[at..].iter().position(|&byte| byte == b'{') {
        let begin = at + next;
        let mut values =
            serde_json::Deserializer::from_slice(&bytes[begin..]).into_iter::<Map<String, Value>>();
        match values.next() {
            Some(Ok(mut object)) => {
                at = begin + values.byte_offset();
                match object.remove(list) {
                    // The document itself, with something before or after it.
                    Some(Value::Array(inner)) => found.extend(inner),
                    _ => found.push(object.into()),
                }
            }
            _ => at = begin + 1,
        }
    }
    found
}

fn good_ones<T: Entry>(values: Vec<Value>, problems: &mut Vec<String>) -> Vec<T> {
    let (mut entries, mut seen) = (Vec::new(), HashSet::new());
    for (index, value) in values.into_iter().enumerate() {
        let of_entry = |problem: String| format!("entry {}: {problem}", index + 1);
        match serde_json::from_value::<T>(value) {
            Err(error) => problems.push(of_entry(tell(&error))),
            Ok(entry) => match entry.check() {
                Err(problem) => problems.push(of_entry(format!("{}: {problem}", entry.key()))),
                Ok(()) if !seen.insert(entry.key().to_owned()) => {
                    problems.push(of_entry(format!("a second {}; the first is kept", entry.key())));
                }
                Ok(()) => entries.push(entry),
            },
        }
    }
    entries
}

/// The parser's message, unless it quotes what may be an address with its password.
fn tell(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let quotes_an_address = text.contains("://") || text.contains('@');
    if quotes_an_address { "a value is of the wrong kind".into() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::Deserialize;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Cow {
        id: String,
        legs: u32,
    }

    impl Entry for Cow {
        fn key(&self) -> &str {
            &self.id
        }

        fn check(&self) -> Result<(), String> {
            if self.legs <= 4 { Ok(()) } else { Err(format!("{} legs are too many", self.legs)) }
        }
    }

    fn herd(text: &[u8]) -> (Vec<String>, String) {
        let Read { entries, problems } = read::<Cow>(text, 1, "cows");
        (entries.into_iter().map(|cow| cow.id).collect(), problems.join("; "))
    }

    const WHOLE: &str =
        r#"{"version": 1, "cows": [{"id": "a", "legs": 4}, {"id": "b", "legs": 3}, {"id": "c", "legs": 4}]}"#;

    #[test]
    fn a_whole_file_has_no_problems() {
        assert_eq!(herd(WHOLE.as_bytes()), (vec!["a".into(), "b".into(), "c".into()], String::new()));
    }

    #[test]
    fn good_entries_are_kept_and_bad_ones_named() {
        for (from, to, kept, told) in [
            (r#""legs": 3"#, r#""legs": 5"#, "ac", "entry 2: b: 5 legs"),
            (r#""legs": 3"#, r#""lags": 3"#, "ac", "entry 2: unknown field"),
            (
                r#""legs": 3"#,
                r#""legs": "rtsp://u:hunter2@h""#,
                "ac",
                "entry 2: a value is of the wrong kind",
            ),
            (r#""id": "b""#, r#""id": "a""#, "ac", "entry 2: a second a; the first is kept"),
            (r#""version": 1"#, r#""version": 2"#, "", "version 2"),
            (r#""version": 1, "#, "", "abc", "does not tell its version"),
            (r#""cows""#, r#""bulls""#, "", "no list of cows"),
            (r#""version""#, r#""x": 1, "version""#, "abc", "1 field(s)"),
            // Damage: a byte, the head, the tail, all.
            (r#""legs": 3"#, r#""legs"= 3"#, "ac", "damaged"),
            (r#"{"version": 1, "cows": [{"id": "a""#, "\0\0\0\0\0\0", "bc", "damaged"),
            (r#", {"id": "c", "legs": 4}]}"#, r#", {"id": "c", "le"#, "ab", "damaged"),
            (r#"]}"#, r#"]} more"#, "abc", "damaged"),
            (WHOLE, "", "", "damaged"),
            (WHOLE, "\0\0\0\0", "", "damaged"),
            (WHOLE, r#"{"version": 7, "cows": [{"id": "a", "legs": 4}"#, "", "version 7"),
        ] {
            let (ids, problems) = herd(WHOLE.replace(from, to).as_bytes());
            assert_eq!(ids.concat(), kept, "{to}: {problems}");
            assert!(problems.contains(told) && !problems.contains("hunter2"), "{to}: {problems}");
        }
    }

    #[test]
    fn a_thousand_faults_are_not_all_told() {
        let text = format!(r#"{{"version": 1, "cows": [{}0]}}"#, "1, ".repeat(999));
        let problems = read::<Cow>(text.as_bytes(), 1, "cows").problems;
        assert_eq!(problems.len(), MAX_PROBLEMS + 1);
        assert_eq!(problems[MAX_PROBLEMS], "and 990 more faults");
    }

    proptest! {
        /// Wherever a file is cut, every entry before the cut is kept, and the cut is noticed.
        #[test]
        fn a_cut_costs_what_is_behind_it(cut in 0..WHOLE.len()) {
            let (ids, problems) = herd(&WHOLE.as_bytes()[..cut]);
            let before = WHOLE[..cut].matches("4}").count() + WHOLE[..cut].matches("3}").count();
            prop_assert_eq!(ids.len(), before);
            prop_assert!(!problems.is_empty());
        }

        /// A block of zeros costs only the entries that it touches.
        #[test]
        fn zeros_cost_what_they_hit(begin in 0..WHOLE.len(), length in 1usize..20) {
            let mut bytes = WHOLE.as_bytes().to_vec();
            let end = (begin + length).min(bytes.len());
            bytes[begin..end].fill(0);
            let whole = |id: &str| {
                let at = WHOLE.find(&format!(r#"{{"id": "{id}""#)).unwrap();
                let until = at + WHOLE[at..].find('}').unwrap() + 1;
                until <= begin || end <= at
            };
            let expected: Vec<_> = ["a", "b", "c"].into_iter().filter(|id| whole(id)).collect();
            prop_assert_eq!(herd(&bytes).0, expected);
        }
    }
}
