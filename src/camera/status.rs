//! How a camera is: its state, and the story behind it.

use std::time::SystemTime;

/// What kind of failure a camera has, so that software can act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// The camera wants another user or password.
    Auth,
    /// There is no such stream, file, device or host name.
    NotFound,
    /// The video is in a codec or container that cannot be decoded here.
    Codec,
    /// What is there has no video in it.
    NoVideo,
    /// The camera cannot be reached or the connection broke.
    Network,
    /// The server's settings do not let callers of the API use this address.
    Forbidden,
    /// Frames stopped coming.
    Stalled,
    /// The stream ended.
    Ended,
    /// Anything else.
    Other,
}

impl FailureKind {
    /// Every kind.
    pub const ALL: [Self; 9] = [
        Self::Auth,
        Self::NotFound,
        Self::Codec,
        Self::NoVideo,
        Self::Network,
        Self::Forbidden,
        Self::Stalled,
        Self::Ended,
        Self::Other,
    ];

    /// The metric label, in `snake_case`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::NotFound => "not_found",
            Self::Codec => "codec",
            Self::NoVideo => "no_video",
            Self::Network => "network",
            Self::Forbidden => "forbidden",
            Self::Stalled => "stalled",
            Self::Ended => "ended",
            Self::Other => "other",
        }
    }

    /// Whether a person has to mend something before a retry can succeed.
    pub fn needs_attention(self) -> bool {
        matches!(self, Self::Auth | Self::NotFound | Self::Codec | Self::NoVideo | Self::Forbidden)
    }
}

/// Where a camera is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CameraState {
    /// Being connected; no frame yet.
    Connecting,
    /// Frames arrive.
    Live,
    /// Connected, but frames stopped coming; about to be reconnected.
    Stalled,
    /// Waiting to retry after a failure that may pass by itself.
    Backoff,
    /// Waiting to retry after a failure that a person probably has to mend
    /// ([`FailureKind::needs_attention`]).
    Failed,
    /// Kept, not connected.
    Disabled,
    /// A file without `loop` was played to its end.
    Ended,
}

impl CameraState {
    /// Every state.
    pub const ALL: [Self; 7] = [
        Self::Connecting,
        Self::Live,
        Self::Stalled,
        Self::Backoff,
        Self::Failed,
        Self::Disabled,
        Self::Ended,
    ];

    /// The metric label, in `snake_case`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Live => "live",
            Self::Stalled => "stalled",
            Self::Backoff => "backoff",
            Self::Failed => "failed",
            Self::Disabled => "disabled",
            Self::Ended => "ended",
        }
    }
}

/// A camera's state and the story behind it.
#[derive(Clone, Debug, PartialEq)]
pub struct CameraStatus {
    /// The state.
    pub state: CameraState,
    /// The state's reason in words: what happened and what would mend it. Never holds a password.
    pub reason: String,
    /// The last failure's kind; none while all is well.
    pub failure: Option<FailureKind>,
    /// When this state began.
    pub since: SystemTime,
    /// When the next attempt is made, while in backoff or failed.
    pub retry_at: Option<SystemTime>,
    /// Frame width and height in pixels, once known.
    pub frame_size: Option<(u32, u32)>,
}
