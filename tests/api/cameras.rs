//! `CameraService` and `ModelService`.

use centerx::api::backend::ModelChangeError;
use centerx::api::v1;
use centerx::api::v1::camera_service_client::CameraServiceClient;
use centerx::api::v1::model_service_client::ModelServiceClient;
use centerx::camera::{CameraError, CameraOrigin};
use prost_types::FieldMask;
use tonic::Code;
use tonic::transport::Channel;

use crate::backend::{Running, camera_id};
use crate::fields;

const URL: &str = "rtsp://admin:s3cret@10.0.0.9/live?token=t0ken";

async fn start() -> (Running, CameraServiceClient<Channel>) {
    let server = Running::start().await;
    let client = CameraServiceClient::new(server.channel().await);
    (server, client)
}

fn camera(id: &str, url: &str) -> v1::Camera {
    v1::Camera { id: id.into(), url: url.into(), ..v1::Camera::default() }
}

fn age(seconds: i64) -> prost_types::Duration {
    prost_types::Duration { seconds, nanos: 0 }
}

fn add(camera: v1::Camera) -> v1::AddCameraRequest {
    v1::AddCameraRequest { camera: Some(camera) }
}

fn update(camera: v1::Camera, paths: &[&str]) -> v1::UpdateCameraRequest {
    let paths = paths.iter().map(ToString::to_string).collect();
    v1::UpdateCameraRequest { camera: Some(camera), update_mask: Some(FieldMask { paths }) }
}

#[tokio::test]
async fn a_camera_is_added_told_changed_and_removed() {
    let (server, mut client) = start().await;
    let wanted = v1::Camera {
        name: "Yard".into(),
        max_fps: Some(5.0),
        max_age: Some(prost_types::Duration { seconds: 1, nanos: 500_000_000 }),
        priority: Some(3),
        min_score: Some(0.25),
        classes: vec!["person".into()],
        transport: v1::Transport::Udp.into(),
        r#loop: true,
        ..camera("yard", URL)
    };
    let answer = client.add_camera(add(wanted.clone())).await.unwrap().into_inner();
    let capacity = answer.capacity.unwrap();
    assert_eq!((capacity.model.as_str(), capacity.left_fps), ("coco", Some(14.5)));
    let added = answer.camera.unwrap();
    let shown =
        v1::Camera { url: "rtsp://admin:***@10.0.0.9/live?***".into(), enabled: Some(true), ..wanted };
    assert_eq!(added.camera.as_ref(), Some(&shown));
    assert_eq!(added.origin(), v1::CameraOrigin::Api);
    assert_eq!(added.reconnects, 3);
    let status = added.status.clone().unwrap();
    assert_eq!((status.state(), status.frame_width, status.frame_height), (v1::CameraState::Live, 768, 576));
    assert_eq!(status.since.unwrap().seconds, 1_000);
    assert_eq!(added.accounts.as_ref().unwrap().dropped["superseded"], 0);

    let got = client.get_camera(v1::GetCameraRequest { id: "yard".into() }).await.unwrap().into_inner();
    assert_eq!(got.camera, Some(added));

    let change = v1::Camera { name: "Back yard".into(), ..camera("yard", "ignored") };
    let paths = ["name", "max_fps", "max_age", "priority", "loop"];
    let changed = client.update_camera(update(change, &paths)).await.unwrap();
    let changed = changed.into_inner().camera.unwrap().camera.unwrap();
    let expected = v1::Camera {
        name: "Back yard".into(),
        max_fps: None,
        max_age: None,
        priority: Some(1),
        r#loop: false,
        ..shown
    };
    assert_eq!(changed, expected);
    let kept = server.backend.cameras.lock().unwrap()[&camera_id("yard")].spec.url.clone();
    assert_eq!(kept.expose().as_str(), URL, "the password is kept");

    client.remove_camera(v1::RemoveCameraRequest { id: "yard".into() }).await.unwrap();
    let listed = client.list_cameras(v1::ListCamerasRequest {}).await.unwrap().into_inner();
    assert!(listed.cameras.is_empty());
    let name = r#"centerx_grpc_requests_total{code="OK",method="centerx.v1.CameraService/AddCamera"}"#;
    assert_eq!(server.metric(name), Some(1.0));
}

