//! Logs, and what all stages' metrics have in common.
//!
//! What does not belong here: the stages' own metrics; each stage registers its own.

use std::io::{self, IsTerminal};

use prometheus::{Gauge, IntGaugeVec, Opts, Registry};
use tracing_subscriber::EnvFilter;

/// Histogram buckets for stage times and ages, in seconds: 0.25 ms to 10 s.
pub const SECONDS_BUCKETS: &[f64] = &[
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.5,
    5.0, 10.0,
];

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line, for log collectors.
    Json,
}

/// Starts logging to standard error. `filter` has the syntax of the `RUST_LOG` variable.
///
/// # Errors
/// A filter that cannot be read.
pub fn init_logging(filter: &str, format: LogFormat) -> Result<(), String> {
    let filter = EnvFilter::try_new(filter).map_err(|error| format!("log filter {filter:?}: {error}"))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false);
    // A second call, as tests make, keeps the first subscriber.
    let _ = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    Ok(())
}

/// Registers what describes the process itself: build info, CPU, memory, threads, open files.
///
/// # Errors
/// A metric registered twice.
pub fn register_process(registry: &Registry) -> prometheus::Result<()> {
    let build = IntGaugeVec::new(
        Opts::new("centerx_build_info", "Always 1; the labels tell what is running."),
        &["version"],
    )?;
    build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
    registry.register(Box::new(build))?;
    let cores = Gauge::new("centerx_cpu_cores", "Processors this process may use.")?;
    cores.set(std::thread::available_parallelism().map_or(1.0, |n| n.get() as f64));
    registry.register(Box::new(cores))?;
    registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))
}
