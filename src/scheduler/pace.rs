//! How long an engine's runs take, and so what it can do. Takes no clock.

use std::collections::VecDeque;
use std::time::Duration;

/// Runs whose median tells how long the next one takes. Few, so that a slow spell is forgotten soon even
/// where it left only one run a second.
const RECENT: usize = 7;
/// Runs that capacity is reckoned from.
const RUNS: usize = 64;

/// What is known of the runs of an engine.
#[derive(Clone, Debug, Default)]
pub(super) struct Pace {
    /// Items and time of the last runs, newest first.
    runs: VecDeque<(usize, Duration)>,
}

impl Pace {
    /// A run over `items` took `time`, from dispatch to results.
    pub(super) fn ran(&mut self, items: usize, time: Duration) {
        self.runs.truncate(RUNS - 1);
        self.runs.push_front((items, time));
    }

    /// How long the next run takes, likely; zero while nothing is known. The median: a cold start or a
    /// hiccup does not move it.
    pub(super) fn run_time(&self) -> Duration {
        let mut recent: Vec<_> = self.runs.iter().take(RECENT).map(|(_, time)| *time).collect();
        recent.sort_unstable();
        recent.get(recent.len().saturating_sub(1) / 2).copied().unwrap_or_default()
    }

    /// Items a second of one lane at runs of at least `preferred` items; none before there was one, since
    /// smaller ones tell little of what a full one costs.
    pub(super) fn items_per_second(&self, preferred: usize) -> Option<f64> {
        let full = self.runs.iter().filter(|(items, _)| *items >= preferred);
        let (items, time) =
            full.fold((0, Duration::ZERO), |(items, time), run| (items + run.0, time + run.1));
        (items > 0 && !time.is_zero()).then(|| items as f64 / time.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(runs: &[(usize, u64)]) -> Pace {
        let mut pace = Pace::default();
        runs.iter().for_each(|(items, ms)| pace.ran(*items, Duration::from_millis(*ms)));
        pace
    }

    #[test]
    fn nothing_is_known_before_the_first_run() {
        assert_eq!(pace(&[]).run_time(), Duration::ZERO);
        assert_eq!(pace(&[]).items_per_second(1), None);
    }

    #[test]
    fn a_cold_start_and_a_slow_spell_are_soon_forgotten() {
        assert_eq!(pace(&[(1, 900), (1, 30)]).run_time(), Duration::from_millis(30));
        let mut slow = pace(&[(1, 400); 50]);
        (0..4).for_each(|_| slow.ran(1, Duration::from_millis(30)));
        assert_eq!(slow.run_time(), Duration::from_millis(30));
    }

    #[test]
    fn capacity_is_told_by_full_runs_alone() {
        assert_eq!(pace(&[(1, 10), (3, 12)]).items_per_second(4), None);
        assert_eq!(pace(&[(1, 10), (4, 20), (8, 40)]).items_per_second(4), Some(200.0));
    }

    #[test]
    fn old_runs_are_forgotten() {
        let mut pace = pace(&[(1, 1000); 100]);
        (0..RUNS).for_each(|_| pace.ran(1, Duration::from_millis(10)));
        assert!((pace.items_per_second(1).unwrap() - 100.0).abs() < 1e-6);
        assert_eq!(pace.runs.len(), RUNS);
    }
}
