//! Browsers: grpc-web over plain HTTP/1.1, and CORS.

use std::net::SocketAddr;

use centerx::api::v1;
use centerx::camera::CameraOrigin;
use prost::Message;
use tonic::codegen::http::{Request, Response};

use crate::backend::Running;

/// One message in a grpc-web frame: a flag byte, the length, the bytes.
fn framed(message: &impl Message) -> Vec<u8> {
    let body = message.encode_to_vec();
    [&[0][..], &(body.len() as u32).to_be_bytes(), &body].concat()
}

/// The message and the trailers of a grpc-web answer.
fn unframed(mut body: &[u8]) -> (Vec<u8>, String) {
    let (mut message, mut trailers) = (Vec::new(), String::new());
    while let Some((head, rest)) = body.split_first_chunk::<5>() {
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        let (part, rest) = rest.split_at(length);
        match head[0] {
            0 => message.extend(part),
            _ => trailers.push_str(std::str::from_utf8(part).unwrap()),
        }
        body = rest;
    }
    (message, trailers)
}

fn send(request: Request<Vec<u8>>) -> Response<Vec<u8>> {
    let agent = ureq::Agent::new_with_config(
        ureq::Agent::config_builder().http_status_as_error(false).allow_non_standard_methods(true).build(),
    );
    let (head, mut body) = agent.run(request).unwrap().into_parts();
    Response::from_parts(head, body.read_to_vec().unwrap())
}

async fn call(
    address: SocketAddr,
    path: &'static str,
    origin: &'static str,
    body: Vec<u8>,
) -> Response<Vec<u8>> {
    tokio::task::spawn_blocking(move || {
        let request = Request::post(format!("http://{address}{path}"))
            .header("content-type", "application/grpc-web+proto")
            .header("x-grpc-web", "1")
            .header("origin", origin);
        send(request.body(body).unwrap())
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn a_browser_lists_cameras() {
    let server = Running::start().await;
    server.backend.put("yard", "rtsp://admin:s3cret@h/x", CameraOrigin::Config);
    let path = "/centerx.v1.CameraService/ListCameras";
    let body = framed(&v1::ListCamerasRequest {});
    let answer = call(server.address, path, "http://localhost:3000", body).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "application/grpc-web+proto");
    assert_eq!(answer.headers()["access-control-allow-origin"], "http://localhost:3000");
    let exposed = answer.headers()["access-control-expose-headers"].to_str().unwrap();
    assert!(exposed.contains("grpc-status-details-bin"), "{exposed}");
    let (message, trailers) = unframed(answer.body());
    assert!(trailers.contains("grpc-status:0"), "{trailers}");
    let listed = v1::ListCamerasResponse::decode(&message[..]).unwrap();
    assert_eq!(listed.cameras[0].camera.as_ref().unwrap().id, "yard");
}

#[tokio::test]
async fn a_browser_gets_errors_as_statuses() {
    let server = Running::start().await;
    let body = framed(&v1::GetCameraRequest { id: "none".into() });
    let answer = call(server.address, "/centerx.v1.CameraService/GetCamera", "http://localhost", body).await;
    let in_headers = answer.headers().get("grpc-status").is_some_and(|status| status == "5");
    let (_, trailers) = unframed(answer.body());
    assert!(in_headers || trailers.contains("grpc-status:5"), "{answer:?}");
}

#[tokio::test]
async fn foreign_web_sites_are_not_let_in() {
    let server = Running::start().await;
    let body = framed(&v1::ListCamerasRequest {});
    let answer =
        call(server.address, "/centerx.v1.CameraService/ListCameras", "https://evil.example", body).await;
    assert!(!answer.headers().contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn a_browsers_preflight_is_answered() {
    let server = Running::start().await;
    let address = server.address;
    let answer = tokio::task::spawn_blocking(move || {
        let request = Request::options(format!("http://{address}/centerx.v1.DetectionService/Subscribe"))
            .header("origin", "http://127.0.0.1:8080")
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "content-type,x-grpc-web");
        send(request.body(Vec::new()).unwrap())
    })
    .await
    .unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["access-control-allow-origin"], "http://127.0.0.1:8080");
    assert_eq!(answer.headers()["access-control-allow-methods"], "POST");
    assert_eq!(answer.headers()["access-control-allow-headers"], "content-type,x-grpc-web");
}
