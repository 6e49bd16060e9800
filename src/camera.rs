//! What a camera is: its id, its address, its settings and its state.
//!
//! What does not belong here: how it is watched (`ingest`), how it is named on the wire (`api`).

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use url::Url;

use crate::ledger::Balance;

/// A camera setting that cannot be accepted: which field, why, and what would do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct InvalidCamera {
    /// The field's name, as in the config file and on the wire.
    pub field: &'static str,
    /// What is wrong and what would be right. Never holds a password.
    pub problem: String,
}

impl InvalidCamera {
    fn new(field: &'static str, problem: impl Into<String>) -> Self {
        Self { field, problem: problem.into() }
    }
}

/// A camera's id: 1 to 64 letters, digits, `-`, `_` and `.`, so that it can be a metric label and a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CameraId(Arc<str>);

impl CameraId {
    /// Checks and wraps an id.
    ///
    /// # Errors
    /// An empty or too long id, or a character outside the set.
    pub fn new(id: &str) -> Result<Self, InvalidCamera> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if id.is_empty() || id.len() > 64 || !id.chars().all(allowed) {
            let shown: String = id.chars().take(64).collect();
            return Err(InvalidCamera::new(
                "id",
                format!("{shown:?} is not a camera id: use 1 to 64 letters, digits, '-', '_' or '.'"),
            ));
        }
        Ok(Self(id.into()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CameraId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for CameraId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        Self::new(&text).map_err(serde::de::Error::custom)
    }
}

impl Serialize for CameraId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// The ways a camera can be reached, from the scheme of its URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SourceKind {
    /// `rtsp://` or `rtsps://`.
    Rtsp,
    /// `http://` or `https://`: MJPEG or HLS, told apart by what arrives.
    Http,
    /// `file:///path` or a bare path.
    File,
    /// `v4l2:///dev/video0`.
    V4l2,
    /// `test://PATTERN`, a moving pattern made by this machine.
    Test,
}

/// A camera's address. Printing it, by `Display` or `Debug`, never shows the password.
#[derive(Clone, PartialEq, Eq)]
pub struct CameraUrl {
    url: Url,
    kind: SourceKind,
}

impl CameraUrl {
    /// Parses an address; a text without a scheme is a path to a file.
    ///
    /// # Errors
    /// An unknown scheme, a missing host, or text that is no URL. The message names the cure and never
    /// repeats the text, which may hold a password.
    pub fn parse(text: &str) -> Result<Self, InvalidCamera> {
        const SCHEMES: &str = "rtsp, rtsps, http, https, file, v4l2 or test";
        let bad = |problem: String| InvalidCamera::new("url", problem);
        let text = text.trim();
        if text.is_empty() {
            return Err(bad(format!("is empty: give a path or a URL with the scheme {SCHEMES}")));
        }
        let url = if text.contains("://") {
            Url::parse(text).map_err(|error| {
                bad(format!("is not a URL ({error}); percent-encode special characters in user and password"))
            })?
        } else {
            let path = std::path::absolute(text).map_err(|error| bad(error.to_string()))?;
            Url::from_file_path(path).map_err(|()| bad("is not a path".into()))?
        };
        let kind = match url.scheme() {
            "rtsp" | "rtsps" => SourceKind::Rtsp,
            "http" | "https" => SourceKind::Http,
            "file" => SourceKind::File,
            "v4l2" => SourceKind::V4l2,
            "test" => SourceKind::Test,
            other => return Err(bad(format!("has the unknown scheme {other:?}: use {SCHEMES}"))),
        };
        if matches!(kind, SourceKind::Rtsp | SourceKind::Http) && url.host_str().is_none_or(str::is_empty) {
            return Err(bad("names no host".into()));
        }
        if matches!(kind, SourceKind::File | SourceKind::V4l2) && url.path().trim_matches('/').is_empty() {
            return Err(bad("names no path".into()));
        }
        Ok(Self { url, kind })
    }

    /// How the camera is reached.
    pub fn kind(&self) -> SourceKind {
        self.kind
    }

    /// The parsed address, **password included**: for connecting and for the private store only.
    pub fn expose(&self) -> &Url {
        &self.url
    }

    /// The secrets in the address, as typed and percent-decoded, for scrubbing foreign messages.
    pub fn secrets(&self) -> Vec<String> {
        let Some(password) = self.url.password().filter(|p| !p.is_empty()) else { return Vec::new() };
        let decoded = percent_decode(password);
        if decoded == password { vec![decoded] } else { vec![password.to_owned(), decoded] }
    }

