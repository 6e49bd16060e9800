//! The dashboards' files: what their source makes, valid for Grafana, and the queries that are in them.

use serde_json::Value;

use super::files::python;
use super::*;

/// The dashboards' files.
pub fn files() -> Vec<PathBuf> {
    ["overview", "camera"]
        .map(|name| project("docker/grafana/dashboards").join(format!("{name}.json")))
        .into()
}

/// A query of a panel, as Grafana sends it for one server and one camera. The panel has its dashboard's name before
/// its own.
#[derive(Debug)]
pub struct Query {
    pub panel: String,
    pub expression: String,
}

/// All queries of all panels, and of the variables.
pub fn queries(camera: &str) -> Vec<Query> {
    let mut found = Vec::new();
    for file in files() {
        let dashboard: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        for panel in dashboard["panels"].as_array().unwrap() {
            let title = panel["title"].as_str().unwrap();
            for target in panel["targets"].as_array().into_iter().flatten() {
                found.push(query(&name, title, target["expr"].as_str().unwrap(), camera));
            }
        }
        for variable in dashboard["templating"]["list"].as_array().unwrap() {
            if variable["type"] == "query" {
                let title = variable["name"].as_str().unwrap();
                found.push(query(&name, title, &labelled(variable["query"].as_str().unwrap()), camera));
            }
        }
    }
    found
}

/// What Grafana makes of its variables when one server and one camera are chosen.
fn query(dashboard: &str, panel: &str, expression: &str, camera: &str) -> Query {
    let expression = expression
        .replace("$__rate_interval", "4s")
        .replace("$instance", prometheus_server::INSTANCE)
        .replace("$camera", camera);
    assert!(!expression.contains('$'), "an unknown variable in {expression}");
    Query { panel: format!("{dashboard}: {panel}"), expression }
}

/// `label_values(SERIES, LABEL)` is Grafana's own: the series that have the label.
fn labelled(query: &str) -> String {
    let (series, label) = query.strip_prefix("label_values(").unwrap().rsplit_once(',').unwrap();
    format!("count by ({}) ({series}", label.trim().trim_end_matches(')')) + ")"
}

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
