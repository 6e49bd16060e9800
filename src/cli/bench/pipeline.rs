//! Real cameras end to end: decode alone, the whole server, and what the bare runtime would make of the
//! processor time that decoding leaves.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use prometheus::Registry;

use crate::api::backend::Backend;
use crate::app::{App, models};
use crate::camera::{CameraId, CameraOrigin, CameraSpec, CameraState, CameraStatus, CameraUrl, CameraView};
use crate::config::{Config, ModelConfig};
use crate::detection::ModelInfo;
use crate::detection::{Event, EventFilter};
use crate::engine::onnx::{OnnxRuntime, Threads};
use crate::frame::Frame;
use crate::ingest::{self, Fleet};
use crate::ledger::DropReason;
use crate::model;

use super::cpu::{self, Stage};
use super::engine::bare_workers;
use super::{ModelArgs, measure, plain};
use crate::cli::output;

/// Real cameras end to end: what they cost, what is served, how old it is.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// A camera's URL; may be repeated.
    #[arg(long = "camera", required = true, value_name = "URL")]
    cameras: Vec<String>,
    /// Process that plays the cameras on this machine: its processor time is not the server's to use.
    #[arg(long, value_name = "PID")]
    camera_pid: Option<u32>,
    /// Also measure a plain loop over this video file, for comparison.
    #[arg(long, value_name = "FILE")]
    plain: Option<PathBuf>,
    /// Seconds to measure each phase, after all cameras are live.
    #[arg(long, default_value_t = 30.0)]
    seconds: f64,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// The figures of one run.
#[derive(Debug, serde::Serialize)]
struct Report {
    cameras: usize,
    cores: f64,
    seconds: f64,
    /// Before and after the rest.
    bare_cpu_ms_per_picture: [f64; 2],
    decode_alone_fps: f64,
    decode_alone_cores: f64,
    camera_process_cores: f64,
    received_fps: f64,
    published_fps: f64,
    dropped_by_reason: BTreeMap<&'static str, u64>,
    engine_cores: f64,
    ingest_cores: f64,
    io_cores: f64,
    age_p50_ms: f64,
    age_p99_ms: f64,
    resident_mib_first: f64,
    resident_mib_last: f64,
    /// Frames a second of the plain loop with the runtime on one thread and on all cores.
    plain_loop_fps: Option<[f64; 2]>,
    /// Published a second over what the bare runtime would serve in the time that decoding leaves.
    share_of_bare: f64,
}

impl Report {
    /// Completes the report with the bare runtime's processor seconds a picture, before and after.
    fn against(mut self, bare: [f64; 2]) -> Self {
        let cost = bare.iter().sum::<f64>() / 2.0;
        let left = self.cores - self.decode_alone_cores - self.camera_process_cores;
        self.bare_cpu_ms_per_picture = bare.map(|seconds| seconds * 1e3);
        self.share_of_bare = self.published_fps * cost / left;
        self
    }
}

impl Args {
    /// Measures and prints.
    pub fn run(self) -> anyhow::Result<()> {
        let runtime = models::load_runtime()?;
        let config = ModelConfig { name: self.model.model.clone(), source: None };
        let detector = model::load(&model::zoo::resolve(config.source())?)?;
        let threads = Threads::throughput(0);
        let loaded = models::load(&runtime, &config, threads)?;
        eprintln!("the bare runtime");
        let mut bare = bare_workers(&runtime, &detector.bytes, &loaded.info, threads.lanes)?;
        let bare_before = cpu_per_run(&mut bare)?;
        drop(bare);
        let info = loaded.info.clone();
        let plain = self.plain_loop(&runtime, &detector.bytes, &loaded.info)?;
        let io =
            tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("centerx-io").build()?;
        let report = io.block_on(async {
            eprintln!("decoding alone, {} s", self.seconds);
            let decode = self.decode_alone().await?;
            eprintln!("the whole server, {} s", self.seconds);
            self.whole_server(vec![loaded], decode).await
        });
        io.shutdown_background();
        eprintln!("the bare runtime again");
        // Before and after, because the machine's speed drifts.
        let bare_after = cpu_per_run(&mut bare_workers(&runtime, &detector.bytes, &info, threads.lanes)?)?;
        let report = Report { plain_loop_fps: plain, ..report? };
        self.print(&report.against([bare_before, bare_after]))
    }

    fn plain_loop(
        &self,
        runtime: &OnnxRuntime,
        model: &[u8],
        info: &ModelInfo,
    ) -> anyhow::Result<Option<[f64; 2]>> {
        let Some(video) = &self.plain else { return Ok(None) };
        let time = Duration::from_secs_f64(self.seconds.min(20.0));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let run = |threads| plain::frames_a_second(runtime, model, info, video, threads, time);
        eprintln!("a plain loop of one camera");
        Ok(Some([run(1)?, run(cores)?]))
    }

