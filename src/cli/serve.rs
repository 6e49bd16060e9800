//! `centerx serve`: the server until a signal.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

use crate::app::jobs::Interest;
use crate::app::{App, models};
use crate::camera::{CameraId, CameraSpec, CameraUrl};
use crate::config::{Config, ConfigError, ModelConfig};
use crate::engine::gpu::Backend;
use crate::listen::tls;

use super::{UsageError, open_files, output, systemd};

/// Exit code after a second signal.
const INTERRUPTED: i32 = 130;

/// Watch cameras and push detections over gRPC.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  centerx serve --camera yard=rtsp://user:password@10.0.0.9/stream1\n  \
centerx serve --config centerx.toml --check\n\nA first Ctrl-C or SIGTERM drains what is under way for up to \
2 seconds, a second one exits at once.")]
pub struct Args {
    /// Settings (TOML); see docs/configuration.md.
    #[arg(long, env = "CENTERX_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// A camera, in addition to those of the settings; may be repeated.
    #[arg(long = "camera", value_name = "ID=URL")]
    cameras: Vec<String>,
    /// The default model: the name of a pulled one or an ONNX file. Replaces the models of the settings.
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// What runs the models: auto, cpu or tensorrt [default: auto].
    #[arg(long, value_name = "BACKEND")]
    engine: Option<Backend>,
    /// Least score of detections where a camera does not say, 0 to 1.
    #[arg(long, value_name = "SCORE")]
    min_score: Option<f32>,
    /// Where gRPC listens [default: 127.0.0.1:50051].
    #[arg(long, value_name = "ADDRESS")]
    grpc: Option<SocketAddr>,
    /// Where HTTP listens, for the live page, metrics and health [default: 127.0.0.1:8080].
    #[arg(long, value_name = "ADDRESS")]
    http: Option<SocketAddr>,
    /// Folder for the cameras added by API.
    #[arg(long, env = "CENTERX_DATA_DIR", value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
    /// Folder whose models and video files callers of the API may name; may be repeated.
    #[arg(long = "allow", value_name = "FOLDER")]
    allowed: Vec<PathBuf>,
    /// Check settings, models and runtime, and exit.
    #[arg(long)]
    check: bool,
}

