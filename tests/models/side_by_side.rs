//! Two real models at work at once.

use centerx::model::fetch::Fetcher;
use centerx::model::home::Home;
use centerx::model::onnx::ModelProto;
use centerx::model::zoo::Zoo;
use centerx::model::{self, ModelMetadata};
use prost::Message as _;

use super::*;

/// The default model under another name, its people called walkers.
fn walkers(folder: &std::path::Path) -> String {
    let coco = Zoo::new(Home::at(files::centerx_home()), Fetcher::default()).resolve("coco").unwrap();
    let mut model = ModelProto::decode(&*std::fs::read(coco).unwrap()).unwrap();
    let mut metadata = ModelMetadata::read_from(&model).unwrap();
    metadata.name = "walkers".into();
    metadata.classes[0] = "walker".into();
    metadata.write_to(&mut model);
    let path = folder.join("walkers.onnx");
    std::fs::write(&path, model.encode_to_vec()).unwrap();
    model::load(&path).unwrap();
    path.display().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_cameras_run_two_models_in_one_server() {
    let data = tempfile::tempdir().unwrap();
    let server = ServerProcess::start(data.path(), &[]);
    let mut clients = Clients::of(&server).await;
    let loaded = clients.load("walkers", &walkers(data.path())).await.unwrap();
    assert_eq!(
        (loaded.name.as_str(), loaded.classes[0].as_str(), loaded.is_default),
        ("walkers", "walker", false)
    );
    let video = format!("file://{}", files::sample("vtest.avi").display());
    for (id, model) in [("yard", None), ("gate", Some("walkers"))] {
        let camera = Camera { url: video.clone(), max_fps: Some(3.0), r#loop: true, ..camera(id, 1, model) };
        clients.add_camera(camera).await.unwrap();
    }
    let mut stream = clients.subscribe().await;
    for (camera, model, label) in [("yard", "coco", "person"), ("gate", "walkers", "walker")] {
        let sees = |frame: &FrameDetections| frame.camera_id == camera && labels(frame).contains(&label);
        let frame = next_frame(&mut stream, sees).await;
        assert_eq!(frame.model, model);
        let other = if label == "person" { "walker" } else { "person" };
        assert!(!labels(&frame).contains(&other), "{frame:?}");
    }
    let models = clients.list_models().await;
    let told: Vec<_> = models.iter().map(|m| (m.name.as_str(), m.is_default, m.cameras)).collect();
    assert_eq!(told, [("coco", true, 1), ("walkers", false, 1)]);
    assert!(server.get("/metrics").contains("\ncenterx_models 2\n"));
    // Classes of either model can be asked for.
    let filter = SubscribeRequest { classes: vec!["walker".into(), "person".into()], ..Default::default() };
    clients.detections.subscribe(filter).await.unwrap();
    assert_balanced(&clients.list_cameras().await);
}
