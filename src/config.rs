//! The server's settings: each stage's own, put together, read from one TOML file.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use crate::camera::{self, CameraId, CameraSpec};
use crate::listen::tls;
use crate::{access, api, auth, engine, http, ingest, publisher};

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
    /// The name cameras refer to it by.
    pub name: String,
    /// A pulled model's name or the path of an ONNX file; the same as `name` if absent.
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
    /// Folder for what the server must remember: the cameras added by API.
    pub data_dir: PathBuf,
    /// Detections under this score are left out where a camera or a request does not say, 0..=1.
    pub min_score: f32,
    /// How old detections may be when they are published, where a camera does not say.
    #[serde(with = "humantime_serde")]
    pub max_age: std::time::Duration,
    /// How long a shutdown may take before what still runs is abandoned.
    #[serde(with = "humantime_serde")]
    pub shutdown_timeout: std::time::Duration,
    /// The models to serve; the first is the default of cameras that name none.
    #[serde(rename = "model")]
    pub models: Vec<ModelConfig>,
    /// The engines.
    pub engine: engine::Config,
    /// Connecting and decoding.
    pub ingest: ingest::Config,
    /// The subscribers' rings.
    pub publisher: publisher::Config,
    /// The gRPC server.
    pub grpc: api::Config,
    /// The HTTP server.
    pub http: http::Config,
    /// Who may use them.
    pub auth: auth::Config,
    /// What callers of the API may make it open.
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
            ingest: Default::default(),
            publisher: Default::default(),
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
        open.map(|(setting, address, _)| (setting, address)).collect()
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
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        match Config::parse(text, "centerx.toml") {
            Ok(config) => config.validate().unwrap_err().to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn an_empty_file_is_a_server_without_cameras() {
        let config = Config::parse("", "centerx.toml").unwrap();
        config.validate().unwrap();
        assert_eq!(config.models[0].source(), "coco");
    }

    #[test]
    fn the_documented_settings_are_the_ones_there_are() {
        let text = include_str!("../docs/configuration.md");
        let block = text.split("```toml").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        let config = Config::parse(block, "configuration.md").unwrap();
        config.validate().unwrap();
        let defaults = Config::default();
        assert_eq!(config.ingest, defaults.ingest);
        assert_eq!(config.publisher, defaults.publisher);
        assert_eq!(config.http, defaults.http);
        assert_eq!(config.engine, defaults.engine);
        assert_eq!((config.grpc.listen, config.grpc.drain), (defaults.grpc.listen, defaults.grpc.drain));
        assert_eq!(config.grpc.limits(), defaults.grpc.limits());
        assert_eq!((config.grpc.keep_alive, config.grpc.tls), (defaults.grpc.keep_alive, defaults.grpc.tls));
        assert_eq!(config.shutdown_timeout, defaults.shutdown_timeout);
        assert_eq!((config.min_score, config.max_age), (defaults.min_score, defaults.max_age));
    }

    #[test]
    fn the_documented_certificates_can_be_given() {
        let text = include_str!("../docs/configuration.md");
        let block = text.split("```toml").nth(2).and_then(|rest| rest.split("```").next()).unwrap();
        let config = Config::parse(block, "configuration.md").unwrap();
        let client_ca = config.grpc.tls.unwrap().client_ca;
        assert_eq!(client_ca, Some(PathBuf::from("/etc/centerx/tls/clients.crt")));
        assert_eq!(config.http.tls.unwrap().client_ca, None);
    }

    #[test]
    fn every_camera_setting_can_be_given() {
        let text = r#"
            [[camera]]
            id = "yard"
            name = "The yard"
            url = "rtsp://admin:secret@10.0.0.9/live"
            enabled = false
            max_fps = 5
            max_age = "1s 500ms"
            priority = 3
            model = "coco"
            min_score = 0.5
            classes = ["person"]
            transport = "udp"
            loop = true
        "#;
        let config = Config::parse(text, "centerx.toml").unwrap();
        config.validate().unwrap();
        let spec = config.cameras[0].get_ref();
        assert_eq!((spec.max_fps, spec.enabled, spec.repeat), (Some(5.0), false, true));
        assert_eq!((spec.max_age, spec.priority), (Some(std::time::Duration::from_millis(1500)), 3));
    }

    #[test]
    fn a_typo_is_an_error_with_its_line() {
        let message =
            error("min_score = 0.4\n\n[[camera]]\nid = \"a\"\nurl = \"test://ball\"\nmax_fsp = 5\n");
        assert!(message.contains("line 6") && message.contains("max_fsp"), "{message}");
    }

    #[test]
    fn a_parse_error_shows_no_password() {
        let message = error("[[camera]]\nid = \"a\"\nurl = \"ftp://bob:hunter2@host/x\"\n");
        assert!(message.contains("line 3") && message.contains("ftp"), "{message}");
        assert!(!message.contains("hunter2"), "{message}");
    }

    #[test]
    fn secrets_beside_the_url_are_hidden_too() {
        for line in ["password = hunter2", "password = \"hunter2", "\"password\" = [\"hunter2\"]"] {
            let message = error(&format!("[[camera]]\nid = \"a\"\nurl = \"rtsp://h/x\"\n{line}\n"));
            assert!(message.contains("line 4") && !message.contains("hunter2"), "{message}");
        }
        let token = "[[auth.token]]\nname = \"a\"\nrole = \"read\"\nsha256 = \"centerx_hunter2\"\n";
        let message = error(token);
        assert!(message.contains("centerx token new") && !message.contains("hunter2"), "{message}");
    }

    #[test]
    fn a_password_may_be_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("yard");
        std::fs::write(&file, "p@ss/word\n").unwrap();
        let camera = |login: &str| format!("[[camera]]\nid = \"a\"\nurl = \"rtsp://10.0.0.9/x\"\n{login}\n");
        let text = camera(&format!("username = \"bob\"\npassword = \"file:{}\"", file.display()));
        let config = Config::parse(&text, "centerx.toml").unwrap();
        let url = config.cameras[0].get_ref().url.expose().as_str();
        assert_eq!(url, "rtsp://bob:p%40ss%2Fword@10.0.0.9/x");
        let config = Config::parse(&camera("username = \"env:PATH\"\npassword = \"x\""), "c").unwrap();
        let user = crate::camera::percent_decode(config.cameras[0].get_ref().url.expose().username());
        assert_eq!(user, std::env::var("PATH").unwrap());
        for (login, expected) in [
            ("username = \"bob\"\npassword = \"env:CENTERX_NO_SUCH\"", "CENTERX_NO_SUCH is not set"),
            ("username = \"bob\"\npassword = \"file:/no/such\"", "/no/such cannot be read"),
            ("username = \"bob\"", "password is missing"),
            ("password = \"hunter2\"", "username is missing"),
        ] {
            let message = error(&camera(login));
            assert!(message.contains(expected) && message.contains("line 1: camera a"), "{message}");
            assert!(!message.contains("hunter2"), "{message}");
        }
    }

    #[test]
    fn two_cameras_of_one_id_are_named_with_both_lines() {
        let message = error(
            "[[camera]]\nid = \"a\"\nurl = \"test://ball\"\n[[camera]]\nid = \"a\"\nurl = \"test://ball\"\n",
        );
        assert!(
            message.contains("line 4") && message.contains("line 1") && message.contains("camera a"),
            "{message}"
        );
    }

    #[test]
    fn an_unknown_model_is_named_with_those_there_are() {
        let message = error("[[camera]]\nid = \"a\"\nurl = \"test://ball\"\nmodel = \"yolo\"\n");
        assert!(message.contains("yolo") && message.contains("coco"), "{message}");
    }

    #[test]
    fn values_out_of_range_are_refused() {
        assert!(error("min_score = 1.5").contains("from 0 to 1"));
        assert!(error("[engine]\nlanes = 100000\n").contains("lanes"));
        assert!(error("[engine]\nhang_timeout = \"0s\"\n").contains("[engine] hang_timeout"));
        assert!(error("[engine]\nmax_hung = 0\n").contains("max_hung"));
        assert!(error("[grpc]\nconnections = 1\n").contains("[grpc] connections"));
        assert!(error("[grpc]\nkeep_alive = \"0s\"\n").contains("[grpc] keep_alive"));
        assert!(error("[http]\nfirst_request_timeout = \"0s\"\n").contains("[http] first_request_timeout"));
        assert!(error("[ingest]\nstall_timeout = \"0s\"\n").contains("stall_timeout"));
        assert!(error("[publisher]\nstall_timeout = \"0s\"\n").contains("[publisher] stall_timeout"));
        assert!(error("[[camera]]\nid = \"a\"\nurl = \"test://ball\"\nmax_fps = 0\n").contains("max_fps"));
        assert!(error("max_age = \"0s\"").contains("from 1 ms to 1 h"));
        for setting in ["max_age = \"2h\"", "priority = 0", "priority = 11"] {
            let message = error(&format!("[[camera]]\nid = \"a\"\nurl = \"test://ball\"\n{setting}\n"));
            assert!(message.contains(setting.split(' ').next().unwrap()), "{message}");
        }
    }
}
