//! The queries that Grafana's dashboards send.

use std::path::{Path, PathBuf};

use serde_json::Value;

/// The dashboards' files.
pub fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docker/grafana/dashboards");
    ["overview", "camera"].map(|name| folder.join(format!("{name}.json"))).into()
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
        .replace("$instance", super::INSTANCE)
        .replace("$camera", camera);
    assert!(!expression.contains('$'), "an unknown variable in {expression}");
    Query { panel: format!("{dashboard}: {panel}"), expression }
}

/// `label_values(SERIES, LABEL)` is Grafana's own: the series that have the label.
fn labelled(query: &str) -> String {
    let (series, label) = query.strip_prefix("label_values(").unwrap().rsplit_once(',').unwrap();
    format!("count by ({}) ({series}", label.trim().trim_end_matches(')')) + ")"
}
