//! A healthy server with a real camera and a real model: every query of every panel and rule has an answer.

use centerx::api::v1::SubscribeRequest;
use centerx::api::v1::detection_service_client::DetectionServiceClient;

use super::files::sample;
use super::process::ServerProcess;
use super::prometheus_server::dashboards::{Query, queries};
use super::rtsp_camera::{Clip, Server};
use super::*;

/// Panels that are empty on a healthy server without GPUs, why, and who looks at them instead.
const EMPTY: [(&str, &str); 6] = [
    // faults.rs
    ("overview: Cameras in trouble", "no camera is in trouble"),
    ("overview: Certificates", "nothing is encrypted"),
    // tests/gpu_engine.rs
    ("overview: GPU: busy", "there is no GPU"),
    ("overview: GPU: memory", "there is no GPU"),
    ("overview: GPU: time of the steps, 95 %", "there is no GPU"),
    ("overview: GPU: errors", "there is no GPU"),
];
/// The same for what rules read.
const NOT_READ: [&str; 2] = ["centerx_tls_certificate_expiry_seconds", "centerx_tls_reload_failures_total"];

/// An RTSP server on this machine that plays `vtest.avi` for ever.
fn yard() -> (Server, String) {
    let server = Server::start("127.0.0.1", 0, None).unwrap();
    let cache = std::env::temp_dir().join("centerx-test-clips");
    let clip = Arc::new(Clip::from_file(&sample("vtest.avi"), &cache, |_| ()).unwrap());
    server.mount("yard", clip, 0, None).unwrap();
    let url = server.url("yard");
    (server, url)
}

/// Reads all that is published, for as long as the runtime lives.
fn subscribe(runtime: &tokio::runtime::Runtime, server: &ServerProcess) {
    let address = format!("http://{}", server.grpc);
    runtime.spawn(async move {
        let mut client = DetectionServiceClient::connect(address).await.unwrap();
        let mut events = client.subscribe(SubscribeRequest::default()).await.unwrap().into_inner();
        while let Ok(Some(_)) = events.message().await {}
    });
}

/// Whether the panel is one of those that are empty here. A figure that counts what is not there is not.
fn may_be_empty(query: &Query) -> bool {
    EMPTY.iter().any(|(panel, _)| *panel == query.panel) && !query.expression.starts_with("sum(")
}

#[test]
fn every_query_of_panels_and_rules_has_an_answer() {
    let _alone = alone();
    let (_camera, url) = yard();
    let data = tempfile::tempdir().unwrap();
    let server = ServerProcess::start(data.path(), &["--camera", &format!("yard={url}")]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    subscribe(&runtime, &server);
    let prometheus = Prometheus::start(&Setup::scraping(server.http));
    prometheus.wait_for("frames are scraped", "centerx_frames_published_total > 0", PATIENCE);

    let (empty, full): (Vec<_>, Vec<_>) = queries("yard").into_iter().partition(may_be_empty);
    assert!(full.len() > 60, "{}", full.len());
    println!("{} queries of panels have answers, {} are empty here", full.len(), empty.len());
    prometheus.wait_for_all(full, PATIENCE);
    for query in empty {
        let nothing = prometheus.query(&query.expression).is_empty();
        assert!(nothing, "{} has an answer and is to be taken out of the list", query.panel);
    }

    let read = rules::all().into_iter().flat_map(|rule| rules::selectors(&rule.expression));
    let (absent, read): (Vec<_>, Vec<_>) = read.partition(|series| NOT_READ.contains(&series.as_str()));
    assert_eq!(absent.len(), 3, "{absent:?}");
    for series in read {
        prometheus.wait_for("rules read it", &series, PATIENCE);
    }
    assert_eq!(prometheus.rule_errors(), Vec::<String>::new());
    // The disk is this machine's, and not the server's fault.
    let firing = prometheus.query("ALERTS{alertstate=\"firing\", alertname!~\"CenterxDisk.*\"}");
    assert!(firing.is_empty(), "{firing:?}");
}
