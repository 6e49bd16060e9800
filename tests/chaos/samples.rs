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
    rests: Vec<(f64, f64)>,
}

impl Samples {
    /// Written to the file that `CENTERX_CHAOS_CSV` names.
    pub fn new() -> Self {
        let file = std::env::var_os("CENTERX_CHAOS_CSV").map(|path| {
            let mut file = BufWriter::new(File::create(PathBuf::from(path)).unwrap());
            writeln!(file, "seconds,resident_mb,anonymous_mb,threads,files,cameras").unwrap();
            file
        });
        Self { begin: Instant::now(), file, taken: Vec::new(), rests: Vec::new() }
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

    /// Notes what is held while only the cameras that stay are there.
    pub fn rest(&mut self, held: Held) {
        self.rests.push((self.begin.elapsed().as_secs_f64(), held.resident));
    }

    /// Seconds and megabytes of resident memory at each rest after the first `warm_up` seconds.
    pub fn rests(&self, warm_up: f64) -> impl Iterator<Item = (f64, f64)> {
        self.rests.iter().copied().filter(move |(seconds, _)| *seconds >= warm_up)
    }

    /// Megabytes an hour by which resident memory grew from rest to rest after the first `warm_up` seconds. In
    /// between it goes up and down by several with the cameras of the moment.
    pub fn slope(&self, warm_up: f64) -> f64 {
        let (hours, memory): (Vec<_>, Vec<_>) =
            self.rests(warm_up).map(|(seconds, megabytes)| (seconds / 3600.0, megabytes)).unzip();
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

/// The slope of the line with the least squares.
fn slope(xs: &[f64], ys: &[f64]) -> f64 {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (x, y) = (mean(xs), mean(ys));
    let covariance: f64 = xs.iter().zip(ys).map(|(a, b)| (a - x) * (b - y)).sum();
    covariance / xs.iter().map(|a| (a - x).powi(2)).sum::<f64>()
}

#[test]
fn growth_is_told_from_the_rests_after_warm_up() {
    let grows = |minute: u32| 100.0 + 0.5 * f64::from(minute) / 60.0 + if minute < 10 { 0.0 } else { 20.0 };
    let rests = (0..60).map(|minute| (60.0 * f64::from(minute), grows(minute))).collect();
    let samples = Samples { begin: Instant::now(), file: None, taken: vec![], rests };
    assert!((samples.slope(600.0) - 0.5).abs() < 1e-6, "{}", samples.slope(600.0));
    assert_eq!(samples.rests(600.0).count(), 50);
}
