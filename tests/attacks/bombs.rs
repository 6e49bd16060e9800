//! Small messages that would become large: pictures, compressed and nested messages, endless lists.

use std::convert::Infallible;
use std::io::{Cursor, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use centerx::api::v1::camera_service_client::CameraServiceClient;
use centerx::api::v1::detect_stream_request::Message;
use centerx::api::v1::detection_service_client::DetectionServiceClient;
use centerx::api::v1::{
    AddCameraRequest, Camera, DetectRequest, DetectResponse, DetectStreamOptions, DetectStreamRequest,
    ListCamerasRequest, SubscribeRequest,
};
use flate2::Compression;
use flate2::write::ZlibEncoder;
use futures_util::StreamExt as _;
use image::{DynamicImage, ImageFormat};
use tonic::codegen::Service as _;
use tonic::codegen::http::Request;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use super::process::ServerProcess;
use super::tiny_model::Tiny;

/// Memory that an attack may take for a moment: a picture of 50 megapixels as it is decoded, twice, and some.
const MOST: u64 = 1000 << 20;
const MIB: u64 = 1 << 20;

/// A server, what it held before the attack, and its clients.
struct Target {
    server: ServerProcess,
    _data: tempfile::TempDir,
    channel: Channel,
    before: u64,
}

impl Target {
    async fn new(arguments: &[&str]) -> Self {
        let data = tempfile::tempdir().unwrap();
        let model = Tiny::new("day", &["person"]).write(data.path());
        let arguments = [&["--model", model.to_str().unwrap()], arguments].concat();
        let server = ServerProcess::start(data.path(), &arguments);
        let channel = connect(server.grpc).await;
        let mut target = Self { server, _data: data, channel, before: 0 };
        target.assert_serves().await;
        target.server.forget_peak_memory();
        target.before = target.server.memory("VmRSS:");
        target
    }

    fn detections(&self) -> DetectionServiceClient<Channel> {
        DetectionServiceClient::new(self.channel.clone()).max_encoding_message_size(usize::MAX)
    }

    fn cameras(&self) -> CameraServiceClient<Channel> {
        CameraServiceClient::new(self.channel.clone()).max_encoding_message_size(usize::MAX)
    }

    async fn detect(&self, image: Vec<u8>) -> Result<DetectResponse, Status> {
        let request = DetectRequest { image, ..Default::default() };
        self.detections().detect(request).await.map(tonic::Response::into_inner)
    }

    async fn assert_serves(&self) {
        let found = self.detect(picture(64, 64, ImageFormat::Png)).await.unwrap();
        assert_eq!(found.detections[0].label, "person");
    }

    /// The server took no more than this at any moment since the start of the attack, and serves on.
    async fn assert_survived(&self, most: u64) {
        let peak = self.server.memory("VmHWM:").saturating_sub(self.before);
        eprintln!("{} MiB at the peak, {} allowed", peak / MIB, most / MIB);
        assert!(peak < most, "{} MiB at the peak, {} allowed", peak / MIB, most / MIB);
        self.assert_serves().await;
    }
}

async fn connect(address: SocketAddr) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    endpoint.timeout(Duration::from_secs(60)).connect().await.unwrap()
}

fn picture(width: u32, height: u32, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    DynamicImage::new_rgb8(width, height).write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// So many zeros, compressed.
fn zeros(count: usize) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    let piece = vec![0; MIB as usize];
    for at in (0..count).step_by(piece.len()) {
        encoder.write_all(&piece[..piece.len().min(count - at)]).unwrap();
    }
    encoder.finish().unwrap()
}

/// A PNG of these chunks.
fn png(chunks: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    for (kind, data) in chunks {
        let mut crc = flate2::Crc::new();
        crc.update(*kind);
        crc.update(data);
        bytes.extend((data.len() as u32).to_be_bytes());
        bytes.extend([*kind, *data].concat());
        bytes.extend(crc.sum().to_be_bytes());
    }
    bytes
}

