//! The RTSP re-stream: live pictures in, no cameras but those of the fleet.

use std::sync::Arc;

use prometheus::Registry;

use crate::auth::Guard;
use crate::live::Live;
use crate::restream::{Bound, Config, Error, Metrics, Restream};

/// Listens, if the settings say so.
///
/// # Errors
/// An address that cannot be listened on, or something that is not installed.
pub(super) fn bind(config: &Config, registry: &Registry) -> anyhow::Result<Option<Bound>> {
    let Some(address) = config.listen else { return Ok(None) };
    match Bound::listen(config, address, Metrics::new(registry)?) {
        Ok(bound) => Ok(Some(bound)),
        // As it is, because an exit code hangs on it.
        Err(Error::Listen(error)) => Err(error.into()),
        Err(other) => Err(other.into()),
    }
}

/// Answers whom `guard` lets in.
///
/// # Errors
/// The system has no thread to give.
pub(super) fn serve(bound: Option<Bound>, live: &Live, guard: &Guard) -> std::io::Result<Option<Restream>> {
    let live = live.clone();
    let watch = Arc::new(move |view: &_| live.watch(std::slice::from_ref(view)));
    bound.map(|bound| bound.serve(watch, guard.clone())).transpose()
}

/// Ends it away from the network's threads.
pub(super) async fn stop(restream: Restream) {
    let _ = tokio::task::spawn_blocking(move || restream.stop()).await;
}
