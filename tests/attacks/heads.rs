//! Headers without end, in both versions of HTTP.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::*;
use crate::healthy::{Healthy, ROUNDS};
use crate::wire::{CONTINUATION, END_HEADERS, END_STREAM, HEADERS, call_head, field, flood, frame, number};

/// No server needs to read so much of one head.
const MOST: usize = 8 << 20;
const ATTACKERS: u32 = 20;

/// Pushes headers into a connection and tells how many bytes were taken, and the answer.
async fn push_headers(source: u8, address: std::net::SocketAddr) -> (usize, String) {
    let mut stream = connect_from(source, address).await.unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\n").await.unwrap();
    let line = format!("x-{}: {}\r\n", "n".repeat(100), "v".repeat(8000));
    let mut sent = 0;
    while sent < MOST && timeout(PATIENCE, stream.write_all(line.as_bytes())).await.unwrap().is_ok() {
        sent += line.len();
    }
    let mut answer = [0; 12];
    let read = timeout(PATIENCE, stream.read_exact(&mut answer)).await.expect("the connection is closed");
    (sent, read.map(|_| String::from_utf8_lossy(&answer).into_owned()).unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_without_end_are_cut_off() {
    let target = Target::start("");
    let healthy = Healthy::start(&target.server).await;
    let before = target.memory();
    let mut rounds = 0_u32;
    while rounds < ATTACKERS || healthy.answers() < ROUNDS {
        rounds += 1;
        let source = 2 + (rounds % 100) as u8;
        for address in [target.server.http, target.server.grpc] {
            let (sent, answer) = push_headers(source, address).await;
            assert!(sent < MOST, "{sent} bytes were taken");
            // A reset on the way may swallow the answer.
            assert!(answer.is_empty() || answer == "HTTP/1.1 431", "{answer}");
        }
        let (sent, end) = continuation_flood(&target, source).await;
        assert!(sent < MOST, "{sent} bytes of a head were read; {end:?}");
        compression_bomb(&target).await;
    }
    healthy.stop().await.assert_served(&format!("{rounds} rounds of headers without end"));
    let after = target.memory();
    println!("memory {before:.0} MB before, {after:.0} MB after");
    assert!(after < before + 30.0, "{before} MB before, {after} MB after");
}

/// One head in ever more frames (CVE-2024-27316 and its kin).
async fn continuation_flood(target: &Target, source: u8) -> (usize, wire::End) {
    let stream = connect_from(source, target.server.grpc).await.unwrap();
    let filler: Vec<u8> = (0..60).flat_map(|_| field("x-filler", &"v".repeat(120))).collect();
    let chunk = |n: usize| match n {
        0 => frame(HEADERS, END_STREAM, 1, &call_head("/grpc.health.v1.Health/Check")),
        _ => frame(CONTINUATION, 0, 1, &filler),
    };
    flood(stream, MOST, chunk).await
}

/// One long header is kept in the decoder's table, and a few kilobytes name it thousands of times over.
async fn compression_bomb(target: &Target) {
    let stream = connect_from(90, target.server.grpc).await.unwrap();
    let kept = [&[0x40, 1][..], b"x", &number(4000), "v".repeat(4000).as_bytes()].concat();
    let named = vec![0x80 | 62; 12_000]; // 62 is the newest entry: 48 MB in all
    let chunk = |n: usize| {
        let head = call_head("/grpc.health.v1.Health/Check");
        let block = if n == 0 { [head, kept.clone()].concat() } else { [head, named.clone()].concat() };
        frame(HEADERS, END_HEADERS | END_STREAM, n as u32 * 2 + 1, &block)
    };
    // Each such call costs its client the call, and the server no memory; or the connection is ended.
    let (mut reader, mut writer) = stream.into_split();
    let reading = tokio::spawn(async move { tokio::io::copy(&mut reader, &mut tokio::io::sink()).await });
    writer.write_all(&wire::greeting()).await.unwrap();
    for n in 0..20 {
        if writer.write_all(&chunk(n)).await.is_err() {
            break;
        }
    }
    drop(writer);
    timeout(PATIENCE, reading).await.expect("the connection ends with its client").unwrap().ok();
}
