//! The Python client.
