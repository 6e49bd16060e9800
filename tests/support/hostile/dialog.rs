//! The requests of one connection and their answers (RFC 2326), right or wrong.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::{sleep, timeout};

use super::stream::Stream;
use super::{Fault, Memory, Ordering, reel};

/// How long until a connection is reset.
const RESET_AFTER: Duration = Duration::from_secs(1);
/// How long a stream lasts that ends with a refusal.
const WELL_FOR: Duration = Duration::from_secs(1);
/// Between two bytes that drip.
pub(super) const DRIP: Duration = Duration::from_secs(1);

struct Request {
    method: String,
    head: String,
}

/// Talks until the peer goes or the fault has it otherwise.
pub(super) async fn hold(peer: TcpStream, fault: Fault, memory: &Memory) -> io::Result<()> {
    if fault == Fault::Resets {
        peer.set_zero_linger()?;
        return timeout(RESET_AFTER, talk(peer, fault, memory)).await.unwrap_or(Ok(()));
    }
    talk(peer, fault, memory).await
}

async fn talk(peer: TcpStream, fault: Fault, memory: &Memory) -> io::Result<()> {
    peer.set_nodelay(true)?;
    let (read, mut write) = peer.into_split();
    let mut requests = Requests { read, buffer: Vec::new() };
    let before = memory.played.load(Ordering::Relaxed);
    loop {
        let request = requests.next().await?;
        if hangs_at(fault, &request.method) {
            return silence(&mut requests).await;
        }
        let answer = answer(fault, &request, before);
        if fault == Fault::Drips {
            for byte in answer {
                write.write_all(&[byte]).await?;
                sleep(DRIP).await;
            }
            continue;
        }
        write.write_all(&answer).await?;
        match request.method.as_str() {
            "PLAY" => break,
            "TEARDOWN" => return Ok(()),
            _ => {}
        }
    }
    memory.played.fetch_add(1, Ordering::Relaxed);
    let stream = Stream::new(fault, before);
    match fault {
        Fault::Refuses401Later => {
            let streamed = timeout(WELL_FOR, play(stream, requests, write)).await;
            streamed.unwrap_or(Ok(()))
        }
        _ => play(stream, requests, write).await,
    }
}

/// Streams, and answers what is asked meanwhile.
async fn play(mut stream: Stream, mut requests: Requests, mut write: OwnedWriteHalf) -> io::Result<()> {
    loop {
        tokio::select! {
            request = requests.next() => {
                let request = request?;
                // Answers are not for who has fallen silent or is amid the drops.
                if stream.answers() {
                    write.write_all(&ok(&request, "", "")).await?;
                }
                if request.method == "TEARDOWN" {
                    return Ok(());
                }
            }
            bytes = stream.next() => write.write_all(&bytes).await?,
        }
    }
}

/// Keeps the connection, takes what comes and says nothing.
async fn silence(requests: &mut Requests) -> io::Result<()> {
    loop {
        requests.next().await?;
    }
}

fn hangs_at(fault: Fault, method: &str) -> bool {
    matches!(
        (fault, method),
        (Fault::HangsAtOptions, _)
            | (Fault::HangsAtDescribe, "DESCRIBE")
            | (Fault::HangsAtSetup, "SETUP")
            | (Fault::HangsAtPlay, "PLAY")
    )
}

/// The answer to a request of a camera that has streamed so often before.
fn answer(fault: Fault, request: &Request, before: u32) -> Vec<u8> {
    let refuses = fault == Fault::Refuses401 || (fault == Fault::Refuses401Later && before > 0);
    match request.method.as_str() {
        _ if fault == Fault::GarbageAnswers => stream_of_noise(512),
        "DESCRIBE" if refuses => {
            respond(request, "401 Unauthorized", "WWW-Authenticate: Basic realm=\"camera\"\r\n", "")
        }
        "DESCRIBE" if fault == Fault::HugeBody => {
            let head = "Content-Type: application/sdp\r\nContent-Length: 4000000000\r\n";
            format!("RTSP/1.0 200 OK\r\nCSeq: {}\r\n{head}\r\nv=0\r\n", cseq(request)).into_bytes()
        }
        "DESCRIBE" => {
            let noise;
            let sdp = if fault == Fault::GarbageSdp {
                noise = String::from_utf8_lossy(&stream_of_noise(300)).into_owned();
                noise.as_str()
            } else {
                reel::at_start(fault, before).sdp
            };
            ok(request, "Content-Type: application/sdp\r\n", sdp)
        }
        "SETUP" => {
            let head = "Session: 12345678;timeout=60\r\n\
                        Transport: RTP/AVP/TCP;unicast;interleaved=0-1;ssrc=11223344\r\n";
            ok(request, head, "")
        }
        "PLAY" => ok(request, "Session: 12345678\r\nRange: npt=0.000-\r\n", ""),
        "OPTIONS" => ok(request, "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN, GET_PARAMETER\r\n", ""),
        _ => ok(request, "", ""),
    }
}

fn ok(request: &Request, head: &str, body: &str) -> Vec<u8> {
    respond(request, "200 OK", head, body)
}

fn respond(request: &Request, status: &str, head: &str, body: &str) -> Vec<u8> {
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    format!("RTSP/1.0 {status}\r\nCSeq: {}\r\n{head}{length}\r\n{body}", cseq(request)).into_bytes()
}

fn cseq(request: &Request) -> &str {
    let value = request.head.lines().find_map(|line| line.strip_prefix("CSeq:"));
    value.unwrap_or("0").trim()
}

/// The same noise each time, so that a test can be repeated.
pub(super) fn stream_of_noise(length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(length as u64);
    std::iter::repeat_with(|| random.u8(..)).take(length).collect()
}

/// Takes the peer's requests apart, and RTCP out of between.
struct Requests {
    read: OwnedReadHalf,
    buffer: Vec<u8>,
}

impl Requests {
    /// The next request. Nothing is lost when this future is dropped.
    async fn next(&mut self) -> io::Result<Request> {
        loop {
            if let Some(request) = self.take() {
                return Ok(request);
            }
            if self.read.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn take(&mut self) -> Option<Request> {
        while let [b'$', _, high, low, ..] = self.buffer[..] {
            let end = 4 + usize::from(u16::from_be_bytes([high, low]));
            if self.buffer.len() < end {
                return None;
            }
            self.buffer.drain(..end);
        }
        let end = self.buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n")? + 4;
        let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        self.buffer.drain(..end);
        let method = head.split(' ').next().unwrap_or_default().to_owned();
        Some(Request { method, head })
    }
}
