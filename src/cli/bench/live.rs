//! What those who look cost: a server at its limit with no viewer of a camera, one and many, in turns. Viewers are real
//! gRPC clients in the same process, whose processor time is told apart.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use prometheus::{Registry, TextEncoder};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tonic::transport::Endpoint;

use crate::api::backend::Backend;
use crate::api::v1::live_service_client::LiveServiceClient;
use crate::api::v1::{View, WatchRequest};
use crate::app::{App, models};
use crate::camera::{CameraId, CameraSpec, CameraUrl, SourceKind};
use crate::cli::output;
use crate::config::{Config, ModelConfig};
use crate::engine::onnx::Threads;

use super::cpu::{self, Stage};
use super::pipeline::all_live;
use super::{ModelArgs, median};

/// What those who look cost: no viewer of a camera, one and many, in turns.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// A camera's URL, or a video file, which is played again and again; may be repeated. The first is looked at. With
    /// more frames than the engine can do, what viewers take from it shows.
    #[arg(long = "camera", value_name = "URL", default_value = "test://smpte?width=1280&height=720&fps=60")]
    cameras: Vec<String>,
    /// Numbers of viewers.
    #[arg(long, value_delimiter = ',', default_value = "0,1,10")]
    viewers: Vec<usize>,
    /// The pictures' longer side in pixels.
    #[arg(long, default_value_t = 640)]
    max_side: u32,
    /// Rounds, each with every number of viewers.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds a phase.
    #[arg(long, default_value_t = 8.0)]
    seconds: f64,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// The figures of one phase, or the medians of several.
#[derive(Clone, Debug, Default, serde::Serialize)]
struct Phase {
    viewers: usize,
    /// Frames whose detections were published, a second, of all cameras.
    published_per_second: f64,
    /// Of those with the first number of viewers, in the same round.
    of_first: f64,
    /// Pictures encoded a second.
    made_per_second: f64,
    /// Pictures a second that one viewer got.
    seen_per_second: f64,
    /// Bytes of pictures a second that all viewers got.
    bytes_per_second: f64,
    engine_cores: f64,
    ingest_cores: f64,
    io_cores: f64,
    live_cores: f64,
    client_cores: f64,
}

const FIGURES: [fn(&mut Phase) -> &mut f64; 10] = [
    |phase| &mut phase.published_per_second,
    |phase| &mut phase.of_first,
    |phase| &mut phase.made_per_second,
    |phase| &mut phase.seen_per_second,
    |phase| &mut phase.bytes_per_second,
    |phase| &mut phase.engine_cores,
    |phase| &mut phase.ingest_cores,
    |phase| &mut phase.io_cores,
    |phase| &mut phase.live_cores,
    |phase| &mut phase.client_cores,
];

impl Args {
    /// Measures and prints.
    pub fn run(self) -> anyhow::Result<()> {
        let runtime = |name, threads| {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            builder.enable_all().thread_name(name).worker_threads(threads).build()
        };
        let (io, clients) = (runtime("centerx-io", 2)?, runtime("viewers", 1)?);
        let folder = tempfile::tempdir()?;
        let app = io.block_on(self.start(folder.path()))?;
        let mut rounds = Vec::new();
        for round in 0..self.rounds.max(1) {
            eprintln!("round {} of {}", round + 1, self.rounds.max(1));
            rounds.push(self.round(&app, &clients)?);
        }
        io.block_on(app.shutdown());
        let medians: Vec<_> = (0..self.viewers.len()).map(|at| medians(&rounds, at)).collect();
        self.print(&medians)
    }

    async fn start(&self, data_dir: &Path) -> anyhow::Result<App> {
        let mut config = Config::default();
        config.data_dir = data_dir.to_owned();
        config.models = vec![ModelConfig { name: self.model.model.clone(), source: None }];
        config.grpc.listen = ([127, 0, 0, 1], 0).into();
        config.http.listen = ([127, 0, 0, 1], 0).into();
        for (number, url) in self.cameras.iter().enumerate() {
            let (id, url) = (CameraId::new(&format!("camera-{number}"))?, CameraUrl::parse(url)?);
            let repeat = url.kind() == SourceKind::File;
            config.add_camera(CameraSpec { repeat, ..CameraSpec::new(id, url) });
        }
        let model = models::load(&models::load_runtime()?, &config.models[0], Threads::throughput(0))?;
        let app = App::start(config, vec![model]).await?;
        all_live(|| app.server().cameras()).await?;
        Ok(app)
    }

    /// A phase with every number of viewers.
    fn round(&self, app: &App, clients: &Runtime) -> anyhow::Result<Vec<Phase>> {
        let phases = self.viewers.iter().map(|&viewers| self.phase(app, clients, viewers));
        let mut phases = phases.collect::<anyhow::Result<Vec<_>>>()?;
        let first = phases.first().map_or(f64::NAN, |phase| phase.published_per_second);
        phases.iter_mut().for_each(|phase| phase.of_first = phase.published_per_second / first);
        Ok(phases)
    }

