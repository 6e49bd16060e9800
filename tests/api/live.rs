//! `LiveService.Watch`.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use centerx::api::v1;
use centerx::api::v1::live_service_client::LiveServiceClient;
use centerx::camera::CameraOrigin;
use centerx::detection::{Detection, Published};
use centerx::frame::Picture;
use centerx::live::Offer;
use tokio::time::timeout;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

use crate::backend::{Running, camera_id, detection, frame};
use crate::fields;

async fn start() -> (Running, LiveServiceClient<Channel>) {
    let server = Running::start().await;
    for id in ["gate", "yard"] {
        server.backend.put(id, "test://ball", CameraOrigin::Config);
    }
    let client = LiveServiceClient::new(server.channel().await);
    (server, client)
}

fn view(camera: &str) -> v1::View {
    v1::View { camera_id: camera.into(), ..Default::default() }
}

async fn watch(
    client: &mut LiveServiceClient<Channel>,
    views: &[v1::View],
) -> Result<Streaming<v1::WatchResponse>, Status> {
    Ok(client.watch(v1::WatchRequest { views: views.to_vec() }).await?.into_inner())
}

async fn next(stream: &mut Streaming<v1::WatchResponse>) -> Result<Option<v1::WatchResponse>, Status> {
    timeout(Duration::from_secs(20), stream.message()).await.expect("a message in time")
}

/// Publishes a frame of one grey, as the server does that also hands over its picture.
fn publish(server: &Running, camera: &str, sequence: u64, detections: Vec<Detection>) {
    let (width, height) = (768, 576);
    let pixels = vec![sequence as u8; (width * height * 3) as usize];
    let found = Arc::new(Published::new(frame(camera, sequence, detections), 9));
    let picture = Arc::new(Picture::rgb(width, height, pixels).unwrap());
    let age = Duration::from_millis(40);
    server.backend.live.offer(Offer { picture, found, skeleton: [].into(), age });
}

#[tokio::test]
async fn a_viewer_gets_pictures_with_the_detections_of_their_frames() {
    let (server, mut client) = start().await;
    let small = v1::View { max_side: 300, ..view("gate") };
    let mut stream = watch(&mut client, &[view("yard"), small]).await.unwrap();
    publish(&server, "yard", 7, vec![detection("person", 0.71)]);
    let seen = next(&mut stream).await.unwrap().unwrap();
    let found = seen.detections.unwrap();
    assert_eq!((found.camera_id.as_str(), found.sequence, found.epoch), ("yard", 7, 9));
    assert_eq!((found.frame_width, found.frame_height, found.detections.len()), (768, 576, 1));
    assert_eq!((seen.width, seen.height, seen.skipped), (640, 480, 0));
    assert_eq!(Duration::try_from(seen.age.unwrap()).unwrap(), Duration::from_millis(40));
    let picture = image::load_from_memory(&seen.jpeg).unwrap().into_rgb8();
    assert_eq!(picture.dimensions(), (640, 480));
    publish(&server, "gate", 1, Vec::new());
    let seen = next(&mut stream).await.unwrap().unwrap();
    assert_eq!((seen.width, seen.height, seen.detections.unwrap().camera_id.as_str()), (320, 240, "gate"));
}

#[tokio::test]
async fn views_that_cannot_be_are_named() {
    let (_server, mut client) = start().await;
    let status = watch(&mut client, &[]).await.unwrap_err();
    assert_eq!((status.code(), fields(&status)), (Code::InvalidArgument, vec!["views".to_owned()]));
    let bad = [view("no id"), v1::View { max_fps: Some(0.0), ..view("yard") }, view("yard")];
    let status = watch(&mut client, &bad).await.unwrap_err();
    let wrong = ["views[0].camera_id", "views[1].max_fps", "views[2].camera_id"];
    assert_eq!((status.code(), fields(&status)), (Code::InvalidArgument, wrong.map(str::to_owned).to_vec()));
    let status = watch(&mut client, &[view("yard"), view("barn")]).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::NotFound, "there is no camera barn"));
}

#[tokio::test]
async fn a_stream_goes_on_until_its_last_camera_is_removed() {
    use centerx::api::backend::Backend as _;
    let (server, mut client) = start().await;
    let mut stream = watch(&mut client, &[view("yard"), view("gate")]).await.unwrap();
    server.backend.remove_camera(&camera_id("yard")).await.unwrap();
    publish(&server, "gate", 1, Vec::new());
    assert_eq!(next(&mut stream).await.unwrap().unwrap().detections.unwrap().camera_id, "gate");
    server.backend.remove_camera(&camera_id("gate")).await.unwrap();
    let status = next(&mut stream).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound, "{status:?}");
    assert!(status.message().contains("removed"), "{status:?}");
}

#[tokio::test]
async fn shutdown_ends_viewers_with_unavailable() {
    let (server, mut client) = start().await;
    let mut stream = watch(&mut client, &[view("yard")]).await.unwrap();
    server.stop.send(()).unwrap();
    server.backend.live.close();
    let status = next(&mut stream).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "the server is shutting down"));
    server.task.await.unwrap();
}

#[tokio::test]
async fn a_peer_may_watch_so_many_times_and_no_more() {
    let config = centerx::api::Config { peer_streams: NonZeroUsize::MIN, ..Default::default() };
    let server = Running::start_with(config, 64).await;
    server.backend.put("yard", "test://ball", CameraOrigin::Config);
    let mut client = LiveServiceClient::new(server.channel().await);
    let first = watch(&mut client, &[view("yard")]).await.unwrap();
    let status = watch(&mut client, &[view("yard")]).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().contains("peer_streams"), "{status:?}");
    drop(first);
    let again = async {
        while watch(&mut client, &[view("yard")]).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(20), again).await.expect("a stream that ended makes room");
}

/// Frames come faster than a client reads: it gets what is newest, and learns what it missed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_reads_slowly_gets_the_newest() {
    let (server, _) = start().await;
    let endpoint =
        server.endpoint().initial_stream_window_size(65_535).initial_connection_window_size(65_535);
    let mut client = LiveServiceClient::new(endpoint.connect().await.unwrap());
    let mut stream = watch(&mut client, &[v1::View { max_side: 1920, ..view("yard") }]).await.unwrap();
    const FRAMES: u64 = 200;
    for sequence in 1..=FRAMES {
        publish(&server, "yard", sequence, Vec::new());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (mut seen, mut skipped) = (Vec::new(), 0);
    while seen.last() != Some(&FRAMES) {
        let response = next(&mut stream).await.unwrap().unwrap();
        skipped += response.skipped;
        seen.push(response.detections.unwrap().sequence);
    }
    assert!(seen.windows(2).all(|pair| pair[0] < pair[1]), "in order: {seen:?}");
    let before_first = seen[0] - 1;
    assert_eq!(before_first + skipped + seen.len() as u64, FRAMES, "every frame is told of: {seen:?}");
    assert!(seen.len() < FRAMES as usize / 2, "a backlog of {} pictures was kept", seen.len());
}
