//! The dashboards' files: what their source makes, valid for Grafana, and readable.

use serde_json::Value;

use super::files::python;
use super::prometheus_server::dashboards::files;
use super::*;

#[test]
fn the_files_are_what_their_source_makes() {
    let folder = tempfile::tempdir().unwrap();
    let mut generate = Command::new(python());
    generate.arg("-B").arg(project("docker/grafana/source/generate.py")).arg(folder.path());
    assert_success(&generate.output().unwrap());
    for file in files() {
        let made = folder.path().join(file.file_name().unwrap());
        let same = std::fs::read(&made).unwrap() == std::fs::read(&file).unwrap();
        assert!(same, "{} is not what python docker/grafana/source/generate.py makes", file.display());
    }
}

#[test]
fn the_files_are_valid_for_grafana() {
    let mut check = Command::new(python());
    check.arg("-B").arg(project("tests/support/python/check_dashboards.py")).args(files());
    assert_success(&check.output().unwrap());
}

#[test]
fn each_panel_tells_what_it_shows_in_which_unit() {
    for file in files() {
        let dashboard: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        let mut ids = Vec::new();
        for panel in dashboard["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] != "row") {
            let title = panel["title"].as_str().unwrap();
            assert!(panel["description"].as_str().is_some_and(|text| text.len() > 20), "{title}");
            let has_unit = panel["fieldConfig"]["defaults"]["unit"].is_string();
            assert!(
                has_unit || matches!(panel["type"].as_str(), Some("table" | "state-timeline")),
                "{title}"
            );
            ids.push(title);
        }
        let links = dashboard["links"].as_array().unwrap();
        assert!(links.iter().any(|link| link["url"] == "${page}") && links.len() == 2, "{links:?}");
        assert!(ids.len() > 10);
    }
}

#[test]
fn provisioning_leads_to_the_dashboards_and_to_prometheus() {
    let read = |path: &str| -> Value {
        let path = project("docker/grafana/provisioning").join(path);
        serde_yaml_ng::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    };
    let source = &read("datasources/prometheus.yaml")["datasources"][0];
    assert_eq!((&source["uid"], &source["type"]), (&"centerx-prometheus".into(), &"prometheus".into()));
    let provider = &read("dashboards/centerx.yaml")["providers"][0];
    assert_eq!(provider["options"]["path"], "/etc/grafana/dashboards");
}
