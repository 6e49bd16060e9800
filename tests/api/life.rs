//! From the port to the last word: listening, health, reflection, shutdown.

use std::time::Duration;

use centerx::api::v1::detection_service_client::DetectionServiceClient;
use centerx::api::{Config, bind, v1};
use centerx::camera::CameraOrigin;
use futures_util::stream;
use tonic::Code;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tonic_reflection::pb::{v1 as reflection, v1alpha as old_reflection};

use crate::backend::Running;

#[tokio::test]
async fn a_port_in_use_is_named_with_the_cure() {
    let server = Running::start().await;
    let config = Config { listen: server.address, ..Config::default() };
    let text = bind(&config).await.unwrap_err().to_string();
    assert!(text.contains(&server.address.to_string()) && text.contains("choose another port"), "{text}");
}

#[tokio::test]
async fn health_follows_readiness() {
    let server = Running::start().await;
    let mut client = HealthClient::new(server.channel().await);
    let ask = |service: &str| HealthCheckRequest { service: service.into() };
    let mut watched = client.watch(ask("centerx.v1.DetectionService")).await.unwrap().into_inner();
    let told = |answer: HealthCheckResponse| answer.status();
    assert_eq!(told(watched.message().await.unwrap().unwrap()), ServingStatus::Serving);

    *server.backend.not_ready.lock().unwrap() = Some("the engine warms up".into());
    server.health.refresh().await;
    assert_eq!(told(watched.message().await.unwrap().unwrap()), ServingStatus::NotServing);
    for service in ["", "centerx.v1.CameraService", "centerx.v1.ModelService"] {
        let answer = client.check(ask(service)).await.unwrap().into_inner();
        assert_eq!(told(answer), ServingStatus::NotServing, "{service}");
    }
    // Nobody tells this time: it is looked up.
    *server.backend.not_ready.lock().unwrap() = None;
    assert_eq!(told(watched.message().await.unwrap().unwrap()), ServingStatus::Serving);
    assert_eq!(client.check(ask("nobody")).await.unwrap_err().code(), Code::NotFound);
}

const SERVICES: [&str; 5] = [
    "centerx.v1.CameraService",
    "centerx.v1.DetectionService",
    "centerx.v1.ModelService",
    "grpc.health.v1.Health",
    "grpc.reflection",
];

#[tokio::test]
async fn reflection_lists_the_services() {
    use reflection::server_reflection_client::ServerReflectionClient;
    use reflection::server_reflection_request::MessageRequest;
    use reflection::server_reflection_response::MessageResponse;
    let server = Running::start().await;
    let request = reflection::ServerReflectionRequest {
        message_request: Some(MessageRequest::ListServices(String::new())),
        ..Default::default()
    };
    let mut client = ServerReflectionClient::new(server.channel().await);
    let mut answers = client.server_reflection_info(stream::iter([request])).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response.unwrap();
    let MessageResponse::ListServicesResponse(list) = answer else { panic!("no list") };
    for expected in SERVICES {
        assert!(list.service.iter().any(|service| service.name.starts_with(expected)), "{expected}");
    }
}

#[tokio::test]
async fn reflection_answers_old_clients() {
    use old_reflection::server_reflection_client::ServerReflectionClient;
    use old_reflection::server_reflection_request::MessageRequest;
    use old_reflection::server_reflection_response::MessageResponse;
    let server = Running::start().await;
    let symbol = "centerx.v1.DetectionService".to_owned();
    let request = old_reflection::ServerReflectionRequest {
        message_request: Some(MessageRequest::FileContainingSymbol(symbol)),
        ..Default::default()
    };
    let mut client = ServerReflectionClient::new(server.channel().await);
    let mut answers = client.server_reflection_info(stream::iter([request])).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response.unwrap();
    assert!(
        matches!(answer, MessageResponse::FileDescriptorResponse(files) if !files.file_descriptor_proto.is_empty())
    );
}

#[tokio::test]
async fn unknown_methods_are_no_labels() {
    let server = Running::start().await;
    let mut client = tonic::client::Grpc::new(server.channel().await);
    client.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<v1::ListCamerasRequest, v1::ListCamerasResponse>::default();
    let path = "/centerx.v1.CameraService/Invented".parse().unwrap();
    let status = client.unary(tonic::Request::new(v1::ListCamerasRequest {}), path, codec).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    let name = r#"centerx_grpc_requests_total{code="UNIMPLEMENTED",method="other"}"#;
    assert_eq!(server.metric(name), Some(1.0));
}

async fn subscribed(drain: Duration) -> (Running, tonic::Streaming<v1::SubscribeResponse>) {
    let server = Running::start_with(Config { drain, ..Config::default() }, 64).await;
    server.backend.put("yard", "test://ball", CameraOrigin::Config);
    let mut client = DetectionServiceClient::new(server.channel().await);
    let mut stream = client.subscribe(v1::SubscribeRequest::default()).await.unwrap().into_inner();
    stream.message().await.unwrap().unwrap();
    (server, stream)
}

#[tokio::test]
async fn on_shutdown_a_subscription_gets_the_rest_and_the_reason() {
    let (server, mut stream) = subscribed(Duration::from_secs(600)).await;
    server.backend.hub.publish(crate::backend::frame("yard", 1, vec![]));
    server.stop.send(()).unwrap();
    server.backend.hub.close();
    assert!(stream.message().await.unwrap().is_some());
    let status = stream.message().await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "the server is shutting down"));
    server.task.await.unwrap();
}

#[tokio::test]
async fn a_subscription_that_does_not_end_by_itself_is_cut_in_time() {
    let (server, mut stream) = subscribed(Duration::from_millis(20)).await;
    server.stop.send(()).unwrap();
    let status = stream.message().await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "the server is shutting down"));
    server.task.await.unwrap();
}

#[tokio::test]
async fn a_watcher_of_health_does_not_hold_up_the_shutdown() {
    let server =
        Running::start_with(Config { drain: Duration::from_secs(600), ..Config::default() }, 64).await;
    let mut client = HealthClient::new(server.channel().await);
    let address = server.address;
    let request = HealthCheckRequest::default();
    let mut watched = client.watch(request).await.unwrap().into_inner();
    watched.message().await.unwrap().unwrap();
    server.stop.send(()).unwrap();
    assert_eq!(watched.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    assert!(watched.message().await.unwrap().is_none());
    server.task.await.unwrap();
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "nobody listens any more");
}

#[test]
fn an_unknown_key_is_a_config_error() {
    assert!(toml::from_str::<Config>("port = 1").is_err());
    let config: Config = toml::from_str("drain = '2s'\npictures = 3").unwrap();
    assert_eq!((config.drain, config.pictures.get()), (Duration::from_secs(2), 3));
}

#[tokio::test]
async fn a_call_that_panics_is_internal_and_the_connection_goes_on() {
    use v1::camera_service_client::CameraServiceClient;
    let server = Running::start().await;
    let channel = server.channel().await;
    let mut health = HealthClient::new(channel.clone());
    let mut watched = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    watched.message().await.unwrap().unwrap();
    let ask = v1::GetCameraRequest { id: "panic".into() };
    let status = CameraServiceClient::new(channel).get_camera(ask).await.unwrap_err();
    assert!(status.code() == Code::Internal && status.message().contains("panicked"), "{status:?}");
    // The other call of the connection hears on.
    *server.backend.not_ready.lock().unwrap() = Some("the engine warms up".into());
    server.health.refresh().await;
    assert_eq!(watched.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
}
