//! Sends stories to a collector.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use prometheus::{IntCounterVec, Opts, Registry};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};

use super::Config;
use super::convert::{self, Clock};
use crate::camera::CameraId;
use crate::trace::{Story, Teller, Trace};

/// Stories that may wait to be sent; about a kilobyte each.
const QUEUE: usize = 1024;
/// Stories in one message at most.
const BATCH: usize = 128;
/// How long a story waits for others to be sent with.
const GATHER: Duration = Duration::from_secs(1);
/// To connect, and for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Traces cannot be sent.
#[derive(Debug, thiserror::Error)]
#[error("[otlp] endpoint {endpoint:?} cannot be used: {cause}; give one such as \"http://127.0.0.1:4317\"")]
pub struct Error {
    endpoint: String,
    cause: tonic::transport::Error,
}

/// What becomes of traces.
#[derive(Clone, Debug)]
pub struct Metrics(IntCounterVec);

impl Metrics {
    /// Registers the metric.
    ///
    /// # Errors
    /// A metric registered twice.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let traces = IntCounterVec::new(
            Opts::new("centerx_traces_total", "Traces of frames, by what became of them."),
            &["outcome"],
        )?;
        ["sent", "queue_full", "failed"]
            .iter()
            .for_each(|outcome| traces.with_label_values(&[*outcome]).reset());
        registry.register(Box::new(traces.clone()))?;
        Ok(Self(traces))
    }

    fn count(&self, outcome: &str, traces: usize) {
        self.0.with_label_values(&[outcome]).inc_by(traces as u64);
    }
}

/// Samples frames, and sends what happened to them. Clones are the same.
#[derive(Clone, Debug)]
pub struct Exporter {
    queue: Arc<Queue>,
    sample_ratio: f64,
    sender: Arc<Mutex<Option<JoinHandle<()>>>>,
}

#[derive(Debug)]
struct Queue {
    /// None once it was closed.
    to: Mutex<Option<mpsc::Sender<Story>>>,
    metrics: Metrics,
}

impl Teller for Queue {
    fn tell(&self, story: Story) {
        let to = self.to.lock().unwrap_or_else(PoisonError::into_inner);
        if to.as_ref().is_none_or(|to| to.try_send(story).is_err()) {
            self.metrics.count("queue_full", 1);
        }
    }
}

impl Exporter {
    /// Begins to send to the collector of the settings; none if they name none. Connects when there is something to
    /// send, and again after each failure.
    ///
    /// # Errors
    /// An endpoint that is no address.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(config: &Config, metrics: Metrics) -> Result<Option<Self>, Error> {
        let Some(address) = &config.endpoint else { return Ok(None) };
        let channel = connect(address).map_err(|cause| Error { endpoint: address.clone(), cause })?;
        let (to, stories) = mpsc::channel(QUEUE);
        let sending = Sending {
            client: TraceServiceClient::new(channel),
            config: config.clone(),
            metrics: metrics.clone(),
            failing: false,
        };
        let sender = Arc::new(Mutex::new(Some(tokio::spawn(sending.run(stories)))));
        let queue = Arc::new(Queue { to: Mutex::new(Some(to)), metrics });
        Ok(Some(Self { queue, sample_ratio: config.sample_ratio, sender }))
    }

    /// The trace of a frame, if it is one of those that are sampled.
    pub fn sample(&self, camera: &CameraId, sequence: u64, began: std::time::Instant) -> Option<Arc<Trace>> {
        let sampled = fastrand::f64() < self.sample_ratio;
        sampled.then(|| Trace::new(Arc::clone(&self.queue) as _, camera.clone(), sequence, began))
    }

    /// Sends what waits, and nothing more.
    pub async fn finish(&self) {
        self.queue.to.lock().unwrap_or_else(PoisonError::into_inner).take();
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(sender) = sender {
            let _ = sender.await;
        }
    }
}

fn connect(address: &str) -> Result<Channel, tonic::transport::Error> {
    let endpoint = Endpoint::from_shared(address.to_owned())?.connect_timeout(PATIENCE).timeout(PATIENCE);
    let endpoint = match address.starts_with("https://") {
        true => endpoint.tls_config(ClientTlsConfig::new().with_native_roots())?,
        false => endpoint,
    };
    Ok(endpoint.connect_lazy())
}

