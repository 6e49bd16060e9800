//! `Subscribe`, whose messages are encoded once for all subscribers that see the same of a frame.
//!
//! The generated server encodes each message for each subscriber. This one stands before it: it answers `Subscribe`
//! with a codec that copies the bytes that a frame carries with it, and leaves every other method alone.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::Stream;
use prost::Message as _;
use prost::bytes::BufMut as _;
use tonic::codec::{BufferSettings, Codec, EncodeBuf, Encoder};
use tonic::codegen::{Body, BoxFuture, Service, StdError, http};
use tonic::server::{Grpc, NamedService, ServerStreamingService};
use tonic::{Request, Response, Status};
use tonic_prost::ProstDecoder;

use super::convert_detections::encode_detections;
use super::detections::Detections;
use super::v1;
use super::v1::detection_service_server::{DetectionServiceServer, SERVICE_NAME};
use crate::detection::Published;

const PATH: &str = "/centerx.v1.DetectionService/Subscribe";
/// Ids of ten thousand cameras, twice, and classes.
const MAX_REQUEST: usize = 4 << 20;
/// Bytes of one subscriber's buffer for messages on their way out: a few of them.
const BUFFER: usize = 1024;
/// From how many bytes on they are sent though more could be added.
const ENOUGH: usize = 16 * 1024;

/// A message to a subscriber.
pub(super) enum Outgoing {
    /// A frame's detections, the same for others.
    Shared(Arc<Published>),
    /// Its own.
    Single(v1::SubscribeResponse),
}

/// The messages of one subscription, the last of which is a status.
pub(super) type Messages = Pin<Box<dyn Stream<Item = Result<Outgoing, Status>> + Send>>;

/// The generated server, and `Subscribe` before it.
#[derive(Clone)]
pub(super) struct Server {
    generated: DetectionServiceServer<Detections>,
    detections: Arc<Detections>,
}

impl Server {
    pub(super) fn new(detections: Detections, max_message: usize) -> Self {
        let detections = Arc::new(detections);
        let generated = DetectionServiceServer::from_arc(Arc::clone(&detections));
        Self { generated: generated.max_decoding_message_size(max_message), detections }
    }
}

impl NamedService for Server {
    const NAME: &'static str = SERVICE_NAME;
}

impl<B> Service<http::Request<B>> for Server
where
    B: Body + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        if request.uri().path() != PATH {
            return self.generated.call(request);
        }
        let method = Subscribe(Arc::clone(&self.detections));
        let mut grpc = Grpc::new(SharedCodec).apply_max_message_size_config(Some(MAX_REQUEST), None);
        Box::pin(async move { Ok(grpc.server_streaming(method, request).await) })
    }
}

/// One call.
struct Subscribe(Arc<Detections>);

impl ServerStreamingService<v1::SubscribeRequest> for Subscribe {
    type Response = Outgoing;
    type ResponseStream = Messages;
    type Future = BoxFuture<Response<Messages>, Status>;

    fn call(&mut self, request: Request<v1::SubscribeRequest>) -> Self::Future {
        let detections = Arc::clone(&self.0);
        Box::pin(async move { detections.events(request).map(Response::new) })
    }
}

/// Protobuf as usual, but for what is encoded already.
struct SharedCodec;

impl Codec for SharedCodec {
    type Encode = Outgoing;
    type Decode = v1::SubscribeRequest;
    type Encoder = SharedEncoder;
    type Decoder = ProstDecoder<v1::SubscribeRequest>;

    fn encoder(&mut self) -> SharedEncoder {
        SharedEncoder
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstDecoder::default()
    }
}

struct SharedEncoder;

impl Encoder for SharedEncoder {
    type Item = Outgoing;
    type Error = Status;

    fn encode(&mut self, message: Outgoing, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        match message {
            Outgoing::Shared(published) => buffer.put_slice(published.wire(encode_detections)),
            Outgoing::Single(message) => message
                .encode(buffer)
                .map_err(|error| Status::internal(format!("a message cannot be encoded: {error}")))?,
        }
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(BUFFER, ENOUGH)
    }
}
