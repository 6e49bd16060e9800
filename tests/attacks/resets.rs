//! Calls that are taken back the moment they are made (CVE-2023-44487).

use super::*;
use crate::healthy::{Healthy, ROUNDS};
use crate::wire::{END_HEADERS, END_STREAM, HEADERS, RST_STREAM, call_head, flood, frame};

/// The error code for peers that cause too much load (RFC 9113, section 7).
const ENHANCE_YOUR_CALM: u32 = 11;
const CANCEL: [u8; 4] = [0, 0, 0, 8];
const CALLS_A_CHUNK: u32 = 100;
const MOST: usize = 16 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rapid_resets_end_the_connection_and_nobody_elses() {
    let target = Target::start("");
    let healthy = Healthy::start(&target.server).await;
    let before = target.memory();
    let attack = async |source| {
        let stream = connect_from(source, target.server.grpc).await.unwrap();
        let head = call_head("/grpc.health.v1.Health/Check");
        let chunk = |n: usize| {
            let calls = (0..CALLS_A_CHUNK).map(|call| (n as u32 * CALLS_A_CHUNK + call) * 2 + 1);
            let one = |stream| {
                [
                    frame(HEADERS, END_HEADERS | END_STREAM, stream, &head),
                    frame(RST_STREAM, 0, stream, &CANCEL),
                ]
            };
            calls.flat_map(one).flatten().collect()
        };
        flood(stream, MOST, chunk).await
    };
    let mut attacks = 0_u32;
    while attacks < 20 || healthy.answers() < ROUNDS {
        attacks += 1;
        let (sent, end) = attack(2 + (attacks % 100) as u8).await;
        assert!(sent < MOST, "{sent} bytes were read");
        assert!(matches!(end, wire::End::GoAway(ENHANCE_YOUR_CALM) | wire::End::Closed), "{end:?}");
    }
    healthy.stop().await.assert_served(&format!("{attacks} connections of rapid resets"));
    let after = target.memory();
    println!("memory {before:.0} MB before, {after:.0} MB after");
    assert!(after < before + 30.0, "{before} MB before, {after} MB after");
}
