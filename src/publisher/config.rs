//! The hub's settings.

use std::num::NonZeroUsize;
use std::time::Duration;

use serde::Deserialize;

/// The hub's settings.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Frames' detections that wait for one subscriber at most; one more empties its ring.
    pub ring: NonZeroUsize,
    /// A subscriber that takes nothing for so long while messages wait is ended; 1 s at least.
    #[serde(with = "humantime_serde")]
    pub stall_timeout: Duration,
    /// Published frames of each camera that are kept for subscribers that come back; 0 keeps none.
    pub replay_frames: usize,
    /// They are kept for so long at most.
    #[serde(with = "humantime_serde")]
    pub replay_age: Duration,
    /// Memory for all of them together, in bytes: a frame of 6 objects takes about 1 KiB.
    pub replay_bytes: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            // Six seconds of a camera at ten frames a second: a hiccup passes unseen, a stall does not.
            ring: NonZeroUsize::MIN.saturating_add(63),
            stall_timeout: Duration::from_secs(60),
            // Half a minute of a camera at ten frames a second: time for a client to be restarted.
            replay_frames: 300,
            replay_age: Duration::from_secs(30),
            replay_bytes: 32 << 20,
        }
    }
}

impl Config {
    /// Checks what parsing alone does not.
    ///
    /// # Errors
    /// The setting that cannot be, and what would do.
    pub fn validate(&self) -> Result<(), String> {
        if self.stall_timeout < Duration::from_secs(1) {
            return Err("stall_timeout: a subscriber needs a second at least to take a message".into());
        }
        Ok(())
    }
}
