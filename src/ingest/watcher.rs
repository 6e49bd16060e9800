//! The task of one camera: `run` outlives panics, `keep_watching` retries for ever, `run_once` connects,
//! watches and fails.

use std::hash::{BuildHasher as _, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::FutureExt as _;
use prometheus::IntCounter;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, error, info, warn};

use crate::camera::{CameraSpec, CameraState, CameraStatus, FailureKind, SourceKind};

use super::backoff::Backoff;
use super::config::Config;
use super::connector::Connector;
use super::link::Link;
use super::reach::{reachable, try_reach};
use super::source::{Failure, Source};
use super::verdict;
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
    connector: Connector,
    camera: Arc<Watched>,
    orders: watch::Receiver<Order>,
    backoff: Backoff,
    /// The last failure, while it is not overcome.
    failure: Option<Failure>,
    /// Whether the camera's host could not be reached the last time.
    unreachable: bool,
    panics: Option<IntCounter>,
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
        let connector = Connector::new(source, &config);
        Self { config, connector, camera, orders, backoff, failure: None, unreachable: false, panics: None }
    }

    /// Counts panics there.
    pub(super) fn counting(self, panics: IntCounter) -> Self {
        Self { panics: Some(panics), ..self }
    }

    pub(super) async fn run(mut self) {
        while AssertUnwindSafe(self.keep_watching()).catch_unwind().await.is_err() {
            self.recover().await;
        }
    }

    /// After a panic: shuts the gate, tells of it, and waits as after any other failure.
    async fn recover(&mut self) {
        self.camera.disconnect();
        self.panics.iter().for_each(IntCounter::inc);
        let failure = Failure::new(
            FailureKind::Other,
            "watching it panicked, which is a fault in centerx; please report it with the log",
        );
        let wait = self.backoff.next(random());
        error!(camera = %self.camera.id, retry_in = ?wait, "{failure}");
        self.failure = Some(failure.clone());
        self.unreachable = false;
        let epoch = self.orders.borrow().epoch;
        // Telling may be just what panics.
        let telling = || self.tell(epoch, CameraState::Backoff, failure.message, Some(wait));
        let _ = catch_unwind(AssertUnwindSafe(telling));
        tokio::select! {
            biased;
            () = self.ordered() => {}
            () = tokio::time::sleep(wait) => {}
        }
        self.camera.count_retry(FailureKind::Other);
    }

    async fn keep_watching(&mut self) {
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
                    let reason = format!("{} was played to its end; set loop to start it again", spec.url);
                    self.tell(epoch, CameraState::Ended, reason, None);
                    self.wait_for_orders().await;
                }
                End::Failed(failure) => self.wait_to_retry(&spec, epoch, failure).await,
            }
        }
    }

    async fn run_once(&mut self, spec: &Arc<CameraSpec>, epoch: u64) -> End {
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
        let link = Link::new(Arc::clone(&self.camera) as _, self.camera.connect(epoch));
        let ordered = self.ordered();
        let opened = tokio::select! {
            biased;
            () = ordered => Err(End::Ordered),
            opened = self.connector.open(spec, &link) => opened.map_err(End::Failed),
        };
        let session = match opened {
            Ok(session) => session,
            Err(end) => {
                self.camera.disconnect();
                return end;
            }
        };
        let ordered = self.ordered();
        let end = tokio::select! {
            biased;
            () = ordered => End::Ordered,
            end = self.watch(spec, epoch, &link) => end,
        };
        if let End::Failed(failure) = &end
            && failure.kind == FailureKind::Stalled
        {
            self.failure = Some(failure.clone());
            self.tell(epoch, CameraState::Stalled, failure.message.clone(), None);
        }
        self.camera.disconnect();
        if !self.connector.close(session).await {
            warn!(camera = %self.camera.id, "the connection does not close in time; left to close by itself");
        }
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
            let deadline = verdict::deadline(&self.config, started, &progress);
            if Instant::now() >= deadline {
                return End::Failed(verdict::overdue(&self.config, &progress));
            }
            tokio::select! {
                () = link.news() => {}
                () = sleep_until(deadline) => {}
            }
        }
    }

    fn live(&mut self, epoch: u64, size: Option<(u32, u32)>) {
        self.failure = None;
        self.unreachable = false;
        let before = self.camera.status();
        if before.state == CameraState::Live && before.frame_size == size {
            // A file that starts over is no news.
            return;
        }
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
            explained = verdict::explain(spec, failure) => explained,
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
        Ok(()) if !had_pictures => End::Failed(verdict::empty()),
        Ok(()) if is_file => End::Finished,
        Ok(()) => {
            End::Failed(Failure::new(FailureKind::Ended, "the camera ended the stream; connecting anew"))
        }
    }
}

/// A number in `0.0..1.0`, for jitter: the standard library's random hash keys are random enough.
fn random() -> f64 {
    RandomState::new().hash_one(0u8) as f64 / u64::MAX as f64
}
