//! The page's scripts without a browser: the codec against what prost writes, and the rest of their parts.

use centerx::api::v1;
use prost::Message;
use prost_types::{Duration, FieldMask, Timestamp};
use serde_json::{Value, json};

use crate::node;

const SCHEMA: &str = include_str!(concat!(env!("OUT_DIR"), "/schema.json"));

fn case(kind: &str, message: &impl Message, value: Value) -> Value {
    let bytes: String = message.encode_to_vec().iter().map(|byte| format!("{byte:02x}")).collect();
    json!({ "type": format!("centerx.v1.{kind}"), "bytes": bytes, "value": value })
}

fn settings() -> (v1::Camera, Value) {
    let camera = v1::Camera {
        id: "yard".into(),
        name: "Größe".into(),
        url: "rtsp://10.0.0.9/1".into(),
        enabled: Some(false),
        max_fps: Some(0.0),
        model: None,
        min_score: Some(0.5),
        classes: vec!["person".into(), String::new()],
        transport: v1::Transport::Udp as i32,
        r#loop: true,
        max_age: Some(Duration { seconds: 0, nanos: 250_000_000 }),
        priority: Some(3),
    };
    let value = json!({
        "id": "yard", "name": "Größe", "url": "rtsp://10.0.0.9/1", "enabled": false, "max_fps": 0,
        "min_score": 0.5, "classes": ["person", ""], "transport": "TRANSPORT_UDP", "loop": true,
        "max_age": { "seconds": 0, "nanos": 250_000_000 }, "priority": 3,
    });
    (camera, value)
}

fn found() -> (v1::FrameDetections, Value) {
    let detection = v1::Detection {
        r#box: Some(v1::BoundingBox { x1: 0.5, y1: 0.0, x2: 767.25, y2: -1.5 }),
        score: 0.75,
        label: "person".into(),
        class_id: 300,
        landmarks: vec![v1::Landmark { x: 1.0, y: 2.0, score: 0.0 }],
    };
    let frame = v1::FrameDetections {
        camera_id: "yard".into(),
        sequence: 1 << 40,
        capture_time: Some(Timestamp { seconds: 1_700_000_000, nanos: 5 }),
        capture_time_quality: 2,
        frame_width: 768,
        frame_height: 576,
        model: "coco".into(),
        detections: vec![detection],
        epoch: u64::MAX,
    };
    let value = json!({
        "camera_id": "yard", "sequence": 1_099_511_627_776_u64,
        "capture_time": { "seconds": 1_700_000_000, "nanos": 5 },
        "capture_time_quality": "CAPTURE_TIME_QUALITY_SENDER_REPORT", "frame_width": 768, "frame_height": 576,
        "model": "coco", "epoch": { "big": u64::MAX.to_string() },
        "detections": [{
            "box": { "x1": 0.5, "y1": 0, "x2": 767.25, "y2": -1.5 }, "score": 0.75, "label": "person",
            "class_id": 300, "landmarks": [{ "x": 1, "y": 2, "score": 0 }],
        }],
    });
    (frame, value)
}

fn cases() -> Vec<Value> {
    let ((camera, camera_value), (frame, frame_value)) = (settings(), found());
    let accounts = v1::FrameAccounts {
        received: 9,
        published: 8,
        in_flight: 0,
        dropped: [("too_old".into(), 1)].into(),
    };
    let accounts_value =
        json!({ "received": 9, "published": 8, "in_flight": 0, "dropped": { "too_old": 1 } });
    let raw = v1::RawPicture { strides: vec![768, 1, 300], data: vec![0, 255], ..Default::default() };
    let raw_value = json!({
        "format": "PIXEL_FORMAT_UNSPECIFIED", "width": 0, "height": 0, "data": { "hex": "00ff" },
        "strides": [768, 1, 300], "color_matrix": "COLOR_MATRIX_UNSPECIFIED", "full_range": false,
    });
    let event = v1::subscribe_response::Event::Detections(frame.clone());
    let error = v1::FrameError { code: -7, message: "no".into() };
    let paths = vec!["max_fps".into(), "name".into()];
    let update =
        v1::UpdateCameraRequest { camera: Some(camera.clone()), update_mask: Some(FieldMask { paths }) };
    let update_value = json!({ "camera": camera_value, "update_mask": { "paths": ["max_fps", "name"] } });
    let watch = v1::WatchResponse {
        detections: Some(frame.clone()),
        jpeg: vec![1, 2, 3].into(),
        width: 640,
        height: 480,
        age: Some(Duration { seconds: -1, nanos: -500 }),
        skipped: 2,
    };
    let watch_value = json!({
        "detections": frame_value, "jpeg": { "hex": "010203" }, "width": 640, "height": 480,
        "age": { "seconds": -1, "nanos": -500 }, "skipped": 2,
    });
    vec![
        case("ListCamerasRequest", &v1::ListCamerasRequest {}, json!({})),
        case("Camera", &camera, camera_value.clone()),
        case("FrameDetections", &frame, frame_value.clone()),
        case("FrameAccounts", &accounts, accounts_value),
        case("RawPicture", &raw, raw_value),
        case(
            "SubscribeResponse",
            &v1::SubscribeResponse { event: Some(event) },
            json!({ "event": "detections", "detections": frame_value }),
        ),
        case("FrameError", &error, json!({ "code": -7, "message": "no" })),
        case("UpdateCameraRequest", &update, update_value),
        case("WatchResponse", &watch, watch_value),
    ]
}

/// `node --test` on a file of unit tests.
fn test(file: &str, variables: &[(&str, &std::path::Path)]) {
    let output = node(&["--test", &format!("unit/{file}")])
        .envs(variables.iter().copied())
        .output()
        .expect("node runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn the_codec_reads_what_prost_writes_and_the_other_way_round() {
    let folder = tempfile::tempdir().unwrap();
    let (schema, file) = (folder.path().join("schema.json"), folder.path().join("cases.json"));
    std::fs::write(&schema, SCHEMA).unwrap();
    std::fs::write(&file, json!(cases()).to_string()).unwrap();
    test("protobuf.test.js", &[("SCHEMA", &schema), ("CASES", &file)]);
}

#[test]
fn the_parts_of_the_page_do_what_they_say() {
    test("page.test.js", &[]);
}