#[tokio::test]
async fn cameras_are_listed_by_id_without_secrets() {
    let (server, mut client) = start().await;
    server.backend.put("b", URL, CameraOrigin::Config);
    server.backend.put("a", URL, CameraOrigin::Api);
    let listed = client.list_cameras(v1::ListCamerasRequest {}).await.unwrap().into_inner().cameras;
    let ids: Vec<_> = listed.iter().map(|info| info.camera.as_ref().unwrap().id.as_str()).collect();
    assert_eq!(ids, ["a", "b"]);
    assert_eq!(listed[1].origin(), v1::CameraOrigin::Config);
    let text = format!("{listed:?}");
    assert!(!text.contains("s3cret") && !text.contains("t0ken"), "{text}");
}

#[tokio::test]
async fn capacity_is_told_and_a_camera_beyond_it_refused_with_the_figures() {
    let (server, mut client) = start().await;
    let told = client.get_capacity(v1::GetCapacityRequest {}).await.unwrap().into_inner().models;
    let [busy, new] = &told[..] else { panic!("{told:?}") };
    assert_eq!((busy.capacity_fps, busy.load_fps, busy.left_fps), (Some(50.0), 35.5, Some(14.5)));
    assert_eq!((new.capacity_fps, new.load_fps, new.left_fps), (None, 25.0, None));

    *server.backend.refuse_change.lock().unwrap() = Some(CameraError::NoCapacity {
        camera: camera_id("yard"),
        model: "coco".into(),
        asked: 25.0,
        capacity: 50.0,
        load: 35.5,
    });
    let status = client.add_camera(add(camera("yard", URL))).await.unwrap_err();
    assert_eq!((status.code(), fields(&status)), (Code::ResourceExhausted, vec!["camera.id".to_owned()]));
    for words in ["25.0 frames", "about 50.0", "35.5", "admission"] {
        assert!(status.message().contains(words), "{}", status.message());
    }
}

#[tokio::test]
async fn every_wrong_field_of_a_new_camera_is_named() {
    let (_server, mut client) = start().await;
    let wrong = v1::Camera { transport: 7, ..camera("../etc", "ftp://admin:s3cret@h/x") };
    let status = client.add_camera(add(wrong)).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(fields(&status), ["camera.id", "camera.url", "camera.transport"]);
    assert!(status.message().contains("7 is no Transport"), "{}", status.message());
    assert!(!format!("{status:?}").contains("s3cret"));

    for (wrong, field) in [
        (v1::Camera { max_fps: Some(f64::NAN), ..camera("a", URL) }, "camera.max_fps"),
        (v1::Camera { max_fps: Some(0.0), ..camera("a", URL) }, "camera.max_fps"),
        (v1::Camera { max_age: Some(age(0)), ..camera("a", URL) }, "camera.max_age"),
        (v1::Camera { max_age: Some(age(-1)), ..camera("a", URL) }, "camera.max_age"),
        (v1::Camera { max_age: Some(age(i64::MAX)), ..camera("a", URL) }, "camera.max_age"),
        (v1::Camera { priority: Some(0), ..camera("a", URL) }, "camera.priority"),
        (v1::Camera { priority: Some(11), ..camera("a", URL) }, "camera.priority"),
        (v1::Camera { min_score: Some(1.5), ..camera("a", URL) }, "camera.min_score"),
        (v1::Camera { name: "n".repeat(201), ..camera("a", URL) }, "camera.name"),
        (v1::Camera { classes: vec![String::new(); 1001], ..camera("a", URL) }, "camera.classes"),
        (camera("a", ""), "camera.url"),
        (camera("", URL), "camera.id"),
        (camera("a", "rtsp://admin:***@10.0.0.9/live"), "camera.url"),
    ] {
        let status = client.add_camera(add(wrong)).await.unwrap_err();
        assert_eq!((status.code(), fields(&status)), (Code::InvalidArgument, vec![field.to_owned()]));
    }
    let status = client.add_camera(v1::AddCameraRequest { camera: None }).await.unwrap_err();
    assert_eq!((status.code(), fields(&status)), (Code::InvalidArgument, vec!["camera".to_owned()]));
}

