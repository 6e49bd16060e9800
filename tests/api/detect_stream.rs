//! `DetectionService.DetectStream`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use centerx::api::backend::{Choice, DetectError};
use centerx::api::v1::client_frame::Picture;
use centerx::api::v1::detect_stream_request::Message;
use centerx::api::v1::detect_stream_response::Outcome;
use centerx::api::v1::detection_service_client::DetectionServiceClient;
use centerx::api::{Config, v1};
use futures_util::{StreamExt, stream};
use prost_types::Timestamp;
use tokio::sync::mpsc;
use tonic::Code;

use crate::backend::Running;
use crate::talk::{Talk, black, frames, options, png, until, until_closed, with};

#[tokio::test]
async fn answers_keep_the_order_of_the_frames_whatever_the_engine_does() {
    let server = Running::start().await;
    let script = &server.backend.streams;
    script.hold();
    let mut talk = Talk::with(&server).await;
    let wish = v1::DetectStreamOptions {
        model: Some("coco".into()),
        min_score: Some(0.5),
        classes: vec!["person".into()],
    };
    talk.say(options(wish)).await;
    // The client's numbers are its own affair.
    let ids = [7, 7, 3, u64::MAX];
    for (id, width) in ids.into_iter().zip(10..) {
        let mut frame = black(id, width, 5);
        let Some(Message::Frame(inner)) = &mut frame.message else { panic!("a frame") };
        inner.capture_time = Some(Timestamp { seconds: i64::from(width), nanos: 5 });
        talk.say(frame).await;
    }
    for held in script.take_held(4).await.into_iter().rev() {
        held.answer();
    }
    for (id, width) in ids.into_iter().zip(10..) {
        let answer = talk.answer().await;
        assert_eq!((answer.frame_id, answer.capture_time.unwrap().seconds), (id, i64::from(width)));
        let Some(Outcome::Found(found)) = answer.outcome else { panic!("{answer:?}") };
        assert_eq!((found.frame_width, found.frame_height, found.model.as_str()), (width, 5, "coco"));
        assert_eq!(found.detections[0].label, "person");
    }
    let choice = Choice { model: Some("coco".into()), min_score: Some(0.5), classes: vec!["person".into()] };
    assert_eq!(*script.choices.lock().unwrap(), [choice]);
}

#[tokio::test]
async fn a_client_that_reads_slowly_is_held_up_and_loses_nothing() {
    const FRAMES: u64 = 1000;
    let server = Running::start().await;
    let script = Arc::clone(&server.backend.streams);
    // Answers of some kilobytes, for which the client has little room.
    script.objects.store(100, Ordering::SeqCst);
    let channel = server.endpoint().initial_stream_window_size(4096).connect().await.unwrap();
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&sent);
    let requests = stream::iter(0..FRAMES).map(move |id| {
        counter.fetch_add(1, Ordering::SeqCst);
        black(id, 200, 100)
    });
    let answers = DetectionServiceClient::new(channel).detect_stream(requests).await.unwrap();
    let mut answers = answers.into_inner();
    let mut ahead = 0;
    for id in 0..FRAMES {
        if id < 20 {
            until(|| script.under_way.load(Ordering::SeqCst) == 4).await;
        }
        ahead = ahead.max(sent.load(Ordering::SeqCst) - id as usize);
        assert_eq!(answers.message().await.unwrap().unwrap().frame_id, id);
    }
    assert!(answers.message().await.unwrap().is_none());
    assert_eq!(script.most_under_way.load(Ordering::SeqCst), 4, "the window");
    // 60 kB each, and 1 MiB may be on the way; the rest is what transports keep.
    assert!(ahead < 100, "{ahead} frames were sent ahead of their answers");
    assert_eq!(frames(&server, "OK"), Some(FRAMES as f64));
}

