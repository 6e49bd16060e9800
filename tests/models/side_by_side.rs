//! Two real models at work at once.

use super::*;

/// A sample video played over and over, looked at three times a second.
fn plays(id: &str, video: &str, model: Option<&str>) -> Camera {
    let url = format!("file://{}", files::sample(video).display());
    Camera { url, max_fps: Some(3.0), r#loop: true, ..camera(id, 1, model) }
}

/// The folder of the sample videos.
fn samples() -> String {
    files::sample("vtest.avi").parent().unwrap().display().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_cameras_run_two_models_in_one_server() {
    let data = tempfile::tempdir().unwrap();
    let server = ServerProcess::start(data.path(), &["--allow", &samples()]);
    let mut clients = Clients::of(&server).await;
    let face = clients.load("face", "face").await.unwrap();
    assert_eq!(
        (face.name.as_str(), &face.classes[..], face.is_default),
        ("face", &["face".into()][..], false)
    );
    clients.add_camera(plays("yard", "vtest.avi", None)).await.unwrap();
    clients.add_camera(plays("car", "carphone_pristine.mp4", Some("face"))).await.unwrap();
    let mut stream = clients.subscribe().await;
    for (camera, model, label, points) in [("yard", "coco", "person", 0), ("car", "face", "face", 5)] {
        let sees = |frame: &FrameDetections| frame.camera_id == camera && labels(frame).contains(&label);
        let frame = next_frame(&mut stream, sees).await;
        assert_eq!(frame.model, model);
        assert_eq!(labels(&frame).contains(&"face"), label == "face", "{frame:?}");
        assert!(frame.detections.iter().all(|found| found.landmarks.len() == points), "{frame:?}");
    }
    let models = clients.list_models().await;
    let told: Vec<_> = models.iter().map(|m| (m.name.as_str(), m.is_default, m.cameras)).collect();
    assert_eq!(told, [("coco", true, 1), ("face", false, 1)]);
    assert_eq!(models[1].landmarks.first().map(String::as_str), Some("left_eye"));
    assert!(server.get("/metrics").contains("\ncenterx_models 2\n"));
    // Classes of either model can be asked for.
    let filter = SubscribeRequest { classes: vec!["face".into(), "person".into()], ..Default::default() };
    clients.detections.subscribe(filter).await.unwrap();
    assert_balanced(&clients.list_cameras().await);
}

/// The driver's eyes are where a person sees them: apart, level with each other, above the mouth.
#[tokio::test(flavor = "multi_thread")]
async fn a_faces_landmarks_reach_a_subscriber_in_pixels_of_the_frame() {
    let data = tempfile::tempdir().unwrap();
    let server =
        ServerProcess::start(data.path(), &["--model", "face", "--min-score", "0.6", "--allow", &samples()]);
    let mut clients = Clients::of(&server).await;
    let mut stream = clients.subscribe().await;
    clients.add_camera(plays("car", "carphone_pristine.mp4", None)).await.unwrap();
    let frame = next_frame(&mut stream, |frame| !frame.detections.is_empty()).await;
    assert_eq!((frame.frame_width, frame.frame_height), (176, 144));
    let found = &frame.detections[0];
    let bounds = found.r#box.unwrap();
    let [left_eye, right_eye, nose, left_mouth, right_mouth] = found.landmarks[..] else {
        panic!("{found:?}");
    };
    assert!(left_eye.x + 10.0 < right_eye.x && left_mouth.x < right_mouth.x, "{found:?}");
    for (above, below) in [(left_eye, nose), (right_eye, nose), (nose, left_mouth), (nose, right_mouth)] {
        assert!(bounds.y1 < above.y && above.y < below.y && below.y < bounds.y2, "{found:?}");
    }
}