    fn specs(&self) -> anyhow::Result<Vec<CameraSpec>> {
        let spec = |(number, url): (usize, &String)| {
            anyhow::Ok(CameraSpec::new(CameraId::new(&format!("camera-{number}"))?, CameraUrl::parse(url)?))
        };
        self.cameras.iter().enumerate().map(spec).collect()
    }

    async fn decode_alone(&self) -> anyhow::Result<Usage> {
        let metrics = ingest::Metrics::new(&Registry::new())?;
        let fleet = Fleet::new(ingest::Config::default(), Arc::new(Discard), metrics, None)?;
        for spec in self.specs()? {
            fleet.add(spec, CameraOrigin::Config).await?;
        }
        all_live(|| fleet.list()).await?;
        let usage = self.measure(|| fleet.list()).await;
        fleet.shutdown().await;
        Ok(usage)
    }

    async fn whole_server(
        &self,
        models: Vec<crate::app::LoadedModel>,
        decode: Usage,
    ) -> anyhow::Result<Report> {
        let folder = tempfile::tempdir()?;
        let mut config = Config::default();
        config.data_dir = folder.path().to_owned();
        config.models = vec![ModelConfig { name: self.model.model.clone(), source: None }];
        config.grpc.listen = ([127, 0, 0, 1], 0).into();
        config.http.listen = ([127, 0, 0, 1], 0).into();
        self.specs()?.into_iter().for_each(|spec| config.add_camera(spec));
        let app = App::start(config, models).await?;
        let server = Arc::clone(app.server());
        all_live(|| server.cameras()).await?;
        let mut events = server.subscribe(EventFilter::default())?;
        let watcher = tokio::spawn(async move {
            let mut ages = Vec::new();
            while let Some(event) = events.next().await {
                if let Event::Detections(found) = event {
                    ages.push(found.capture.monotonic.elapsed().as_secs_f64() * 1e3);
                }
            }
            ages
        });
        let whole = self.measure(|| server.cameras()).await;
        app.shutdown().await;
        let mut ages = watcher.await?;
        ages.sort_by(f64::total_cmp);
        Ok(self.report(decode, whole, &ages))
    }

    /// Watches the cameras' books and the processors for the time asked.
    async fn measure(&self, cameras: impl Fn() -> Vec<CameraView>) -> Usage {
        let camera_cpu = || self.camera_pid.map(cpu::of_process).unwrap_or_default();
        let (books, stages, camera, start) =
            (books(&cameras()), cpu::by_stage(), camera_cpu(), Instant::now());
        // The first tenth fills pools and buffers; memory is judged from there.
        let settle = Duration::from_secs_f64(self.seconds / 10.0);
        tokio::time::sleep(settle).await;
        let resident_first = cpu::resident_mib();
        tokio::time::sleep(Duration::from_secs_f64(self.seconds) - settle).await;
        let seconds = start.elapsed().as_secs_f64();
        let after = cpu::by_stage();
        let cores = |stage| (after[&stage].saturating_sub(stages[&stage])).as_secs_f64() / seconds;
        let end = self::books(&cameras());
        Usage {
            seconds,
            received: end.received - books.received,
            published: end.published - books.published,
            dropped: DropReason::ALL
                .map(|reason| end.dropped[reason as usize] - books.dropped[reason as usize]),
            engine: cores(Stage::Engine),
            ingest: cores(Stage::Ingest),
            io: cores(Stage::Io),
            camera: camera_cpu().saturating_sub(camera).as_secs_f64() / seconds,
            resident: (resident_first, cpu::resident_mib()),
        }
    }

    fn report(&self, decode: Usage, whole: Usage, ages: &[f64]) -> Report {
        let cores = std::thread::available_parallelism().map_or(1.0, |n| n.get() as f64);
        let decode_cores = decode.engine + decode.ingest + decode.io;
        let published_fps = whole.published as f64 / whole.seconds;
        let percentile =
            |p: f64| ages.get(((ages.len() as f64 - 1.0) * p) as usize).copied().unwrap_or(f64::NAN);
        Report {
            cameras: self.cameras.len(),
            cores,
            seconds: whole.seconds,
            bare_cpu_ms_per_picture: [f64::NAN; 2],
            decode_alone_fps: decode.received as f64 / decode.seconds,
            decode_alone_cores: decode_cores,
            camera_process_cores: decode.camera,
            received_fps: whole.received as f64 / whole.seconds,
            published_fps,
            dropped_by_reason: DropReason::ALL.map(|r| (r.as_str(), whole.dropped[r as usize])).into(),
            engine_cores: whole.engine,
            ingest_cores: whole.ingest,
            io_cores: whole.io,
            age_p50_ms: percentile(0.5),
            age_p99_ms: percentile(0.99),
            resident_mib_first: whole.resident.0,
            resident_mib_last: whole.resident.1,
            plain_loop_fps: None,
            share_of_bare: f64::NAN,
        }
    }

