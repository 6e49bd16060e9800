//! `CameraService.TestCamera` on real RTSP cameras, well and sick.

use std::net::TcpListener;

use centerx::camera::{CameraId, CameraOrigin, CameraSpec, CameraUrl};
use centerx::picture_file;
use v1::{CameraFailure, TestCameraRequest, TestCameraResponse};

use super::rtsp_camera::{Clip, Server as Yard};
use super::*;

const PASSWORD: &str = "right one";

fn ball(width: i32, height: i32) -> Arc<Clip> {
    gstreamer::init().unwrap();
    Arc::new(Clip::pattern(width, height, 10, 2).unwrap())
}

async fn test(
    cameras: &CameraServiceClient<Channel>,
    camera: v1::Camera,
) -> Result<TestCameraResponse, tonic::Status> {
    let asked = cameras.clone().test_camera(TestCameraRequest { camera: Some(camera) }).await;
    asked.map(tonic::Response::into_inner)
}

/// That nothing of the tests is in anybody's books.
fn assert_untouched(server: &Server) {
    let metrics = server.metrics();
    assert!(!metrics.contains("camera=\""), "{metrics}");
    assert!(metrics.contains("centerx_decode_seconds_count 0"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_that_works_shows_its_first_picture() {
    let yard = Yard::start("127.0.0.1", 0, Some(("admin", PASSWORD))).unwrap();
    yard.mount("large", ball(1280, 720), 0, None).unwrap();
    yard.mount("small", ball(320, 240), 0, None).unwrap();
    let server = Server::start(|_| ()).await;
    let cameras = server.cameras().await;
    for (name, size, shown) in [("large", (1280, 720), (640, 360)), ("small", (320, 240), (320, 240))] {
        let answer = test(&cameras, camera("", &yard.url(name))).await.unwrap();
        assert_eq!(answer.failure(), CameraFailure::Unspecified, "{answer:?}");
        assert_eq!((answer.frame_width, answer.frame_height, answer.reason.as_str()), (size.0, size.1, ""));
        let took: Duration = answer.took.unwrap().try_into().unwrap();
        assert!(Duration::from_millis(1) < took && took < PATIENCE, "{took:?}");
        let picture = picture_file::decode(&answer.jpeg).unwrap();
        assert_eq!((picture.width, picture.height), shown);
        // A white ball on black.
        let bright = picture.plane(0).iter().filter(|value| **value > 200).count();
        let dark = picture.plane(0).iter().filter(|value| **value < 50).count();
        assert!(bright > 500 && dark > 10 * bright, "{bright} bright, {dark} dark");
    }
    assert_untouched(&server);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_that_does_not_says_why() {
    let yard = Yard::start("127.0.0.1", 0, Some(("admin", PASSWORD))).unwrap();
    yard.mount("yard", ball(320, 240), 0, None).unwrap();
    yard.mount_audio("door").unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let server = Server::start(|_| ()).await;
    let cameras = server.cameras().await;
    let url = yard.url("yard");
    for (url, failure, words) in [
        (url.replace("right%20one", "wr%40ng"), CameraFailure::Auth, "password"),
        (url.replace("/yard", "/street"), CameraFailure::NotFound, "has nothing at"),
        (format!("rtsp://127.0.0.1:{closed}/live"), CameraFailure::Network, "refuses connections"),
        ("rtsp://camera.invalid/live".into(), CameraFailure::NotFound, "cannot be resolved"),
        (yard.url("door"), CameraFailure::NoVideo, "only audio"),
    ] {
        let answer = test(&cameras, camera("", &url)).await.unwrap();
        assert_eq!(answer.failure(), failure, "{url}: {answer:?}");
        assert!(answer.reason.contains(words), "{url}: {answer:?}");
        assert!(answer.jpeg.is_empty() && answer.frame_width == 0 && answer.took.is_some());
        assert!(!format!("{answer:?}").contains("wr@ng") && !format!("{answer:?}").contains("wr%40ng"));
    }
    assert_untouched(&server);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_add_camera_refuses_is_refused_here() {
    let server = Server::start(|_| ()).await;
    let cameras = server.cameras().await;
    let pattern = "test://ball?width=64&height=64";
    for (camera, words) in [
        (camera("", "v4l2:///dev/video0"), "[access] schemes"),
        (camera("", "file:///etc/passwd"), "[access] video_folders"),
        (camera("", "http://169.254.169.254/latest"), "[access] denied_networks"),
        (camera("", "ftp://host/x"), "unknown scheme"),
        (camera("a b", pattern), "not a camera id"),
        (v1::Camera { model: Some("night".into()), ..camera("", pattern) }, "there is no model"),
        (v1::Camera { classes: vec!["tractor".into()], ..camera("", pattern) }, "no class"),
        (v1::Camera { max_fps: Some(-1.0), ..camera("", pattern) }, "max_fps"),
    ] {
        let status = test(&cameras, camera).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        assert!(status.message().contains(words), "{status:?}");
    }
    // One that is there, or that is disabled, can be tried all the same.
    let there = v1::Camera { enabled: Some(false), ..camera("there", pattern) };
    let add = v1::AddCameraRequest { camera: Some(there.clone()) };
    cameras.clone().add_camera(add).await.unwrap();
    assert_eq!(test(&cameras, there).await.unwrap().frame_width, 64);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_without_its_secrets_is_that_of_the_stored_camera() {
    let yard = Yard::start("127.0.0.1", 0, Some(("admin", PASSWORD))).unwrap();
    yard.mount("yard", ball(320, 240), 0, None).unwrap();
    let server = Server::start(|_| ()).await;
    let cameras = server.cameras().await;
    let secret = yard.url("yard");
    for (id, origin) in [("api", CameraOrigin::Api), ("config", CameraOrigin::Config)] {
        let url = CameraUrl::parse(&secret).unwrap();
        let mut spec = CameraSpec::new(CameraId::new(id).unwrap(), url);
        spec.enabled = false;
        server.app.server().add(spec, origin).await.unwrap();
        let shown = secret.replace("right%20one", "***");
        let answer = test(&cameras, camera(id, &shown)).await.unwrap();
        assert_eq!((answer.failure(), answer.frame_width), (CameraFailure::Unspecified, 320), "{answer:?}");
    }
    let shown = secret.replace("right%20one", "***");
    for (camera, code, words) in [
        (camera("nobody", &shown), Code::NotFound, "no camera nobody"),
        (camera("", &shown), Code::InvalidArgument, "camera.id"),
        // Or anybody who may test could have the password sent to a place of their own.
        (camera("api", &shown.replace("127.0.0.1", "127.0.0.2")), Code::InvalidArgument, "that camera's url"),
        (camera("api", &format!("{shown}?x=1")), Code::InvalidArgument, "that camera's url"),
    ] {
        let status = test(&cameras, camera).await.unwrap_err();
        assert_eq!(status.code(), code, "{status:?}");
        assert!(status.message().contains(words), "{status:?}");
        assert!(!format!("{status:?}").contains("right"));
    }
    server.stop().await;
}

/// Peers that take connections and say nothing.
fn silent() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("rtsp://{}/live", listener.local_addr().unwrap());
    (listener, url)
}

#[tokio::test(flavor = "multi_thread")]
async fn few_tests_run_at_a_time_and_those_of_clients_that_hung_up_do_not_count() {
    let (_listener, url) = silent();
    // So long that only hanging up can end them.
    let server = Server::start(|config| config.ingest.connect_timeout = Duration::from_secs(300)).await;
    let cameras = server.cameras().await;
    let calls: Vec<_> = (0..4)
        .map(|_| {
            let (cameras, camera) = (cameras.clone(), camera("", &url));
            tokio::spawn(async move { test(&cameras, camera).await })
        })
        .collect();
    let pattern = camera("", "test://ball?width=64&height=64");
    let until = async |code: Code| {
        let begin = Instant::now();
        loop {
            let outcome = test(&cameras, pattern.clone()).await;
            let status = outcome.map_or_else(|status| status, |_| tonic::Status::ok(""));
            if status.code() == code {
                return status;
            }
            assert!(begin.elapsed() < PATIENCE, "{status:?}");
        }
    };
    let full = until(Code::ResourceExhausted).await;
    assert!(full.message().contains("4 cameras are being tested"), "{full:?}");
    calls.iter().for_each(tokio::task::JoinHandle::abort);
    until(Code::Ok).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_says_nothing_is_given_up_after_connect_timeout() {
    let (_listener, url) = silent();
    let server = Server::start(|config| config.ingest.connect_timeout = Duration::from_secs(1)).await;
    let begin = Instant::now();
    let answer = test(&server.cameras().await, camera("", &url)).await.unwrap();
    assert_eq!(answer.failure(), CameraFailure::Network);
    assert!(answer.reason.contains("no video came within 1s"), "{answer:?}");
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    server.stop().await;
}
