//! The settings of live pictures.

use std::num::NonZeroUsize;

use serde::Deserialize;

/// The settings of live pictures.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Threads that make pictures, at low priority; 64 at most.
    pub encoders: NonZeroUsize,
    /// The quality of the JPEGs, 1 to 100.
    pub quality: u8,
}

impl Default for Config {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            // A core makes some hundred pictures a second.
            encoders: NonZeroUsize::MIN.saturating_add((cores / 4).clamp(1, 4) - 1),
            // Fine lines and letters still read well; 90 would take twice the bytes.
            quality: 75,
        }
    }
}

impl Config {
    /// Checks what parsing alone does not.
    ///
    /// # Errors
    /// The setting that cannot be, and what would do.
    pub fn validate(&self) -> Result<(), String> {
        if self.encoders.get() > 64 {
            return Err(format!("encoders = {}: 64 threads at most", self.encoders));
        }
        if !(1..=100).contains(&self.quality) {
            return Err(format!("quality = {}: give 1 to 100, 75 is usual", self.quality));
        }
        Ok(())
    }
}
