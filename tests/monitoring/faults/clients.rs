//! Clients that mean no good, or do none.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use centerx::api::v1::SubscribeRequest;
use centerx::api::v1::detection_service_client::DetectionServiceClient;
use tonic::Request;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};

/// Tries a wrong token ten times a second.
pub fn try_tokens(address: SocketAddr, over: &AtomicBool) {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    while !over.load(Ordering::Relaxed) {
        let call =
            agent.get(format!("http://{address}/metrics")).header("authorization", "Bearer centerx_guess");
        assert_eq!(call.call().unwrap().status(), 401);
        std::thread::park_timeout(Duration::from_millis(100));
    }
}

/// Subscribes to everything, keeps the connection open and reads nothing.
pub async fn read_nothing(address: SocketAddr, authority: String, token: &'static str) {
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authority));
    let url = format!("https://localhost:{}", address.port());
    let endpoint = Endpoint::from_shared(url).unwrap().tls_config(tls).unwrap();
    // Nothing is taken that was not asked for.
    let endpoint = endpoint.initial_stream_window_size(1).initial_connection_window_size(1);
    let mut client = DetectionServiceClient::new(endpoint.connect().await.unwrap());
    let mut request = Request::new(SubscribeRequest::default());
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    let _unread = client.subscribe(request).await.unwrap();
    std::future::pending().await
}
