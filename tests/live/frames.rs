//! Whether a picture and its detections are of the same frame.

use std::io::Cursor;

use centerx::api::v1::detection_service_client::DetectionServiceClient;
use centerx::ingest::clip::ClipReader;
use centerx::letterbox::Preprocessor;

use super::*;

/// The first frames of the video, in RGB.
fn video(count: usize) -> Vec<RgbImage> {
    let mut reader = ClipReader::open(&sample("vtest.avi")).unwrap();
    let mut preprocessor = Preprocessor::default();
    let mut next = || {
        let picture = reader.next_frame().unwrap()?.picture;
        let mut rgb = RgbImage::new(picture.width, picture.height);
        preprocessor.scale(&picture, (picture.width, picture.height), &mut rgb).unwrap();
        Some(rgb)
    };
    std::iter::from_fn(&mut next).take(count).collect()
}

/// How much two pictures differ, in levels a pixel; every 7th is looked at.
fn difference(a: &RgbImage, b: &RgbImage) -> f64 {
    let pixels = a.pixels().zip(b.pixels()).step_by(7);
    let levels: Vec<_> = pixels.map(|(a, b)| f64::from(a[1].abs_diff(b[1]))).collect();
    levels.iter().sum::<f64>() / levels.len() as f64
}

/// The number of the frame that a picture shows.
fn shown(video: &[RgbImage], jpeg: &[u8]) -> usize {
    let picture = decode(jpeg);
    let by_difference =
        |&a: &usize, &b: &usize| difference(&video[a], &picture).total_cmp(&difference(&video[b], &picture));
    (0..video.len()).min_by(by_difference).unwrap()
}

async fn detect(channel: &Channel, picture: &RgbImage) -> Vec<v1::Detection> {
    let mut png = Cursor::new(Vec::new());
    picture.write_to(&mut png, image::ImageFormat::Png).unwrap();
    let request = v1::DetectRequest { image: png.into_inner(), min_score: Some(0.15), ..Default::default() };
    DetectionServiceClient::new(channel.clone()).detect(request).await.unwrap().into_inner().detections
}

/// How far boxes are from those of `others`, in pixels: the mean over the boxes of the furthest corner.
fn distance(boxes: &[v1::Detection], others: &[v1::Detection]) -> f32 {
    let far = |a: &v1::Detection, b: &v1::Detection| {
        let (a, b) = (a.r#box.unwrap(), b.r#box.unwrap());
        [a.x1 - b.x1, a.y1 - b.y1, a.x2 - b.x2, a.y2 - b.y2].into_iter().map(f32::abs).fold(0.0, f32::max)
    };
    let nearest = |found| others.iter().map(|other| far(found, other)).fold(100.0, f32::min);
    boxes.iter().map(nearest).sum::<f32>() / boxes.len() as f32
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_and_its_detections_are_of_the_same_frame() {
    let data = tempfile::tempdir().unwrap();
    let video = video(150);
    let server = yard(data.path(), &[]);
    let channel = connect(&server).await;
    let mut stream =
        watch(&channel, v1::View { camera_id: "yard".into(), max_side: 1280, max_fps: None }).await;
    let mut seen = Vec::new();
    while seen.len() < 4 {
        let response = next(&mut stream).await;
        let found = response.detections.as_ref().unwrap();
        // Late enough for frames before it, too.
        if found.sequence > 5 && found.detections.iter().filter(|found| found.score > 0.4).count() > 1 {
            seen.push(response);
        }
    }
    drop(stream);
    for response in seen {
        let found = response.detections.unwrap();
        assert_eq!((response.width, response.height), (found.frame_width, found.frame_height));
        assert!(response.age.unwrap().seconds < 10);
        let number = shown(&video, &response.jpeg);
        // Those that are sure enough not to come and go with the last bit of a pixel.
        let sure: Vec<_> = found.detections.into_iter().filter(|found| found.score > 0.4).collect();
        let by_itself = distance(&sure, &detect(&channel, &video[number]).await);
        assert!(by_itself < 1.5, "the model finds them at {by_itself} pixels in frame {number} itself");
        for other in [number - 3, number + 3] {
            let by_other = distance(&sure, &detect(&channel, &video[other]).await);
            assert!(by_itself < by_other, "{by_itself} in frame {number}, {by_other} in {other}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unwatched_server_makes_no_picture_and_ten_viewers_share_theirs() {
    let data = tempfile::tempdir().unwrap();
    let server = yard(data.path(), &[]);
    let channel = connect(&server).await;
    let request = v1::SubscribeRequest::default();
    let mut events =
        DetectionServiceClient::new(channel.clone()).subscribe(request).await.unwrap().into_inner();
    for _ in 0..20 {
        timeout(PATIENCE, events.message()).await.expect("detections come").unwrap().unwrap();
    }
    assert_eq!(metric(&server, "centerx_live_pictures_total"), 0.0);
    assert_eq!(metric(&server, "centerx_live_viewers"), 0.0);
    let view = v1::View { camera_id: "yard".into(), ..Default::default() };
    let mut viewers = Vec::new();
    for _ in 0..10 {
        viewers.push(watch(&channel, view.clone()).await);
    }
    assert_eq!(metric(&server, "centerx_live_viewers"), 10.0);
    let (mut bytes, mut last) = (0, 0);
    for _ in 0..15 {
        for viewer in &mut viewers {
            let response = next(viewer).await;
            assert_eq!((response.width, response.height), (640, 480));
            bytes += response.jpeg.len();
            last = response.detections.unwrap().sequence.max(last);
        }
    }
    let made = metric(&server, "centerx_live_pictures_total");
    assert!((15.0..=last as f64).contains(&made), "{made} pictures for 10 viewers of 15, frame {last}");
    assert!(made < 40.0, "{made} pictures");
    assert!(metric(&server, "centerx_live_bytes_total") >= bytes as f64);
    drop(viewers);
    let none = async {
        while metric(&server, "centerx_live_viewers") > 0.0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, none).await.expect("viewers that left are not counted");
}
