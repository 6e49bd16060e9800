//! The cameras again over RTSP, with boxes, to real RTSP clients.

use centerx::auth::{Digest, Role, TokenConfig};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use v1::{AddCameraRequest, RemoveCameraRequest};

use super::*;

const TOKEN: &str = "cx_test-token";
const SIZE: (usize, usize) = (320, 240);

/// A client of a stream that sees RGB pictures.
struct Client {
    pipeline: gst::Pipeline,
    sink: gst_app::AppSink,
}

impl Client {
    fn open(url: &str) -> Self {
        gst::init().unwrap();
        let launch = format!(
            "rtspsrc location={url} protocols=tcp latency=0 ! rtph264depay ! h264parse ! avdec_h264 ! videoconvert \
             ! appsink name=sink sync=false max-buffers=1 drop=true caps=video/x-raw,format=RGB"
        );
        let pipeline = gst::parse::launch(&launch).unwrap().downcast::<gst::Pipeline>().unwrap();
        let sink = pipeline.by_name("sink").unwrap().downcast::<gst_app::AppSink>().unwrap();
        pipeline.set_state(gst::State::Playing).unwrap();
        Self { pipeline, sink }
    }

    /// The next picture, or why there is none.
    fn picture(&self) -> Result<Vec<u8>, String> {
        let begin = Instant::now();
        let bus = self.pipeline.bus().unwrap();
        while begin.elapsed() < PATIENCE {
            if let Some(sample) = self.sink.try_pull_sample(gst::ClockTime::from_mseconds(50)) {
                let caps = sample.caps().unwrap().structure(0).unwrap();
                let side = |name| usize::try_from(caps.get::<i32>(name).unwrap()).unwrap();
                assert_eq!((side("width"), side("height")), SIZE);
                return Ok(sample.buffer().unwrap().map_readable().unwrap().to_vec());
            }
            match bus.pop_filtered(&[gst::MessageType::Error, gst::MessageType::Eos]) {
                Some(message) => return Err(format!("{message:?}")),
                None if self.sink.is_eos() => return Err("the end".into()),
                None => {}
            }
        }
        panic!("neither a picture nor an end");
    }

    /// Pictures until one fulfils a condition: lossy coding takes some to become sharp.
    fn until(&self, wanted: impl Fn(&[u8]) -> bool) {
        let begin = Instant::now();
        while !wanted(&self.picture().unwrap()) {
            assert!(begin.elapsed() < PATIENCE, "no such picture");
        }
    }

