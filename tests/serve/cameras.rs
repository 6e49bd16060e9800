//! Cameras by API, kept across restarts.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn cameras_added_by_api_survive_a_restart_even_a_crash() {
    let (_camera, url) = yard();
    let data = tempfile::tempdir().unwrap();
    let first = ServerProcess::start(data.path(), &[]);
    let channel = connect(&first).await;
    let mut client = CameraServiceClient::new(channel.clone());
    let add = |id: &str| AddCameraRequest {
        camera: Some(Camera { id: id.into(), url: url.clone(), max_fps: Some(5.0), ..Default::default() }),
    };
    client.add_camera(add("gone")).await.unwrap();
    client.add_camera(add("kept")).await.unwrap();
    let status = client.add_camera(add("kept")).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::AlreadyExists);
    client.remove_camera(RemoveCameraRequest { id: "gone".into() }).await.unwrap();
    let tractor = AddCameraRequest {
        camera: Some(Camera {
            id: "x".into(),
            url: url.clone(),
            classes: vec!["tractor".into()],
            ..Default::default()
        }),
    };
    let status = client.add_camera(tractor).await.unwrap_err();
    assert!(
        status.code() == tonic::Code::InvalidArgument && status.message().contains("tractor"),
        "{status:?}"
    );
    first.signal("KILL");
    drop(first);

    let second = ServerProcess::start(data.path(), &[]);
    let channel = connect(&second).await;
    let cameras = list_cameras(&channel).await;
    let ids: Vec<_> = cameras.iter().map(|info| info.camera.as_ref().unwrap().id.as_str()).collect();
    assert_eq!(ids, ["kept"]);
    assert_eq!(cameras[0].origin, CameraOrigin::Api as i32);
    assert_eq!(cameras[0].camera.as_ref().unwrap().max_fps, Some(5.0));
    assert_eq!(watch(&channel, 3).await[0].camera_id, "kept");
}
