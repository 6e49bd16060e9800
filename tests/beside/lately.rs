//! `LiveService.GetHistory`: how the cameras fared lately.

use v1::live_service_client::LiveServiceClient;
use v1::{AddCameraRequest, CameraHistory, GetHistoryRequest, HistoryPoint, RemoveCameraRequest};

use super::*;

async fn history(channel: &Channel, request: GetHistoryRequest) -> Result<Vec<CameraHistory>, tonic::Status> {
    let answer = LiveServiceClient::new(channel.clone()).get_history(request).await?;
    Ok(answer.into_inner().cameras)
}

async fn add(channel: &Channel, id: &str) {
    let camera = camera(id, "test://ball?width=64&height=64&fps=20");
    let request = AddCameraRequest { camera: Some(camera) };
    CameraServiceClient::new(channel.clone()).add_camera(request).await.unwrap();
}

async fn remove(channel: &Channel, id: &str) {
    let request = RemoveCameraRequest { id: id.into() };
    CameraServiceClient::new(channel.clone()).remove_camera(request).await.unwrap();
}

/// Asks until a camera has a point after those of `request` with frames in it.
async fn next_point(channel: &Channel, request: &GetHistoryRequest) -> HistoryPoint {
    let begin = Instant::now();
    loop {
        let cameras = history(channel, request.clone()).await.unwrap();
        if let Some(point) = cameras[0].points.iter().find(|point| point.published > 0) {
            return *point;
        }
        assert!(begin.elapsed() < PATIENCE, "{cameras:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn points_tell_what_happened_and_end_with_their_camera() {
    let server = Server::start(|_| ()).await;
    let channel = server.channel().await;
    add(&channel, "yard").await;
    add(&channel, "door").await;
    let all = history(&channel, GetHistoryRequest::default()).await.unwrap();
    assert_eq!(all.iter().map(|camera| camera.camera_id.as_str()).collect::<Vec<_>>(), ["door", "yard"]);

    let mut request = GetHistoryRequest { camera_ids: vec!["yard".into()], after: None };
    let point = next_point(&channel, &request).await;
    assert!((20..=120).contains(&point.received), "5 s of 20 a second, or a part of them: {point:?}");
    assert_eq!(point.detections, point.published, "a person a frame");
    let age = |age: Option<prost_types::Duration>| Duration::try_from(age.unwrap()).unwrap();
    let (mean, max) = (age(point.mean_age), age(point.max_age));
    assert!(Duration::ZERO < mean && mean <= max && max < PATIENCE, "{point:?}");

    request.after = point.time;
    let newer = next_point(&channel, &request).await;
    let (before, after) = (point.time.unwrap(), newer.time.unwrap());
    assert!((before.seconds, before.nanos) < (after.seconds, after.nanos));
    assert!((80..=120).contains(&newer.received), "5 s of 20 a second: {newer:?}");

    remove(&channel, "yard").await;
    let gone = history(&channel, request).await.unwrap_err();
    assert_eq!(gone.code(), Code::NotFound);
    // Another one of its name has nothing of it.
    add(&channel, "yard").await;
    let request = GetHistoryRequest { camera_ids: vec!["yard".into()], after: None };
    assert!(history(&channel, request).await.unwrap()[0].points.is_empty());
    server.stop().await;
}
