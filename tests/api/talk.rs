//! A client of `DetectStream`, and its frames.

use centerx::api::v1;
use centerx::api::v1::client_frame::Picture;
use centerx::api::v1::detect_stream_request::Message;
use centerx::api::v1::detect_stream_response::Outcome;
use centerx::api::v1::detection_service_client::DetectionServiceClient;
use futures_util::stream;
use tokio::sync::mpsc;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

use crate::backend::Running;

/// Waits until something holds.
pub async fn until(what: impl Fn() -> bool) {
    while !what() {
        tokio::task::yield_now().await;
    }
}

pub fn options(options: v1::DetectStreamOptions) -> v1::DetectStreamRequest {
    v1::DetectStreamRequest { message: Some(Message::Options(options)) }
}

pub fn with(frame_id: u64, picture: Option<Picture>) -> v1::DetectStreamRequest {
    let frame = v1::ClientFrame { frame_id, capture_time: None, picture };
    v1::DetectStreamRequest { message: Some(Message::Frame(frame)) }
}

/// A black frame of raw pixels, told by its width.
pub fn black(frame_id: u64, width: u32, height: u32) -> v1::DetectStreamRequest {
    let data = vec![0; (width * height * 3) as usize];
    let format = v1::PixelFormat::Rgb.into();
    let raw = v1::RawPicture { format, width, height, data, ..Default::default() };
    with(frame_id, Some(Picture::Raw(raw)))
}

/// One stream of a client.
pub struct Talk {
    pub send: mpsc::Sender<v1::DetectStreamRequest>,
    pub answers: Streaming<v1::DetectStreamResponse>,
}

impl Talk {
    pub async fn open(channel: &Channel) -> Result<Self, Status> {
        let (send, mut receive) = mpsc::channel(1);
        let requests = stream::poll_fn(move |context| receive.poll_recv(context));
        let answers = DetectionServiceClient::new(channel.clone()).detect_stream(requests).await?;
        Ok(Self { send, answers: answers.into_inner() })
    }

    pub async fn with(server: &Running) -> Self {
        Self::open(&server.channel().await).await.unwrap()
    }

    pub async fn say(&self, request: v1::DetectStreamRequest) {
        self.send.send(request).await.unwrap();
    }

    /// The next answer.
    pub async fn answer(&mut self) -> v1::DetectStreamResponse {
        self.answers.message().await.unwrap().unwrap()
    }

    /// The id and width of the next frame that was looked at.
    pub async fn found(&mut self) -> (u64, u32) {
        let answer = self.answer().await;
        match answer.outcome.unwrap() {
            Outcome::Found(found) => (answer.frame_id, found.frame_width),
            Outcome::Error(error) => panic!("{error:?}"),
        }
    }

    /// The id of the next frame that was not looked at, and why.
    pub async fn refused(&mut self) -> (u64, Code, String) {
        let answer = self.answer().await;
        match answer.outcome.unwrap() {
            Outcome::Error(error) => (answer.frame_id, Code::from_i32(error.code), error.message),
            Outcome::Found(found) => panic!("{found:?}"),
        }
    }

    pub async fn end(&mut self) -> Status {
        self.answers.message().await.unwrap_err()
    }
}

pub fn calls(server: &Running, code: &str) -> Option<f64> {
    let method = "centerx.v1.DetectionService/DetectStream";
    server.metric(&format!("centerx_grpc_requests_total{{code=\"{code}\",method=\"{method}\"}}"))
}

pub fn frames(server: &Running, code: &str) -> Option<f64> {
    server.metric(&format!("centerx_detect_stream_frames_total{{code=\"{code}\"}}"))
}

pub async fn until_closed(server: &Running) {
    until(|| server.metric("centerx_detect_streams") == Some(0.0)).await;
}

pub fn png(frame_id: u64) -> v1::DetectStreamRequest {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image::DynamicImage::new_rgb8(8, 8).write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    with(frame_id, Some(Picture::Image(bytes.into_inner())))
}
