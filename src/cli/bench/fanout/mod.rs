//! Many subscribers over real gRPC: how long a message takes, what it costs, and what subscribers that never read
//! do to the others. Server, publisher and clients share the machine; their processor time is told apart.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use prometheus::Registry;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::{cpu, median};
use crate::api;
use crate::camera::CameraId;
use crate::cli::output;
use crate::detection::{BoundingBox, Detection, FrameDetections};
use crate::frame::{CaptureQuality, CaptureTime};
use crate::publisher::{self, Hub};

mod backend;
mod clients;

use backend::OnlyHub;
use clients::{Seen, Stuck};

/// Many subscribers over real gRPC, and some among them that never read.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Subscribers that read, each with a connection of its own.
    #[arg(long, default_value_t = 1000)]
    subscribers: usize,
    /// Messages a second to each of them.
    #[arg(long, default_value_t = 30.0)]
    rate: f64,
    /// Subscribers that never read: half of them their socket, half of them only their stream.
    #[arg(long, default_value_t = 0)]
    stuck: usize,
    /// Objects a message.
    #[arg(long, default_value_t = 5)]
    objects: usize,
    /// With --stuck: rounds, each without them and with them.
    #[arg(long, default_value_t = NonZeroUsize::MIN)]
    rounds: NonZeroUsize,
    /// Seconds a phase.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Fail if those that never read change the others' p99 by more than this, in percent of it.
    #[arg(long, value_name = "PERCENT")]
    max_shift: Option<f64>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// The figures of one phase.
#[derive(Clone, Debug, serde::Serialize)]
struct Phase {
    stuck: usize,
    published: u64,
    /// Received by those that read.
    received: usize,
    received_per_second: f64,
    dropped: u64,
    latency_p50_ms: f64,
    latency_p99_ms: f64,
    latency_max_ms: f64,
    server_cores: f64,
    /// Processor time of the server for one message to one subscriber.
    server_us_per_message: f64,
    client_cores: f64,
    resident_mib: f64,
}

#[derive(Debug, serde::Serialize)]
struct Report {
    phases: Vec<Phase>,
    /// Median of the rounds' shifts of p99, in percent.
    p99_shift_percent: Option<f64>,
}

impl Args {
    /// Measures and prints.
    pub fn run(self) -> anyhow::Result<()> {
        let bench = Bench::start(&self)?;
        let mut report = Report { phases: Vec::new(), p99_shift_percent: None };
        let mut shifts = Vec::new();
        for _ in 0..self.rounds.get() {
            let without = bench.phase(&self, 0)?;
            report.phases.push(without.clone());
            if self.stuck > 0 {
                let with = bench.phase(&self, self.stuck)?;
                shifts.push((with.latency_p99_ms / without.latency_p99_ms - 1.0) * 100.0);
                report.phases.push(with);
            }
        }
        report.p99_shift_percent = (!shifts.is_empty()).then(|| median(&mut shifts));
        self.print(&report)?;
        match (report.p99_shift_percent, self.max_shift) {
            (Some(shift), Some(most)) if shift > most => {
                anyhow::bail!("p99 moved by {shift:.1} %, more than {most} %")
            }
            _ => Ok(()),
        }
    }

    fn print(&self, report: &Report) -> anyhow::Result<()> {
        if self.json {
            output::line(serde_json::to_string(report)?)?;
            return Ok(());
        }
        output::line(format_args!(
            "{} subscribers, {} messages/s each, {} objects a message, {} s a phase",
            self.subscribers, self.rate, self.objects, self.seconds
        ))?;
        for phase in &report.phases {
            output::line(format_args!(
                "{:3} stuck  {:6.0} messages/s, {} dropped, p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms, cores: server {:.2} \
                 ({:.2} µs a message), clients {:.2}, resident {:.0} MiB",
                phase.stuck,
                phase.received_per_second,
                phase.dropped,
                phase.latency_p50_ms,
                phase.latency_p99_ms,
                phase.latency_max_ms,
                phase.server_cores,
                phase.server_us_per_message,
                phase.client_cores,
                phase.resident_mib
            ))?;
        }
        if let Some(shift) = report.p99_shift_percent {
            output::line(format_args!("p99 moved by {shift:.1} % (median of {} rounds)", self.rounds))?;
        }
        Ok(())
    }
}

/// A server, its publisher and its subscribers.
struct Bench {
    address: SocketAddr,
    seen: Arc<Seen>,
    /// Threads of the clients, apart from the server's.
    clients: Runtime,
    // Let go in this order: the publisher first, then the server.
    _publisher: oneshot::Sender<()>,
    _server: Runtime,
    _stop: oneshot::Sender<()>,
    published: Arc<std::sync::atomic::AtomicU64>,
}

