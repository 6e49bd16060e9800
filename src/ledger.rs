//! The books of one camera: every frame that came in is published, dropped under a name, or in flight.
//!
//! [`Ledger::receive`] hands out a [`Ticket`] that travels with the frame. The ticket is closed exactly
//! once, by [`Ticket::publish`] or [`Ticket::drop_as`]; one that is merely let go closes itself as
//! [`DropReason::Lost`]. So a frame cannot vanish without a name, whatever path it takes.
//!
//! What does not belong here: why a frame is dropped. The stage that drops it decides.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::trace::Trace;

/// Why a frame was not published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// A newer frame of the same camera took its place before an engine was free.
    Superseded,
    /// Its detections could not be published, or were not, within the camera's `max_age`.
    TooOld,
    /// It came sooner than the camera's `max_fps` allows.
    RateLimited,
    /// The engine could not process it.
    EngineError,
    /// The engine panicked over it, or over another one of its batch.
    EnginePanic,
    /// The engine did not come to an end with it in time, and was given up.
    EngineHung,
    /// The model the camera asks for is not loaded.
    NoModel,
    /// The camera was removed, disabled or changed while the frame waited.
    CameraRemoved,
    /// The server was shutting down.
    Shutdown,
    /// No stage named a reason. A fault of ours: the ticket was let go unclosed, as after a panic.
    Lost,
}

impl DropReason {
    /// Every reason, in the order of [`Balance::dropped`].
    pub const ALL: [Self; 10] = [
        Self::Superseded,
        Self::TooOld,
        Self::RateLimited,
        Self::EngineError,
        Self::EnginePanic,
        Self::EngineHung,
        Self::NoModel,
        Self::CameraRemoved,
        Self::Shutdown,
        Self::Lost,
    ];

    /// The metric label and wire name, in `snake_case`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Superseded => "superseded",
            Self::TooOld => "too_old",
            Self::RateLimited => "rate_limited",
            Self::EngineError => "engine_error",
            Self::EnginePanic => "engine_panic",
            Self::EngineHung => "engine_hung",
            Self::NoModel => "no_model",
            Self::CameraRemoved => "camera_removed",
            Self::Shutdown => "shutdown",
            Self::Lost => "lost",
        }
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A camera's books at one moment. `received = published + total_dropped() + in_flight` always holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    /// Frames the decoder delivered.
    pub received: u64,
    /// Frames whose detections were handed to the subscribers' hub.
    pub published: u64,
    /// Frames between the two, counted one by one as tickets open and close, not derived.
    pub in_flight: u64,
    dropped: [u64; DropReason::ALL.len()],
}

impl Balance {
    /// Frames dropped for `reason`.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped[reason as usize]
    }

    /// Frames dropped for any reason.
    pub fn total_dropped(&self) -> u64 {
        self.dropped.iter().sum()
    }
}

/// A camera's books with what came of its published frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// The books.
    pub balance: Balance,
    /// Objects found in the published frames.
    pub objects: u64,
    /// The sum of the published frames' ages.
    pub age: Duration,
    /// The greatest age of a frame that was published since the reading before.
    pub oldest: Duration,
}

/// The books of one camera. Cheap to share; one short lock a change, so that a reader never sees half of one.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<Reading>);

impl Ledger {
    /// Enters a frame and returns the ticket that must accompany it.
    pub fn receive(self: &Arc<Self>) -> Ticket {
        let mut books = self.lock();
        books.balance.received += 1;
        books.balance.in_flight += 1;
        drop(books);
        Ticket { ledger: Some(Arc::clone(self)), trace: None }
    }

    /// The books as they stand, consistent in themselves.
    pub fn balance(&self) -> Balance {
        self.lock().balance
    }

    /// The books and what came of the frames, all of one moment. For one reader: `oldest` begins anew.
    pub fn read(&self) -> Reading {
        let mut books = self.lock();
        let reading = *books;
        books.oldest = Duration::ZERO;
        reading
    }

    fn lock(&self) -> MutexGuard<'_, Reading> {
        // Each change is a handful of additions that cannot panic halfway, so poison carries no news.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The claim of one frame on its camera's books.
#[derive(Debug)]
#[must_use = "a ticket let go is booked as lost"]
pub struct Ticket {
    ledger: Option<Arc<Ledger>>,
    trace: Option<Arc<Trace>>,
}

impl Ticket {
    /// From now on the frame is traced, until the ticket is closed.
    pub fn follow(&mut self, trace: Arc<Trace>) {
        self.trace = Some(trace);
    }

    /// The frame's trace, if it has one.
    pub fn trace(&self) -> Option<&Arc<Trace>> {
        self.trace.as_ref()
    }

    /// Books the frame as published.
    pub fn publish(self) {
        self.publish_with(0, Duration::ZERO);
    }

    /// Books the frame as published at this age, with so many objects found in it.
    pub fn publish_with(mut self, objects: usize, age: Duration) {
        self.close("published", |books| {
            books.balance.published += 1;
            books.objects += objects as u64;
            books.age += age;
            books.oldest = books.oldest.max(age);
        });
    }

    /// Books the frame as dropped for `reason`.
    pub fn drop_as(mut self, reason: DropReason) {
        self.close(reason.as_str(), |books| books.balance.dropped[reason as usize] += 1);
    }

    fn close(&mut self, outcome: &'static str, enter: impl FnOnce(&mut Reading)) {
        if let Some(ledger) = self.ledger.take() {
            let mut books = ledger.lock();
            books.balance.in_flight -= 1;
            enter(&mut books);
            drop(books);
            if let Some(trace) = self.trace.take() {
                trace.end(Instant::now(), outcome);
            }
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let lost = DropReason::Lost;
        self.close(lost.as_str(), |books| books.balance.dropped[lost as usize] += 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn books_balance_after_every_step(steps in prop::collection::vec((0u8..4, 0..DropReason::ALL.len(), any::<prop::sample::Index>()), 0..200)) {
            let ledger = Arc::new(Ledger::default());
            let mut open = Vec::new();
            for (step, reason, pick) in steps {
                let taken = (step != 0 && !open.is_empty()).then(|| open.swap_remove(pick.index(open.len())));
                match (step, taken) {
                    (1, Some(ticket)) => Ticket::publish(ticket),
                    (2, Some(ticket)) => Ticket::drop_as(ticket, DropReason::ALL[reason]),
                    (_, Some(ticket)) => drop(ticket),
                    (_, None) => open.push(ledger.receive()),
                }
                let balance = ledger.balance();
                prop_assert_eq!(balance.in_flight, open.len() as u64);
                prop_assert_eq!(balance.received, balance.published + balance.total_dropped() + balance.in_flight);
            }
        }
    }

    #[test]
    fn a_ticket_let_go_is_booked_as_lost() {
        let ledger = Arc::new(Ledger::default());
        drop(ledger.receive());
        assert_eq!(ledger.balance().dropped(DropReason::Lost), 1);
    }
}
