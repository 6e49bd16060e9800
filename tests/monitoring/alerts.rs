//! The rules' files: Prometheus takes them, their own tests pass, and each alert tells a person what to do.

use std::collections::BTreeSet;

use serde_json::Value;

use super::rules::Rule;
use super::*;

/// The files of a folder beside the rules.
fn files_in(folder: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(project("docker/prometheus").join(folder)).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

fn promtool(arguments: &[&str], files: Vec<PathBuf>) {
    let output = Command::new("promtool").args(arguments).args(files).output();
    assert_success(&output.expect("promtool comes with prometheus: run bash scripts/test.sh"));
}

#[test]
fn promtool_passes_rules_settings_and_tests() {
    promtool(&["check", "rules"], files_in("rules"));
    promtool(&["check", "config"], vec![project("docker/prometheus/prometheus.yml")]);
    promtool(&["test", "rules"], files_in("tests"));
}

/// What promtool looks at in the tests, and whether it is to see nothing.
fn looks() -> Vec<(String, bool)> {
    let mut looks = Vec::new();
    for file in files_in("tests") {
        let tests: Value = serde_yaml_ng::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        for test in tests["tests"].as_array().unwrap() {
            for (kind, what, seen) in
                [("promql_expr_test", "expr", "exp_samples"), ("alert_rule_test", "alertname", "exp_alerts")]
            {
                for look in test[kind].as_array().into_iter().flatten() {
                    let nothing = look[seen].as_array().unwrap().is_empty();
                    looks.push((look[what].as_str().unwrap().to_owned(), nothing));
                }
            }
        }
    }
    looks
}

#[test]
fn promtool_tests_that_each_alert_fires_and_is_silent() {
    let looks = looks();
    for Rule { name, .. } in rules::all() {
        let quoted = format!("{name:?}");
        let about = looks.iter().filter(|(what, _)| *what == name || what.contains(&quoted));
        let sees: Vec<_> = about.map(|(_, nothing)| *nothing).collect();
        assert!(sees.contains(&true), "{name} is never tested silent");
        assert!(sees.contains(&false), "{name} is never tested firing");
    }
}

#[test]
fn each_alert_says_what_to_do_and_has_its_section() {
    let book = std::fs::read_to_string(project("docs/alerts.md")).unwrap();
    let sections: BTreeSet<_> = book.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let rules = rules::all();
    assert!(rules.len() >= 10);
    for rule in &rules {
        let name = &rule.name;
        assert!(matches!(rule.severity.as_str(), "critical" | "warning"), "{name}: {}", rule.severity);
        let annotation = |key: &str| rule.annotations.get(key).cloned().unwrap_or_default();
        assert!(!annotation("summary").is_empty() && annotation("description").len() > 60, "{name}");
        assert_eq!(annotation("runbook"), format!("docs/alerts.md#{}", name.to_lowercase()));
        assert!(sections.contains(name.as_str()), "docs/alerts.md has no section {name}");
    }
    let about_alerts = sections.iter().filter(|section| section.starts_with("Centerx")).count();
    assert_eq!(about_alerts, rules.len(), "docs/alerts.md has a section of an alert that is gone");
}

#[test]
fn times_pass_faster_and_nothing_else_changes() {
    assert_eq!(
        rules::speed_up("rate(centerx_a5m_total{reason=\"5m\"}[5m]) > 15 and up offset 2h", 60.0),
        "rate(centerx_a5m_total{reason=\"5m\"}[5000ms]) > 15 and up offset 120000ms"
    );
    assert_eq!(
        rules::speed_up("increase(a[2m]) > 0", 60.0),
        "increase(a[4000ms]) > 0",
        "no less than four scrapes"
    );
}

#[test]
fn an_expression_tells_what_it_reads() {
    let expression = "sum by (job) (rate(centerx_a_total{reason=\"x\"}[5m])) / on (camera) centerx_b > 0";
    let wanted = ["centerx_a_total{reason=\"x\"}", "centerx_b"].map(str::to_owned);
    assert_eq!(rules::selectors(expression), wanted.into());
}
