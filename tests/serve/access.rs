//! What callers of the API may have opened.

use centerx::api::v1::{CameraFailure, LoadModelRequest};
use tonic::Code;

use super::*;

async fn add(channel: &Channel, id: &str, url: &str) -> Result<(), tonic::Status> {
    let camera = Camera { id: id.into(), url: url.into(), r#loop: true, ..Default::default() };
    CameraServiceClient::new(channel.clone())
        .add_camera(AddCameraRequest { camera: Some(camera) })
        .await
        .map(drop)
}

/// Waits until a camera is in a state, and returns it.
async fn wait_for(channel: &Channel, id: &str, state: CameraState) -> CameraInfo {
    let begin = Instant::now();
    loop {
        let cameras = list_cameras(channel).await;
        let found = cameras.into_iter().find(|info| info.camera.as_ref().unwrap().id == id).unwrap();
        if found.status.as_ref().unwrap().state() == state {
            return found;
        }
        assert!(begin.elapsed() < PATIENCE, "{id} is never {state:?}: {found:?}");
        tokio::time::sleep(LOOK).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_and_networks_are_those_of_the_settings_whenever_a_camera_is_opened() {
    let place = tempfile::tempdir().unwrap();
    let (clips, data) = (place.path().join("clips"), place.path().join("data"));
    std::fs::create_dir(&clips).unwrap();
    std::fs::copy(sample("bikes.mp4"), clips.join("yard.mp4")).unwrap();
    std::os::unix::fs::symlink(sample("bikes.mp4"), clips.join("link.mp4")).unwrap();
    let settings = place.path().join("centerx.toml");
    let own = sample("bikes.mp4");
    std::fs::write(&settings, format!("[[camera]]\nid = \"own\"\nurl = {own:?}\nloop = true\n")).unwrap();
    let arguments = ["--allow", clips.to_str().unwrap(), "--config", settings.to_str().unwrap()];
    let server = ServerProcess::start(&data, &arguments);
    let channel = connect(&server).await;
    for (url, setting) in [
        (format!("file://{}", sample("bikes.mp4").display()), "[access] video_folders"),
        (format!("file://{}/link.mp4", clips.display()), "[access] video_folders"),
        ("v4l2:///dev/video0".into(), "[access] schemes"),
        ("http://bob:hunter2@169.254.169.254/latest?token=t0ken".into(), "[access] denied_networks"),
    ] {
        let status = add(&channel, "no", &url).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        assert!(status.message().contains("camera.url") && status.message().contains(setting), "{status:?}");
        assert!(!format!("{status:?}").contains("hunter2") && !format!("{status:?}").contains("t0ken"));
    }
    let model = LoadModelRequest { name: "night".into(), source: sample("bikes.mp4").display().to_string() };
    let status = ModelServiceClient::new(channel.clone()).load_model(model).await.unwrap_err();
    assert!(status.message().contains("[access] model_folders"), "{status:?}");

    add(&channel, "yard", &format!("file://{}/yard.mp4", clips.display())).await.unwrap();
    wait_for(&channel, "yard", CameraState::Live).await;
    // The owner's own words need no leave.
    wait_for(&channel, "own", CameraState::Live).await;
    drop((channel, server));

    // After a restart the file is a link to another place.
    std::fs::remove_file(clips.join("yard.mp4")).unwrap();
    std::os::unix::fs::symlink(sample("bikes.mp4"), clips.join("yard.mp4")).unwrap();
    let server = ServerProcess::start(&data, &arguments);
    let channel = connect(&server).await;
    let yard = wait_for(&channel, "yard", CameraState::Failed).await.status.unwrap();
    assert_eq!(yard.failure(), CameraFailure::Forbidden);
    assert!(yard.reason.contains("[access] video_folders"), "{}", yard.reason);
    wait_for(&channel, "own", CameraState::Live).await;
}
