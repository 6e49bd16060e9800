//! Processor time and memory as Linux accounts them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// What the threads of this process do, told by their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Engine lanes: letterbox, inference, publishing.
    Engine,
    /// Receiving and decoding: GStreamer's threads.
    Ingest,
    /// gRPC, HTTP, supervision.
    Io,
    /// Live pictures.
    Live,
    /// The benchmark's own clients.
    Viewers,
}

impl Stage {
    fn of(thread: &str, process: &str) -> Self {
        if thread.starts_with("infer-") {
            Self::Engine
        } else if thread.starts_with("live-") {
            Self::Live
        } else if thread.starts_with("viewers") {
            Self::Viewers
        } else if thread.starts_with("centerx-io") || thread == process {
            Self::Io
        } else {
            Self::Ingest
        }
    }
}

/// Processor time of each stage of this process since it started. Threads that ended are not in it.
pub fn by_stage() -> BTreeMap<Stage, Duration> {
    let name = |path: &Path| fs::read_to_string(path.join("comm")).unwrap_or_default().trim().to_owned();
    let process = name(Path::new("/proc/self"));
    let mut times = BTreeMap::from([
        (Stage::Engine, Duration::ZERO),
        (Stage::Ingest, Duration::ZERO),
        (Stage::Io, Duration::ZERO),
        (Stage::Live, Duration::ZERO),
        (Stage::Viewers, Duration::ZERO),
    ]);
    for task in fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        *times.entry(Stage::of(&name(&task.path()), &process)).or_default() += on_cpu(&task.path());
    }
    times
}

/// Processor time of all living threads of a process.
pub fn of_process(pid: u32) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    tasks.map(|task| on_cpu(&task.path())).sum()
}

/// Processor time of this process's living threads whose name begins with `prefix`.
pub fn of_threads(prefix: &str) -> Duration {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let named =
        |path: &Path| fs::read_to_string(path.join("comm")).is_ok_and(|name| name.starts_with(prefix));
    tasks.filter(|task| named(&task.path())).map(|task| on_cpu(&task.path())).sum()
}

/// Processor time of the calling thread.
pub fn of_this_thread() -> Duration {
    on_cpu(Path::new("/proc/thread-self"))
}

/// Nanoseconds on a processor, the first figure of `schedstat`.
fn on_cpu(task: &Path) -> Duration {
    let text = fs::read_to_string(task.join("schedstat")).unwrap_or_default();
    Duration::from_nanos(text.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0))
}

/// Resident memory of this process in MiB.
pub fn resident_mib() -> f64 {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)).and_then(|word| word.parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1024.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_shows_as_processor_time() {
        // This thread's alone: others of the test's process come and go.
        let (before, mut sum) = (of_this_thread(), 0u64);
        while of_this_thread() - before < Duration::from_millis(5) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(resident_mib() > 1.0 && of_process(std::process::id()) > Duration::ZERO);
    }

    #[test]
    fn threads_are_told_apart_by_name() {
        assert_eq!(Stage::of("infer-0", "centerx"), Stage::Engine);
        assert_eq!(Stage::of("centerx-io", "centerx"), Stage::Io);
        assert_eq!(Stage::of("live-0", "centerx"), Stage::Live);
        assert_eq!(Stage::of("rtspsrc0:src", "centerx"), Stage::Ingest);
    }
}