impl Bench {
    fn start(args: &Args) -> anyhow::Result<Self> {
        let runtime = |name, threads| {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            builder.enable_all().thread_name(name).worker_threads(threads).build()
        };
        let (server, clients) = (runtime("centerx-io", 2)?, runtime("clients", 2)?);
        let registry = Registry::new();
        let hub = Hub::new(publisher::Config::default(), publisher::Metrics::new(&registry)?);
        let config = api::Config { listen: ([127, 0, 0, 1], 0).into(), ..api::Config::default() };
        let listener = server.block_on(api::bind(&config))?;
        let address = listener.local_addr()?;
        let services =
            api::Server::new(config, Arc::new(OnlyHub(hub.clone())), api::Metrics::new(&registry)?);
        let (stop, stopped) = oneshot::channel::<()>();
        server.spawn(services.serve(listener, async move { _ = stopped.await }));
        let seen = Seen::new();
        clients.block_on(clients::read(address, args.subscribers, &seen))?;
        let published = Arc::default();
        let (stop_publishing, ended) = oneshot::channel();
        let publisher = Publisher {
            hub,
            seen: Arc::clone(&seen),
            objects: args.objects,
            published: Arc::clone(&published),
        };
        let every = Duration::from_secs_f64(1.0 / args.rate.max(0.1));
        std::thread::Builder::new().name("publisher".into()).spawn(move || publisher.run(every, ended))?;
        Ok(Self {
            address,
            seen,
            clients,
            _publisher: stop_publishing,
            _server: server,
            _stop: stop,
            published,
        })
    }

    /// One phase beside so many subscribers that never read. What they let pile up has piled up before the
    /// counting begins, as far as a few seconds do it.
    fn phase(&self, args: &Args, stuck: usize) -> anyhow::Result<Phase> {
        let at = |number| match number % 2 {
            0 => Stuck::at_tcp(self.address),
            _ => Stuck::at_http2(self.address, &self.clients),
        };
        let _stuck = (0..stuck).map(at).collect::<anyhow::Result<Vec<_>>>()?;
        let rest = |seconds| {
            self.clients.block_on(async { tokio::time::sleep(Duration::from_secs_f64(seconds)).await });
        };
        rest(2.0);
        let published = || self.published.load(std::sync::atomic::Ordering::Relaxed);
        let (before, start) = (published(), Instant::now());
        let cpu = || (cpu::of_threads("centerx-io"), cpu::of_threads("clients"));
        let cpu_before = cpu();
        self.seen.begin();
        rest(args.seconds);
        let (latencies, dropped) = self.seen.end();
        let (seconds, cpu_after) = (start.elapsed().as_secs_f64(), cpu());
        let at = |p: f64| latencies.get(((latencies.len() as f64 - 1.0) * p) as usize).copied();
        let percentile = |p| at(p).map_or(f64::NAN, f64::from);
        let server = (cpu_after.0 - cpu_before.0).as_secs_f64();
        Ok(Phase {
            stuck,
            published: published() - before,
            received: latencies.len(),
            received_per_second: latencies.len() as f64 / seconds,
            dropped,
            latency_p50_ms: percentile(0.5),
            latency_p99_ms: percentile(0.99),
            latency_max_ms: percentile(1.0),
            server_cores: server / seconds,
            server_us_per_message: server * 1e6 / latencies.len() as f64,
            client_cores: (cpu_after.1 - cpu_before.1).as_secs_f64() / seconds,
            resident_mib: cpu::resident_mib(),
        })
    }
}

/// Publishes a camera's frames at a steady rate, on a thread of its own as an engine's lane does.
struct Publisher {
    hub: Hub,
    seen: Arc<Seen>,
    objects: usize,
    published: Arc<std::sync::atomic::AtomicU64>,
}

impl Publisher {
    fn run(self, every: Duration, ended: oneshot::Receiver<()>) {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        let stop = CancellationToken::new();
        let until = stop.clone();
        runtime.spawn(async move {
            let _ = ended.await;
            until.cancel();
        });
        runtime.block_on(stop.run_until_cancelled(self.publish(every)));
    }

    async fn publish(&self, every: Duration) {
        let Ok(camera) = CameraId::new("camera") else { return };
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for sequence in 1.. {
            ticks.tick().await;
            let now = Instant::now();
            let capture = CaptureTime {
                wall: SystemTime::UNIX_EPOCH + (now - self.seen.start),
                monotonic: now,
                quality: CaptureQuality::Arrival,
            };
            let detections = (0..self.objects).map(object).collect();
            let (camera, model) = (camera.clone(), "coco".into());
            let frame =
                FrameDetections { camera, sequence, capture, width: 768, height: 576, model, detections };
            self.hub.publish(Arc::new(frame));
            self.published.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    }
}

fn object(number: usize) -> Detection {
    let x1 = number as f32 * 10.5;
    let bbox = BoundingBox { x1, y1: 232.4, x2: x1 + 51.6, y2: 341.0 };
    Detection { bbox, score: 0.71, class_id: 0, label: "person".into(), landmarks: Vec::new() }
}
