//! `DetectionService.Detect`.

use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;

use centerx::api::backend::DetectError;
use centerx::api::v1::detection_service_client::DetectionServiceClient;
use centerx::api::{Config, v1};
use image::{DynamicImage, ImageFormat};
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::backend::{Asked, Running};
use crate::fields;

async fn start_with(config: Config) -> (Running, DetectionServiceClient<Channel>) {
    let server = Running::start_with(config, 64).await;
    let client = DetectionServiceClient::new(server.channel().await);
    (server, client)
}

fn picture(width: u32, height: u32, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    DynamicImage::new_rgb8(width, height).write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// A PNG that says it is so large and holds nothing.
fn png_header(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = picture(1, 1, ImageFormat::Png);
    bytes[16..20].copy_from_slice(&width.to_be_bytes());
    bytes[20..24].copy_from_slice(&height.to_be_bytes());
    let crc = crc32(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&crc.to_be_bytes());
    bytes
}

/// CRC-32 of the PNG specification, annex D.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { 0xedb8_8320 ^ (crc >> 1) } else { crc >> 1 };
    !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc)))
}

fn ask(image: Vec<u8>) -> v1::DetectRequest {
    v1::DetectRequest { image, ..v1::DetectRequest::default() }
}

async fn refused(client: &mut DetectionServiceClient<Channel>, request: v1::DetectRequest) -> Status {
    client.detect(request).await.unwrap_err()
}

#[tokio::test]
async fn pictures_of_every_format_are_looked_at() {
    let (server, mut client) = start_with(Config::default()).await;
    for format in [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP] {
        let request = v1::DetectRequest {
            image: picture(40, 30, format),
            model: Some("coco".into()),
            min_score: Some(0.5),
            classes: vec!["person".into()],
        };
        let found = client.detect(request).await.unwrap().into_inner();
        assert_eq!((found.frame_width, found.frame_height, found.model.as_str()), (40, 30, "coco"));
        let first = &found.detections[0];
        assert_eq!((first.label.as_str(), first.class_id, first.score), ("person", 0, 0.71));
        assert_eq!(first.r#box, Some(v1::BoundingBox { x1: 613.2, y1: 232.4, x2: 651.6, y2: 341.0 }));
    }
    let asked = Asked {
        size: (40, 30),
        model: Some("coco".into()),
        min_score: Some(0.5),
        classes: vec!["person".into()],
    };
    assert_eq!(*server.backend.asked.lock().unwrap(), vec![asked; 3]);
}

#[tokio::test]
async fn bad_pictures_never_reach_the_engine() {
    let (server, mut client) = start_with(Config::default()).await;
    let whole = picture(64, 64, ImageFormat::Png);
    for (image, hint) in [
        (vec![], "0 bytes"),
        (b"GIF89a, but none of ours".to_vec(), "not a JPEG, PNG or WebP"),
        (whole[..whole.len() / 2].to_vec(), "cannot be decoded"),
        (png_header(10_000, 10_000), "10000x10000 pixels; the limit is 50 megapixels"),
        (vec![0xff; (16 << 20) + 1], "larger than 16 MiB"),
    ] {
        let status = refused(&mut client, ask(image)).await;
        assert_eq!((status.code(), fields(&status)), (Code::InvalidArgument, vec!["image".to_owned()]));
        assert!(status.message().contains(hint), "{}", status.message());
    }
    assert!(server.backend.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn wrong_wishes_are_named() {
    let (_server, mut client) = start_with(Config::default()).await;
    for score in [-0.1, 1.1, f32::NAN] {
        let request = v1::DetectRequest { min_score: Some(score), ..ask(vec![1]) };
        let status = refused(&mut client, request).await;
        assert_eq!((status.code(), fields(&status)), (Code::InvalidArgument, vec!["min_score".to_owned()]));
    }
    let request = v1::DetectRequest { classes: vec![String::new(); 1001], ..ask(vec![1]) };
    assert_eq!(fields(&refused(&mut client, request).await), ["classes"]);
}

#[tokio::test]
async fn a_message_beyond_all_limits_is_refused_before_it_is_read() {
    let (_server, mut client) = start_with(Config::default()).await;
    let status = refused(&mut client, ask(vec![0; 17 << 20])).await;
    assert_eq!(status.code(), Code::OutOfRange);
}

#[tokio::test]
async fn the_engines_refusals_have_their_codes() {
    let (server, mut client) = start_with(Config::default()).await;
    let unknown_model = DetectError::UnknownModel { name: "x".into(), have: "coco".into() };
    let unknown_class = DetectError::UnknownClass { model: "coco".into(), class: "x".into() };
    for (error, code, field) in [
        (unknown_model, Code::NotFound, Some("model")),
        (unknown_class, Code::InvalidArgument, Some("classes")),
        (DetectError::Busy, Code::ResourceExhausted, None),
        (DetectError::ShuttingDown, Code::Unavailable, None),
        (DetectError::Engine("out of memory".into()), Code::Internal, None),
    ] {
        let message = error.to_string();
        server.backend.detect_script.lock().unwrap().push_back(error);
        let status = refused(&mut client, ask(picture(8, 8, ImageFormat::Png))).await;
        assert_eq!(status.code(), code);
        assert_eq!(fields(&status), field.map(String::from).into_iter().collect::<Vec<_>>());
        assert!(status.message().ends_with(&message), "{}", status.message());
    }
}

#[tokio::test]
async fn too_many_pictures_are_refused_and_the_others_are_answered() {
    let (server, mut client) =
        start_with(Config { pictures: 1.try_into().unwrap(), ..Config::default() }).await;
    let hold = server.backend.engine.acquire_many(1000).await.unwrap();
    let request = ask(picture(8, 8, ImageFormat::Png));
    let mut waiting = client.clone();
    let first = tokio::spawn({
        let request = request.clone();
        async move { waiting.detect(request).await }
    });
    while server.backend.asked.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(refused(&mut client, request).await.code(), Code::ResourceExhausted);
    drop(hold);
    first.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_call_that_takes_too_long_ends_in_time_and_is_counted() {
    let timeout = Duration::from_millis(50);
    let (server, mut client) = start_with(Config { request_timeout: timeout, ..Config::default() }).await;
    let server = Arc::new(server);
    let _hold = server.backend.engine.acquire_many(1000).await.unwrap();
    let status = refused(&mut client, ask(picture(8, 8, ImageFormat::Png))).await;
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert!(status.message().contains("no answer within 0.05 s"), "{}", status.message());
    let name = r#"centerx_grpc_requests_total{code="DEADLINE_EXCEEDED",method="centerx.v1.DetectionService/Detect"}"#;
    assert_eq!(server.metric(name), Some(1.0));
}
