//! `DetectionService.Subscribe`.

use centerx::api::backend::SubscribeError;
use centerx::api::v1;
use centerx::api::v1::detection_service_client::DetectionServiceClient;
use centerx::api::v1::subscribe_response::Event;
use centerx::camera::{CameraOrigin, CameraState};
use tonic::transport::Channel;
use tonic::{Code, Streaming};

use crate::backend::{Running, camera_id, detection, frame, status};
use crate::fields;

async fn start(ring: usize) -> (Running, DetectionServiceClient<Channel>) {
    let server = Running::start_with(centerx::api::Config::default(), ring).await;
    for id in ["gate", "yard"] {
        server.backend.put(id, "test://ball", CameraOrigin::Config);
    }
    // A small window, so that a client that does not read is felt by the server soon.
    let endpoint = server.endpoint().initial_stream_window_size(65_535);
    let client = DetectionServiceClient::new(endpoint.connect().await.unwrap());
    (server, client)
}

async fn subscribe(
    client: &mut DetectionServiceClient<Channel>,
    request: v1::SubscribeRequest,
) -> Streaming<v1::SubscribeResponse> {
    client.subscribe(request).await.unwrap().into_inner()
}

async fn next(stream: &mut Streaming<v1::SubscribeResponse>) -> Event {
    stream.message().await.unwrap().unwrap().event.unwrap()
}

/// The event in short: `yard 3 person,car`, `dropped 2`, `yard LIVE: reason`.
async fn next_text(stream: &mut Streaming<v1::SubscribeResponse>) -> String {
    match next(stream).await {
        Event::Detections(frame) => {
            let labels: Vec<_> = frame.detections.iter().map(|found| found.label.as_str()).collect();
            format!("{} {} {}", frame.camera_id, frame.sequence, labels.join(","))
        }
        Event::Dropped(dropped) => format!("dropped {}", dropped.frames),
        Event::CameraState(change) => {
            let status = change.status.unwrap();
            format!("{} {}: {}", change.camera_id, status.state().as_str_name(), status.reason)
        }
    }
}

#[tokio::test]
async fn a_subscriber_gets_states_then_detections_with_all_their_fields() {
    let (server, mut client) = start(64).await;
    let mut stream = subscribe(&mut client, v1::SubscribeRequest::default()).await;
    assert_eq!(next_text(&mut stream).await, "gate CAMERA_STATE_LIVE: frames arrive");
    assert_eq!(next_text(&mut stream).await, "yard CAMERA_STATE_LIVE: frames arrive");
    server.backend.hub.publish(frame("yard", 7, vec![detection("person", 0.71)]));
    let Event::Detections(seen) = next(&mut stream).await else { panic!("no detections") };
    assert_eq!((seen.camera_id.as_str(), seen.sequence, seen.model.as_str()), ("yard", 7, "coco"));
    assert_eq!((seen.frame_width, seen.frame_height), (768, 576));
    assert_eq!(seen.capture_time_quality(), v1::CaptureTimeQuality::Arrival);
    let time = seen.capture_time.unwrap();
    assert_eq!((time.seconds, time.nanos), (12, 300_000_000));
    assert_eq!((seen.detections[0].label.as_str(), seen.detections[0].score), ("person", 0.71));
}

#[tokio::test]
async fn filters_choose_cameras_classes_and_scores() {
    let (server, mut client) = start(64).await;
    let request = v1::SubscribeRequest {
        camera_ids: vec!["yard".into()],
        classes: vec!["person".into()],
        min_score: 0.5,
    };
    let mut stream = subscribe(&mut client, request).await;
    assert_eq!(next_text(&mut stream).await, "yard CAMERA_STATE_LIVE: frames arrive");
    let hub = &server.backend.hub;
    hub.publish(frame("gate", 1, vec![detection("person", 0.9)]));
    hub.publish(frame(
        "yard",
        1,
        vec![detection("person", 0.9), detection("car", 0.9), detection("person", 0.4)],
    ));
    hub.publish(frame("yard", 2, vec![detection("car", 0.9)]));
    assert_eq!(next_text(&mut stream).await, "yard 1 person");
    assert_eq!(next_text(&mut stream).await, "yard 2 ");
}