/// The task that sends.
struct Sending {
    client: TraceServiceClient<Channel>,
    config: Config,
    metrics: Metrics,
    failing: bool,
}

impl Sending {
    async fn run(mut self, mut stories: mpsc::Receiver<Story>) {
        while let Some(first) = stories.recv().await {
            let mut batch = vec![first];
            let gather = async {
                // Ends at the end of the batch, or of the server.
                while batch.len() < BATCH
                    && let Some(next) = stories.recv().await
                {
                    batch.push(next);
                }
            };
            let _ = tokio::time::timeout(GATHER, gather).await;
            self.send(batch).await;
        }
    }

    async fn send(&mut self, batch: Vec<Story>) {
        let count = batch.len();
        let request = convert::request(&self.config.service_name, batch, &Clock::now());
        let sent = tokio::time::timeout(2 * PATIENCE, self.client.export(request)).await;
        let failure = match sent {
            Ok(Ok(_)) => None,
            Ok(Err(status)) => Some(format!("{:?}, {}", status.code(), status.message())),
            Err(_) => Some("it does not answer".into()),
        };
        self.metrics.count(if failure.is_none() { "sent" } else { "failed" }, count);
        self.tell(failure);
    }

    /// Says in the log when it begins to fail, and when no longer.
    fn tell(&mut self, failure: Option<String>) {
        let endpoint = self.config.endpoint.as_deref().unwrap_or_default();
        match (&failure, self.failing) {
            (Some(cause), false) => {
                tracing::warn!(
                    "traces cannot be sent to {endpoint} ({cause}): they are dropped until they can"
                );
            }
            (None, true) => tracing::info!("traces are sent to {endpoint} again"),
            _ => {}
        }
        self.failing = failure.is_some();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn exporter(endpoint: &str, sample_ratio: f64) -> (Exporter, Registry) {
        let registry = Registry::new();
        let config = Config { endpoint: Some(endpoint.into()), sample_ratio, ..Config::default() };
        let exporter = Exporter::start(&config, Metrics::new(&registry).unwrap()).unwrap().unwrap();
        (exporter, registry)
    }

    fn tell(exporter: &Exporter, frames: u64) -> u64 {
        let (camera, now) = (CameraId::new("yard").unwrap(), Instant::now());
        let traces = (0..frames).filter_map(|sequence| exporter.sample(&camera, sequence, now));
        traces.map(|trace| trace.end(now, "published")).count() as u64
    }

    fn count(registry: &Registry, outcome: &str) -> u64 {
        let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        let series = format!("centerx_traces_total{{outcome=\"{outcome}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&series)).unwrap().parse().unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_collector_that_never_answers_holds_up_nobody_and_what_it_misses_is_counted() {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let (exporter, registry) = exporter(&format!("http://{}", silent.local_addr().unwrap()), 1.0);
        let begin = Instant::now();
        assert_eq!(tell(&exporter, 10_000), 10_000);
        assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
        let missed = count(&registry, "queue_full");
        let room = (QUEUE + 2 * BATCH) as u64;
        assert!((10_000 - room..=10_000 - QUEUE as u64).contains(&missed), "{missed}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_collector_that_is_not_there_is_counted_as_well() {
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (exporter, registry) = exporter(&format!("http://{closed}"), 1.0);
        tell(&exporter, 300);
        exporter.finish().await;
        assert_eq!(count(&registry, "failed") + count(&registry, "queue_full"), 300);
        tell(&exporter, 5);
        assert_eq!(count(&registry, "sent"), 0);
    }

    #[tokio::test]
    async fn the_part_of_the_frames_is_traced_that_the_settings_say() {
        let sampled = |ratio| tell(&exporter("http://127.0.0.1:1", ratio).0, 10_000);
        assert_eq!((sampled(0.0), sampled(1.0)), (0, 10_000));
        let tenth = sampled(0.1);
        assert!((700..1300).contains(&tenth), "{tenth}");
    }
}
