//! The task of one camera: `run` retries for ever, `run_once` connects, watches and fails.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, info, warn};

use crate::camera::{CameraSpec, CameraState, CameraStatus, FailureKind, SourceKind};
use crate::ledger::DropReason;

use super::backoff::Backoff;
use super::config::Config;
use super::link::{Link, Progress};
use super::reach::{reachable, try_reach};
use super::source::{Failure, Options, Session, Source};
use super::watched::Watched;

/// What the task is to do. When the sender is gone, it ends.
#[derive(Clone, Debug)]
pub(super) struct Order {
    pub(super) spec: Arc<CameraSpec>,
    pub(super) epoch: u64,
}

/// A file that repeats starts at most this often, however short it is.
const SHORTEST_LOOP: Duration = Duration::from_millis(100);

pub(super) struct Watcher {
    config: Arc<Config>,
    source: Arc<dyn Source>,
    camera: Arc<Watched>,
    orders: watch::Receiver<Order>,
    backoff: Backoff,
    /// Resolves when the thread that opens or closes the last connection is done.
    closing: Option<oneshot::Receiver<()>>,
    /// The last failure, while it is not overcome.
    failure: Option<Failure>,
    /// Whether the camera's host could not be reached the last time.
    unreachable: bool,
}

/// How a run ended.
enum End {
    /// There are new orders.
    Ordered,
    /// A file was played to its end.
    Finished,
    Failed(Failure),
}

impl Watcher {
    pub(super) fn new(
        config: Arc<Config>,
        source: Arc<dyn Source>,
        camera: Arc<Watched>,
        orders: watch::Receiver<Order>,
    ) -> Self {
        let backoff = Backoff::new(config.backoff_min, config.backoff_max);
        Self { config, source, camera, orders, backoff, closing: None, failure: None, unreachable: false }
    }

    pub(super) async fn run(mut self) {
        while self.orders.has_changed().is_ok() {
            let Order { spec, epoch } = self.orders.borrow_and_update().clone();
            if !spec.enabled {
                self.wait_for_orders().await;
                continue;
            }
            let started = Instant::now();
            match self.run_once(&spec, epoch).await {
                End::Ordered => self.forget_failures(),
                End::Finished if spec.repeat => sleep_until(started + SHORTEST_LOOP).await,
                End::Finished => {
                    self.tell(epoch, CameraState::Ended, format!("{} was played to its end", spec.url), None);
                    self.wait_for_orders().await;
                }
                End::Failed(failure) => self.wait_to_retry(&spec, epoch, failure).await,
            }
        }
    }

    async fn run_once(&mut self, spec: &Arc<CameraSpec>, epoch: u64) -> End {
        if let Err(end) = self.wait_until_closed().await {
            return end;
        }
        if let Err(end) = self.knock(spec).await {
            return end;
        }
        // A file that starts over stays live meanwhile.
        if self.camera.status().state != CameraState::Live {
            let reason = match &self.failure {
                Some(failure) => format!("trying {} again after: {failure}", spec.url),
                None => format!("connecting to {}", spec.url),
            };
            self.tell(epoch, CameraState::Connecting, reason, None);
        }
        let link = Link::new(Arc::clone(&self.camera), self.camera.connect(epoch));
        let session = match self.open(spec, &link).await {
            Ok(session) => session,
            Err(end) => return end,
        };
        let end = tokio::select! {
            biased;
            () = self.ordered() => End::Ordered,
            end = self.watch(spec, epoch, &link) => end,
        };
        if let End::Failed(failure) = &end
            && failure.kind == FailureKind::Stalled
        {
            self.failure = Some(failure.clone());
            self.tell(epoch, CameraState::Stalled, failure.message.clone(), None);
        }
        self.camera.disconnect();
        self.close(session).await;
        end
    }

    /// Spares a camera whose host was gone a whole attempt to connect, which may be stuck for long when the
    /// host returns.
    async fn knock(&mut self, spec: &CameraSpec) -> Result<(), End> {
        if !self.unreachable {
            return Ok(());
        }
        tokio::select! {
            biased;
            () = self.ordered() => Err(End::Ordered),
            reached = try_reach(&spec.url) => match reached {
                Some(Err(cause)) => Err(End::Failed(cause)),
                _ => Ok(()),
            },
        }
    }

