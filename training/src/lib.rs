//! Trains the CenterNets that centerx serves, from labels, from teachers, or from both.
//!
//! The way of a picture:
//!
//! ```text
//! data (pictures, labels) -> view (crop, scale, flip) -> teacher maps (cached) -> batch -> network -> losses -> optimiser
//! ```
//!
//! `maps` and `view` are leaf modules. `data`, `teacher`, `nn`, `loss`, `optim` and `export` know those and not each
//! other, `export` excepted, which writes `nn`; only `run` knows them all, and `cli` knows `run`.

pub mod cli;
pub mod data;
pub mod export;
pub mod loss;
pub mod maps;
pub mod nn;
pub mod optim;
pub mod run;
pub mod teacher;
pub mod view;
