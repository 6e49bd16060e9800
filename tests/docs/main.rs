//! The documents: every link leads somewhere, and the reference of the settings is what the code says.
//!
//! The reference of the API is held to the protos beside them, in `src/api/reference.rs`.

mod links;
