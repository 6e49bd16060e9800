//! Clients' own frames, through the real model.

use super::*;
use futures_util::StreamExt;

fn frame(frame_id: u64, picture: Picture) -> DetectStreamRequest {
    let frame = ClientFrame { frame_id, capture_time: None, picture: Some(picture) };
    DetectStreamRequest { message: Some(Message::Frame(frame)) }
}

fn at_least(min_score: f32) -> DetectStreamRequest {
    let options = DetectStreamOptions { min_score: Some(min_score), ..Default::default() };
    DetectStreamRequest { message: Some(Message::Options(options)) }
}

async fn stream(
    channel: &Channel,
    requests: Vec<DetectStreamRequest>,
) -> tonic::Streaming<DetectStreamResponse> {
    let requests = futures_util::stream::iter(requests);
    DetectionServiceClient::new(channel.clone()).detect_stream(requests).await.unwrap().into_inner()
}

fn found(answer: DetectStreamResponse) -> Vec<Detection> {
    match answer.outcome.unwrap() {
        Outcome::Found(found) => found.detections,
        Outcome::Error(error) => panic!("{error:?}"),
    }
}

/// Rows of one plane, `stride` bytes apart.
fn plane(rows: u32, bytes: u32, stride: u32, value: impl Fn(u32, u32) -> f32) -> Vec<u8> {
    let at = |x, y| if x < bytes { value(x, y).round().clamp(0.0, 255.0) as u8 } else { 0xaa };
    (0..rows).flat_map(|y| (0..stride).map(move |x| (x, y))).map(|(x, y)| at(x, y)).collect()
}

/// A picture with even sides as limited-range BT.601 (ITU-R BT.601-7, 8 bits), rows padded by `pad` bytes.
fn yuv(rgb: &image::RgbImage, format: PixelFormat, pad: u32) -> RawPicture {
    let (width, height) = rgb.dimensions();
    let pixel = |x, y| rgb.get_pixel(x, y).0.map(|v| f32::from(v) / 255.0);
    let luma = |[r, g, b]: [f32; 3]| 16.0 + 65.481 * r + 128.553 * g + 24.966 * b;
    let chroma = |index, [r, g, b]: [f32; 3]| match index {
        0 => 128.0 - 37.797 * r - 74.203 * g + 112.0 * b,
        _ => 128.0 + 112.0 * r - 93.786 * g - 18.214 * b,
    };
    let average = |index, x: u32, y: u32| {
        let four = [(0, 0), (1, 0), (0, 1), (1, 1)].map(|(dx, dy)| pixel(2 * x + dx, 2 * y + dy));
        four.into_iter().map(|pixel| chroma(index, pixel)).sum::<f32>() / 4.0
    };
    let mut data = plane(height, width, width + pad, |x, y| luma(pixel(x, y)));
    let mut strides = vec![width + pad];
    if format == PixelFormat::Nv12 {
        data.extend(plane(height / 2, width, width + pad, |x, y| average(x % 2, x / 2, y)));
        strides.push(width + pad);
    } else {
        for index in 0..2 {
            data.extend(plane(height / 2, width / 2, width / 2 + pad, |x, y| average(index, x, y)));
            strides.push(width / 2 + pad);
        }
    }
    RawPicture { format: format.into(), width, height, data, strides, ..Default::default() }
}

fn iou(a: &Detection, b: &Detection) -> f32 {
    let corners = |found: &Detection| {
        let b = found.r#box.unwrap();
        centerx::detection::BoundingBox { x1: b.x1, y1: b.y1, x2: b.x2, y2: b.y2 }
    };
    corners(a).iou(&corners(b))
}

