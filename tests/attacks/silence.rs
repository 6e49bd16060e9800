//! Ten thousand connections that say nothing.

use std::collections::VecDeque;

use super::*;
use crate::healthy::Healthy;

const CONNECTIONS: usize = 10_000;
/// Addresses of this machine that they come from.
const SOURCES: usize = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_silent_connections_leave_the_server_serving() {
    let target = Target::start("");
    let most = allowed_sockets();
    let healthy = Healthy::start(&target.server).await;
    let before = target.memory();
    let mut held = VecDeque::new();
    for n in 0..CONNECTIONS {
        let address = if n % 2 == 0 { target.server.grpc } else { target.server.http };
        let source = 2 + (n / 2 % SOURCES) as u8;
        held.push_back(connect_from(source, address).await.unwrap());
        if held.len() > most {
            held.pop_front();
        }
    }
    let during = target.memory();
    let open = |listener| target.metric(&format!("centerx_connections_open{{listener=\"{listener}\"}}"));
    let (grpc, http) = (open("grpc"), open("http"));
    println!(
        "memory {before:.0} MB before, {during:.0} MB with {} of them; {grpc} and {http} are open",
        held.len()
    );
    assert!(grpc <= 1024.0 + 64.0 && http <= 64.0 + 64.0, "{grpc} and {http} are open");
    assert!(during < before + 100.0, "{before} MB before, {during} MB with all of them");
    assert!(target.metric(&refused("grpc", "displaced")) > 3_000.0);
    healthy.stop().await.assert_served("10,000 silent connections");
    drop(held);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_address_cannot_take_all_places_with_calls_either() {
    use centerx::api::v1::SubscribeRequest;
    use centerx::api::v1::detection_service_client::DetectionServiceClient;
    use tonic::transport::Endpoint;
    let target = Target::start("[grpc]\nconnections = 40\nconnections_per_peer = 20\n");
    let healthy = Healthy::start(&target.server).await;
    let mut held = Vec::new();
    let mut turned_away = 0;
    for _ in 0..30 {
        let endpoint = Endpoint::from_shared(format!("http://{}", target.server.grpc)).unwrap();
        let endpoint = endpoint.local_address(Some([127, 0, 0, 9].into()));
        let Ok(channel) = endpoint.connect().await else {
            turned_away += 1;
            continue;
        };
        match DetectionServiceClient::new(channel).subscribe(SubscribeRequest::default()).await {
            Ok(stream) => held.push(stream),
            Err(_) => turned_away += 1,
        }
    }
    assert_eq!((held.len(), turned_away), (20, 10));
    assert!(target.metric(&refused("grpc", "peer_full")) >= 10.0);
    // Others are let in as before.
    let answers = healthy.answers();
    until("others are answered", || healthy.answers() > answers + 3).await;
    healthy.stop().await.assert_served("one address at its limit");
}
