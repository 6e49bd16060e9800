//! The gRPC services: the only place with generated types and `Status`.
pub mod backend;

#[allow(missing_docs, clippy::all)] // generated
pub(crate) mod v1 {
    tonic::include_proto!("centerx.v1");
}
