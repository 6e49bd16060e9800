//! A real Prometheus beside a running server, with the project's own settings and rules.
//!
//! ```ignore
//! let prometheus = Prometheus::start(&Setup::scraping(server.http).sped_up(60.0));
//! prometheus.wait_for("frames are scraped", "centerx_frames_published_total > 0", PATIENCE);
//! prometheus.wait_for_alert("CenterxCameraDown", &[("camera", "yard")], PATIENCE);
//! ```
//!
//! Everything blocks: from a test of tokio, use it in `spawn_blocking`.

// Each test uses its own part of this.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

pub mod dashboards;
pub mod rules;

use dashboards::Query;
use rules::Pace;

/// Where the settings and rules are that are given to users.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docker/prometheus")
}

/// The name of what is scraped in the label `instance`, whatever its port.
pub const INSTANCE: &str = "server";
/// Between two looks at an answer that is waited for.
const LOOK: Duration = Duration::from_millis(100);
const START: Duration = Duration::from_secs(30);

/// What to scrape, and how fast the rules' times pass.
pub struct Setup {
    target: SocketAddr,
    token: Option<String>,
    pace: Pace,
}

impl Setup {
    /// Scrapes the HTTP listener at this address every second. The rules are as users get them.
    pub fn scraping(target: SocketAddr) -> Self {
        Self { target, token: None, pace: Pace::default() }
    }

    /// With this token.
    pub fn with_token(self, token: &str) -> Self {
        Self { token: Some(token.into()), ..self }
    }

    /// The rules' times are divided by `factor`.
    pub fn sped_up(self, factor: f64) -> Self {
        Self { pace: Pace { factor, ..self.pace }, ..self }
    }

    /// And those of one alert by another factor.
    pub fn and_alert(mut self, alert: &str, factor: f64) -> Self {
        self.pace.alerts.insert(alert.into(), factor);
        self
    }
}

/// A series and its value.
#[derive(Clone, Debug)]
pub struct Sample {
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

/// A running Prometheus; it ends when dropped.
pub struct Prometheus {
    child: Child,
    address: SocketAddr,
    folder: tempfile::TempDir,
}

impl Prometheus {
    /// Starts it and waits until it answers.
    pub fn start(setup: &Setup) -> Self {
        let begin = Instant::now();
        loop {
            let log = match Self::try_start(setup) {
                Ok(prometheus) => return prometheus,
                Err(log) => log,
            };
            assert!(begin.elapsed() < START && log.contains("address already in use"), "Prometheus: {log}");
        }
    }

    fn try_start(setup: &Setup) -> Result<Self, String> {
        let folder = tempfile::tempdir().unwrap();
        write_settings(setup, folder.path());
        // It does not tell which port it took, so a free one is looked for first, which another may take.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut prometheus = Self { child: spawn(folder.path(), address), address, folder };
        let begin = Instant::now();
        while begin.elapsed() < START && prometheus.child.try_wait().unwrap().is_none() {
            if prometheus.get("/-/ready", &[]).is_some() {
                return Ok(prometheus);
            }
            std::thread::park_timeout(LOOK);
        }
        Err(std::fs::read_to_string(prometheus.folder.path().join("log")).unwrap_or_default())
    }

    /// From now on scrapes another address under the same name.
    pub fn follow(&self, target: SocketAddr) {
        write_target(self.folder.path(), target);
    }

    /// The answer to a query: nothing, one value or several series.
    pub fn query(&self, query: &str) -> Vec<Sample> {
        self.try_query(query).unwrap_or_else(|error| panic!("{query}: {error}"))
    }

    /// As [`Prometheus::query`], or what is wrong with the query.
    pub fn try_query(&self, query: &str) -> Result<Vec<Sample>, String> {
        let answer = self.get("/api/v1/query", &[("query", query)]).ok_or("no answer")?;
        if answer["status"] != "success" {
            return Err(answer["error"].to_string());
        }
        let data = &answer["data"];
        let lone = [json!({"metric": {}, "value": data["result"]})];
        let series =
            if data["resultType"] == "scalar" { &lone[..] } else { data["result"].as_array().unwrap() };
        Ok(series.iter().map(sample).collect())
    }

    /// Waits until a query has an answer, and returns it.
    pub fn wait_for(&self, what: &str, query: &str, patience: Duration) -> Vec<Sample> {
        let begin = Instant::now();
        loop {
            let samples = self.query(query);
            if !samples.is_empty() {
                return samples;
            }
            assert!(begin.elapsed() < patience, "{what}: no answer to {query} in {patience:?}");
            std::thread::park_timeout(LOOK);
        }
    }

    /// The alerts that fire now, by name and labels.
    pub fn firing(&self) -> Vec<Sample> {
        self.query("ALERTS{alertstate=\"firing\"}")
    }

