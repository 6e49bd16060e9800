//! Faults of the process and its disk: one server that is killed and started again, on a disk that fills.

use super::process::ServerProcess;
use super::tiny_model::Tiny;
use super::*;

/// Alerts that are made to fire here.
pub const ALERTS: [&str; 4] =
    ["CenterxDiskFull", "CenterxDiskFilling", "CenterxRestarting", "CenterxTargetDown"];

/// Becomes the server, in namespaces where it may mount, with a small disk of its own at `$1`.
const ON_SMALL_DISK: [&str; 7] = [
    "unshare",
    "--map-root-user",
    "--mount",
    "sh",
    "-c",
    "mount -t tmpfs -o size=256k none \"$1\" && shift && exec \"$@\"",
    "sh",
];

#[test]
fn alerts_of_disk_and_process_fire() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let model = Tiny::new("tiny", &["person"]).write(folder.path()).display().to_string();
    let arguments = ["--model", &model, "--camera", "ball=test://ball?width=64&height=64&fps=10"];
    let wrapper = [&ON_SMALL_DISK[..], &[data.to_str().unwrap()]].concat();

    let server = ServerProcess::start_wrapped(&wrapper, &data, &arguments, &[]);
    let prometheus = Prometheus::start(&Setup::scraping(server.http).sped_up(60.0));
    prometheus.wait_for_alert("CenterxDiskFull", &[], PATIENCE);
    let seen =
        Path::new("/proc").join(server.pid().to_string()).join("root").join(&data.to_str().unwrap()[1..]);
    // Until nothing more fits.
    std::fs::write(seen.join("ballast"), vec![1; 1 << 20]).unwrap_err();
    let full = prometheus.wait_for_alert("CenterxDiskFilling", &[], PATIENCE);
    assert_eq!(full.labels["instance"], prometheus_server::INSTANCE);

    assert!(prometheus.query("ALERTS{alertname=\"CenterxRestarting\"}").is_empty());
    let mut last = server;
    for _ in 0..2 {
        last.signal("KILL");
        drop(last);
        last = ServerProcess::start(&data, &arguments);
        prometheus.follow(last.http);
        let since = format!("process_start_time_seconds > {}", start_time(&last) - 0.5);
        prometheus.wait_for("the new process is scraped", &since, PATIENCE);
    }
    prometheus.wait_for_alert("CenterxRestarting", &[], PATIENCE);
    assert_words(&prometheus, 1);
    assert!(prometheus.query("ALERTS{alertname=\"CenterxTargetDown\", alertstate=\"firing\"}").is_empty());
    last.signal("KILL");
    prometheus.wait_for_alert("CenterxTargetDown", &[], PATIENCE);
}

/// What people are told of alerts has its words and figures filled in.
pub fn assert_words(prometheus: &Prometheus, at_least: usize) {
    let told = prometheus.told();
    assert!(told.len() >= at_least, "{told:?}");
    for (alert, words) in told {
        for text in words.values() {
            let is_whole = !["{{", "<error", "<no value>", "NaN"].iter().any(|bad| text.contains(bad));
            assert!(is_whole, "{alert}: {text}");
        }
        println!("{alert}: {}", words["summary"]);
    }
}

/// When the server says that it began.
fn start_time(server: &ServerProcess) -> f64 {
    let metrics = server.get("/metrics");
    let line = metrics.lines().find_map(|line| line.strip_prefix("process_start_time_seconds "));
    line.unwrap().parse().unwrap()
}
