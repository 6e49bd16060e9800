//! Refusals in the log: enough to notice, not enough to fill a disk.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Denied;

/// Between two lines.
const PAUSE: Duration = Duration::from_secs(10);

/// Logs the first refusal, and after that one in [`PAUSE`] with the number of those left out.
#[derive(Debug, Default)]
pub(super) struct Log(Mutex<Last>);

#[derive(Debug, Default)]
struct Last {
    at: Option<Instant>,
    left_out: u64,
}

impl Log {
    pub(super) fn refused(&self, denied: &Denied, peer: Option<SocketAddr>) {
        if let Some(left_out) = self.due(Instant::now()) {
            let peer = peer.map_or_else(|| "unknown".into(), |peer| peer.to_string());
            tracing::warn!(peer, reason = denied.reason(), left_out, "a call was refused: {denied}");
        }
    }

    /// How many refusals were left out, if a line is due.
    fn due(&self, now: Instant) -> Option<u64> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.at.is_some_and(|at| now.duration_since(at) < PAUSE) {
            last.left_out += 1;
            return None;
        }
        last.at = Some(now);
        Some(std::mem::take(&mut last.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_one_line_and_a_number() {
        let (log, begin) = (Log::default(), Instant::now());
        assert_eq!(log.due(begin), Some(0));
        for _ in 0..1000 {
            assert_eq!(log.due(begin + Duration::from_secs(9)), None);
        }
        assert_eq!(log.due(begin + PAUSE), Some(1000));
        assert_eq!(log.due(begin + 2 * PAUSE), Some(0));
    }
}
