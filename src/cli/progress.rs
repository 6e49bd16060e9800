//! What is going on, on standard error.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// What is going on, on standard error: a spinner with the time on a terminal, a line a step elsewhere.
pub(super) struct Progress {
    spinner: Option<ProgressBar>,
}

impl Progress {
    pub fn start() -> Self {
        let spinner = io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{spinner} {msg} {elapsed}");
            ProgressBar::new_spinner().with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
        });
        Self { spinner }
    }

    pub fn step(&self, step: &str) {
        match &self.spinner {
            Some(spinner) => {
                spinner.set_message(step.to_owned());
                spinner.enable_steady_tick(Duration::from_millis(100));
            }
            None => eprintln!("{step}"),
        }
    }

    /// How far a step is; on a terminal only, as it changes often.
    #[cfg(feature = "tensorrt")]
    pub fn phase(&self, phase: &str) {
        if let Some(spinner) = &self.spinner {
            spinner.set_message(phase.to_owned());
        }
    }

    pub fn end(&self) {
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
    }
}

/// A bar of `what` where their number is known, a counter otherwise; nothing where standard error is no
/// terminal.
pub(super) fn bar(count: Option<u64>, what: &str) -> ProgressBar {
    let style = |template: &str| {
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
    };
    match count {
        Some(count) => ProgressBar::new(count)
            .with_style(style(&format!("{{bar:40}} {{pos}}/{{len}} {what}  {{per_sec}}  {{eta}} left"))),
        None => {
            ProgressBar::new_spinner().with_style(style(&format!("{{spinner}} {{pos}} {what}  {{per_sec}}")))
        }
    }
}
