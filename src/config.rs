//! The server's settings: each stage's own, put together, read from one TOML file.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use crate::camera::{self, CameraId, CameraSpec};
use crate::listen::tls;
use crate::{access, api, auth, engine, http, ingest, live, otlp, publisher, restream};

/// Why the settings cannot be used. Every message names the place, the cause and the cure.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("the config file {} cannot be read: {cause}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The text is not valid: a typo, an unknown key, a value of the wrong kind.
    #[error("{origin}: {cause}")]
    Parse {
        /// The file's name.
        origin: String,
        /// The parser's message, with line, column and the line itself.
        cause: String,
    },
    /// A value that cannot be accepted.
    #[error("{origin}{}: {problem}", line.map(|n| format!(", line {n}")).unwrap_or_default())]
    Invalid {
        /// The file's name, or the command line.
        origin: String,
        /// The line, if it came from a file.
        line: Option<usize>,
        /// What is wrong and what would be right.
        problem: String,
    },
}

/// A model to serve.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// The name that cameras refer to it by.
    pub name: String,
    /// A pulled model's name, such as `coco@512x384`, or the path of an ONNX file. Without it, `name` is that.
    pub source: Option<String>,
}

impl ModelConfig {
    /// Where to look for the model: a pulled model's name or a path.
    pub fn source(&self) -> &str {
        self.source.as_deref().unwrap_or(&self.name)
    }
}

/// All settings of the server.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Folder for what the server must remember: the cameras and models added by API.
    pub data_dir: PathBuf,
    /// Detections under this score, 0 to 1, are left out where a camera or a request does not say.
    pub min_score: f32,
    /// How old detections may be when they are published, where a camera does not say; 1 ms to 1 h.
    #[serde(with = "humantime_serde")]
    pub max_age: std::time::Duration,
    /// How long a shutdown may take before what still runs is abandoned.
    #[serde(with = "humantime_serde")]
    pub shutdown_timeout: std::time::Duration,
    /// The models to serve, side by side. The first is the default of cameras that name none. Without any table it is
    /// `coco`.
    #[serde(rename = "model")]
    pub models: Vec<ModelConfig>,
    /// The engines.
    pub engine: engine::Config,
    /// The engine on NVIDIA GPUs.
    pub tensorrt: engine::gpu::Settings,
    /// Connecting to cameras, and decoding.
    pub ingest: ingest::Config,
    /// Handing detections to subscribers.
    pub publisher: publisher::Config,
    /// Live pictures.
    pub live: live::Config,
    /// The cameras again, over RTSP.
    pub restream: restream::Config,
    /// Traces.
    pub otlp: otlp::Config,
    /// The gRPC server.
    pub grpc: api::Config,
    /// The HTTP server.
    pub http: http::Config,
    /// Who may use the gRPC and the HTTP server.
    pub auth: auth::Config,
    /// What callers of the API may have opened.
    pub access: access::Config,
    /// The cameras; the API can add more.
    #[serde(rename = "camera")]
    pub cameras: Vec<Spanned<CameraSpec>>,
    /// Where the settings come from, for messages.
    #[serde(skip)]
    origin: Origin,
}

#[derive(Clone, Debug, Default)]
struct Origin {
    name: String,
    text: String,
}

impl Origin {
    fn line(&self, offset: usize) -> Option<usize> {
        (!self.text.is_empty()).then(|| self.text[..offset.min(self.text.len())].matches('\n').count() + 1)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: default_data_dir(),
            min_score: 0.3,
            max_age: std::time::Duration::from_millis(200),
            shutdown_timeout: std::time::Duration::from_secs(2),
            models: vec![ModelConfig { name: "coco".into(), source: None }],
            engine: Default::default(),
            tensorrt: Default::default(),
            ingest: Default::default(),
            publisher: Default::default(),
            live: Default::default(),
            restream: Default::default(),
            otlp: Default::default(),
            grpc: Default::default(),
            http: Default::default(),
            auth: Default::default(),
            access: Default::default(),
            cameras: Vec::new(),
            origin: Origin { name: "command line".into(), text: String::new() },
        }
    }
}

