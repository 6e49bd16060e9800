//! What the server is for: real cameras and pictures in, detections out.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn people_are_detected_in_live_video_and_every_frame_is_accounted_for() {
    let (_camera, url) = yard();
    let data = tempfile::tempdir().unwrap();
    let server = ServerProcess::start(data.path(), &["--camera", &format!("yard={url}")]);
    let channel = connect(&server).await;
    let frames = watch(&channel, 20).await;
    let people = frames.iter().flat_map(|frame| &frame.detections).filter(|found| found.label == "person");
    assert!(people.count() >= 20, "several people walk in every frame");
    for pair in frames.windows(2) {
        assert!(pair[0].sequence < pair[1].sequence, "frames come in order");
    }
    for frame in &frames {
        assert_eq!((frame.camera_id.as_str(), frame.model.as_str()), ("yard", "coco"));
        assert_eq!((frame.frame_width, frame.frame_height), (768, 576));
        for found in &frame.detections {
            let b = found.r#box.unwrap();
            assert!(
                0.0 <= b.x1 && b.x1 < b.x2 && b.x2 <= 768.0 && 0.0 <= b.y1 && b.y1 < b.y2 && b.y2 <= 576.0
            );
        }
    }
    for _ in 0..50 {
        let camera = list_cameras(&channel).await.remove(0);
        assert_balanced(&camera);
        assert_eq!(camera.status.unwrap().state, CameraState::Live as i32);
    }
    let metrics = server.get("/metrics");
    for name in [
        "centerx_frames_received_total",
        "centerx_frames_published_total",
        "centerx_frames_dropped_total",
        "centerx_frames_in_flight",
        "centerx_detections_total",
        "centerx_decode_seconds",
        "centerx_queue_seconds",
        "centerx_preprocess_seconds",
        "centerx_infer_seconds",
        "centerx_publish_seconds",
        "centerx_age_at_publish_seconds",
        "centerx_batch_size",
        "centerx_camera_state",
        "centerx_camera_reconnects_total",
        "centerx_subscribers",
        "centerx_build_info",
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
    ] {
        assert!(metrics.contains(&format!("# TYPE {name} ")), "{name} is missing in:\n{metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_and_models_are_served_too() {
    let data = tempfile::tempdir().unwrap();
    let server = ServerProcess::start(data.path(), &[]);
    let channel = connect(&server).await;
    let image = std::fs::read(sample("messi5.jpg")).unwrap();
    let mut client = DetectionServiceClient::new(channel.clone());
    let request = DetectRequest { image: image.clone(), min_score: Some(0.3), ..Default::default() };
    let found = client.detect(request).await.unwrap().into_inner();
    assert_eq!((found.frame_width, found.frame_height), (548, 342));
    assert_eq!(found.detections[0].label, "person");

    let request = DetectRequest { image, classes: vec!["tractor".into()], ..Default::default() };
    let status = client.detect(request).await.unwrap_err();
    assert!(status.message().contains("tractor"), "{status:?}");

    let models =
        ModelServiceClient::new(channel).list_models(ListModelsRequest {}).await.unwrap().into_inner().models;
    assert_eq!((models[0].name.as_str(), models[0].classes.len(), models[0].top_k), ("coco", 80, 100));
    assert!(models[0].engine.contains("onnxruntime") && models[0].sha256.len() == 64);
    assert!(server.get("/healthz").contains("ok") && server.get("/readyz").contains("ready"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_that_comes_back_is_detected_in_within_three_seconds() {
    let (camera, url) = yard();
    let data = tempfile::tempdir().unwrap();
    let server = ServerProcess::start(data.path(), &["--camera", &format!("yard={url}")]);
    let channel = connect(&server).await;
    watch(&channel, 2).await;
    camera.stop();
    let begin = Instant::now();
    // Frames that were under way when the camera went are not its return.
    let seen = loop {
        let info = list_cameras(&channel).await.remove(0);
        let (status, accounts) = (info.status.unwrap(), info.accounts.unwrap());
        if status.state == CameraState::Backoff as i32 && accounts.in_flight == 0 {
            assert!(!status.reason.is_empty());
            break accounts.received;
        }
        assert!(begin.elapsed() < PATIENCE, "the loss is noticed: {status:?}");
        tokio::time::sleep(LOOK).await;
    };
    camera.listen().unwrap();
    let back = Instant::now();
    let first = watch(&channel, 1).await.remove(0);
    assert!(first.sequence > seen, "a frame of the new connection");
    let took = back.elapsed();
    println!("from the camera's return to its first detection: {:.2} s", took.as_secs_f64());
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert_balanced(&list_cameras(&channel).await[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_appear_in_no_log_metric_or_answer() {
    let data = tempfile::tempdir().unwrap();
    let camera = "yard=rtsp://admin:hunter2@127.0.0.1:9/live";
    let mut server = ServerProcess::start(data.path(), &["--log", "debug", "--camera", camera]);
    let channel = connect(&server).await;
    server.wait_for_line("retry", PATIENCE);
    let answer = format!("{:?}", list_cameras(&channel).await);
    assert!(answer.contains("admin:***@127.0.0.1"), "{answer}");
    let metrics = server.get("/metrics");
    server.signal("TERM");
    server.wait();
    for text in [&answer, &metrics, &server.log] {
        assert!(!text.contains("hunter2"), "{text}");
    }
}
