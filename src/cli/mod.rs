//! The model and runtime commands.
pub mod model;
pub mod runtime;
