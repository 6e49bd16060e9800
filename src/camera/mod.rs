//! What a camera is: its id, its address, its settings and its state.
//!
//! What does not belong here: how it is watched (`ingest`), how it is named on the wire (`api`).

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ledger::Balance;
use crate::secret::{Secret, SecretError};

mod status;
mod url;

pub use status::{CameraState, CameraStatus, FailureKind};
pub use url::{CameraUrl, SourceKind, percent_decode};

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
    /// Unique among the server's cameras: 1 to 64 letters, digits, `-`, `_` and `.`.
    pub id: CameraId,
    /// For people; empty means the id.
    #[serde(default)]
    pub name: String,
    /// Where the video comes from.
    #[serde(serialize_with = "expose_url")]
    pub url: CameraUrl,
    // Both stand apart until `reveal_login`, and in settings only.
    /// User, if the URL names none: the text itself, `env:NAME` or `file:/path`.
    #[serde(default, skip_serializing)]
    pub username: Option<Secret>,
    /// Password, likewise.
    #[serde(default, skip_serializing)]
    pub password: Option<Secret>,
    /// A disabled camera is kept but not connected.
    #[serde(default = "enabled")]
    pub enabled: bool,
    /// Frames a second to look at, at most, up to 1000; the rest are counted as `rate_limited`. Without it, all.
    #[serde(default)]
    pub max_fps: Option<f64>,
    /// How old its detections may be when they are published, from the frame's arrival, 1 ms to 1 h; older ones
    /// are counted as `too_old`. Without it, the server's `max_age`.
    #[serde(default, with = "humantime_serde")]
    pub max_age: Option<Duration>,
    /// Its weight when there is too much to look at, 1 to 10: 2 gets twice the turns of 1.
    #[serde(default = "lowest_priority")]
    pub priority: u32,
    /// The model to use. Without it, the first.
    #[serde(default)]
    pub model: Option<String>,
    /// Detections under this score, 0 to 1, are left out. Without it, the server's `min_score`.
    #[serde(default)]
    pub min_score: Option<f32>,
    /// Names of the classes to report; empty means all.
    #[serde(default)]
    pub classes: Vec<String>,
    /// How the video of an RTSP camera travels.
    #[serde(default)]
    pub transport: Transport,
    /// A file starts again when it ends.
    #[serde(default, rename = "loop")]
    pub repeat: bool,
}

/// What `max_age` may be.
const MAX_AGES: std::ops::RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(3600);

fn enabled() -> bool {
    true
}

fn lowest_priority() -> u32 {
    CameraSpec::LOWEST_PRIORITY
}

/// Checks a `max_age`, a camera's or the server's.
///
/// # Errors
/// What is wrong and what would do.
pub fn check_max_age(max_age: Duration) -> Result<(), String> {
    if MAX_AGES.contains(&max_age) {
        return Ok(());
    }
    Err(format!("{max_age:?} is not a time from 1 ms to 1 h; \"1h\" is as good as no limit"))
}

fn expose_url<S: Serializer>(url: &CameraUrl, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(url.expose().as_str())
}

impl CameraSpec {
    /// The priority of a camera that says nothing of it.
    pub const LOWEST_PRIORITY: u32 = 1;
    /// The greatest priority.
    pub const MAX_PRIORITY: u32 = 10;

    /// An enabled camera with default settings.
    pub fn new(id: CameraId, url: CameraUrl) -> Self {
        Self {
            id,
            name: String::new(),
            url,
            username: None,
            password: None,
            enabled: true,
            max_fps: None,
            max_age: None,
            priority: Self::LOWEST_PRIORITY,
            model: None,
            min_score: None,
            classes: Vec::new(),
            transport: Transport::default(),
            repeat: false,
        }
    }

    /// Puts a user and password that stand apart into the URL. Blocks on the disk.
    ///
    /// # Errors
    /// One without the other, a secret that is not where it should be, or a URL that takes none.
    pub fn reveal_login(&mut self) -> Result<(), InvalidCamera> {
        let reveal = |field, secret: Secret| {
            secret.reveal().map_err(|error: SecretError| InvalidCamera::new(field, error.to_string()))
        };
        match (self.username.take(), self.password.take()) {
            (None, None) => Ok(()),
            (Some(_), None) => Err(InvalidCamera::new("username", "is given, and the password is missing")),
            (None, Some(_)) => Err(InvalidCamera::new("password", "is given, and the username is missing")),
            (Some(user), Some(password)) => {
                let (user, password) = (reveal("username", user)?, reveal("password", password)?);
                self.url = self.url.with_login(&user, &password)?;
                Ok(())
            }
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
        if let Some(Err(problem)) = self.max_age.map(check_max_age) {
            return Err(InvalidCamera::new("max_age", problem));
        }
        if !(1..=Self::MAX_PRIORITY).contains(&self.priority) {
            let problem = format!("{} is not a number from 1 to {}", self.priority, Self::MAX_PRIORITY);
            return Err(InvalidCamera::new("priority", problem));
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
    pub max_age: Option<Option<Duration>>,
    pub priority: Option<u32>,
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
        set(&mut spec.max_age, self.max_age);
        set(&mut spec.priority, self.priority);
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
    /// There are as many as the settings allow.
    #[error(
        "there are {0} cameras, as many as [ingest] max_cameras allows; remove one, or raise it and restart"
    )]
    TooMany(usize),
    /// As many addresses are being tested as may be at a time.
    #[error("{0} cameras are being tested already, and more are not at a time; retry in a few seconds")]
    TooManyTests(usize),
    /// A setting is wrong.
    #[error(transparent)]
    Invalid(#[from] InvalidCamera),
    /// The server admits no more than it can look at.
    #[error(
        "camera {camera} does not fit: it asks for {asked:.1} frames a second of model {model}, which can look at \
         about {capacity:.1}, and the other cameras ask for {load:.1}; give it or others a lower max_fps, or set \
         [ingest] admission = \"open\" and let them share"
    )]
    NoCapacity {
        /// The camera.
        camera: CameraId,
        /// The model it asks for.
        model: String,
        /// Frames a second the camera asks for.
        asked: f64,
        /// Frames a second the model can look at.
        capacity: f64,
        /// Frames a second the other cameras ask for.
        load: f64,
    },
    /// A test of an address panicked.
    #[error("the test crashed, which is a fault of this server; please report it with the server's log")]
    TestCrashed,
    /// The store could not be written; nothing was changed.
    #[error("the camera store cannot be written, so nothing was changed: {0}")]
    Store(String),
}

#[cfg(test)]
mod tests {
    use super::*;

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