impl Args {
    /// Runs until a signal.
    ///
    /// # Errors
    /// Whatever keeps the server from starting.
    pub fn run(self) -> anyhow::Result<()> {
        let check = self.check;
        let config = self.config()?;
        if !check {
            open_files::allow_many();
        }
        let models = models::load_all(&config)?;
        if check {
            return check_cameras(&config, &models);
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .thread_name("centerx-io")
            .build()
            .context("cannot start the I/O threads")?;
        let done = runtime.block_on(serve(self, config, models));
        // A decoder that hangs must not hold up the exit.
        runtime.shutdown_background();
        done
    }

    fn config(&self) -> Result<Config, anyhow::Error> {
        let mut config = match &self.config {
            Some(path) => Config::load(path)?,
            None => Config::default(),
        };
        for camera in &self.cameras {
            config.add_camera(parse_camera(camera)?);
        }
        if let Some(source) = &self.model {
            let name = PathBuf::from(source).file_stem().map(|s| s.to_string_lossy().into_owned());
            config.models = vec![ModelConfig {
                name: name.unwrap_or_else(|| source.clone()),
                source: Some(source.clone()),
            }];
        }
        config.engine.backend = self.engine.unwrap_or(config.engine.backend);
        config.min_score = self.min_score.unwrap_or(config.min_score);
        config.grpc.listen = self.grpc.unwrap_or(config.grpc.listen);
        config.http.listen = self.http.unwrap_or(config.http.listen);
        for folder in &self.allowed {
            let folder = std::path::absolute(folder).context("--allow")?;
            config.access.video_folders.push(folder.clone());
            config.access.model_folders.push(folder);
        }
        config.data_dir = self.data_dir.clone().unwrap_or(config.data_dir);
        config.validate()?;
        Ok(config)
    }
}

/// Reads `ID=URL`.
fn parse_camera(text: &str) -> Result<CameraSpec, UsageError> {
    let usage = |problem: String| UsageError(format!("--camera: {problem}"));
    let (id, url) = text
        .split_once('=')
        .filter(|(id, _)| !id.contains("://"))
        .ok_or_else(|| usage("expected ID=URL, such as yard=rtsp://10.0.0.9/stream1".into()))?;
    let id = CameraId::new(id).map_err(|error| usage(error.to_string()))?;
    let url = CameraUrl::parse(url).map_err(|error| usage(format!("camera {id}: {error}")))?;
    Ok(CameraSpec::new(id, url))
}

fn check_cameras(config: &Config, models: &[crate::app::LoadedModel]) -> anyhow::Result<()> {
    for camera in &config.cameras {
        let spec = camera.get_ref();
        let name = spec.model.as_ref().unwrap_or(&config.models[0].name);
        let Some(model) = models.iter().find(|model| *model.info.name == **name) else { continue };
        if let Err(class) = Interest::new(&model.info, config.min_score, &spec.classes) {
            let problem = format!("classes: model {name} has no class {class:?}");
            return Err(ConfigError::into(config.camera_error(&spec.id, problem)));
        }
    }
    let certificates = [("grpc", &config.grpc.tls), ("http", &config.http.tls)];
    for (section, files) in certificates.iter().filter_map(|(name, tls)| Some((name, tls.as_ref()?))) {
        tls::check(files).map_err(|cause| UsageError(format!("[{section}.tls] {cause}")))?;
    }
    output::line(format_args!("ok: {} camera(s), {} model(s)", config.cameras.len(), models.len()))?;
    Ok(())
}

async fn serve(args: Args, config: Config, models: Vec<crate::app::LoadedModel>) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let begin = std::time::Instant::now();
    let names: Vec<_> = models.iter().map(|m| format!("{} on {}", m.info.name, m.info.engine)).collect();
    let scheme = if config.http.tls.is_some() { "https" } else { "http" };
    let app = App::start(config, models).await?;
    tracing::info!(
        grpc = %app.grpc_address(),
        rtsp = app.restream_address().map(tracing::field::display),
        http = %format!("{scheme}://{}", app.http_address()),
        models = names.join(", "),
        cameras = app.server().fleet().list().len(),
        seconds = format!("{:.2}", begin.elapsed().as_secs_f64()),
        "ready"
    );
    systemd::ready();
    let signs_of_life = systemd::keep_telling(std::sync::Arc::clone(app.server()));
    loop {
        tokio::select! {
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
            _ = hangup.recv() => reload_tokens(&app, &args),
        }
    }
    systemd::stopping();
    tracing::info!("shutting down; once more to exit at once");
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        std::process::exit(INTERRUPTED);
    });
    if !app.shutdown().await {
        tracing::warn!("not everything was done in time; the rest was abandoned");
    }
    if let Some(task) = signs_of_life {
        task.abort();
    }
    Ok(())
}

/// Reads the settings again, of which tokens can change while the server runs.
fn reload_tokens(app: &App, args: &Args) {
    match args.config() {
        Ok(config) => {
            let tokens = config.auth.tokens.len();
            app.replace_tokens(config.auth);
            // Said when it holds: whoever waits for the line relies on it.
            tracing::info!(tokens, "the tokens were read again");
        }
        Err(error) => {
            tracing::error!("the settings cannot be read again, and the tokens stay as they were: {error:#}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_camera_argument_is_id_and_url() {
        let spec = parse_camera("yard=rtsp://u:p@h/x?a=b").unwrap();
        assert_eq!((spec.id.as_str(), spec.url.expose().as_str()), ("yard", "rtsp://u:p@h/x?a=b"));
    }

    #[test]
    fn a_url_without_an_id_is_refused_with_the_form_and_no_password() {
        for text in [
            "rtsp://u:hunter2@h/x",
            "rtsp://u:hunter2@h/x?a=b",
            "=rtsp://u:hunter2@h",
            "a b=rtsp://u:hunter2@h",
        ] {
            let error = parse_camera(text).unwrap_err().to_string();
            assert!(error.contains("--camera") && !error.contains("hunter2"), "{error}");
        }
    }
}