/// `$XDG_DATA_HOME/centerx`, or `~/.local/share/centerx`, or `./data` where there is no home.
fn default_data_dir() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("XDG_DATA_HOME")
        .or_else(|| set("HOME").map(|home| home.join(".local/share")))
        .map_or_else(|| PathBuf::from("data"), |base| base.join("centerx"))
}

impl Config {
    /// Reads and parses a file; [`Config::validate`] is still due.
    ///
    /// # Errors
    /// A file that cannot be read or parsed.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|cause| ConfigError::Read { path: path.to_owned(), cause })?;
        Self::parse(&text, &path.display().to_string())
    }

    /// Parses TOML text; `origin` names it in messages.
    ///
    /// # Errors
    /// Text that is not valid; the message holds line and column.
    pub fn parse(text: &str, origin: &str) -> Result<Self, ConfigError> {
        let mut config: Self = toml::from_str(text).map_err(|error| ConfigError::Parse {
            origin: origin.into(),
            cause: scrub_secrets(&scrub_urls(error.to_string().trim_end())),
        })?;
        config.origin = Origin { name: origin.into(), text: text.into() };
        config.reveal_logins()?;
        Ok(config)
    }

    /// Puts users and passwords that stand apart into their cameras' URLs.
    fn reveal_logins(&mut self) -> Result<(), ConfigError> {
        for index in 0..self.cameras.len() {
            let revealed = self.cameras[index].get_mut().reveal_login();
            revealed.map_err(|error| {
                let camera = &self.cameras[index];
                let problem = format!("camera {}: {error}", camera.get_ref().id);
                self.invalid(self.line_of(camera), problem)
            })?;
        }
        Ok(())
    }

    /// Adds a camera that was given on the command line.
    pub fn add_camera(&mut self, spec: CameraSpec) {
        self.cameras.push(Spanned::new(0..0, spec));
    }

    /// Checks what parsing alone does not: ranges, double ids, references.
    ///
    /// # Errors
    /// The first value that cannot be accepted.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if !(0.0..=1.0).contains(&self.min_score) {
            return Err(
                self.invalid(None, format!("min_score: {} is not a number from 0 to 1", self.min_score))
            );
        }
        if let Err(problem) = camera::check_max_age(self.max_age) {
            return Err(self.invalid(None, format!("max_age: {problem}")));
        }
        if let Err(problem) = self.engine.validate() {
            return Err(self.invalid(None, format!("[engine] {problem}")));
        }
        if let Err(problem) = self.tensorrt.validate() {
            return Err(self.invalid(None, format!("[tensorrt] {problem}")));
        }
        if let Err(problem) = self.ingest.validate() {
            return Err(self.invalid(None, format!("[ingest] {problem}")));
        }
        if let Err(problem) = self.grpc.validate() {
            return Err(self.invalid(None, format!("[grpc] {problem}")));
        }
        if let Err(problem) = self.http.limits().validate() {
            return Err(self.invalid(None, format!("[http] {problem}")));
        }
        if let Err(problem) = self.auth.validate(&self.open_listeners()) {
            return Err(self.invalid(None, format!("[auth] {problem}")));
        }
        if let Err(problem) = self.access.validate() {
            return Err(self.invalid(None, format!("[access] {problem}")));
        }
        if let Err(problem) = self.publisher.validate() {
            return Err(self.invalid(None, format!("[publisher] {problem}")));
        }
        if let Err(problem) = self.live.validate() {
            return Err(self.invalid(None, format!("[live] {problem}")));
        }
        if let Err(problem) = self.restream.validate() {
            return Err(self.invalid(None, format!("[restream] {problem}")));
        }
        if let Err(problem) = self.otlp.validate() {
            return Err(self.invalid(None, format!("[otlp] {problem}")));
        }
        if self.models.is_empty() {
            return Err(
                self.invalid(None, "no [[model]]: name at least one, or leave the key out for coco".into())
            );
        }
        let mut models = HashMap::new();
        for model in &self.models {
            if models.insert(&model.name, ()).is_some() {
                return Err(self.invalid(None, format!("two models are named {:?}; rename one", model.name)));
            }
        }
        self.validate_cameras(&models)
    }

    /// The settings' names and the addresses of what listens without asking for a client's certificate.
    fn open_listeners(&self) -> Vec<(&'static str, SocketAddr)> {
        let all = [
            ("[grpc] listen", self.grpc.listen, &self.grpc.tls),
            ("[http] listen", self.http.listen, &self.http.tls),
        ];
        let open = all
            .into_iter()
            .filter(|(_, _, tls)| !tls.as_ref().is_some_and(tls::Config::asks_for_certificates));
        let restream = self.restream.listen.map(|address| ("[restream] listen", address));
        open.map(|(setting, address, _)| (setting, address)).chain(restream).collect()
    }

    fn validate_cameras(&self, models: &HashMap<&String, ()>) -> Result<(), ConfigError> {
        let mut seen: HashMap<&CameraId, Option<usize>> = HashMap::new();
        for camera in &self.cameras {
            let (spec, line) = (camera.get_ref(), self.line_of(camera));
            let fail = |problem: String| Err(self.invalid(line, format!("camera {}: {problem}", spec.id)));
            if let Some(first) = seen.insert(&spec.id, line) {
                let place = first.map(|n| format!(" (the first is at line {n})")).unwrap_or_default();
                return fail(format!("id: two cameras have this id{place}; rename one"));
            }
            if let Err(error) = spec.validate() {
                return fail(error.to_string());
            }
            if let Some(model) = spec.model.as_ref().filter(|model| !models.contains_key(model)) {
                let have: Vec<_> = self.models.iter().map(|model| model.name.as_str()).collect();
                return fail(format!(
                    "model: there is no model {model:?}; the models are {}",
                    have.join(", ")
                ));
            }
        }
        Ok(())
    }

    fn line_of(&self, camera: &Spanned<CameraSpec>) -> Option<usize> {
        self.origin.line(camera.span().start).filter(|_| camera.span() != (0..0))
    }

    /// A refusal of one camera's setting that only a later stage could check, such as a class name.
    pub fn camera_error(&self, id: &CameraId, problem: String) -> ConfigError {
        let line = self.cameras.iter().find(|c| &c.get_ref().id == id).and_then(|c| self.line_of(c));
        self.invalid(line, format!("camera {id}: {problem}"))
    }

    fn invalid(&self, line: Option<usize>, problem: String) -> ConfigError {
        let origin = if line.is_none() && self.cameras.iter().any(|c| c.span() == (0..0)) {
            "command line".to_owned()
        } else {
            self.origin.name.clone()
        };
        ConfigError::Invalid { origin, line, problem }
    }
}

/// Hides the password of any URL in a parser's message, which quotes the line it stumbled over.
fn scrub_urls(message: &str) -> String {
    let mut out = String::with_capacity(message.len());
    let mut rest = message;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out.push_str(before);
        let end = after.find(['"', '\'', ' ', '\n', '/']).unwrap_or(after.len());
        rest = match after[..end].rfind('@') {
            Some(host) => {
                out.push_str("***");
                &after[host..]
            }
            None => after,
        };
    }
    out + rest
}

/// Hides what stands behind `password =` and `sha256 =` in the line that a parser's message quotes. Where a
/// digest is due, a token may stand by mistake.
fn scrub_secrets(message: &str) -> String {
    let scrub = |line: &str| {
        let (number, quoted) = line.split_once(" | ")?;
        let (key, _) = quoted.split_once('=')?;
        let is_secret = ["password", "sha256"].iter().any(|secret| key.contains(secret));
        is_secret.then(|| format!("{number} | {key}= ***"))
    };
    message.lines().map(|line| scrub(line).unwrap_or_else(|| line.to_owned())).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests;
