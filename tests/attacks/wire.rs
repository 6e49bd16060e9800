//! HTTP/2 by hand (RFC 9113, RFC 7541), because no library sends what is wrong.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const CONTINUATION: u8 = 9;
const PING: u8 = 6;
const GO_AWAY: u8 = 7;

pub const ACK: u8 = 1;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [&head, payload].concat()
}

/// The preface, and settings that change nothing.
pub fn greeting() -> Vec<u8> {
    [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()
}

/// The head of a gRPC call, without compression.
pub fn call_head(path: &str) -> Vec<u8> {
    let mut block = vec![0x83, 0x86]; // :method POST, :scheme http
    block.extend([0x04, path.len() as u8]);
    block.extend(path.as_bytes());
    block.extend(field(":authority", "centerx"));
    block.extend(field("content-type", "application/grpc"));
    block.extend(field("te", "trailers"));
    block
}

/// A header that is not kept for later.
pub fn field(name: &str, value: &str) -> Vec<u8> {
    [&[0, name.len() as u8], name.as_bytes(), &[value.len() as u8], value.as_bytes()].concat()
}

/// A whole number in HPACK's form with a prefix of seven bits.
pub fn number(mut value: usize) -> Vec<u8> {
    if value < 127 {
        return vec![value as u8];
    }
    let mut bytes = vec![127];
    value -= 127;
    while value >= 128 {
        bytes.push((value % 128 + 128) as u8);
        value /= 128;
    }
    bytes.push(value as u8);
    bytes
}

/// How a server got rid of a client.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// It said so, with an error code.
    GoAway(u32),
    /// It hung up.
    Closed,
}

/// Reads frames until the server ends the connection.
pub async fn read_end(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> End {
    loop {
        let mut head = [0; 9];
        if stream.read_exact(&mut head).await.is_err() {
            return End::Closed;
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; length];
        if stream.read_exact(&mut payload).await.is_err() {
            return End::Closed;
        }
        if head[3] == GO_AWAY {
            return End::GoAway(u32::from_be_bytes(payload[4..8].try_into().unwrap()));
        }
        assert!(head[3] <= CONTINUATION && head[3] != PING, "what is this? {head:?}");
    }
}

/// Greets, sends `chunk(n)` for n from 0 on until the server has had enough, and tells how many bytes it took.
pub async fn flood(stream: TcpStream, most: usize, mut chunk: impl FnMut(usize) -> Vec<u8>) -> (usize, End) {
    let (mut reader, mut writer) = stream.into_split();
    let end = tokio::spawn(async move { read_end(&mut reader).await });
    let mut sent = 0;
    writer.write_all(&greeting()).await.unwrap();
    writer.write_all(&frame(SETTINGS, ACK, 0, &[])).await.unwrap();
    for n in 0.. {
        let bytes = chunk(n);
        if end.is_finished() || sent > most {
            break;
        }
        match timeout(Duration::from_secs(5), writer.write_all(&bytes)).await {
            Ok(Ok(())) => sent += bytes.len(),
            // It does not read any more, or hung up.
            Ok(Err(_)) | Err(_) => break,
        }
    }
    let end =
        timeout(Duration::from_secs(10), end).await.expect("the server ends such a connection").unwrap();
    (sent, end)
}
