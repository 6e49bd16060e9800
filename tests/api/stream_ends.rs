//! How streams of pictures end, and what does not end them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use centerx::api::backend::DetectError;
use centerx::api::v1::client_frame::Picture;
use centerx::api::v1::detect_stream_request::Message;
use centerx::api::v1::detection_service_client::DetectionServiceClient;
use centerx::api::{Config, v1};
use futures_util::StreamExt;
use tonic::Code;

use crate::backend::Running;
use crate::fields;
use crate::talk::{Talk, black, calls, options, png, until, until_closed, with};

#[tokio::test]
async fn a_client_that_has_sent_all_gets_the_rest_and_ok() {
    let server = Running::start().await;
    server.backend.streams.hold();
    let Talk { send, answers } = Talk::with(&server).await;
    send.send(black(1, 10, 5)).await.unwrap();
    send.send(black(2, 11, 5)).await.unwrap();
    drop(send);
    server.backend.streams.take_held(2).await.into_iter().for_each(|held| held.answer());
    let answers: Vec<_> = answers.map(|answer| answer.unwrap().frame_id).collect().await;
    assert_eq!(answers, [1, 2]);
    until_closed(&server).await;
    assert_eq!(calls(&server, "OK"), Some(1.0));
}

#[tokio::test]
async fn nothing_remains_of_a_client_that_hangs_up() {
    let server =
        Running::start_with(Config { streams: 1.try_into().unwrap(), ..Config::default() }, 64).await;
    let script = &server.backend.streams;
    script.hold();
    let channel = server.channel().await;
    for _ in 0..3 {
        let talk = Talk::open(&channel).await.unwrap();
        for id in 0..4 {
            talk.say(black(id, 10, 5)).await;
        }
        let held = script.take_held(4).await;
        drop(talk);
        until(|| held.iter().all(|held| held.to.is_closed())).await;
        until_closed(&server).await;
        until(|| Arc::strong_count(&server.backend.streams) == 1).await;
    }
    assert_eq!(script.under_way.load(Ordering::SeqCst), 0);
    assert_eq!(calls(&server, "CANCELLED"), Some(3.0));
}

#[tokio::test]
async fn on_shutdown_what_is_under_way_is_answered_first() {
    let drain = Duration::from_secs(600);
    let server = Running::start_with(Config { drain, ..Config::default() }, 64).await;
    server.backend.streams.hold();
    let (mut idle, mut talk) = (Talk::with(&server).await, Talk::with(&server).await);
    talk.say(black(1, 10, 5)).await;
    talk.say(black(2, 11, 5)).await;
    let held = server.backend.streams.take_held(2).await;
    server.stop.send(()).unwrap();
    let status = idle.end().await;
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "the server is shutting down"));
    held.into_iter().for_each(|held| held.answer());
    assert_eq!((talk.found().await, talk.found().await), ((1, 10), (2, 11)));
    assert_eq!(talk.end().await.code(), Code::Unavailable);
    server.task.await.unwrap();
}

#[tokio::test]
async fn what_the_engine_gives_up_or_never_ends_is_cut_in_time() {
    let drain = Duration::from_millis(20);
    let server = Running::start_with(Config { drain, ..Config::default() }, 64).await;
    server.backend.streams.hold();
    let (mut given_up, mut endless) = (Talk::with(&server).await, Talk::with(&server).await);
    given_up.say(black(1, 10, 5)).await;
    drop(server.backend.streams.take_held(1).await);
    assert_eq!(given_up.end().await.code(), Code::Unavailable);
    endless.say(black(2, 11, 5)).await;
    let _held = server.backend.streams.take_held(1).await;
    server.stop.send(()).unwrap();
    let status = endless.end().await;
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "the server is shutting down"));
    server.task.await.unwrap();
}

#[tokio::test]
async fn wrong_options_end_the_stream_with_the_field() {
    let server = Running::start().await;
    let script = &server.backend.streams;
    let unknown_model = DetectError::UnknownModel { name: "x".into(), have: "coco".into() };
    let unknown_class = DetectError::UnknownClass { model: "coco".into(), class: "x".into() };
    for (error, code, field) in
        [(unknown_model, Code::NotFound, "model"), (unknown_class, Code::InvalidArgument, "classes")]
    {
        *script.refuse.lock().unwrap() = Some(error);
        let mut talk = Talk::with(&server).await;
        talk.say(options(Default::default())).await;
        let status = talk.end().await;
        assert_eq!((status.code(), fields(&status)), (code, vec![field.to_owned()]));
    }
    let mut talk = Talk::with(&server).await;
    talk.say(options(v1::DetectStreamOptions { min_score: Some(7.0), ..Default::default() })).await;
    assert_eq!(fields(&talk.end().await), ["min_score"]);
    until_closed(&server).await;
    assert_eq!(calls(&server, "INVALID_ARGUMENT"), Some(2.0));
}

#[tokio::test]
async fn messages_that_make_no_sense_end_the_stream_after_the_answers_before_them() {
    let server = Running::start().await;
    let huge = with(2, Some(Picture::Image(vec![0; 17 << 20])));
    for (message, code, hint) in [
        (options(Default::default()), Code::InvalidArgument, "options: come in the first message"),
        (v1::DetectStreamRequest { message: None }, Code::InvalidArgument, "neither options nor a frame"),
        (huge, Code::OutOfRange, "a message is larger than 16 MiB; send a smaller picture"),
    ] {
        server.backend.streams.hold();
        let mut talk = Talk::with(&server).await;
        talk.say(black(1, 10, 5)).await;
        let held = server.backend.streams.take_held(1).await;
        talk.say(message).await;
        held.into_iter().for_each(|held| held.answer());
        assert_eq!(talk.found().await, (1, 10));
        let status = talk.end().await;
        assert_eq!(status.code(), code);
        assert!(status.message().contains(hint), "{}", status.message());
    }
}

#[tokio::test]
async fn no_time_limit_cuts_a_stream() {
    let timeout = Duration::from_millis(50);
    let server = Running::start_with(Config { request_timeout: timeout, ..Config::default() }, 64).await;
    let mut talk = Talk::with(&server).await;
    let hold = server.backend.engine.acquire_many(1000).await.unwrap();
    let Some(Message::Frame(frame)) = png(1).message else { panic!("a frame") };
    let Some(Picture::Image(image)) = frame.picture else { panic!("an image") };
    let request = v1::DetectRequest { image, ..Default::default() };
    // A call that began later has met its limit.
    let status = DetectionServiceClient::new(server.channel().await).detect(request).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    talk.say(black(1, 10, 5)).await;
    assert_eq!(talk.found().await, (1, 10));
    drop(hold);
}
