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
        Event::Resumed(resumed) => {
            let gap =
                resumed.gap.as_ref().map(|gap| format!(" {} to {}", gap.first_sequence, gap.last_sequence));
            let outcome = resumed.outcome().as_str_name().trim_start_matches("RESUME_OUTCOME_").to_owned();
            format!("{} {outcome}{}", resumed.camera_id, gap.unwrap_or_default())
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
        ..Default::default()
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
            other => panic!("no camera changed: {other:?}"),
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

fn position(camera: &str, epoch: u64, sequence: u64) -> v1::Position {
    v1::Position { camera_id: camera.into(), epoch, sequence }
}

#[tokio::test]
async fn a_subscriber_that_comes_back_goes_on_where_it_was() {
    let (server, mut client) = start(64).await;
    let request = v1::SubscribeRequest { camera_ids: vec!["yard".into()], ..Default::default() };
    let mut stream = subscribe(&mut client, request.clone()).await;
    next(&mut stream).await;
    server.backend.hub.publish(frame("yard", 3, vec![detection("person", 0.9)]));
    let Event::Detections(seen) = next(&mut stream).await else { panic!("no detections") };
    drop(stream);
    server.backend.hub.publish(frame("yard", 4, vec![detection("car", 0.9)]));

    let back =
        v1::SubscribeRequest { resume: vec![position("yard", seen.epoch, seen.sequence)], ..request.clone() };
    let mut stream = subscribe(&mut client, back).await;
    assert_eq!(next_text(&mut stream).await, "yard CAMERA_STATE_LIVE: frames arrive");
    assert_eq!(next_text(&mut stream).await, "yard CONTINUED");
    assert_eq!(next_text(&mut stream).await, "yard 4 car");
    server.backend.hub.publish(frame("yard", 5, vec![]));
    assert_eq!(next_text(&mut stream).await, "yard 5 ");

    let stranger = v1::SubscribeRequest { resume: vec![position("yard", seen.epoch + 1, 400)], ..request };
    let mut stream = subscribe(&mut client, stranger).await;
    next(&mut stream).await;
    assert_eq!(next_text(&mut stream).await, "yard RESTARTED");
    assert_eq!(next_text(&mut stream).await, "yard 3 person");
}

#[tokio::test]
async fn wrong_positions_are_named() {
    let (_server, mut client) = start(64).await;
    let cases = [
        (vec![position("a b", 1, 1)], "resume[0].camera_id"),
        (vec![position("yard", 1, 1), position("gate", 1, 1)], "resume[1].camera_id"),
        (vec![position("yard", 1, 1), position("yard", 1, 2)], "resume[1].camera_id"),
    ];
    for (resume, field) in cases {
        let request = v1::SubscribeRequest { camera_ids: vec!["yard".into()], resume, ..Default::default() };
        let status = client.subscribe(request).await.unwrap_err();
        assert_eq!((status.code(), fields(&status)), (Code::InvalidArgument, vec![field.to_owned()]));
    }
}

#[tokio::test]
async fn a_peer_with_too_many_streams_is_told_the_limit() {
    let config = centerx::api::Config { peer_streams: 2.try_into().unwrap(), ..Default::default() };
    let server = Running::start_with(config, 64).await;
    let mut client = DetectionServiceClient::new(server.channel().await);
    let first = subscribe(&mut client, v1::SubscribeRequest::default()).await;
    let (requests, incoming) = tokio::sync::mpsc::channel(1);
    let requests_stream = tokio_stream_of(incoming);
    let second = client.detect_stream(requests_stream).await.unwrap();
    let refused = client.subscribe(v1::SubscribeRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().contains("127.0.0.1 has 2 streams open"), "{refused}");
    assert_eq!(server.metric(r#"centerx_grpc_refused_total{limit="peer_streams"}"#), Some(1.0));
    drop((first, second, requests));
    while client.subscribe(v1::SubscribeRequest::default()).await.is_err() {
        tokio::task::yield_now().await;
    }
}

fn tokio_stream_of(
    mut incoming: tokio::sync::mpsc::Receiver<v1::DetectStreamRequest>,
) -> impl futures_util::Stream<Item = v1::DetectStreamRequest> {
    futures_util::stream::poll_fn(move |cx| incoming.poll_recv(cx))
}

#[tokio::test]
async fn a_peer_that_calls_too_often_is_told_the_limit() {
    let config = centerx::api::Config { peer_calls: 5.try_into().unwrap(), ..Default::default() };
    let server = Running::start_with(config, 64).await;
    let mut client = v1::camera_service_client::CameraServiceClient::new(server.channel().await);
    let refused = loop {
        if let Err(refused) = client.list_cameras(v1::ListCamerasRequest::default()).await {
            break refused;
        }
    };
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().contains("[grpc] peer_calls"), "{refused}");
    let counted = r#"centerx_grpc_requests_total{code="RESOURCE_EXHAUSTED",method="centerx.v1.CameraService/ListCameras"}"#;
    while server.metric(counted) != Some(1.0) {
        tokio::task::yield_now().await;
    }
    assert_eq!(server.metric(r#"centerx_grpc_refused_total{limit="peer_calls"}"#), Some(1.0));
}

#[tokio::test]
async fn a_subscriber_that_never_reads_is_ended_with_the_reason_and_can_come_back() {
    let stall_timeout = std::time::Duration::from_secs(1);
    let hub = centerx::publisher::Config { stall_timeout, ..Default::default() };
    let server = Running::start_with_hub(centerx::api::Config::default(), hub).await;
    let endpoint = server.endpoint().initial_stream_window_size(65_535);
    let mut client = DetectionServiceClient::new(endpoint.connect().await.unwrap());
    let mut stream = subscribe(&mut client, v1::SubscribeRequest::default()).await;
    let crowd = vec![detection("person", 0.9); 500];
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    let mut sequence = 0;
    while server.metric("centerx_subscribers_stalled_total") == Some(0.0) {
        assert!(tokio::time::Instant::now() < deadline, "it is never ended");
        sequence += 1;
        server.backend.hub.publish(frame("yard", sequence, crowd.clone()));
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let (mut last, mut missed) = (v1::FrameDetections::default(), 0);
    let ended = loop {
        match stream.message().await {
            Ok(Some(v1::SubscribeResponse { event: Some(Event::Detections(frame)) })) => last = frame,
            Ok(Some(v1::SubscribeResponse { event: Some(Event::Dropped(dropped)) })) => {
                missed += dropped.frames
            }
            Ok(other) => panic!("{other:?}"),
            Err(status) => break status,
        }
    };
    assert_eq!(ended.code(), Code::Aborted);
    assert!(ended.message().contains("took no message for 1 s ([publisher] stall_timeout)"), "{ended}");
    assert!(missed > 0);
    let resume = vec![position("yard", last.epoch, last.sequence)];
    let mut back = subscribe(&mut client, v1::SubscribeRequest { resume, ..Default::default() }).await;
    let Event::Resumed(resumed) = next(&mut back).await else { panic!("not resumed") };
    let first = resumed.gap.map_or(last.sequence, |gap| gap.last_sequence) + 1;
    let Event::Detections(seen) = next(&mut back).await else { panic!("no detections") };
    assert_eq!(seen.sequence, first, "every frame comes or was named as gone");
}

#[tokio::test]
async fn a_frozen_peer_is_noticed_and_its_subscription_let_go() {
    let keep_alive = std::time::Duration::from_secs(1);
    let server = Running::start_with(centerx::api::Config { keep_alive, ..Default::default() }, 64).await;
    let endpoint = server.endpoint();
    // Its runtime stands still from here on, as in a process that is stopped: nobody reads or answers a ping.
    let frozen = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let stream = runtime.block_on(async {
            let mut client = DetectionServiceClient::new(endpoint.connect().await.unwrap());
            client.subscribe(v1::SubscribeRequest::default()).await.unwrap().into_inner()
        });
        (stream, runtime)
    });
    let frozen = frozen.await.unwrap();
    assert_eq!(server.metric("centerx_subscribers"), Some(1.0));
    let deadline = tokio::time::Instant::now() + 10 * keep_alive;
    while server.metric("centerx_subscribers") != Some(0.0) {
        assert!(tokio::time::Instant::now() < deadline, "its subscription is never let go");
        tokio::task::yield_now().await;
    }
    tokio::task::spawn_blocking(move || drop(frozen)).await.unwrap();
}