    /// Waits until an alert fires that has these labels among others.
    pub fn wait_for_alert(&self, name: &str, labels: &[(&str, &str)], patience: Duration) -> Sample {
        let labels: String = labels.iter().map(|(label, value)| format!(", {label}={value:?}")).collect();
        let query = format!("ALERTS{{alertname={name:?}, alertstate=\"firing\"{labels}}}");
        let begin = Instant::now();
        loop {
            if let Some(alert) = self.query(&query).into_iter().next() {
                return alert;
            }
            if begin.elapsed() > patience {
                let expression = rules::all().into_iter().find(|rule| rule.name == name).unwrap().expression;
                let values: Vec<_> = rules::selectors(&expression).iter().map(|s| self.query(s)).collect();
                panic!("{query} does not fire in {patience:?}; {expression}\n{values:?}");
            }
            std::thread::park_timeout(LOOK);
        }
    }

    /// Waits until each query has an answer.
    pub fn wait_for_all(&self, queries: Vec<Query>, patience: Duration) {
        let (begin, mut open) = (Instant::now(), queries);
        while !open.is_empty() {
            open.retain(|query| self.query(&query.expression).is_empty());
            assert!(begin.elapsed() < patience, "no answers to {open:#?}");
            std::thread::park_timeout(LOOK);
        }
    }

    /// What people are told of the alerts that fire or are about to, by alert: its annotations.
    pub fn told(&self) -> Vec<(String, BTreeMap<String, String>)> {
        let answer = self.get("/api/v1/alerts", &[]).unwrap();
        let alerts = answer["data"]["alerts"].as_array().unwrap().iter();
        let told = |alert: &Value| {
            let name = alert["labels"]["alertname"].as_str().unwrap().to_owned();
            (name, serde_json::from_value(alert["annotations"].clone()).unwrap())
        };
        alerts.map(told).collect()
    }

    /// What it says of its rules that cannot be evaluated.
    pub fn rule_errors(&self) -> Vec<String> {
        let answer = self.get("/api/v1/rules", &[]).unwrap();
        let groups = answer["data"]["groups"].as_array().unwrap();
        let rules = groups.iter().flat_map(|group| group["rules"].as_array().unwrap());
        rules.filter(|rule| rule["health"] == "err").map(Value::to_string).collect()
    }

    fn get(&self, path: &str, query: &[(&str, &str)]) -> Option<Value> {
        let url = url::Url::parse_with_params(&format!("http://{}{path}", self.address), query).unwrap();
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let mut answer = agent.get(url.as_str()).call().ok()?;
        let ready = answer.status().is_success();
        let text = answer.body_mut().read_to_string().ok()?;
        serde_json::from_str(&text).ok().or_else(|| ready.then_some(Value::String(text)))
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn sample(series: &Value) -> Sample {
    let labels = series["metric"].as_object().unwrap().iter();
    let labels = labels.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect();
    // Infinity is written as Rust reads it.
    Sample { labels, value: series["value"][1].as_str().unwrap().parse().unwrap() }
}

fn spawn(folder: &Path, address: SocketAddr) -> Child {
    let log = std::fs::File::create(folder.join("log")).unwrap();
    Command::new("prometheus")
        .arg(format!("--config.file={}", folder.join("prometheus.json").display()))
        .arg(format!("--storage.tsdb.path={}", folder.join("tsdb").display()))
        .arg(format!("--web.listen-address={address}"))
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("Debian's prometheus is installed: run bash scripts/test.sh")
}

/// The settings that users get, with this target and times for a test.
fn write_settings(setup: &Setup, folder: &Path) {
    let text = std::fs::read_to_string(self::folder().join("prometheus.yml")).unwrap();
    let mut settings: Value = serde_yaml_ng::from_str(&text).unwrap();
    settings["global"] =
        json!({"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"});
    settings["rule_files"] = json!(["rules.json"]);
    let job = &mut settings["scrape_configs"][0];
    job.as_object_mut().unwrap().remove("static_configs");
    job["file_sd_configs"] = json!([{"files": ["targets.json"]}]);
    if let Some(token) = &setup.token {
        std::fs::write(folder.join("token"), token).unwrap();
        job["authorization"] = json!({"credentials_file": folder.join("token")});
    }
    // JSON is YAML.
    std::fs::write(folder.join("prometheus.json"), settings.to_string()).unwrap();
    std::fs::write(folder.join("rules.json"), rules::paced(&setup.pace).to_string()).unwrap();
    write_target(folder, setup.target);
}

fn write_target(folder: &Path, target: SocketAddr) {
    let targets = json!([{"targets": [target.to_string()], "labels": {"instance": INSTANCE}}]);
    let scratch = folder.join("targets.new");
    std::fs::write(&scratch, targets.to_string()).unwrap();
    std::fs::rename(scratch, folder.join("targets.json")).unwrap();
}