    /// `message` with every secret of this address replaced by `***`.
    pub fn scrub(&self, message: &str) -> String {
        self.secrets().iter().fold(message.to_owned(), |text, secret| text.replace(secret.as_str(), "***"))
    }
}

/// Decodes `%XX` escapes; what is not valid UTF-8 afterwards is replaced.
pub fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escape = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        match escape.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

impl fmt::Display for CameraUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = self.url.clone();
        if shown.password().is_some() {
            // Only a URL that cannot hold a password refuses one, and this one held one.
            let _ = shown.set_password(Some("***"));
        }
        if shown.query().is_some() && self.kind != SourceKind::Test {
            // Tokens travel in queries too.
            shown.set_query(Some("***"));
        }
        f.write_str(shown.as_str())
    }
}

impl fmt::Debug for CameraUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CameraUrl({self})")
    }
}

impl<'de> Deserialize<'de> for CameraUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// How RTP travels from an RTSP camera.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// Interleaved in the RTSP connection: nothing is lost and firewalls let it through.
    #[default]
    Tcp,
    /// Datagrams beside it: less delay, and losses.
    Udp,
}

/// A camera as its owner describes it.
///
/// Serialising it writes the URL **with its password**; only the private store may do that.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CameraSpec {
    /// Unique among the server's cameras.
    pub id: CameraId,
    /// For people; empty means the id.
    #[serde(default)]
    pub name: String,
    /// Where the video comes from.
    #[serde(serialize_with = "expose_url")]
    pub url: CameraUrl,
    /// A disabled camera is kept but not connected.
    #[serde(default = "enabled")]
    pub enabled: bool,
    /// Frames a second to look at, at most; the rest are counted as `rate_limited`.
    #[serde(default)]
    pub max_fps: Option<f64>,
    /// The model to use; the server's default model if absent.
    #[serde(default)]
    pub model: Option<String>,
    /// Detections under this score (0..=1) are left out; the server's default if absent.
    #[serde(default)]
    pub min_score: Option<f32>,
    /// Class names to report; empty means all.
    #[serde(default)]
    pub classes: Vec<String>,
    /// RTP transport of an RTSP camera.
    #[serde(default)]
    pub transport: Transport,
    /// A file starts again when it ends.
    #[serde(default, rename = "loop")]
    pub repeat: bool,
}

fn enabled() -> bool {
    true
}

fn expose_url<S: Serializer>(url: &CameraUrl, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(url.expose().as_str())
}

impl CameraSpec {
    /// An enabled camera with default settings.
    pub fn new(id: CameraId, url: CameraUrl) -> Self {
        Self {
            id,
            name: String::new(),
            url,
            enabled: true,
            max_fps: None,
            model: None,
            min_score: None,
            classes: Vec::new(),
            transport: Transport::default(),
            repeat: false,
        }
    }

    /// The name for people.
    pub fn display_name(&self) -> &str {
        if self.name.is_empty() { self.id.as_str() } else { &self.name }
    }

    /// Checks the values that the types alone do not.
    ///
    /// # Errors
    /// The first field that cannot be accepted.
    pub fn validate(&self) -> Result<(), InvalidCamera> {
        if let Some(fps) = self.max_fps.filter(|fps| !(fps.is_finite() && *fps > 0.0 && *fps <= 1000.0)) {
            return Err(InvalidCamera::new(
                "max_fps",
                format!("{fps} is not a number above 0 and up to 1000"),
            ));
        }
        if let Some(score) = self.min_score.filter(|score| !(0.0..=1.0).contains(score)) {
            return Err(InvalidCamera::new("min_score", format!("{score} is not a number from 0 to 1")));
        }
        if self.name.chars().count() > 200 {
            return Err(InvalidCamera::new("name", "is longer than 200 characters"));
        }
        if self.classes.len() > 1000 {
            return Err(InvalidCamera::new("classes", "lists more than 1000 classes"));
        }
        Ok(())
    }
}

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
    /// Frames stopped coming.
    Stalled,
    /// The stream ended.
    Ended,
    /// Anything else.
    Other,
}