    fn phase(&self, app: &App, clients: &Runtime, viewers: usize) -> anyhow::Result<Phase> {
        let seen = Arc::<Seen>::default();
        let mut watching = JoinSet::new();
        let address = format!("http://{}", app.grpc_address());
        clients.block_on(async {
            for _ in 0..viewers {
                let viewer = watch(&address, self.max_side, &seen).await?;
                watching.spawn(viewer);
            }
            // Until the pictures flow.
            tokio::time::sleep(Duration::from_secs(1)).await;
            anyhow::Ok(())
        })?;
        let (before, start) = (Reading::of(app, &seen)?, Instant::now());
        clients.block_on(async { tokio::time::sleep(Duration::from_secs_f64(self.seconds)).await });
        let (after, seconds) = (Reading::of(app, &seen)?, start.elapsed().as_secs_f64());
        clients.block_on(watching.shutdown());
        Ok(before.until(&after, seconds, viewers))
    }

    fn print(&self, phases: &[Phase]) -> anyhow::Result<()> {
        if self.json {
            output::line(serde_json::to_string(phases)?)?;
            return Ok(());
        }
        output::line(format_args!(
            "{} cameras, pictures of {} pixels, {} s a phase, medians of {} rounds",
            self.cameras.len(),
            self.max_side,
            self.seconds,
            self.rounds.max(1)
        ))?;
        for phase in phases {
            output::line(format_args!(
                "{:3} viewers  {:5.1} published/s ({:.3}), {:4.1} pictures/s made, {:4.1}/s to each, {:6.0} KiB/s in all, \
                 cores: engine {:.2}, ingest {:.2}, i/o {:.3}, pictures {:.3}{}, viewers {:.2}",
                phase.viewers,
                phase.published_per_second,
                phase.of_first,
                phase.made_per_second,
                phase.seen_per_second,
                phase.bytes_per_second / 1024.0,
                phase.engine_cores,
                phase.ingest_cores,
                phase.io_cores,
                phase.live_cores,
                phase.milliseconds_each(),
                phase.client_cores
            ))?;
        }
        Ok(())
    }
}

impl Phase {
    /// What a picture took; nothing where none was made.
    fn milliseconds_each(&self) -> String {
        if self.made_per_second == 0.0 {
            return String::new();
        }
        format!(" ({:.1} ms each)", self.live_cores * 1e3 / self.made_per_second)
    }
}

fn medians(rounds: &[Vec<Phase>], at: usize) -> Phase {
    let mut medians = Phase { viewers: rounds[0][at].viewers, ..Phase::default() };
    for figure in FIGURES {
        let mut values: Vec<_> = rounds.iter().map(|phases| *figure(&mut phases[at].clone())).collect();
        *figure(&mut medians) = median(&mut values);
    }
    medians
}

/// What viewers got.
#[derive(Debug, Default)]
struct Seen {
    pictures: AtomicU64,
    bytes: AtomicU64,
}

/// Opens a connection and a stream on it, and returns its reading.
async fn watch(
    address: &str,
    max_side: u32,
    seen: &Arc<Seen>,
) -> anyhow::Result<impl Future<Output = ()> + use<>> {
    let channel = Endpoint::from_shared(address.to_owned())?.connect().await.context("no connection")?;
    let view = View { camera_id: "camera-0".into(), max_side, max_fps: None };
    let request = WatchRequest { views: vec![view] };
    let mut stream = LiveServiceClient::new(channel).watch(request).await?.into_inner();
    let seen = Arc::clone(seen);
    Ok(async move {
        while let Ok(Some(response)) = stream.message().await {
            seen.pictures.fetch_add(1, Ordering::Relaxed);
            seen.bytes.fetch_add(response.jpeg.len() as u64, Ordering::Relaxed);
        }
    })
}

/// What has been counted so far.
struct Reading {
    published: u64,
    made: f64,
    pictures: u64,
    bytes: u64,
    cpu: std::collections::BTreeMap<Stage, Duration>,
}

impl Reading {
    fn of(app: &App, seen: &Seen) -> anyhow::Result<Self> {
        Ok(Self {
            published: app.server().cameras().iter().map(|view| view.balance.published).sum(),
            made: metric(app.registry(), "centerx_live_pictures_total ")?,
            pictures: seen.pictures.load(Ordering::Relaxed),
            bytes: seen.bytes.load(Ordering::Relaxed),
            cpu: cpu::by_stage(),
        })
    }

    fn until(&self, after: &Self, seconds: f64, viewers: usize) -> Phase {
        let rate = |before: u64, after: u64| (after - before) as f64 / seconds;
        let cores = |stage| after.cpu[&stage].saturating_sub(self.cpu[&stage]).as_secs_f64() / seconds;
        Phase {
            viewers,
            published_per_second: rate(self.published, after.published),
            of_first: f64::NAN,
            made_per_second: (after.made - self.made) / seconds,
            seen_per_second: rate(self.pictures, after.pictures) / viewers.max(1) as f64,
            bytes_per_second: rate(self.bytes, after.bytes),
            engine_cores: cores(Stage::Engine),
            ingest_cores: cores(Stage::Ingest),
            io_cores: cores(Stage::Io),
            live_cores: cores(Stage::Live),
            client_cores: cores(Stage::Viewers),
        }
    }
}

fn metric(registry: &Registry, name: &str) -> anyhow::Result<f64> {
    let text = TextEncoder::new().encode_to_string(&registry.gather())?;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.parse().ok());
    value.with_context(|| format!("{name}is missing"))
}