#[tokio::test]
async fn wrong_changes_name_what_is_wrong() {
    let (server, mut client) = start().await;
    server.backend.put("yard", URL, CameraOrigin::Api);
    let redacted = camera("yard", "rtsp://admin:***@10.0.0.9/live?***");
    for (request, field, hint) in [
        (update(camera("yard", ""), &[]), "update_mask", "is empty"),
        (
            v1::UpdateCameraRequest { camera: Some(camera("yard", "")), update_mask: None },
            "update_mask",
            "name",
        ),
        (update(camera("yard", ""), &["fps"]), "update_mask", "unknown field \"fps\"; there are name, url"),
        (update(camera("yard", ""), &["*"]), "update_mask", "unknown field"),
        (update(camera("yard", ""), &["id"]), "update_mask", "cannot be changed"),
        (update(camera("yard", ""), &["url"]), "camera.url", "is empty"),
        (update(redacted, &["url"]), "camera.url", "leave url out of update_mask"),
        (
            update(v1::Camera { transport: -1, ..camera("yard", "") }, &["transport"]),
            "camera.transport",
            "-1",
        ),
        (
            update(v1::Camera { max_fps: Some(-1.0), ..camera("yard", "") }, &["max_fps"]),
            "camera.max_fps",
            "-1",
        ),
        (update(camera("no id", ""), &["name"]), "camera.id", "not a camera id"),
        (v1::UpdateCameraRequest::default(), "camera", "is missing"),
    ] {
        let status = client.update_camera(request).await.unwrap_err();
        assert_eq!((status.code(), fields(&status)), (Code::InvalidArgument, vec![field.to_owned()]));
        assert!(status.message().contains(hint), "{}", status.message());
    }
}

#[tokio::test]
async fn the_backends_refusals_have_their_codes() {
    let (server, mut client) = start().await;
    server.backend.put("fixed", URL, CameraOrigin::Config);

    let status = client.add_camera(add(camera("fixed", URL))).await.unwrap_err();
    assert_eq!((status.code(), fields(&status)), (Code::AlreadyExists, vec!["camera.id".to_owned()]));
    let status = client.update_camera(update(camera("fixed", ""), &["name"])).await.unwrap_err();
    assert_eq!((status.code(), fields(&status)), (Code::FailedPrecondition, vec!["camera.id".to_owned()]));
    let status = client.update_camera(update(camera("none", ""), &["name"])).await.unwrap_err();
    assert_eq!((status.code(), fields(&status)), (Code::NotFound, vec!["camera.id".to_owned()]));
    let status = client.get_camera(v1::GetCameraRequest { id: "none".into() }).await.unwrap_err();
    assert_eq!((status.code(), fields(&status)), (Code::NotFound, vec!["id".to_owned()]));
    let status = client.remove_camera(v1::RemoveCameraRequest { id: "none".into() }).await.unwrap_err();
    assert_eq!((status.code(), fields(&status)), (Code::NotFound, vec!["id".to_owned()]));
    let status = client.remove_camera(v1::RemoveCameraRequest { id: String::new() }).await.unwrap_err();
    assert_eq!((status.code(), fields(&status)), (Code::InvalidArgument, vec!["id".to_owned()]));

    *server.backend.refuse_change.lock().unwrap() = Some(CameraError::Store("no space left".into()));
    let status = client.add_camera(add(camera("new", URL))).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    assert!(status.message().contains("nothing was changed: no space left"));
}

#[tokio::test]
async fn a_client_that_sends_a_lot_of_nonsense_still_gets_its_answer() {
    let (_server, mut client) = start().await;
    let nonsense = |count: usize| {
        let paths = (0..count).map(|n| format!("{n}{}", "x".repeat(1000))).collect();
        let camera = Some(camera(&"i".repeat(100_000), ""));
        v1::UpdateCameraRequest { camera, update_mask: Some(FieldMask { paths }) }
    };
    let status = client.update_camera(nonsense(100)).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(fields(&status).len(), 8);
    let status = client.update_camera(nonsense(200)).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange, "more than 256 KiB");
}

#[tokio::test]
async fn models_are_listed() {
    let server = Running::start().await;
    let mut client = ModelServiceClient::new(server.channel().await);
    let models = client.list_models(v1::ListModelsRequest {}).await.unwrap().into_inner().models;
    let model = &models[0];
    assert_eq!((model.name.as_str(), model.family.as_str(), model.license.as_str()), ("coco", "ttf", "MIT"));
    assert_eq!(
        (model.classes.as_slice(), model.input_width),
        (&["person", "car"].map(String::from)[..], 512)
    );
}

