//! The documents: every link leads somewhere, and the reference of the settings is what the code says.
//!
//! The reference of the API is held to the protos beside them, in `src/api/reference.rs`.

#![allow(clippy::unwrap_used)] // helpers of tests are tests too

#[path = "../support/committed.rs"]
mod committed;
mod configuration;
mod links;
mod mentions;
mod shown;
mod source;
