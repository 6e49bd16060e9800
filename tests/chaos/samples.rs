//! What a server held over time, as a file and as a slope.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::PathBuf;
use std::time::Instant;

use super::clients::Held;

/// Samples of a process, each written to a file as it is taken if there is one.
pub struct Samples {
    begin: Instant,
    file: Option<BufWriter<File>>,
    taken: Vec<(f64, Held)>,
}

impl Samples {
    /// Written to the file that `CENTERX_CHAOS_CSV` names.
    pub fn new() -> Self {
        let file = std::env::var_os("CENTERX_CHAOS_CSV").map(|path| {
            let mut file = BufWriter::new(File::create(PathBuf::from(path)).unwrap());
            writeln!(file, "seconds,resident_mb,anonymous_mb,threads,files,cameras").unwrap();
            file
        });
        Self { begin: Instant::now(), file, taken: Vec::new() }
    }

    pub fn take(&mut self, held: Held, cameras: usize) {
        let seconds = self.begin.elapsed().as_secs_f64();
        if let Some(file) = &mut self.file {
            let Held { threads, files, resident, anonymous } = held;
            writeln!(file, "{seconds:.1},{resident:.2},{anonymous:.2},{threads},{files},{cameras}").unwrap();
            file.flush().unwrap();
        }
        self.taken.push((seconds, held));
    }

    /// Megabytes an hour by which resident memory grew after the first `warm_up` seconds: the slope of the
    /// plane with the least squares over time and threads. What the cameras of a moment need, and they come and
    /// go, is told by their threads.
    pub fn slope(&self, warm_up: f64) -> f64 {
        let after = || self.taken.iter().filter(|(seconds, _)| *seconds >= warm_up);
        let threads: Vec<f64> = after().map(|(_, held)| held.threads as f64).collect();
        let hours = apart_from(&threads, after().map(|(seconds, _)| seconds / 3600.0).collect());
        let memory = apart_from(&threads, after().map(|(_, held)| held.resident).collect());
        slope(&hours, &memory)
    }

    /// Resident memory in megabytes: the first sample after `warm_up` seconds, the most, and the last.
    pub fn resident(&self, warm_up: f64) -> (f64, f64, f64) {
        let after = || self.taken.iter().filter(|(seconds, _)| *seconds >= warm_up);
        let resident = || after().map(|(_, held)| held.resident);
        let most = resident().fold(0.0, f64::max);
        (resident().next().unwrap_or(f64::NAN), most, resident().next_back().unwrap_or(f64::NAN))
    }
}

/// What of `values` does not go along with `others` (Frisch, Waugh and Lovell's theorem).
fn apart_from(others: &[f64], mut values: Vec<f64>) -> Vec<f64> {
    let along = slope(others, &values);
    if along.is_finite() {
        values.iter_mut().zip(others).for_each(|(value, other)| *value -= along * other);
    }
    values
}

/// The slope of the line with the least squares.
fn slope(xs: &[f64], ys: &[f64]) -> f64 {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (x, y) = (mean(xs), mean(ys));
    let covariance: f64 = xs.iter().zip(ys).map(|(a, b)| (a - x) * (b - y)).sum();
    covariance / xs.iter().map(|a| (a - x).powi(2)).sum::<f64>()
}

#[test]
fn growth_is_told_apart_from_what_the_threads_of_a_moment_need() {
    let held = |threads, resident| Held { threads, files: 0, resident, anonymous: 0.0 };
    let taken = (0..3600u32).map(|second| {
        let threads = 30 + (second as usize * 7919) % 20;
        (f64::from(second), held(threads, 100.0 + 2.0 * threads as f64 + 0.5 * f64::from(second) / 3600.0))
    });
    let samples = Samples { begin: Instant::now(), file: None, taken: taken.collect() };
    assert!((samples.slope(600.0) - 0.5).abs() < 1e-6, "{}", samples.slope(600.0));
    let steady = Samples { taken: (0..100).map(|n| (f64::from(n), held(9, 50.0))).collect(), ..samples };
    assert!(steady.slope(10.0).abs() < 1e-9);
}