#[tokio::test]
async fn bad_frames_are_answered_and_the_stream_goes_on() {
    let server = Running::start().await;
    let mut talk = Talk::with(&server).await;
    let short = v1::RawPicture {
        format: v1::PixelFormat::Nv12.into(),
        width: 4,
        height: 4,
        data: vec![0; 23],
        ..Default::default()
    };
    talk.say(black(1, 10, 5)).await;
    for (id, picture, hint) in [
        (2, Some(Picture::Image(b"no picture".to_vec())), "frame.image: the bytes are not a JPEG"),
        (3, None, "frame.picture: is missing"),
        (4, Some(Picture::Raw(short)), "frame.raw.data: holds 23 bytes; a 4x4 Nv12 picture"),
        (5, Some(Picture::Image(vec![0xff; (16 << 20) + 1])), "frame.image: is larger than 16 MiB"),
    ] {
        talk.say(with(id, picture)).await;
        if id == 2 {
            assert_eq!(talk.found().await, (1, 10));
        }
        let (answered, code, message) = talk.refused().await;
        assert_eq!((answered, code), (id, Code::InvalidArgument));
        assert!(message.contains(hint), "{message}");
    }
    talk.say(black(6, 11, 5)).await;
    assert_eq!(talk.found().await, (6, 11));
    assert_eq!((frames(&server, "OK"), frames(&server, "INVALID_ARGUMENT")), (Some(2.0), Some(4.0)));
}

#[tokio::test]
async fn a_frame_that_the_engine_fails_on_is_one_answer() {
    let server = Running::start().await;
    server.backend.streams.hold();
    let mut talk = Talk::with(&server).await;
    talk.say(black(1, 10, 5)).await;
    talk.say(black(2, 11, 5)).await;
    let mut held = server.backend.streams.take_held(2).await.into_iter();
    held.next().unwrap().to.send(Err(DetectError::Engine("out of memory".into()))).unwrap();
    held.next().unwrap().answer();
    let (id, code, message) = talk.refused().await;
    assert_eq!((id, code, message.as_str()), (1, Code::Internal, "the engine failed: out of memory"));
    assert_eq!(talk.found().await, (2, 11));
}

#[tokio::test]
async fn too_many_streams_are_refused_until_one_ends() {
    let server =
        Running::start_with(Config { streams: 1.try_into().unwrap(), ..Config::default() }, 64).await;
    let channel = server.channel().await;
    let mut first = Talk::open(&channel).await.unwrap();
    let status = Talk::open(&channel).await.err().unwrap();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().contains("too many streams"), "{}", status.message());
    first.say(png(1)).await;
    assert_eq!(first.found().await, (1, 8));
    drop(first);
    until_closed(&server).await;
    let mut next = Talk::open(&channel).await.unwrap();
    next.say(png(2)).await;
    assert_eq!(next.found().await, (2, 8));
}

#[tokio::test]
async fn streams_that_wait_leave_room_for_single_pictures() {
    let server =
        Running::start_with(Config { pictures: 4.try_into().unwrap(), ..Config::default() }, 64).await;
    server.backend.streams.hold();
    let channel = server.channel().await;
    let mut talks = Vec::new();
    for _ in 0..3 {
        let (send, mut receive) = mpsc::channel(100);
        // More than a connection's usual 64 kB and more than a stream may buffer.
        for id in 0..10 {
            send.try_send(black(id, 400, 300)).unwrap();
        }
        let requests = stream::poll_fn(move |context| receive.poll_recv(context));
        talks.push((
            send,
            DetectionServiceClient::new(channel.clone()).detect_stream(requests).await.unwrap(),
        ));
    }
    let held = server.backend.streams.take_held(2).await;
    let Some(Message::Frame(v1::ClientFrame { picture: Some(Picture::Image(image)), .. })) = png(0).message
    else {
        panic!("an image")
    };
    for _ in 0..5 {
        let request = v1::DetectRequest { image: image.clone(), ..Default::default() };
        DetectionServiceClient::new(channel.clone()).detect(request).await.unwrap();
    }
    assert_eq!(held.len(), 2, "half of the places");
    assert!(server.backend.streams.held.lock().unwrap().as_ref().unwrap().is_empty());
    // Every stream comes to its turn as places become free.
    held.into_iter().for_each(|held| held.answer());
    server.backend.streams.take_held(2).await.into_iter().for_each(|held| held.answer());
    server.backend.streams.take_held(2).await.into_iter().for_each(|held| held.answer());
    for (_, answers) in &mut talks {
        assert_eq!(answers.get_mut().message().await.unwrap().unwrap().frame_id, 0);
    }
}
