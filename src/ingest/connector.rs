//! Opens and closes connections, which may block, away from the tasks.
//!
//! Each runs on a thread of its own and not on the runtime's blocking threads: their number is limited, and
//! the runtime waits for them at its end, so a few cameras that hang would hold up all others and the exit.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::camera::{CameraSpec, FailureKind};

use super::config::Config;
use super::link::Link;
use super::source::{Failure, Options, Session, Source};

/// One camera's way to connections: one at a time.
pub(super) struct Connector {
    source: Arc<dyn Source>,
    options: Options,
    close_timeout: Duration,
    /// Resolves when the thread that opens or closes the last connection is done.
    busy: Option<oneshot::Receiver<()>>,
}

impl Connector {
    pub(super) fn new(source: Arc<dyn Source>, config: &Config) -> Self {
        let options = Options {
            connect_timeout: config.connect_timeout,
            udp_latency: config.udp_latency,
            max_backlog: config.max_backlog,
            decoder_threads: config.decoder_threads,
        };
        Self { source, options, close_timeout: config.close_timeout, busy: None }
    }

    /// Opens a connection once the last one is closed. One that nobody waits for any more, because it takes
    /// too long or this future was dropped, is closed by the thread that opens it.
    pub(super) async fn open(
        &mut self,
        spec: &Arc<CameraSpec>,
        link: &Arc<Link>,
    ) -> Result<Box<dyn Session>, Failure> {
        self.wait_until_idle().await?;
        let (answer, opened) = oneshot::channel();
        let (done, busy) = oneshot::channel::<()>();
        let (source, options) = (Arc::clone(&self.source), self.options.clone());
        let (spec, link) = (Arc::clone(spec), Arc::clone(link));
        on_thread("camera-open", move || {
            let opened: Result<Box<dyn Session>, Failure> = source.open(&spec, &options, link);
            if let Err(Ok(unwanted)) = answer.send(opened) {
                unwanted.close();
            }
            drop(done);
        })?;
        self.busy = Some(busy);
        match timeout(self.options.connect_timeout, opened).await {
            Ok(Ok(opened)) => {
                self.busy = None;
                opened
            }
            Ok(Err(_)) => Err(Failure::new(FailureKind::Other, "connecting to it crashed; see the log")),
            Err(_) => Err(no_answer(self.options.connect_timeout)),
        }
    }

    /// Closes a connection. One that hangs is left to its thread after a while, and false is returned: it
    /// holds that thread and what its pipeline holds until its peer or the system lets go. A camera never
    /// has more than one such, since the next connection waits for it.
    pub(super) async fn close(&mut self, session: Box<dyn Session>) -> bool {
        let (done, mut busy) = oneshot::channel::<()>();
        let closing = on_thread("camera-close", move || {
            session.close();
            drop(done);
        });
        // Without a thread, the session was closed as it was dropped.
        let closed = closing.is_err() || timeout(self.close_timeout, &mut busy).await.is_ok();
        self.busy = (!closed).then_some(busy);
        closed
    }

    /// Waits until the last connection is closed, however long that takes.
    pub(super) async fn closed(&mut self) {
        if let Some(busy) = self.busy.take() {
            let _ = busy.await;
        }
    }

    async fn wait_until_idle(&mut self) -> Result<(), Failure> {
        if let Some(busy) = &mut self.busy
            && timeout(self.options.connect_timeout, busy).await.is_err()
        {
            let message = "the last connection hangs and is still being closed; if this stays, restart the \
                           camera or this server";
            return Err(Failure::new(FailureKind::Network, message));
        }
        self.busy = None;
        Ok(())
    }
}

/// A camera let `patience` go by without any video.
pub(super) fn no_answer(patience: Duration) -> Failure {
    let patience = humantime::format_duration(patience);
    let message = format!("no video came within {patience} of connecting; check the camera and the network");
    Failure::new(FailureKind::Network, message)
}

fn on_thread(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    match std::thread::Builder::new().name(name.into()).spawn(work) {
        Ok(_) => Ok(()),
        Err(error) => {
            let message = format!("no thread can be started ({error}); raise the limit of threads");
            Err(Failure::new(FailureKind::Other, message))
        }
    }
}