impl FailureKind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::Auth,
        Self::NotFound,
        Self::Codec,
        Self::NoVideo,
        Self::Network,
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
            Self::Stalled => "stalled",
            Self::Ended => "ended",
            Self::Other => "other",
        }
    }

    /// Whether a person has to mend something before a retry can succeed.
    pub fn needs_attention(self) -> bool {
        matches!(self, Self::Auth | Self::NotFound | Self::Codec | Self::NoVideo)
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

/// Who defined a camera.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CameraOrigin {
    /// The config file or the command line: read-only for the API.
    Config,
    /// The API: kept in the store.
    Api,
}

/// All there is to tell about a camera at one moment.
#[derive(Clone, Debug)]
pub struct CameraView {
    /// Its settings.
    pub spec: CameraSpec,
    /// Who defined it.
    pub origin: CameraOrigin,
    /// Its state.
    pub status: Arc<CameraStatus>,
    /// Its books.
    pub balance: Balance,
    /// Connection attempts after the first since it was added.
    pub reconnects: u64,
}

/// A change to a camera: what is absent stays as it is.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs)]
pub struct CameraPatch {
    pub name: Option<String>,
    pub url: Option<CameraUrl>,
    pub enabled: Option<bool>,
    pub max_fps: Option<Option<f64>>,
    pub model: Option<Option<String>>,
    pub min_score: Option<Option<f32>>,
    pub classes: Option<Vec<String>>,
    pub transport: Option<Transport>,
    pub repeat: Option<bool>,
}

impl CameraPatch {
    /// The settings with the change made.
    pub fn apply(self, mut spec: CameraSpec) -> CameraSpec {
        fn set<T>(slot: &mut T, value: Option<T>) {
            if let Some(value) = value {
                *slot = value;
            }
        }
        set(&mut spec.name, self.name);
        set(&mut spec.url, self.url);
        set(&mut spec.enabled, self.enabled);
        set(&mut spec.max_fps, self.max_fps);
        set(&mut spec.model, self.model);
        set(&mut spec.min_score, self.min_score);
        set(&mut spec.classes, self.classes);
        set(&mut spec.transport, self.transport);
        set(&mut spec.repeat, self.repeat);
        spec
    }
}

/// Why a change to the cameras was refused.
#[derive(Debug, thiserror::Error)]
pub enum CameraError {
    /// The id is taken.
    #[error("camera {0} exists already; update it, remove it first, or choose another id")]
    Exists(CameraId),
    /// The id is unknown.
    #[error("there is no camera {0}")]
    Unknown(CameraId),
    /// The camera belongs to the config file.
    #[error("camera {0} is defined in the config file or on the command line; change it there and restart")]
    ReadOnly(CameraId),
    /// A setting is wrong.
    #[error(transparent)]
    Invalid(#[from] InvalidCamera),
    /// The store could not be written; nothing was changed.
    #[error("the camera store cannot be written, so nothing was changed: {0}")]
    Store(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printing_a_url_hides_password_and_query() {
        let url = CameraUrl::parse("rtsp://admin:s%40cret@10.0.0.9/live?token=abc").unwrap();
        assert_eq!(url.to_string(), "rtsp://admin:***@10.0.0.9/live?***");
        assert!(!format!("{url:?}").contains("cret"));
        assert_eq!(url.scrub("no entry for s@cret or s%40cret"), "no entry for *** or ***");
    }

    #[test]
    fn a_bare_path_is_a_file() {
        assert_eq!(CameraUrl::parse("clips/yard.mp4").unwrap().kind(), SourceKind::File);
    }

    #[test]
    fn bad_urls_name_the_field_and_the_cure() {
        for (text, expected) in [
            ("", "is empty"),
            ("ftp://host/x", "unknown scheme"),
            ("rtsp://", "url"),
            ("v4l2://", "names no path"),
            ("rtsp://user:pa ss@:x", "percent-encode"),
        ] {
            let error = CameraUrl::parse(text).unwrap_err();
            assert_eq!(error.field, "url");
            assert!(error.to_string().contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn ids_are_restricted() {
        assert!(CameraId::new("yard-1.a_B").is_ok());
        for bad in ["", "a b", "../x", "ä", &"x".repeat(65)] {
            assert!(CameraId::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_spec_survives_its_own_serialisation_with_the_password() {
        let spec = CameraSpec::new(CameraId::new("a").unwrap(), CameraUrl::parse("rtsp://u:p@h/x").unwrap());
        let text = serde_json::to_string(&spec).unwrap();
        assert!(text.contains("u:p@h"));
        assert_eq!(serde_json::from_str::<CameraSpec>(&text).unwrap(), spec);
    }
}