    /// Opens a connection on a thread of its own; one that takes too long is closed by that thread.
    async fn open(&mut self, spec: &Arc<CameraSpec>, link: &Arc<Link>) -> Result<Box<dyn Session>, End> {
        let (answer, opened) = oneshot::channel();
        let (done, closing) = oneshot::channel::<()>();
        let (source, spec, link) = (Arc::clone(&self.source), Arc::clone(spec), Arc::clone(link));
        let options = Options {
            connect_timeout: self.config.connect_timeout,
            udp_latency: self.config.udp_latency,
            max_backlog: self.config.max_backlog,
            decoder_threads: self.config.decoder_threads,
        };
        on_thread("camera-open", move || {
            if let Err(Ok(unwanted)) = answer.send(source.open(&spec, &options, link)) {
                let unwanted: Box<dyn Session> = unwanted;
                unwanted.close();
            }
            drop(done);
        })
        .map_err(End::Failed)?;
        let end = tokio::select! {
            biased;
            () = self.ordered() => End::Ordered,
            opened = timeout(self.config.connect_timeout, opened) => match opened {
                Ok(Ok(Ok(session))) => return Ok(session),
                Ok(Ok(Err(failure))) => End::Failed(failure),
                Ok(Err(_)) => End::Failed(Failure::new(FailureKind::Other, "opening it crashed; see the log")),
                Err(_) => End::Failed(self.no_answer()),
            },
        };
        self.camera.disconnect();
        self.closing = Some(closing);
        Err(end)
    }

    /// Closes a connection on a thread of its own. One that hangs is left to that thread: it holds one
    /// thread and what its pipeline holds until its peer or the system lets go. A camera never has more
    /// than one such, since the next connection waits for it.
    async fn close(&mut self, session: Box<dyn Session>) {
        let (done, mut closing) = oneshot::channel::<()>();
        let closer = on_thread("camera-close", move || {
            session.close();
            drop(done);
        });
        if closer.is_err() {
            return;
        }
        if timeout(self.config.close_timeout, &mut closing).await.is_err() {
            warn!(camera = %self.camera.id, "the connection does not close in time; left to close by itself");
            self.closing = Some(closing);
        }
    }

    async fn wait_until_closed(&mut self) -> Result<(), End> {
        let ordered = self.ordered();
        let Some(closing) = &mut self.closing else { return Ok(()) };
        tokio::select! {
            biased;
            () = ordered => return Err(End::Ordered),
            closed = timeout(self.config.connect_timeout, closing) => if closed.is_err() {
                let message = "the last connection hangs and is still being closed; if this stays, restart \
                               the camera or this server";
                return Err(End::Failed(Failure::new(FailureKind::Network, message)));
            },
        }
        self.closing = None;
        Ok(())
    }

    /// Follows a connection until it ends, fails or stalls.
    async fn watch(&mut self, spec: &CameraSpec, epoch: u64, link: &Link) -> End {
        let started = Instant::now();
        let mut live_since = None;
        let mut shown = None;
        loop {
            let progress = link.snapshot();
            if progress.size.is_some() && progress.size != shown {
                shown = progress.size;
                live_since.get_or_insert_with(Instant::now);
                self.live(epoch, shown);
            }
            if live_since.is_some_and(|since: Instant| since.elapsed() >= self.config.healthy_after) {
                self.backoff.reset();
            }
            if let Some(outcome) = progress.outcome {
                return ended(spec, outcome, shown.is_some());
            }
            let deadline = self.deadline(started, &progress);
            if Instant::now() >= deadline {
                return End::Failed(self.overdue(&progress));
            }
            tokio::select! {
                () = link.news() => {}
                () = sleep_until(deadline) => {}
            }
        }
    }

    /// When something must have happened: the next picture, or the first one, or a first answer.
    fn deadline(&self, started: Instant, progress: &Progress) -> Instant {
        match (progress.last_picture, progress.coded) {
            (Some(picture), _) => Instant::from_std(picture) + self.config.stall_timeout,
            (None, Some(coded)) => Instant::from_std(coded) + self.config.connect_timeout,
            (None, None) => started + self.config.connect_timeout,
        }
    }

    fn overdue(&self, progress: &Progress) -> Failure {
        match (progress.last_picture, progress.coded) {
            (Some(_), _) => Failure::new(
                FailureKind::Stalled,
                format!(
                    "no frame came for {}; connecting anew",
                    humantime::format_duration(self.config.stall_timeout)
                ),
            ),
            (None, Some(_)) => Failure::new(
                FailureKind::Codec,
                "coded video arrives, but no picture can be decoded from it; set the camera to a plain H.264 \
                 profile and a shorter keyframe interval",
            ),
            (None, None) => self.no_answer(),
        }
    }

    fn no_answer(&self) -> Failure {
        let patience = humantime::format_duration(self.config.connect_timeout);
        let message =
            format!("no video came within {patience} of connecting; check the camera and the network");
        Failure::new(FailureKind::Network, message)
    }

