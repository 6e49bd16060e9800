//! One call of `DetectStream`: a task reads frames and hands them in, and the answers follow in their order.
//!
//! The task never waits for the client to take an answer while it holds what others wait for (a place, a
//! decoder, the stream's slot at the scheduler): a client that does not read stops its own stream only.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::{FutureExt as _, Stream, StreamExt, stream};
use prost_types::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use super::backend::{Backend, Choice, DetectError, Pending, PictureStream};
use super::convert_frames::{answer, choice, raw_picture};
use super::detections::{size, too_large};
use super::observe::{Metrics, OpenStream, panicked};
use super::places::{Places, placed};
use super::status::{invalid, of_detection, shutting_down};
use super::v1;
use super::v1::client_frame::Picture as WirePicture;
use super::v1::detect_stream_request::Message;
use crate::frame::Picture;

/// The answers, as they go out.
pub(super) type Answers = Pin<Box<dyn Stream<Item = Result<v1::DetectStreamResponse, Status>> + Send>>;

/// What all streams share.
pub(super) struct Streams {
    pub(super) backend: Arc<dyn Backend>,
    pub(super) places: Arc<Places>,
    pub(super) metrics: Metrics,
    /// Streams that may still be opened.
    pub(super) free: Arc<Semaphore>,
    /// Frames of one stream that may be under way.
    pub(super) window: usize,
    /// Bytes of the largest picture.
    pub(super) max_picture: usize,
    /// Ends the reading.
    pub(super) stopping: CancellationToken,
    /// Ends streams that did not end by themselves in time.
    pub(super) cut: CancellationToken,
}

impl Streams {
    /// Begins a stream. It answers at once, so that no limit on the time to an answer touches it; what is
    /// wrong with its options ends it.
    pub(super) fn open<S>(&self, requests: S) -> Result<Answers, Status>
    where
        S: Stream<Item = Result<v1::DetectStreamRequest, Status>> + Send + Unpin + 'static,
    {
        let full = |_| {
            Status::resource_exhausted(
                "too many streams are open ([grpc] streams); close one or retry in a moment",
            )
        };
        let place = Arc::clone(&self.free).try_acquire_owned().map_err(full)?;
        // The window keeps it from being full.
        let (answers, incoming) = mpsc::channel(self.window + 1);
        let reader = Reader {
            requests,
            backend: Arc::clone(&self.backend),
            places: Arc::clone(&self.places),
            window: Arc::new(Semaphore::new(self.window)),
            max_picture: self.max_picture,
            stopping: self.stopping.clone(),
            answers,
        };
        tokio::spawn(reader.run());
        let writer =
            Writer { incoming, cut: self.cut.clone(), open: self.metrics.open_stream(), _place: place };
        Ok(Box::pin(stream::unfold(Some(writer), async |writer| writer?.next().await)))
    }
}

/// A frame that was read, on its way to its answer.
struct Handed {
    frame_id: u64,
    capture_time: Option<Timestamp>,
    outcome: Result<Pending, Status>,
    /// Its part of the window.
    _part: Option<OwnedSemaphorePermit>,
}

/// Reads frames and hands them in, one after the other.
struct Reader<S> {
    requests: S,
    backend: Arc<dyn Backend>,
    places: Arc<Places>,
    window: Arc<Semaphore>,
    max_picture: usize,
    stopping: CancellationToken,
    /// An error is the stream's last word.
    answers: mpsc::Sender<Result<Handed, Status>>,
}

