//! What is shared about one watched camera: settings, books, status, and the gate its frames pass.
//!
//! Every change of settings that needs a new connection begins a new *epoch*. What an older epoch still
//! says or delivers is recognised as late: its frames are dropped by name, its states are not told.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use prometheus::Histogram;

use crate::camera::{CameraId, CameraOrigin, CameraSpec, CameraState, CameraStatus, CameraView, FailureKind};
use crate::frame::{CaptureTime, Frame};
use crate::ledger::{DropReason, Ledger};
use crate::trace::Stage;

use super::Sink;
use super::capture::CaptureClock;
use super::link::Receiver;
use super::pacing::Pacer;
use super::source::Decoded;

/// One camera, as the fleet, its task, its connection and the metrics share it.
pub(super) struct Watched {
    pub(super) id: CameraId,
    pub(super) origin: CameraOrigin,
    pub(super) ledger: Arc<Ledger>,
    spec: RwLock<Arc<CameraSpec>>,
    gate: Mutex<Gate>,
    teller: Mutex<Teller>,
    status: RwLock<Arc<CameraStatus>>,
    retries: [AtomicU64; FailureKind::ALL.len()],
    skipped: AtomicU64,
    connects: AtomicU64,
    decode_nanoseconds: AtomicU64,
    decode_seconds: Histogram,
    max_clock_offset: Duration,
    sink: Arc<dyn Sink>,
}

/// Where frames of all connections queue up to be counted and let through, one at a time.
struct Gate {
    epoch: u64,
    connection: u64,
    closed: Option<DropReason>,
    sequence: u64,
    pacer: Pacer,
    clock: CaptureClock,
}

/// Keeps states in order, and silent once the camera is gone.
struct Teller {
    epoch: u64,
    silent: bool,
}

impl std::fmt::Debug for Watched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Watched({})", self.id)
    }
}

impl Watched {
    pub(super) fn new(
        spec: Arc<CameraSpec>,
        origin: CameraOrigin,
        sink: Arc<dyn Sink>,
        decode_seconds: Histogram,
        max_clock_offset: Duration,
    ) -> Self {
        let mut pacer = Pacer::default();
        pacer.limit(spec.max_fps);
        Self {
            id: spec.id.clone(),
            origin,
            ledger: Arc::default(),
            status: RwLock::new(Arc::new(first_status(&spec))),
            spec: RwLock::new(spec),
            gate: Mutex::new(Gate {
                epoch: 0,
                connection: 0,
                closed: None,
                sequence: 0,
                pacer,
                clock: CaptureClock::default(),
            }),
            teller: Mutex::new(Teller { epoch: 0, silent: false }),
            retries: Default::default(),
            skipped: AtomicU64::new(0),
            connects: AtomicU64::new(0),
            decode_nanoseconds: AtomicU64::new(0),
            decode_seconds,
            max_clock_offset,
            sink,
        }
    }

