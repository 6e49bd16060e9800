//! Tells systemd how the server is, where it asks (sd_notify(3), `Type=notify`): ready, stopping, alive.
//!
//! Alive is said by a task on the runtime, and only while the server is well. So a runtime that stands still
//! and trouble that only a restart ends make the watchdog bite.

use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::app::backend::Server;

/// Signs of life a watchdog's time: one that is missed while a lane is opened anew does no harm.
const SIGNS: u32 = 4;

/// Nobody can do anything about a socket that does not take it.
fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "systemd cannot be told how the server is");
    }
}

/// The server is ready.
pub(super) fn ready() {
    tell(&[NotifyState::Ready, NotifyState::Status("ready")]);
}

/// The server shuts down.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("shutting down")]);
}

/// Gives signs of life while the server is well, as often as the environment asks for; tells what troubles it.
pub(super) fn keep_telling(server: Arc<Server>) -> Option<JoinHandle<()>> {
    let patience = sd_notify::watchdog_enabled()?;
    tracing::info!(?patience, "systemd watches over the server");
    Some(tokio::spawn(follow(server, patience)))
}

async fn follow(server: Arc<Server>, patience: Duration) {
    let mut ticks = tokio::time::interval((patience / SIGNS).max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = None;
    loop {
        ticks.tick().await;
        let trouble = server.trouble();
        if trouble.is_none() {
            tell(&[NotifyState::Watchdog]);
        }
        if trouble != told {
            tell(&[NotifyState::Status(trouble.as_deref().unwrap_or("ready"))]);
            told = trouble;
        }
    }
}
