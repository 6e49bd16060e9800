//! The services by grpc-web on the listener of the live page: HTTP/1.1, with and without TLS, tokens, long streams.

// A test that fails is to panic.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use centerx::api::v1;
use centerx::app::App;
use centerx::auth;
use centerx::camera::{CameraId, CameraOrigin, CameraSpec, CameraUrl};
use centerx::config::Config;
use centerx::engine::fake::FakeEngine;
use centerx::listen::tls;
use prost::Message;
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

#[path = "support/fake_server.rs"]
mod fake_server;
#[path = "tls/pki.rs"]
mod pki;

const PATIENCE: Duration = Duration::from_secs(20);
const TOKEN: &str = "centerx_test";
const LIST: &str = "/centerx.v1.CameraService/ListCameras";
const SUBSCRIBE: &str = "/centerx.v1.DetectionService/Subscribe";

trait Socket: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Socket for T {}

/// A server with one camera, whose HTTP listener has no patience with idle connections.
struct Server {
    app: App,
    authority: Option<String>,
    _folder: tempfile::TempDir,
}

impl Server {
    async fn start(encrypted: bool, change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = fake_server::config(folder.path());
        config.http.first_request_timeout = Duration::from_millis(300);
        config.http.idle_timeout = Duration::from_millis(300);
        let authority = encrypted.then(|| pki::Authority::new("tests"));
        if let Some(authority) = &authority {
            let (certificate, key) = authority.server(&["localhost"]).write(folder.path(), "server");
            config.http.tls = Some(tls::Config { certificate, key, client_ca: None });
        }
        change(&mut config);
        let engine = FakeEngine::new((64, 64)).finds(vec![[8.0, 8.0, 16.0, 16.0, 0.9, 0.0]]);
        let app = App::start(config, vec![fake_server::model(engine, &["person"])]).await.unwrap();
        let url = CameraUrl::parse("test://ball?width=64&height=64&fps=20").unwrap();
        let spec = CameraSpec::new(CameraId::new("yard").unwrap(), url);
        app.server().add(spec, CameraOrigin::Api).await.unwrap();
        Self { app, authority: authority.map(|authority| authority.pem), _folder: folder }
    }

    async fn connect(&self) -> Box<dyn Socket> {
        let plain = TcpStream::connect(self.app.http_address()).await.unwrap();
        let Some(pem) = &self.authority else { return Box::new(plain) };
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        Box::new(TlsConnector::from(Arc::new(config)).connect(name, plain).await.unwrap())
    }

    /// Makes a call as a browser does, with these headers more.
    async fn call(&self, path: &str, message: &impl Message, headers: &str) -> Answer {
        let mut socket = self.connect().await;
        let body =
            [&[0][..], &(message.encoded_len() as u32).to_be_bytes(), &message.encode_to_vec()].concat();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/grpc-web+proto\r\nx-grpc-web: 1\r\n\
             content-length: {}\r\n{headers}\r\n",
            body.len()
        );
        socket.write_all(&[head.as_bytes(), &body].concat()).await.unwrap();
        let mut answer = Answer { socket: BufReader::new(socket), head: String::new(), bytes: Vec::new() };
        while !answer.head.ends_with("\r\n\r\n") {
            assert_ne!(answer.socket.read_line(&mut answer.head).await.unwrap(), 0, "{}", answer.head);
        }
        answer
    }
}

/// An answer that is being read.
struct Answer {
    socket: BufReader<Box<dyn Socket>>,
    head: String,
    bytes: Vec<u8>,
}

impl Answer {
    /// The next grpc-web frame: a message, or the trailers as text.
    async fn next(&mut self) -> Result<Vec<u8>, String> {
        loop {
            if let Some((head, rest)) = self.bytes.split_first_chunk::<5>() {
                let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
                if let Some(body) = rest.get(..length) {
                    let (is_message, body) = (head[0] == 0, body.to_vec());
                    self.bytes.drain(..5 + length);
                    return if is_message { Ok(body) } else { Err(String::from_utf8(body).unwrap()) };
                }
            }
            self.read_chunk().await;
        }
    }

