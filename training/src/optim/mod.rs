//! How weights change: the optimiser with its rates, and averages of weights.
//!
//! Generic over the module that is trained; what network it is does not matter here.

mod average;
mod config;
mod optimiser;
mod schedule;
mod statistics;

pub use average::{Average, mix};
pub use config::{Kind, OptimConfig, OptimError};
pub use optimiser::Optimiser;
pub use schedule::Schedule;
pub use statistics::{MOMENTUM, reestimate};

#[cfg(test)]
mod tests;
