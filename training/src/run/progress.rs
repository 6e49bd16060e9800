//! How far a run is, on standard error: a bar on a terminal, now and then a line elsewhere.

use std::io::{self, IsTerminal as _};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Seconds between two lines where there is no terminal.
const EVERY: Duration = Duration::from_secs(10);

/// A step, as people want to know of it.
#[derive(Clone, Copy, Debug)]
pub struct Status<'a> {
    /// Steps done since the run began, interruptions included.
    pub step: u64,
    /// The epoch, from 1.
    pub epoch: u32,
    /// How many there are.
    pub epochs: u32,
    /// Learning rate.
    pub rate: f64,
    /// Weighted sum of the loss terms.
    pub total: f32,
    /// Names and values of the loss terms, not weighted.
    pub terms: &'a [(&'a str, f32)],
}

/// Shows how far a run is.
#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
    pace: Pace,
    total: u64,
}

impl Progress {
    /// Begins with `done` of `total` steps done, in a run that was resumed, or 0.
    pub fn start(done: u64, total: u64) -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let template = "{bar:30} {pos}/{len}  {prefix}\n{wide_msg}";
            let style = ProgressStyle::with_template(template);
            let bar =
                ProgressBar::new(total).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.with_position(done)
        });
        Self { bar, pace: Pace { began: Instant::now(), done, told: None }, total }
    }

    /// Shows a step that is done.
    pub fn step(&mut self, status: &Status) {
        let now = Instant::now();
        let pace = self.pace.steps_a_second(now, status.step);
        let Status { step, .. } = status;
        match &self.bar {
            Some(bar) => {
                bar.set_prefix(course(status, self.total, pace));
                bar.set_message(losses(status));
                bar.set_position(*step);
            }
            None if self.pace.is_due(now, *step >= self.total) => {
                eprintln!(
                    "step {step}/{}  {}  {}",
                    self.total,
                    course(status, self.total, pace),
                    losses(status)
                );
            }
            None => {}
        }
    }

    /// Says something that is to stay, above the bar if there is one.
    pub fn say(&self, what: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{what}")),
            None => eprintln!("{what}"),
        }
    }

    /// Takes the bar away.
    pub fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// When a line is due, and how fast it goes.
#[derive(Debug)]
struct Pace {
    began: Instant,
    /// Steps done when it began.
    done: u64,
    told: Option<Instant>,
}

impl Pace {
    fn is_due(&mut self, now: Instant, last: bool) -> bool {
        let due = last || self.told.is_none_or(|told| now.duration_since(told) >= EVERY);
        if due {
            self.told = Some(now);
        }
        due
    }

    /// Of this run alone, should it be a resumed one.
    fn steps_a_second(&self, now: Instant, step: u64) -> f64 {
        let seconds = now.duration_since(self.began).as_secs_f64();
        step.saturating_sub(self.done) as f64 / seconds.max(1e-3)
    }
}

/// How fast it goes, what is left, and the epoch.
fn course(status: &Status, total: u64, steps_a_second: f64) -> String {
    let steps = total.saturating_sub(status.step) as f64;
    let left = Duration::try_from_secs_f64(steps / steps_a_second).map_or_else(|_| "?".to_owned(), time);
    format!("{steps_a_second:.2} steps/s  {left} left  epoch {}/{}", status.epoch, status.epochs)
}

/// The loss, its terms, and the learning rate.
fn losses(status: &Status) -> String {
    let mut losses = format!("loss {:.4}", status.total);
    for (name, value) in status.terms {
        losses.push_str(&format!("  {name} {value:.4}"));
    }
    losses + &format!("  rate {:.2e}", status.rate)
}

/// Such as `1h02m`, `3m05s`, `12s`.
fn time(duration: Duration) -> String {
    let seconds = duration.as_secs_f64().round() as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m{seconds:02}s"),
        (hours, minutes, _) => format!("{hours}h{minutes:02}m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: Status = Status {
        step: 30,
        epoch: 2,
        epochs: 8,
        rate: 1.25e-4,
        total: 2.5,
        terms: &[("labels/heat", 1.25), ("coco/size", 0.003)],
    };

    #[test]
    fn people_see_pace_what_is_left_terms_and_rate() {
        assert_eq!(course(&STATUS, 230, 4.0), "4.00 steps/s  50s left  epoch 2/8");
        assert_eq!(course(&STATUS, 230, 0.0), "0.00 steps/s  ? left  epoch 2/8");
        assert_eq!(losses(&STATUS), "loss 2.5000  labels/heat 1.2500  coco/size 0.0030  rate 1.25e-4");
    }

    #[test]
    fn lines_come_every_ten_seconds_and_at_the_end() {
        let began = Instant::now();
        let mut pace = Pace { began, done: 100, told: None };
        let after = |seconds| began + Duration::from_secs(seconds);
        let due: Vec<_> = [1, 2, 10, 11, 12].map(|s| pace.is_due(after(s), false)).into();
        assert_eq!(due, [true, false, false, true, false]);
        assert!(pace.is_due(after(12), true));
        assert!(!pace.is_due(after(21), false));
    }

    #[test]
    fn a_resumed_run_counts_its_own_steps_only() {
        let began = Instant::now();
        let pace = Pace { began, done: 100, told: None };
        assert_eq!(pace.steps_a_second(began + Duration::from_secs(5), 110), 2.0);
    }

    #[test]
    fn times_are_short() {
        let times = [0, 59, 185, 3720, 90_000].map(|seconds| time(Duration::from_secs(seconds)));
        assert_eq!(times, ["0s", "59s", "3m05s", "1h02m", "25h00m"]);
    }
}
