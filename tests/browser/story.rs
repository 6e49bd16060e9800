//! The story of a new user: start the server as the demo does, open the page, add a second camera, see its boxes, cut
//! its cable, and be told by the page, by what the dashboards ask Prometheus, and by an alert; mend it, and see it
//! come back.

use std::time::Duration;

use super::prometheus_server::dashboards::queries;
use super::prometheus_server::{Prometheus, Setup};
use super::*;

const PATIENCE: Duration = Duration::from_secs(40);
const ALERT: &str = "CenterxCameraDown";

/// Waits until the alert fires for this camera, and until the dashboards show that it is not live.
fn wait_until_told(prometheus: &Prometheus, camera: &str) {
    let live = format!("centerx_camera_state{{camera={camera:?}, state=\"live\"}}");
    prometheus.wait_for("it is not live", &format!("{live} == 0"), PATIENCE);
    let of_states: Vec<_> = queries(camera)
        .into_iter()
        .filter(|query| query.expression.contains("centerx_camera_state"))
        .collect();
    assert!(of_states.len() >= 2, "a panel of each dashboard shows states: {of_states:?}");
    prometheus.wait_for_all(of_states, PATIENCE);
    prometheus.wait_for_alert(ALERT, &[("camera", camera)], PATIENCE);
}

/// Waits until the alert does not fire any more.
fn wait_until_over(prometheus: &Prometheus) {
    prometheus.wait_for("the alert is over", &format!("absent(ALERTS{{alertname={ALERT:?}}})"), PATIENCE);
}

#[test]
fn a_new_user_adds_a_camera_and_is_told_when_its_cable_is_cut() {
    let (_camera, yard) = rtsp("yard");
    let (second, street) = rtsp("street");
    let folder = tempfile::tempdir().unwrap();
    let bikes = sample("bikes.mp4");
    let settings = format!(
        "max_age = \"5s\"\n\n[[camera]]\nid = \"yard\"\nurl = \"{yard}\"\nmax_fps = 5\n\n\
         [[camera]]\nid = \"bikes\"\nurl = {bikes:?}\nloop = true\nmax_fps = 2\n"
    );
    let server = serve(folder.path(), &settings);
    // Minutes of the rules are a second here.
    let prometheus = Prometheus::start(&Setup::scraping(server.http).sped_up(60.0));
    Script::new("story", server.http).with("STREET", &street).run(|word, camera| {
        match word {
            "cut" => second.stop(),
            "told" => wait_until_told(&prometheus, camera),
            "mend" => second.listen().unwrap(),
            "over" => wait_until_over(&prometheus),
            other => panic!("nobody knows {other}"),
        }
        String::new()
    });
}