    /// Waits for the end, and tells it.
    fn end(&self) -> String {
        let begin = Instant::now();
        loop {
            if let Err(end) = self.picture() {
                return end;
            }
            assert!(begin.elapsed() < PATIENCE, "it does not end");
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

/// Runs what waits for GStreamer beside the runtime.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

fn listening(config: &mut Config) {
    config.restream.listen = Some(([127, 0, 0, 1], 0).into());
}

async fn add(server: &Server, id: &str) -> String {
    let camera = camera(id, "test://black?width=320&height=240&fps=10");
    server.cameras().await.add_camera(AddCameraRequest { camera: Some(camera) }).await.unwrap();
    format!("rtsp://{}/{id}", server.app.restream_address().unwrap())
}

/// Waits until a metric has a value.
async fn until_metric(server: &Server, name: &str, value: u32) {
    let (begin, line) = (Instant::now(), format!("{name} {value}"));
    while !server.metrics().lines().any(|have| have == line) {
        assert!(begin.elapsed() < PATIENCE, "{name} is never {value}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The brightest channel at a place or beside it: lines are thin, and coding blurs them.
fn brightness(picture: &[u8], x: usize, y: usize) -> u8 {
    let pixel = |x: usize, y: usize| *picture[(y * SIZE.0 + x) * 3..][..3].iter().max().unwrap();
    (x - 1..=x + 1)
        .flat_map(|x| (y - 1..=y + 1).map(move |y| (x, y)))
        .map(|(x, y)| pixel(x, y))
        .max()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_see_boxes_share_one_encoder_and_cost_nothing_once_gone() {
    let server = Server::start(listening).await;
    let url = add(&server, "yard").await;
    until_metric(&server, "centerx_restream_encoders", 0).await;
    let first = blocking({
        let url = url.clone();
        move || {
            let client = Client::open(&url);
            // The person's box lies at 40 to 160 in both directions: a fifth of the frame is the network's input.
            client.until(|picture| {
                let edges = [(40, 100), (160, 100), (100, 160)];
                edges.iter().all(|&(x, y)| brightness(picture, x, y) > 60)
                    && brightness(picture, 100, 100) < 40
                    && brightness(picture, 250, 200) < 40
            });
            client
        }
    });
    let first = first.await;
    let (second, first) = blocking(move || {
        let second = Client::open(&url);
        (0..3).for_each(|_| drop((second.picture().unwrap(), first.picture().unwrap())));
        (second, first)
    })
    .await;
    until_metric(&server, "centerx_restream_encoders", 1).await;
    until_metric(&server, "centerx_restream_clients", 2).await;
    blocking(move || drop(first)).await;
    let second = blocking(move || {
        (0..3).for_each(|_| drop(second.picture().unwrap()));
        second
    });
    drop(second.await);
    until_metric(&server, "centerx_restream_encoders", 0).await;
    until_metric(&server, "centerx_restream_clients", 0).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_that_is_removed_ends_its_stream_and_no_other() {
    let server = Server::start(listening).await;
    let (yard, door) = (add(&server, "yard").await, add(&server, "door").await);
    let (yard, door) = blocking(move || {
        let clients = (Client::open(&yard), Client::open(&door));
        drop((clients.0.picture().unwrap(), clients.1.picture().unwrap()));
        clients
    })
    .await;
    server.cameras().await.remove_camera(RemoveCameraRequest { id: "yard".into() }).await.unwrap();
    let door = blocking(move || {
        yard.end();
        (0..3).for_each(|_| drop(door.picture().unwrap()));
        door
    });
    drop(door.await);
    let gone = format!("rtsp://{}/yard", server.app.restream_address().unwrap());
    let refused = blocking(move || Client::open(&gone).picture().unwrap_err()).await;
    assert!(refused.contains("Not Found"), "{refused}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_asked_for_as_the_password() {
    let token = TokenConfig { name: "me".into(), role: Role::Read, sha256: Digest::of(TOKEN.as_bytes()) };
    let server = Server::start(|config| {
        listening(config);
        config.auth.tokens = vec![token];
    })
    .await;
    let spec = centerx::camera::CameraSpec::new(
        centerx::camera::CameraId::new("yard").unwrap(),
        centerx::camera::CameraUrl::parse("test://black?width=320&height=240&fps=10").unwrap(),
    );
    server.app.server().add(spec, centerx::camera::CameraOrigin::Config).await.unwrap();
    let address = server.app.restream_address().unwrap();
    let open = |login: &str| {
        let url = format!("rtsp://{login}{address}/yard");
        blocking(move || Client::open(&url).picture().map(drop))
    };
    for wrong in ["", "me:wrong@", "me:@"] {
        let refused = open(wrong).await.unwrap_err();
        assert!(refused.contains("Unauthorized"), "{wrong}: {refused}");
    }
    open(&format!("anybody:{TOKEN}@")).await.unwrap();
    assert!(server.metrics().contains("centerx_auth_failures_total{reason=\"unknown\"}"));
    // Taken out of the settings, it lets nobody in any more.
    let other = TokenConfig { name: "other".into(), role: Role::Read, sha256: Digest::of(b"cx_other") };
    server.app.replace_tokens(centerx::auth::Config { tokens: vec![other], ..Default::default() });
    open(&format!("anybody:{TOKEN}@")).await.unwrap_err();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_clients_than_allowed_are_refused() {
    let server = Server::start(|config| {
        listening(config);
        config.restream.max_clients = std::num::NonZeroU32::MIN;
    })
    .await;
    let url = add(&server, "yard").await;
    let refused = blocking(move || {
        let first = Client::open(&url);
        drop(first.picture().unwrap());
        let refused = Client::open(&url).picture().unwrap_err();
        drop(first.picture().unwrap());
        refused
    });
    let refused = refused.await;
    assert!(refused.contains("Service Unavailable"), "{refused}");
    server.stop().await;
}

#[test]
fn without_tokens_only_this_machine_is_listened_to() {
    let config = Config::parse("[restream]\nlisten = \"0.0.0.0:8554\"\n", "test").unwrap();
    let refused = config.validate().unwrap_err().to_string();
    assert!(refused.contains("[restream] listen is 0.0.0.0:8554") && refused.contains("centerx token new"));
}
