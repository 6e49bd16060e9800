//! Reads the GPUs' memory and utilisation every few seconds, in a thread of its own: a driver that hangs holds up
//! nothing else, least of all whoever asks for the metrics.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use super::context::Gpu;
use super::metrics::Metrics;

/// Between two looks.
pub const PERIOD: Duration = Duration::from_secs(2);

/// The thread; it ends when this is dropped.
pub struct Watcher {
    _running: SyncSender<()>,
}

impl Watcher {
    /// Starts looking at `gpus` every `period`.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub fn start(gpus: Vec<Arc<Gpu>>, metrics: Metrics, period: Duration) -> std::io::Result<Self> {
        let (running, stopped) = sync_channel(0);
        let watch = move || watch(&gpus, &metrics, period, &stopped);
        std::thread::Builder::new().name("gpu-watch".into()).spawn(watch)?;
        Ok(Self { _running: running })
    }
}

fn watch(gpus: &[Arc<Gpu>], metrics: &Metrics, period: Duration, stopped: &Receiver<()>) {
    loop {
        gpus.iter().for_each(|gpu| look(gpu, metrics));
        if stopped.recv_timeout(period) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
}

/// Shows what one GPU is like now.
pub(super) fn look(gpu: &Gpu, metrics: &Metrics) {
    let index = gpu.info().index;
    if let Some(memory) = gpu.memory() {
        metrics.show_memory(index, memory);
    }
    if let Some(ratio) = gpu.utilization() {
        metrics.show_utilization(index, ratio);
    }
}