    fn print(&self, report: &Report) -> anyhow::Result<()> {
        if self.json {
            output::line(serde_json::to_string(report)?)?;
            return Ok(());
        }
        let r = report;
        output::line(format_args!("{} cameras, {:.0} cores, {:.0} s", r.cameras, r.cores, r.seconds))?;
        let [before, after] = r.bare_cpu_ms_per_picture;
        output::line(format_args!(
            "bare runtime      {before:.1} ms of a core a picture, {after:.1} ms after the rest"
        ))?;
        output::line(format_args!(
            "decoding alone    {:.1} frames/s on {:.2} cores",
            r.decode_alone_fps, r.decode_alone_cores
        ))?;
        output::line(format_args!("camera process    {:.2} cores", r.camera_process_cores))?;
        output::line(format_args!("received          {:.1} frames/s", r.received_fps))?;
        output::line(format_args!("published         {:.1} frames/s", r.published_fps))?;
        let dropped: Vec<_> = r
            .dropped_by_reason
            .iter()
            .filter(|(_, n)| **n > 0)
            .map(|(reason, n)| format!("{n} {reason}"))
            .collect();
        output::line(format_args!(
            "dropped           {}",
            if dropped.is_empty() { "none".into() } else { dropped.join(", ") }
        ))?;
        output::line(format_args!(
            "cores             engine {:.2}, ingest {:.2}, i/o {:.2}",
            r.engine_cores, r.ingest_cores, r.io_cores
        ))?;
        output::line(format_args!(
            "age at receipt    p50 {:.0} ms, p99 {:.0} ms",
            r.age_p50_ms, r.age_p99_ms
        ))?;
        output::line(format_args!(
            "resident memory   {:.1} MiB after a tenth, {:.1} MiB at the end",
            r.resident_mib_first, r.resident_mib_last
        ))?;
        if let Some([one, all]) = r.plain_loop_fps {
            output::line(format_args!(
                "plain loop        {one:.1} frames/s with the runtime on 1 thread, {all:.1} on all cores; published: {:.2} and {:.2} times that",
                r.published_fps / one,
                r.published_fps / all
            ))?;
        }
        output::line(format_args!(
            "share of bare     {:.3} of what the bare runtime would serve in the time decoding leaves",
            r.share_of_bare
        ))?;
        Ok(())
    }
}

/// What a phase used.
struct Usage {
    seconds: f64,
    received: u64,
    published: u64,
    dropped: [u64; DropReason::ALL.len()],
    engine: f64,
    ingest: f64,
    io: f64,
    camera: f64,
    resident: (f64, f64),
}

struct Books {
    received: u64,
    published: u64,
    dropped: [u64; DropReason::ALL.len()],
}

fn books(cameras: &[CameraView]) -> Books {
    let sum = |read: &dyn Fn(&CameraView) -> u64| cameras.iter().map(read).sum();
    Books {
        received: sum(&|view| view.balance.received),
        published: sum(&|view| view.balance.published),
        dropped: DropReason::ALL.map(|reason| sum(&|view| view.balance.dropped(reason))),
    }
}

/// Processor seconds a run of the bare runtime, with as many sessions at work as there are cores.
fn cpu_per_run(bare: &mut [impl FnMut() -> anyhow::Result<()> + Send]) -> anyhow::Result<f64> {
    Ok(measure(bare, Duration::from_secs(8))?.cpu_seconds_per_run)
}

/// Waits until all cameras are live.
pub(super) async fn all_live(cameras: impl Fn() -> Vec<CameraView>) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let views = cameras();
        let Some(waiting) = views.iter().find(|view| view.status.state != CameraState::Live) else {
            return Ok(());
        };
        anyhow::ensure!(
            Instant::now() < deadline,
            "{} is not live after 30 s: {}",
            waiting.spec.url,
            waiting.status.reason
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Takes frames and does nothing with them.
struct Discard;

impl ingest::Sink for Discard {
    fn offer(&self, frame: Frame) {
        frame.ticket.publish();
    }

    fn state_changed(&self, _id: &CameraId, _status: &Arc<CameraStatus>) {}

    fn forget(&self, _id: &CameraId) {}
}
