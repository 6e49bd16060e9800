//! The project's rules, and copies of them whose times pass faster. Their expressions stay the same.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;

/// Windows are at least four scrapes of a second long.
const LEAST_WINDOW: Duration = Duration::from_secs(4);

/// How fast the rules' times pass.
pub struct Pace {
    /// What they are divided by.
    pub factor: f64,
    /// The same for some alerts.
    pub alerts: BTreeMap<String, f64>,
}

impl Default for Pace {
    fn default() -> Self {
        Self { factor: 1.0, alerts: BTreeMap::new() }
    }
}

/// An alert's rule.
#[derive(Debug)]
pub struct Rule {
    pub name: String,
    pub expression: String,
    pub severity: String,
    pub annotations: BTreeMap<String, String>,
}

/// All alerts.
pub fn all() -> Vec<Rule> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let rule = |rule: &Value| Rule {
        name: text(&rule["alert"]),
        expression: text(&rule["expr"]),
        severity: text(&rule["labels"]["severity"]),
        annotations: rule["annotations"]
            .as_object()
            .map(|all| all.iter().map(|(name, value)| (name.clone(), text(value))).collect())
            .unwrap_or_default(),
    };
    each(&mut read()).map(|value| rule(value)).collect()
}

/// The rules' files in one, at this pace.
pub fn paced(pace: &Pace) -> Value {
    let mut rules = read();
    for rule in each(&mut rules) {
        let name = rule["alert"].as_str().unwrap();
        let factor = *pace.alerts.get(name).unwrap_or(&pace.factor);
        if factor == 1.0 {
            continue;
        }
        rule["expr"] = speed_up(rule["expr"].as_str().unwrap(), factor).into();
        if let Some(time) = rule["for"].as_str().map(|time| humantime::parse_duration(time).unwrap()) {
            rule["for"] = milliseconds(time.div_f64(factor)).into();
        }
    }
    rules
}

fn read() -> Value {
    let mut files: Vec<_> = std::fs::read_dir(super::folder().join("rules"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let mut groups = Vec::new();
    for file in files {
        let mut rules: Value = serde_yaml_ng::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        groups.append(rules["groups"].as_array_mut().unwrap());
    }
    serde_json::json!({ "groups": groups })
}

fn each(rules: &mut Value) -> impl Iterator<Item = &mut Value> {
    rules["groups"]
        .as_array_mut()
        .unwrap()
        .iter_mut()
        .flat_map(|group| group["rules"].as_array_mut().unwrap())
}

fn milliseconds(time: Duration) -> String {
    format!("{}ms", time.as_millis())
}

/// An expression whose windows (`[5m]`) and offsets (`offset 2h`) are that much shorter.
pub fn speed_up(expression: &str, factor: f64) -> String {
    let mut faster = String::new();
    let mut rest = expression;
    while let Some(at) = rest.find(|c: char| c.is_ascii_alphanumeric()) {
        let (before, after) = rest.split_at(at);
        faster += before;
        let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
        let (word, after) = after.split_at(end);
        let is_time = faster.ends_with('[') || faster.ends_with("offset ");
        match humantime::parse_duration(word) {
            Ok(time) if is_time => faster += &milliseconds(time.div_f64(factor).max(LEAST_WINDOW)),
            _ => faster += word,
        }
        rest = after;
    }
    faster + rest
}

/// The series that an expression reads: metrics with their matchers.
pub fn selectors(expression: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut rest = expression;
    while let Some(at) = rest.find(|c: char| c.is_ascii_alphabetic()) {
        let start = &rest[at..];
        let end = start.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(start.len());
        let (name, after) = start.split_at(end);
        rest = after;
        if name.starts_with("centerx_") || name.starts_with("process_") || name == "up" {
            let matchers = if after.starts_with('{') { &after[..=after.find('}').unwrap()] } else { "" };
            found.insert(format!("{name}{matchers}"));
            rest = &after[matchers.len()..];
        }
    }
    found
}
