//! Live pictures, from outside: a real server with real cameras and the real model, gRPC and HTTP clients.

// A test that fails is to panic.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use centerx::api::v1;
use centerx::api::v1::live_service_client::LiveServiceClient;
use image::RgbImage;
use tokio::time::timeout;
use tonic::Streaming;
use tonic::transport::Channel;

#[path = "../support/files.rs"]
mod files;
mod frames;
mod pages;
#[path = "../support/process.rs"]
mod process;
mod roles;
#[path = "../support/rtsp_camera/mod.rs"]
mod rtsp_camera;

use files::sample;
use process::ServerProcess;

const PATIENCE: Duration = Duration::from_secs(30);

/// A server with `vtest.avi` as the camera `yard`, at ten frames a second.
fn yard(data: &Path, arguments: &[&str]) -> ServerProcess {
    let camera = format!("yard={}", sample("vtest.avi").display());
    ServerProcess::start(data, &[&["--camera", &camera], arguments].concat())
}

async fn connect(server: &ServerProcess) -> Channel {
    Channel::from_shared(format!("http://{}", server.grpc)).unwrap().connect().await.unwrap()
}

async fn watch(channel: &Channel, view: v1::View) -> Streaming<v1::WatchResponse> {
    let mut client = LiveServiceClient::new(channel.clone());
    client.watch(v1::WatchRequest { views: vec![view] }).await.unwrap().into_inner()
}

async fn next(stream: &mut Streaming<v1::WatchResponse>) -> v1::WatchResponse {
    let next = timeout(PATIENCE, stream.message()).await.expect("pictures come");
    next.unwrap().unwrap()
}

fn decode(jpeg: &[u8]) -> RgbImage {
    image::load_from_memory_with_format(jpeg, image::ImageFormat::Jpeg).unwrap().into_rgb8()
}

/// Pixels of a colour that nothing in the grey yard has, but boxes do.
fn bright_pixels(picture: &RgbImage) -> usize {
    let spread = |[r, g, b]: [u8; 3]| r.max(g).max(b) - r.min(g).min(b);
    picture.pixels().filter(|pixel| spread(pixel.0) > 120).count()
}

/// The head of an answer and its body, as far as it is read.
struct Answer {
    head: String,
    body: BufReader<TcpStream>,
}

impl Answer {
    fn status(&self) -> u16 {
        self.head.split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// All of the body.
    fn bytes(mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.body.read_to_end(&mut bytes).unwrap();
        bytes
    }

    fn text(self) -> String {
        String::from_utf8(self.bytes()).unwrap()
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.body.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// The next picture of `live.mjpg`; none at its end.
    fn part(&mut self) -> Option<Vec<u8>> {
        assert_eq!(self.line(), "--centerx-picture");
        let kind = self.line();
        if kind.is_empty() {
            return None;
        }
        assert_eq!(kind, "Content-Type: image/jpeg");
        let length = self.line().strip_prefix("Content-Length: ").unwrap().parse().unwrap();
        assert_eq!(self.line(), "");
        let mut jpeg = vec![0; length];
        self.body.read_exact(&mut jpeg).unwrap();
        assert_eq!(self.line(), "");
        Some(jpeg)
    }
}

/// Asks in HTTP/1.0, so that the answer is not in chunks.
fn get(address: SocketAddr, path: &str, token: Option<&str>) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let token = token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
    write!(stream, "GET {path} HTTP/1.0\r\n{token}\r\n").unwrap();
    let mut answer = Answer { head: String::new(), body: BufReader::new(stream) };
    while !answer.head.ends_with("\r\n\r\n") {
        assert!(answer.body.read_line(&mut answer.head).unwrap() > 0, "a whole head: {}", answer.head);
    }
    answer
}

/// The value of a metric without labels.
fn metric(server: &ServerProcess, name: &str) -> f64 {
    let text = server.get("/metrics");
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
    value.unwrap_or_else(|| panic!("{name} is missing"))
}