impl<S> Reader<S>
where
    S: Stream<Item = Result<v1::DetectStreamRequest, Status>> + Send + Unpin,
{
    async fn run(mut self) {
        let answers = self.answers.clone();
        let reading = AssertUnwindSafe(self.read()).catch_unwind();
        let ended = tokio::select! {
            // The client hung up, or the stream has had its last word.
            () = answers.closed() => return,
            ended = reading => ended,
        };
        if let Err(status) = ended.unwrap_or_else(|_| Err(panicked())) {
            // Nobody is left to be told, if that fails.
            let _ = answers.send(Err(status)).await;
        }
    }

    /// Reads to the client's last frame.
    async fn read(&mut self) -> Result<(), Status> {
        let (choice, mut first) = match self.message().await? {
            None => return Ok(()),
            Some(Message::Options(options)) => (choice(options)?, None),
            Some(Message::Frame(frame)) => (Choice::default(), Some(frame)),
        };
        let mut stream = self.backend.open_stream(choice).map_err(|error| of_detection(&error))?;
        loop {
            // The window is never closed.
            let part = Arc::clone(&self.window).acquire_owned().await.ok();
            let frame = match first.take() {
                Some(frame) => frame,
                None => match self.message().await? {
                    None => return Ok(()),
                    Some(Message::Frame(frame)) => frame,
                    Some(Message::Options(_)) => {
                        return Err(invalid("options", "come in the first message or not at all"));
                    }
                },
            };
            let (frame_id, capture_time) = (frame.frame_id, frame.capture_time);
            let outcome = match self.hand_in(frame, &mut *stream).await {
                Err(status) if status.code() == Code::Unavailable => return Err(status),
                outcome => outcome,
            };
            let handed = Handed { frame_id, capture_time, outcome, _part: part };
            if self.answers.send(Ok(handed)).await.is_err() {
                return Ok(());
            }
        }
    }

    /// The next message; none after the last.
    async fn message(&mut self) -> Result<Option<Message>, Status> {
        let request = tokio::select! {
            biased;
            () = self.stopping.cancelled() => return Err(shutting_down()),
            request = self.requests.next() => request,
        };
        match request.transpose().map_err(|status| unreadable(status, self.max_picture))? {
            None => Ok(None),
            Some(v1::DetectStreamRequest { message: Some(message) }) => Ok(Some(message)),
            Some(v1::DetectStreamRequest { message: None }) => {
                Err(invalid("message", "holds neither options nor a frame"))
            }
        }
    }

    async fn hand_in(
        &mut self,
        frame: v1::ClientFrame,
        stream: &mut dyn PictureStream,
    ) -> Result<Pending, Status> {
        let place = self.places.wait().await;
        let picture = self.picture(frame.picture).await?;
        let picture = placed(picture, place).map_err(|error| invalid("frame", error.to_string()))?;
        stream.offer(Arc::new(picture)).await.map_err(|error| of_detection(&error))
    }

    async fn picture(&mut self, picture: Option<WirePicture>) -> Result<Picture, Status> {
        match picture {
            Some(WirePicture::Image(image)) if image.len() > self.max_picture => {
                Err(invalid("frame.image", too_large(self.max_picture)))
            }
            Some(WirePicture::Image(image)) => self.places.decode(image, "frame.image").await,
            Some(WirePicture::Raw(raw)) => raw_picture(raw),
            None => Err(invalid("frame.picture", "is missing: give an image or raw pixels")),
        }
    }
}

/// Why no further message can be read, in words of this API.
fn unreadable(status: Status, max_picture: usize) -> Status {
    match status.code() {
        Code::OutOfRange => Status::out_of_range(format!(
            "a message is larger than {}; send a smaller picture, or JPEG or NV12 in place of RGB, or raise [grpc] \
             picture_bytes ({})",
            size(max_picture),
            status.message()
        )),
        _ => status,
    }
}

/// Waits for the outcomes in the order of their frames.
struct Writer {
    incoming: mpsc::Receiver<Result<Handed, Status>>,
    cut: CancellationToken,
    open: OpenStream,
    _place: OwnedSemaphorePermit,
}

type Step = (Result<v1::DetectStreamResponse, Status>, Option<Writer>);

impl Writer {
    /// The next answer and what comes after it; nothing after the last.
    async fn next(mut self) -> Option<Step> {
        let cut = self.cut.clone();
        let next = tokio::select! {
            biased;
            () = cut.cancelled() => Some(Err(shutting_down())),
            next = self.answer() => next.transpose(),
        };
        match next? {
            Ok(answer) => Some((Ok(answer), Some(self))),
            Err(status) => Some((Err(status), None)),
        }
    }

    async fn answer(&mut self) -> Result<Option<v1::DetectStreamResponse>, Status> {
        let Some(handed) = self.incoming.recv().await.transpose()? else { return Ok(None) };
        let outcome = match handed.outcome {
            Ok(pending) => match pending.await {
                Err(DetectError::ShuttingDown) => return Err(shutting_down()),
                outcome => outcome.map_err(|error| of_detection(&error)),
            },
            Err(status) => Err(status),
        };
        self.open.answered(outcome.as_ref().err().map_or(Code::Ok, Status::code));
        Ok(Some(answer(handed.frame_id, handed.capture_time, &outcome)))
    }
}
