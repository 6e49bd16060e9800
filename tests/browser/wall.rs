//! The page of a server with a camera that works and one that does not.

use centerx::api::v1::DetectRequest;
use centerx::api::v1::detection_service_client::DetectionServiceClient;
use serde_json::json;

use super::*;

/// What the default model finds in a picture, as the page writes boxes.
async fn detect(grpc: std::net::SocketAddr, jpeg: Vec<u8>) -> String {
    let mut client = DetectionServiceClient::connect(format!("http://{grpc}")).await.unwrap();
    let request = DetectRequest { image: jpeg, min_score: Some(0.3), ..Default::default() };
    let found = client.detect(request).await.unwrap().into_inner().detections;
    let boxes = found.iter().map(|one| {
        let b = one.r#box.unwrap();
        json!({ "x1": b.x1, "y1": b.y1, "x2": b.x2, "y2": b.y2, "label": one.label, "score": one.score })
    });
    json!(boxes.collect::<Vec<_>>()).to_string()
}

#[test]
fn cameras_are_watched_added_changed_and_removed() {
    let (_camera, yard) = rtsp("yard");
    let (_second, street) = rtsp("street");
    let folder = tempfile::tempdir().unwrap();
    let settings = format!(
        "max_age = \"5s\"\n\n[[camera]]\nid = \"yard\"\nname = \"The yard\"\nurl = \"{yard}\"\nmax_fps = 5\n\n\
         [[camera]]\nid = \"gate\"\nurl = \"rtsp://admin:hunter2@127.0.0.1:9/gate\"\n"
    );
    let server = serve(folder.path(), &settings);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let grpc = server.grpc;
    Script::new("wall", server.http).with("STREET", &street).run(|word, rest| match word {
        "detect" => {
            let jpeg = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, rest).unwrap();
            runtime.block_on(detect(grpc, jpeg))
        }
        "viewers" => {
            let metrics = server.get("/metrics");
            let line = metrics.lines().find_map(|line| line.strip_prefix("centerx_live_viewers "));
            line.unwrap_or("none").to_owned()
        }
        "freeze" => {
            server.signal("STOP");
            String::new()
        }
        "thaw" => {
            server.signal("CONT");
            String::new()
        }
        other => panic!("nobody knows {other}"),
    });
}