#[tokio::test]
async fn changes_of_models_reach_the_backend_and_refusals_keep_their_code_and_field() {
    let server = Running::start().await;
    let mut client = ModelServiceClient::new(server.channel().await);
    let swap = |name: &str, source: &str| v1::SwapModelRequest { name: name.into(), source: source.into() };
    let model = client.swap_model(swap("coco", "/m/new.onnx")).await.unwrap().into_inner().model.unwrap();
    let told = (model.name.as_str(), model.loaded_from.as_str(), model.is_default, model.cameras);
    assert_eq!(told, ("coco", "/m/new.onnx", true, 2));
    let status = client.load_model(v1::LoadModelRequest::default()).await.unwrap_err();
    assert_eq!(
        (status.code(), fields(&status)),
        (Code::InvalidArgument, vec!["name".into(), "source".into()])
    );
    let status = client.unload_model(v1::UnloadModelRequest::default()).await.unwrap_err();
    assert_eq!((status.code(), fields(&status)), (Code::InvalidArgument, vec!["name".into()]));

    use ModelChangeError as E;
    let cameras: Vec<_> = (0..12).map(|n| camera_id(&format!("c{n}"))).collect();
    let lacking = vec![(camera_id("yard"), "person".to_owned())];
    let cases = [
        (E::Exists("coco".into()), Code::AlreadyExists, Some("name"), "served already"),
        (
            E::Unknown { name: "x".into(), have: "coco".into() },
            Code::NotFound,
            Some("name"),
            "models here: coco",
        ),
        (
            E::InUse { name: "coco".into(), cameras },
            Code::FailedPrecondition,
            Some("name"),
            "c6, c7, 4 more;",
        ),
        (
            E::LacksClasses { name: "coco".into(), cameras: lacking },
            Code::FailedPrecondition,
            Some("source"),
            "yard for \"person\"",
        ),
        (E::Unusable { reason: "no detector".into() }, Code::InvalidArgument, Some("source"), "no detector"),
        (E::TooMany(64), Code::ResourceExhausted, None, "64 models"),
        (E::Store("no space left".into()), Code::Internal, None, "no space left"),
        (E::ShuttingDown, Code::Unavailable, None, "shutting down"),
    ];
    for (error, code, field, text) in cases {
        *server.backend.refuse_model_change.lock().unwrap() = Some(error);
        let status = client.swap_model(swap("coco", "coco")).await.unwrap_err();
        assert_eq!((status.code(), fields(&status)), (code, field.map(String::from).into_iter().collect()));
        assert!(status.message().contains(text), "{status:?}");
    }
}

#[tokio::test]
async fn a_test_of_a_camera_is_told() {
    let (server, mut client) = start().await;
    let test = |camera| v1::TestCameraRequest { camera: Some(camera) };
    let answer = client.test_camera(test(camera("", URL))).await.unwrap().into_inner();
    assert_eq!((answer.frame_width, answer.frame_height, answer.jpeg.len()), (768, 576, 2));
    assert_eq!(answer.took, Some(prost_types::Duration { seconds: 1, nanos: 500_000_000 }));
    server.backend.put("yard", URL, CameraOrigin::Config);
    let shown = "rtsp://admin:***@10.0.0.9/live?***";
    client.test_camera(test(camera("yard", shown))).await.unwrap();
    let tested = std::mem::take(&mut *server.backend.tested.lock().unwrap());
    let told: Vec<_> = tested.iter().map(|(spec, by)| (spec.url.expose().as_str(), *by)).collect();
    assert_eq!(told, [(URL, CameraOrigin::Api), (URL, CameraOrigin::Config)]);

    *server.backend.refuse_change.lock().unwrap() = Some(CameraError::TooManyTests(4));
    let busy = client.test_camera(test(camera("", URL))).await.unwrap_err();
    assert_eq!(busy.code(), Code::ResourceExhausted);
    let missing = client.test_camera(v1::TestCameraRequest { camera: None }).await.unwrap_err();
    assert_eq!(missing.code(), Code::InvalidArgument);
}