    pub(super) fn spec(&self) -> Arc<CameraSpec> {
        Arc::clone(&self.spec.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn status(&self) -> Arc<CameraStatus> {
        Arc::clone(&self.status.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Retries so far by [`FailureKind::ALL`].
    pub(super) fn retries(&self) -> [u64; FailureKind::ALL.len()] {
        self.retries.each_ref().map(|count| count.load(Ordering::Relaxed))
    }

    pub(super) fn count_retry(&self, kind: FailureKind) {
        self.retries[kind as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Coded frames that were not decoded.
    pub(super) fn skipped(&self) -> u64 {
        self.skipped.load(Ordering::Relaxed)
    }

    /// How often it went live.
    pub(super) fn connects(&self) -> u64 {
        self.connects.load(Ordering::Relaxed)
    }

    /// What its decoder took over all frames together.
    pub(super) fn decode_time(&self) -> Duration {
        Duration::from_nanos(self.decode_nanoseconds.load(Ordering::Relaxed))
    }

    fn count_decoded(&self, took: Duration) {
        self.decode_seconds.observe(took.as_secs_f64());
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.decode_nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    pub(super) fn view(&self) -> CameraView {
        CameraView {
            spec: (*self.spec()).clone(),
            origin: self.origin,
            status: self.status(),
            balance: self.ledger.balance(),
            reconnects: self.retries().iter().sum(),
        }
    }

    /// Takes new settings. Where they need a new connection, frames of the old one are refused from here
    /// on and the new epoch is returned.
    pub(super) fn change(&self, spec: Arc<CameraSpec>) -> Option<u64> {
        let old = std::mem::replace(
            &mut *self.spec.write().unwrap_or_else(PoisonError::into_inner),
            Arc::clone(&spec),
        );
        let mut gate = self.gate();
        if old.max_fps != spec.max_fps {
            gate.pacer.limit(spec.max_fps);
        }
        if !needs_reconnect(&old, &spec) {
            return None;
        }
        gate.epoch += 1;
        gate.closed = Some(DropReason::CameraRemoved);
        let epoch = gate.epoch;
        drop(gate);
        self.teller().epoch = epoch;
        self.tell(epoch, first_status(&spec));
        Some(epoch)
    }

    /// Refuses all frames from here on, for `reason`, and tells no more states.
    pub(super) fn retire(&self, reason: DropReason) {
        let mut gate = self.gate();
        gate.epoch = u64::MAX;
        gate.closed = Some(reason);
        drop(gate);
        self.teller().silent = true;
    }

    /// Opens the gate to a new connection and returns its number. Frames of earlier ones are refused from
    /// here on. In an `epoch` that is over the gate stays shut.
    pub(super) fn connect(&self, epoch: u64) -> u64 {
        let mut gate = self.gate();
        gate.connection += 1;
        if gate.epoch == epoch {
            gate.closed = None;
        }
        gate.connection
    }

    /// Shuts the gate between two connections.
    pub(super) fn disconnect(&self) {
        self.gate().closed.get_or_insert(DropReason::Superseded);
    }

    /// When a frame was captured that arrived `age` ago.
    fn capture(&self, clock: &mut CaptureClock, frame: &Decoded, age: Duration) -> CaptureTime {
        let now = SystemTime::now();
        let arrival = now.checked_sub(age).unwrap_or(now);
        let dated = clock.date(frame.arrived, arrival, frame.reported, self.max_clock_offset);
        if let Some(offset) = dated.news {
            tracing::warn!(
                camera = %self.id,
                "the camera's clock is off by {:.1} s: its frames are dated by their arrival; set its clock by NTP, \
                 or raise [ingest] max_clock_offset",
                offset.as_secs_f64()
            );
        }
        CaptureTime { wall: dated.wall, monotonic: frame.arrived, quality: dated.quality }
    }

    /// Publishes a state, unless its epoch is over.
    pub(super) fn tell(&self, epoch: u64, mut status: CameraStatus) {
        let teller = self.teller();
        if teller.silent || teller.epoch != epoch {
            return;
        }
        let last = self.status();
        if last.state == status.state {
            status.since = last.since;
        }
        if *last == status {
            return;
        }
        if status.state == CameraState::Live && last.state != CameraState::Live {
            self.connects.fetch_add(1, Ordering::Relaxed);
        }
        let status = Arc::new(status);
        *self.status.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&status);
        self.sink.state_changed(&self.id, &status);
    }

    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn teller(&self) -> MutexGuard<'_, Teller> {
        self.teller.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Receiver for Watched {
    /// Enters a frame into the books and offers it to the sink, or drops it by name.
    fn enter(&self, connection: u64, frame: Decoded) {
        self.count_decoded(frame.decoded - frame.decode_began);
        let age = frame.arrived.elapsed();
        // Held while the sink takes the frame, so that after `change` and `retire` none can follow.
        let mut gate = self.gate();
        gate.sequence += 1;
        let mut ticket = self.ledger.receive();
        if let Some(trace) = self.sink.trace(&self.id, gate.sequence, frame.arrived) {
            trace.span(Stage::Decode, frame.decode_began, frame.decoded);
            ticket.follow(trace);
        }
        if let Some(reason) = gate.refuse(connection, frame.arrived) {
            return ticket.drop_as(reason);
        }
        let capture = self.capture(&mut gate.clock, &frame, age);
        self.sink.offer(Frame {
            camera: self.id.clone(),
            sequence: gate.sequence,
            picture: Arc::new(frame.picture),
            capture,
            decoded: frame.decoded,
            ticket,
        });
    }

    fn count_skipped(&self) {
        self.skipped.fetch_add(1, Ordering::Relaxed);
    }
}

impl Gate {
    fn refuse(&mut self, connection: u64, arrived: Instant) -> Option<DropReason> {
        if let Some(reason) = self.closed {
            return Some(reason);
        }
        if connection != self.connection {
            return Some(DropReason::Superseded);
        }
        (!self.pacer.admit(arrived)).then_some(DropReason::RateLimited)
    }
}

/// Whether a change of settings needs a new connection.
fn needs_reconnect(old: &CameraSpec, new: &CameraSpec) -> bool {
    old.url != new.url
        || old.enabled != new.enabled
        || old.transport != new.transport
        || old.repeat != new.repeat
}

fn first_status(spec: &CameraSpec) -> CameraStatus {
    let (state, reason) = if spec.enabled {
        (CameraState::Connecting, format!("connecting to {}", spec.url))
    } else {
        (CameraState::Disabled, "disabled in its settings".to_owned())
    };
    CameraStatus { state, reason, failure: None, since: SystemTime::now(), retry_at: None, frame_size: None }
}