    fn live(&mut self, epoch: u64, size: Option<(u32, u32)>) {
        self.failure = None;
        let (width, height) = size.unwrap_or_default();
        info!(camera = %self.camera.id, width, height, "live");
        self.camera.tell(
            epoch,
            CameraStatus {
                state: CameraState::Live,
                reason: "frames arrive".into(),
                failure: None,
                since: SystemTime::now(),
                retry_at: None,
                frame_size: size,
            },
        );
    }

    async fn wait_to_retry(&mut self, spec: &CameraSpec, epoch: u64, failure: Failure) {
        let (failure, unreachable) = tokio::select! {
            biased;
            () = self.ordered() => return self.forget_failures(),
            explained = explain(spec, failure) => explained,
        };
        self.unreachable = unreachable;
        let wait = self.backoff.next(random());
        self.log(&failure, wait);
        let state = if failure.kind.needs_attention() { CameraState::Failed } else { CameraState::Backoff };
        let kind = failure.kind;
        self.failure = Some(failure.clone());
        self.tell(epoch, state, failure.message, Some(wait));
        let came_back = async {
            if unreachable {
                reachable(&spec.url, self.config.probe_interval).await;
            } else {
                std::future::pending().await
            }
        };
        tokio::select! {
            biased;
            () = self.ordered() => return self.forget_failures(),
            () = came_back => debug!(camera = %self.camera.id, "can be reached again"),
            () = tokio::time::sleep(wait) => {}
        }
        self.camera.count_retry(kind);
    }

    fn log(&self, failure: &Failure, wait: Duration) {
        let (camera, kind) = (&self.camera.id, failure.kind.as_str());
        let wait = humantime::format_duration(Duration::from_millis(wait.as_millis() as u64));
        if self.failure.as_ref() == Some(failure) {
            debug!(%camera, kind, retry_in = %wait, "still failing: {failure}");
        } else {
            warn!(%camera, kind, retry_in = %wait, "{failure}");
        }
    }

    fn tell(&self, epoch: u64, state: CameraState, reason: String, retry_in: Option<Duration>) {
        let now = SystemTime::now();
        let failure = self.failure.as_ref().map(|failure| failure.kind);
        let frame_size = self.camera.status().frame_size;
        let retry_at = retry_in.map(|wait| now + wait);
        self.camera.tell(epoch, CameraStatus { state, reason, failure, since: now, retry_at, frame_size });
    }

    async fn wait_for_orders(&mut self) {
        self.ordered().await;
        self.forget_failures();
    }

    /// Resolves when there are new orders, or none will ever come; the loop sees which.
    fn ordered(&self) -> impl Future<Output = ()> + use<> {
        let mut orders = self.orders.clone();
        async move {
            let _ = orders.changed().await;
        }
    }

    fn forget_failures(&mut self) {
        self.backoff.reset();
        self.failure = None;
        self.unreachable = false;
    }
}

/// What it means that a connection is over.
fn ended(spec: &CameraSpec, outcome: Result<(), Failure>, had_pictures: bool) -> End {
    let is_file = spec.url.kind() == SourceKind::File;
    match outcome {
        Err(failure) => End::Failed(failure),
        Ok(()) if !had_pictures => End::Failed(Failure::new(
            FailureKind::Codec,
            "the stream ended and not one picture could be decoded from it; it is empty or damaged",
        )),
        Ok(()) if is_file => End::Finished,
        Ok(()) => {
            End::Failed(Failure::new(FailureKind::Ended, "the camera ended the stream; connecting anew"))
        }
    }
}

/// A failure with its cause in the network if there is one, and whether the host cannot be reached.
async fn explain(spec: &CameraSpec, failure: Failure) -> (Failure, bool) {
    match (try_reach(&spec.url).await, failure.kind) {
        (Some(Err(cause)), FailureKind::Network | FailureKind::Other) => (cause, true),
        (Some(Err(_)), _) => (failure, true),
        _ => (failure, false),
    }
}

/// Runs what may block. Not on the runtime's blocking threads: their number is limited, and the runtime
/// waits for them at its end, so a few cameras that hang would hold up all others and the exit.
fn on_thread(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    match std::thread::Builder::new().name(name.into()).spawn(work) {
        Ok(_) => Ok(()),
        Err(error) => {
            let message = format!("no thread can be started ({error}); raise the limit of threads");
            Err(Failure::new(FailureKind::Other, message))
        }
    }
}

/// A number in `0.0..1.0`, for jitter: the standard library's random hash keys are random enough.
fn random() -> f64 {
    RandomState::new().hash_one(0u8) as f64 / u64::MAX as f64
}

/// Ends a camera for good: its frames are refused for `reason`, its task ends.
pub(super) fn retire(camera: &Watched, orders: watch::Sender<Order>, reason: DropReason) {
    camera.retire(reason);
    drop(orders);
}