#[tokio::test]
async fn camera_states_are_pushed_with_kind_and_time_of_retry() {
    let (server, mut client) = start(64).await;
    let request = v1::SubscribeRequest { camera_ids: vec!["yard".into()], ..Default::default() };
    let mut stream = subscribe(&mut client, request).await;
    next(&mut stream).await;
    server.backend.hub.camera_state(&camera_id("gate"), status(CameraState::Stalled, "not asked for"));
    server.backend.hub.camera_state(&camera_id("yard"), status(CameraState::Failed, "wrong password"));
    let Event::CameraState(change) = next(&mut stream).await else { panic!("no state") };
    let told = change.status.unwrap();
    assert_eq!((told.state(), told.failure()), (v1::CameraState::Failed, v1::CameraFailure::Auth));
    assert_eq!(told.retry_at.unwrap().seconds, 2_000);
}

#[tokio::test]
async fn a_slow_subscriber_is_told_what_it_missed_and_gets_the_newest() {
    const DROPPED: &str = "centerx_subscriber_dropped_frames_total";
    let (server, mut client) = start(4).await;
    let request = v1::SubscribeRequest { camera_ids: vec!["yard".into()], ..Default::default() };
    let mut stream = subscribe(&mut client, request).await;
    next(&mut stream).await;
    // Nobody reads: the windows fill, then the ring, then frames are dropped.
    let crowd = vec![detection("person", 0.9); 500];
    let mut published = 0;
    while server.metric(DROPPED) == Some(0.0) {
        published += 1;
        assert!(published < 100_000, "nothing stops the server from sending");
        server.backend.hub.publish(frame("yard", published, crowd.clone()));
        tokio::task::yield_now().await;
    }
    let (mut received, mut dropped, mut last, mut gaps) = (0, 0, 0, vec![]);
    while last < published {
        match next(&mut stream).await {
            Event::Detections(frame) => {
                if frame.sequence != last + 1 {
                    gaps.push(frame.sequence - last - 1);
                }
                (received, last) = (received + 1, frame.sequence);
            }
            Event::Dropped(gap) => dropped += gap.frames,
            Event::CameraState(_) => panic!("no camera changed"),
        }
    }
    assert_eq!(received + dropped, published);
    assert_eq!(gaps, [dropped], "one gap, told before the newest");
    assert_eq!(server.metric(DROPPED), Some(dropped as f64));
}

#[tokio::test]
async fn wrong_filters_are_named() {
    let (server, mut client) = start(64).await;
    let ids = |ids: &[&str]| ids.iter().map(ToString::to_string).collect();
    for (request, code, field) in [
        (
            v1::SubscribeRequest { camera_ids: ids(&["yard", "cellar"]), ..Default::default() },
            Code::NotFound,
            "camera_ids",
        ),
        (
            v1::SubscribeRequest { camera_ids: ids(&["yard", "a b"]), ..Default::default() },
            Code::InvalidArgument,
            "camera_ids[1]",
        ),
        (
            v1::SubscribeRequest { classes: ids(&["cat"]), ..Default::default() },
            Code::InvalidArgument,
            "classes",
        ),
        (v1::SubscribeRequest { min_score: 2.0, ..Default::default() }, Code::InvalidArgument, "min_score"),
        (
            v1::SubscribeRequest { min_score: f32::NAN, ..Default::default() },
            Code::InvalidArgument,
            "min_score",
        ),
    ] {
        let status = client.subscribe(request).await.unwrap_err();
        assert_eq!((status.code(), fields(&status)), (code, vec![field.to_owned()]));
    }
    *server.backend.refuse_subscription.lock().unwrap() = Some(SubscribeError::ShuttingDown);
    let status = client.subscribe(v1::SubscribeRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
}

#[tokio::test]
async fn a_client_that_hangs_up_is_forgotten_and_counted() {
    let (server, mut client) = start(64).await;
    let mut stream = subscribe(&mut client, v1::SubscribeRequest::default()).await;
    next(&mut stream).await;
    assert_eq!(server.metric("centerx_subscribers"), Some(1.0));
    drop(stream);
    let name =
        r#"centerx_grpc_requests_total{code="CANCELLED",method="centerx.v1.DetectionService/Subscribe"}"#;
    while server.metric("centerx_subscribers") != Some(0.0) || server.metric(name) != Some(1.0) {
        tokio::task::yield_now().await;
    }
}
