//! Which call needs which role.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;

use super::peers::caller;
use super::status::of_denied;
use crate::auth::{Guard, Role};

/// Load balancers and systemd ask whether the server is well before they know any secret, and learn one word.
const OPEN: [&str; 1] = ["/grpc.health.v1.Health/"];

/// Calls that change nothing.
const READ: [&str; 11] = [
    "/centerx.v1.CameraService/GetCamera",
    "/centerx.v1.CameraService/GetCapacity",
    "/centerx.v1.CameraService/ListCameras",
    "/centerx.v1.DetectionService/Subscribe",
    "/centerx.v1.DetectionService/Detect",
    "/centerx.v1.DetectionService/DetectStream",
    "/centerx.v1.LiveService/GetHistory",
    "/centerx.v1.LiveService/Watch",
    "/centerx.v1.ModelService/ListModels",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// The role that a call of `path` needs, if any. What is not listed above needs the highest: a method that
/// somebody adds and forgets here is not open.
pub(super) fn needed(path: &str) -> Option<Role> {
    match path {
        open if OPEN.iter().any(|service| open.starts_with(service)) => None,
        read if READ.contains(&read) => Some(Role::Read),
        _ => Some(Role::Operate),
    }
}

/// Lets a call through to its service, or refuses it before any of its body is read.
pub(super) async fn authorize(State(guard): State<Guard>, mut request: Request, next: Next) -> Response {
    let (needs, peer) = (needed(request.uri().path()), caller(&request));
    match guard.admit(request.headers_mut(), needs, peer) {
        Ok(()) => next.run(request).await,
        Err(denied) => of_denied(&denied).into_http(),
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use prost_types::FileDescriptorSet;

    use super::*;
    use crate::api::DESCRIPTORS;

    /// Each method of the protos, whether or not somebody thought of it here.
    fn methods() -> Vec<String> {
        let files = FileDescriptorSet::decode(DESCRIPTORS).unwrap().file;
        let services = files.iter().flat_map(|file| {
            file.service
                .iter()
                .map(move |service| (format!("/{}.{}", file.package(), service.name()), service))
        });
        services
            .flat_map(|(path, service)| service.method.iter().map(move |m| format!("{path}/{}", m.name())))
            .collect()
    }

    #[test]
    fn every_method_was_thought_of() {
        let changing = ["Add", "Update", "Remove", "Load", "Swap", "Test", "Unload"];
        for path in methods() {
            let name = path.rsplit('/').next().unwrap();
            let changes = changing.iter().any(|verb| name.starts_with(verb));
            let expected = if changes { Role::Operate } else { Role::Read };
            assert_eq!(needed(&path), Some(expected), "{path}: name it in READ, or its verb in this test");
        }
        assert!(
            READ.iter()
                .filter(|path| path.starts_with("/centerx"))
                .all(|path| methods().contains(&path.to_string()))
        );
    }

    #[test]
    fn only_health_is_open() {
        assert_eq!(needed("/grpc.health.v1.Health/Check"), None);
        for path in ["/", "", "/grpc.health.v1.Health", "/other/Check", "//grpc.health.v1.Health/Check"] {
            assert_eq!(needed(path), Some(Role::Operate), "{path}");
        }
    }
}