#[tokio::test(flavor = "multi_thread")]
async fn raw_frames_show_what_the_same_picture_as_a_file_does() {
    let data = tempfile::tempdir().unwrap();
    let server = ServerProcess::start(data.path(), &[]);
    let channel = connect(&server).await;
    let rgb = image::open(sample("messi5.jpg")).unwrap().into_rgb8();
    let mut png = std::io::Cursor::new(Vec::new());
    rgb.write_to(&mut png, image::ImageFormat::Png).unwrap();
    let (width, height) = rgb.dimensions();
    let plain = RawPicture {
        format: PixelFormat::Rgb.into(),
        width,
        height,
        data: rgb.as_raw().clone(),
        ..Default::default()
    };
    let tight = RawPicture { strides: Vec::new(), ..yuv(&rgb, PixelFormat::I420, 0) };
    let mut answers = stream(
        &channel,
        vec![
            at_least(0.25),
            frame(0, Picture::Image(png.into_inner())),
            frame(1, Picture::Raw(plain)),
            frame(2, Picture::Raw(tight)),
            frame(3, Picture::Raw(yuv(&rgb, PixelFormat::I420, 6))),
            frame(4, Picture::Raw(yuv(&rgb, PixelFormat::Nv12, 28))),
        ],
    )
    .await;
    let mut all = Vec::new();
    for id in 0..5 {
        let answer = timeout(PATIENCE, answers.message()).await.unwrap().unwrap().unwrap();
        assert_eq!(answer.frame_id, id);
        all.push(found(answer));
    }
    assert!(answers.message().await.unwrap().is_none());
    let file = &all[0];
    assert!(file.iter().any(|found| found.label == "person") && file.len() >= 3, "{file:?}");
    assert_eq!(&all[1], file, "the same pixels");
    for (id, other) in all.iter().enumerate().skip(2) {
        for expected in file.iter().filter(|found| found.score >= 0.4) {
            let same = |found: &&Detection| {
                found.label == expected.label
                    && iou(found, expected) >= 0.9
                    && (found.score - expected.score).abs() < 0.06
            };
            assert!(other.iter().any(|found| same(&found)), "frame {id}: {expected:?} is not in {other:?}");
        }
    }
    assert_eq!(all[2], all[3], "strides do not show");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_streams_and_a_camera_are_served_side_by_side() {
    const FRAMES: usize = 60;
    let (_camera, url) = yard();
    let data = tempfile::tempdir().unwrap();
    let server = ServerProcess::start(data.path(), &["--camera", &format!("yard={url}")]);
    let channel = connect(&server).await;
    watch(&channel, 2).await;
    let published = async || list_cameras(&channel).await.remove(0).accounts.unwrap().published;
    let image = std::fs::read(sample("messi5.jpg")).unwrap();
    let requests: Vec<_> = (0..FRAMES).map(|id| frame(id as u64, Picture::Image(image.clone()))).collect();
    let (mut one, mut two) = (stream(&channel, requests.clone()).await, stream(&channel, requests).await);
    let before = published().await;
    let (mut answered, mut at_half) = ([0, 0], None);
    timeout(4 * PATIENCE, async {
        while answered != [FRAMES; 2] {
            let (index, answer) = tokio::select! {
                answer = one.message(), if answered[0] < FRAMES => (0, answer),
                answer = two.message(), if answered[1] < FRAMES => (1, answer),
            };
            let answer = answer.unwrap().unwrap();
            assert_eq!(answer.frame_id, answered[index] as u64);
            assert!(found(answer).iter().any(|found| found.label == "person"));
            answered[index] += 1;
            if answered[index] == FRAMES / 2 && at_half.is_none() {
                at_half = Some(answered[1 - index]);
            }
        }
    })
    .await
    .expect("every frame is answered");
    let other = at_half.unwrap();
    assert!(other >= FRAMES / 4, "half of one stream was answered, and {other} frames of the other");
    // A camera whose frames always wait gets every third turn; this one brings ten frames a second.
    let camera = published().await - before;
    println!("{FRAMES} frames each of two streams, and {camera} of the camera meanwhile");
    assert!(camera as usize >= FRAMES / 6, "{camera} frames of the camera");
    assert_balanced(&list_cameras(&channel).await[0]);
    let metrics = server.get("/metrics");
    let total = format!("centerx_detect_stream_frames_total{{code=\"OK\"}} {}", 2 * FRAMES);
    assert!(metrics.contains(&total), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_ends_streams_after_what_is_under_way() {
    let data = tempfile::tempdir().unwrap();
    let mut server = ServerProcess::start(data.path(), &[]);
    let channel = connect(&server).await;
    let image = std::fs::read(sample("messi5.jpg")).unwrap();
    let endless = futures_util::stream::iter(0u64..).map(move |id| frame(id, Picture::Image(image.clone())));
    let mut answers =
        DetectionServiceClient::new(channel.clone()).detect_stream(endless).await.unwrap().into_inner();
    let mut next = 0;
    let ended = async {
        loop {
            match answers.message().await {
                Ok(answer) => {
                    let answer = answer.expect("the stream does not end well");
                    assert_eq!(answer.frame_id, next);
                    found(answer);
                    next += 1;
                }
                Err(status) => return status,
            }
            if next == 3 {
                server.signal("TERM");
            }
        }
    };
    let status = timeout(PATIENCE, ended).await.expect("the stream ends");
    assert_eq!((status.code(), status.message()), (tonic::Code::Unavailable, "the server is shutting down"));
    let (code, took) = server.wait();
    assert_eq!(code, Some(0), "{}", server.log);
    assert!(took < Duration::from_millis(2500) && !server.log.contains("abandoned"), "{}", server.log);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_for_a_model_or_class_that_is_not_there_is_refused() {
    let data = tempfile::tempdir().unwrap();
    let server = ServerProcess::start(data.path(), &[]);
    let channel = connect(&server).await;
    let model = DetectStreamOptions { model: Some("yolo".into()), ..Default::default() };
    let class = DetectStreamOptions { classes: vec!["tractor".into()], ..Default::default() };
    for (options, code, hint) in
        [(model, tonic::Code::NotFound, "yolo"), (class, tonic::Code::InvalidArgument, "tractor")]
    {
        let request = DetectStreamRequest { message: Some(Message::Options(options)) };
        let status = stream(&channel, vec![request]).await.message().await.unwrap_err();
        assert_eq!(status.code(), code);
        assert!(status.message().contains(hint), "{}", status.message());
    }
}