    async fn read_chunk(&mut self) {
        let read = async {
            let mut size = String::new();
            self.socket.read_line(&mut size).await.unwrap();
            let size = usize::from_str_radix(size.trim(), 16).unwrap();
            let mut chunk = vec![0; size + 2];
            self.socket.read_exact(&mut chunk).await.unwrap();
            self.bytes.extend(&chunk[..size]);
        };
        tokio::time::timeout(PATIENCE, read).await.expect("more of the answer in time");
    }
}

fn guarded(config: &mut Config) {
    let sha256 = auth::Digest::of(TOKEN.as_bytes());
    let token = format!("token = [{{ name = \"page\", role = \"read\", sha256 = \"{sha256}\" }}]");
    config.auth = toml::from_str(&token).unwrap();
}

async fn cameras_are_listed(server: &Server) {
    let mut answer = server.call(LIST, &v1::ListCamerasRequest {}, "").await;
    assert!(answer.head.starts_with("HTTP/1.1 200"), "{}", answer.head);
    let listed = v1::ListCamerasResponse::decode(answer.next().await.unwrap().as_slice()).unwrap();
    assert_eq!(listed.cameras[0].camera.as_ref().unwrap().id, "yard");
    assert!(answer.next().await.unwrap_err().contains("grpc-status:0"));
}

/// A stream goes on for longer than the listener waits for requests, and ends with the server, in words.
async fn a_stream_lasts_until_the_shutdown(server: Server) {
    let mut answer = server.call(SUBSCRIBE, &v1::SubscribeRequest::default(), "").await;
    let (begin, mut frames) = (Instant::now(), 0);
    while begin.elapsed() < Duration::from_secs(1) {
        let event = v1::SubscribeResponse::decode(answer.next().await.unwrap().as_slice()).unwrap().event;
        frames += u32::from(matches!(event, Some(v1::subscribe_response::Event::Detections(_))));
    }
    assert!(frames > 5, "{frames} frames in a second");
    let begin = Instant::now();
    let drained = tokio::spawn(server.app.shutdown());
    let trailers = loop {
        if let Err(trailers) = answer.next().await {
            break trailers;
        }
    };
    assert!(trailers.contains("grpc-status:14") && trailers.contains("shutting"), "{trailers}");
    assert!(drained.await.unwrap(), "nothing was abandoned");
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_services_are_there_without_tls() {
    let server = Server::start(false, |_| ()).await;
    cameras_are_listed(&server).await;
    a_stream_lasts_until_the_shutdown(server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_services_are_there_with_tls() {
    let server = Server::start(true, |_| ()).await;
    cameras_are_listed(&server).await;
    a_stream_lasts_until_the_shutdown(server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_is_for_everybody_and_data_for_whom_a_token_lets_in() {
    let server = Server::start(false, guarded).await;
    let wrong = format!("authorization: Bearer {TOKEN}s\r\n");
    for (header, words) in
        [("", "asks%20for%20a%20token"), (wrong.as_str(), "not%20known%20to%20this%20server")]
    {
        // An empty request of either.
        for path in [LIST, SUBSCRIBE] {
            let answer = server.call(path, &v1::ListCamerasRequest {}, header).await;
            assert!(
                answer.head.contains("grpc-status: 16\r\n") && answer.head.contains(words),
                "{}",
                answer.head
            );
        }
    }
    let right = format!("authorization: Bearer {TOKEN}\r\n");
    let mut answer = server.call(LIST, &v1::ListCamerasRequest {}, &right).await;
    assert!(answer.next().await.is_ok());
    let remove = v1::RemoveCameraRequest { id: "yard".into() };
    let answer = server.call("/centerx.v1.CameraService/RemoveCamera", &remove, &right).await;
    assert!(answer.head.contains("grpc-status: 7\r\n"), "{}", answer.head);
    let get = |path: &str| {
        let url = format!("http://{}{path}", server.app.http_address());
        tokio::task::spawn_blocking(move || ureq::get(&url).call().map(|answer| answer.status().as_u16()))
    };
    for path in ["/", "/assets/schema.json"] {
        assert_eq!(get(path).await.unwrap().unwrap(), 200, "{path}");
    }
    assert!(matches!(get("/metrics").await.unwrap(), Err(ureq::Error::StatusCode(401))));
    assert!(matches!(get("/grpc.health.v1.Health/Check").await.unwrap(), Err(ureq::Error::StatusCode(404))));
}