/// The header of a PNG: 16 bits a channel, RGB with alpha, the most that a pixel can have.
fn header(width: u32, height: u32) -> Vec<u8> {
    [&width.to_be_bytes()[..], &height.to_be_bytes(), &[16, 6, 0, 0, 0]].concat()
}

/// A JPEG of one pixel that says it is of another size.
fn jpeg(width: u16, height: u16) -> Vec<u8> {
    let mut bytes = picture(1, 1, ImageFormat::Jpeg);
    let frame = bytes.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    bytes[frame + 5..frame + 7].copy_from_slice(&height.to_be_bytes());
    bytes[frame + 7..frame + 9].copy_from_slice(&width.to_be_bytes());
    bytes
}

/// A WebP (VP8L) that says it is of another size, 16383 pixels a side at most.
fn webp(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = picture(1, 1, ImageFormat::WebP);
    let at = bytes.windows(4).position(|name| name == b"VP8L").unwrap() + 9;
    let size = ((width - 1) | ((height - 1) << 14)).to_le_bytes();
    bytes[at..at + 3].copy_from_slice(&size[..3]);
    bytes[at + 3] = (bytes[at + 3] & 0xf0) | (size[3] & 0x0f);
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_that_say_they_are_huge_cost_nothing() {
    let target = Target::new(&[]).await;
    let end: (&[u8; 4], &[u8]) = (b"IEND", &[]);
    let bomb = zeros(512 << 20);
    let (named, pixel) = ([&b"bomb\0\0"[..], &bomb].concat(), zeros(9));
    for (what, image, expected) in [
        ("a PNG", png(&[(b"IHDR", &header(65_535, 65_535)), (b"IDAT", &zeros(1000)), end]), "65535x65535"),
        ("the largest PNG", png(&[(b"IHDR", &header(0x7fff_ffff, 0x7fff_ffff)), end]), ""),
        ("a JPEG", jpeg(65_535, 65_535), "65535x65535"),
        ("a WebP", webp(16_383, 16_383), "16383x16383"),
        ("a PNG without its pixels", png(&[(b"IHDR", &header(7000, 7000)), (b"IDAT", &zeros(99)), end]), ""),
        ("a PNG with too many pixels", png(&[(b"IHDR", &header(1, 1)), (b"IDAT", &bomb), end]), ""),
        ("a colour profile", png(&[(b"IHDR", &header(1, 1)), (b"iCCP", &named), (b"IDAT", &pixel), end]), ""),
        ("a text", png(&[(b"IHDR", &header(1, 1)), (b"zTXt", &named), (b"IDAT", &pixel), end]), ""),
    ] {
        target.server.forget_peak_memory();
        // Whether it is refused or its one pixel is looked at does not matter where no error is expected.
        let outcome = target.detect(image).await;
        let message = outcome.as_ref().err().map_or("", |status| status.message());
        assert!(message.contains(expected), "{what}: {outcome:?}");
        let code = outcome.as_ref().err().map_or(Code::InvalidArgument, Status::code);
        assert_eq!(code, Code::InvalidArgument, "{what}: {outcome:?}");
        // 7000x7000 is allowed, and its pixels are made room for.
        target.assert_survived(if what.contains("without") { MOST } else { 200 * MIB }).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_as_large_as_allowed_take_turns() {
    let target = Target::new(&[]).await;
    let pixels = zeros(7000 * (7000 * 8 + 1));
    assert!(pixels.len() < 4 << 20, "a bomb is small: {} bytes", pixels.len());
    let image = png(&[(b"IHDR", &header(7000, 7000)), (b"IDAT", &pixels), (b"IEND", &[])]);
    let looks = (0..6).map(|_| target.detect(image.clone()));
    for outcome in futures_util::future::join_all(looks).await {
        let code = outcome.err().map_or(Code::Ok, |status| status.code());
        assert!(matches!(code, Code::Ok | Code::ResourceExhausted), "{code:?}");
    }
    // Two decoders at work, on this machine, and what waits.
    let decoders = std::thread::available_parallelism().unwrap().get().min(4) as u64;
    target.assert_survived(decoders * 600 * MIB + 6 * 170 * MIB).await;
}

/// A gRPC frame: whether it is compressed, the length, the bytes.
fn framed(compressed: bool, message: &[u8]) -> Vec<u8> {
    [&[u8::from(compressed)][..], &(message.len() as u32).to_be_bytes(), message].concat()
}

/// Sends raw bytes as a call, and returns its status: the server may answer before it has read them all.
async fn send(target: &Target, path: &str, encoding: &str, body: Vec<u8>) -> Code {
    let request = Request::post(format!("http://{}{path}", target.server.grpc))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-encoding", encoding)
        .body(tonic::body::Body::new(axum::body::Body::from(body)))
        .unwrap();
    let mut channel = target.channel.clone();
    std::future::poll_fn(|cx| channel.poll_ready(cx)).await.unwrap();
    let answer = channel.call(request).await.unwrap();
    let status = answer.headers().get("grpc-status").expect("it is refused, not answered");
    Code::from_bytes(status.as_bytes())
}

const DETECT: &str = "/centerx.v1.DetectionService/Detect";
const ADD: &str = "/centerx.v1.CameraService/AddCamera";

#[tokio::test(flavor = "multi_thread")]
async fn compressed_messages_are_not_unpacked() {
    let target = Target::new(&[]).await;
    let bomb = zeros(256 << 20);
    for (encoding, bytes) in
        [("gzip", bomb.clone()), ("deflate", bomb.clone()), ("zstd", bomb.clone()), ("identity", bomb)]
    {
        let status = send(&target, DETECT, encoding, framed(true, &bytes)).await;
        let expected = if encoding == "identity" { Code::Internal } else { Code::Unimplemented };
        assert_eq!(status, expected, "{encoding}");
    }
    target.assert_survived(200 * MIB).await;
}

/// `count` fields of number `field`, each a message in the one before.
fn nested(field: u8, count: usize) -> Vec<u8> {
    (0..count).fold(Vec::new(), |inner, _| {
        let mut outer = vec![field << 3 | 2];
        prost::encoding::encode_varint(inner.len() as u64, &mut outer);
        outer.extend(inner);
        outer
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_grow_as_they_are_read_are_refused() {
    let target = Target::new(&[]).await;
    let refused = |code: Code| assert!(!matches!(code, Code::Ok | Code::Cancelled), "{code:?}");
    // A length that the bytes after it do not have.
    refused(send(&target, ADD, "identity", [&[0][..], &u32::MAX.to_be_bytes(), b"x"].concat()).await);
    refused(send(&target, ADD, "identity", framed(false, b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f")).await);
    // Groups of an unknown field, each in the one before: no stack is that deep.
    refused(send(&target, ADD, "identity", framed(false, &[0x7b].repeat(200_000))).await);
    // Unknown messages are skipped whole; the camera in the innermost is none.
    refused(send(&target, ADD, "identity", framed(false, &nested(1, 10_000))).await);
    // Two bytes each on the wire, twenty-four in memory.
    let classes = [0x42, 0].repeat(8_000_000);
    let mut camera = vec![0x0a];
    prost::encoding::encode_varint(classes.len() as u64, &mut camera);
    refused(send(&target, ADD, "identity", framed(false, &[camera, classes].concat())).await);
    target.assert_survived(200 * MIB).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_lists_and_texts_are_refused() {
    let target = Target::new(&[]).await;
    let long = "x".repeat(100_000);
    let camera = |id: &str, url: &str| Camera { id: id.into(), url: url.into(), ..Default::default() };
    let ball = "test://ball?width=64&height=64&fps=1";
    for camera in [
        camera(&long, ball),
        camera("a", &format!("rtsp://10.0.0.9/{long}")),
        Camera { name: long.clone(), ..camera("a", ball) },
        Camera { classes: vec!["person".into(); 1001], ..camera("a", ball) },
        Camera { classes: vec![long.clone()], ..camera("a", ball) },
        Camera { model: Some(long.clone()), ..camera("a", ball) },
    ] {
        let status =
            target.cameras().add_camera(AddCameraRequest { camera: Some(camera) }).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        assert!(status.message().len() < 2000, "{} bytes", status.message().len());
    }
    let asked = SubscribeRequest { classes: vec![String::new(); 6_000_000], ..Default::default() };
    assert!(target.detections().subscribe(asked).await.is_err());
    let asked = DetectRequest { classes: vec![String::new(); 6_000_000], ..Default::default() };
    let looks = (0..8).map(|_| {
        let (mut client, asked) = (target.detections(), asked.clone());
        async move { client.detect(asked).await }
    });
    for outcome in futures_util::future::join_all(looks).await {
        assert!(outcome.is_err());
    }
    // The lists of those that are read at the same moment, one a thread, and the messages of the others.
    target.assert_survived(MOST).await;
}

/// A stream's first message, with a list that grows.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_endless_options_is_refused() {
    let target = Target::new(&[]).await;
    let options = DetectStreamOptions { classes: vec![String::new(); 6_000_000], ..Default::default() };
    let first = DetectStreamRequest { message: Some(Message::Options(options)) };
    let streams = (0..8).map(|_| {
        let (mut client, first) = (target.detections(), first.clone());
        async move {
            client.detect_stream(futures_util::stream::iter([first])).await?.into_inner().message().await
        }
    });
    for outcome in futures_util::future::join_all(streams).await {
        assert_eq!(outcome.unwrap_err().code(), Code::InvalidArgument);
    }
    target.assert_survived(MOST).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_never_become_complete_have_a_budget() {
    let target = Target::new(&[]).await;
    // 16 MiB are announced, 12 sent, and then nothing for ever.
    let calls = (0..64).map(|_| async {
        let head = [&[0][..], &(16_u32 << 20).to_be_bytes()].concat();
        let pieces = [head].into_iter().chain((0..12).map(|_| vec![0x0a; MIB as usize]));
        let body = futures_util::stream::iter(pieces.map(Ok::<_, Infallible>))
            .chain(futures_util::stream::pending());
        let request = Request::post(format!("http://{}{DETECT}", target.server.grpc))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(tonic::body::Body::new(axum::body::Body::from_stream(body)))
            .unwrap();
        let mut channel = connect(target.server.grpc).await;
        std::future::poll_fn(|cx| channel.poll_ready(cx)).await.unwrap();
        let answer = channel.call(request).await.unwrap();
        answer.headers().get("grpc-status").map(|status| Code::from_bytes(status.as_bytes()))
    });
    // Those that are refused answer; the others wait for what does not come, until they are let go.
    let refused = futures_util::stream::iter(calls).buffer_unordered(64).take(40);
    let codes: Vec<_> = tokio::time::timeout(Duration::from_secs(20), refused.collect()).await.unwrap();
    assert!(codes.iter().all(|code| *code == Some(Code::ResourceExhausted)), "{codes:?}");
    target.assert_survived(600 * MIB).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_no_more_cameras_than_the_settings_allow() {
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("centerx.toml");
    std::fs::write(&settings, "[ingest]\nmax_cameras = 5\n").unwrap();
    let target = Target::new(&["--config", settings.to_str().unwrap()]).await;
    let add = |n: usize| {
        let mut client = target.cameras();
        let camera = Camera {
            id: format!("c{n}"),
            url: "test://ball".into(),
            enabled: Some(false),
            ..Default::default()
        };
        async move { client.add_camera(AddCameraRequest { camera: Some(camera) }).await }
    };
    let outcomes = futures_util::future::join_all((0..20).map(add)).await;
    let refused: Vec<_> = outcomes.into_iter().filter_map(Result::err).collect();
    assert_eq!(refused.len(), 15);
    for status in refused {
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert!(status.message().contains("max_cameras"), "{status:?}");
    }
    let listed = target.cameras().list_cameras(ListCamerasRequest {}).await.unwrap().into_inner();
    assert_eq!(listed.cameras.len(), 5);
    target.assert_serves().await;
}
