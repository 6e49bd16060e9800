//! The settings of ingest, the table `[ingest]` of the config file.

use std::time::Duration;

use serde::Deserialize;

/// What happens to a camera of the API that asks for more than the server can look at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Admission {
    /// It is watched, and all share.
    #[default]
    Open,
    /// It is refused.
    Strict,
}

/// How cameras are connected and watched.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Whether cameras are refused that the server has no capacity for.
    pub admission: Admission,
    /// A connected camera that brings no frame for so long has stalled and is connected anew.
    #[serde(with = "humantime_serde")]
    pub stall_timeout: Duration,
    /// How long a camera may take to answer, and then again to its first picture.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// The wait before the first retry; it doubles with each failure in a row, with jitter.
    #[serde(with = "humantime_serde")]
    pub backoff_min: Duration,
    /// The longest wait before a retry.
    #[serde(with = "humantime_serde")]
    pub backoff_max: Duration,
    /// A camera that was live for so long is healthy: its next failure starts at `backoff_min` again.
    #[serde(with = "humantime_serde")]
    pub healthy_after: Duration,
    /// While a camera cannot be reached, how often its port is tried between retries, so that its return
    /// is noticed at once; `"0s"` turns it off.
    #[serde(with = "humantime_serde")]
    pub probe_interval: Duration,
    /// How long a connection may take to close before it is left behind.
    #[serde(with = "humantime_serde")]
    pub close_timeout: Duration,
    /// How long late packets of a UDP camera are waited for.
    #[serde(with = "humantime_serde")]
    pub udp_latency: Duration,
    /// Coded frames of an RTSP camera that waited longer for its decoder are skipped up to the newest
    /// keyframe, so that video stays fresh when the machine cannot keep up.
    #[serde(with = "humantime_serde")]
    pub max_backlog: Duration,
    /// A camera's own clock, as its sender reports tell it, is believed as long as it is no further away from this
    /// server's.
    #[serde(with = "humantime_serde")]
    pub max_clock_offset: Duration,
    /// Threads for each camera's decoder, 1 to 64.
    pub decoder_threads: u32,
    /// Cameras at a time; the API is refused more.
    pub max_cameras: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            admission: Admission::default(),
            stall_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(10),
            backoff_min: Duration::from_millis(500),
            backoff_max: Duration::from_secs(30),
            healthy_after: Duration::from_secs(5),
            probe_interval: Duration::from_secs(1),
            close_timeout: Duration::from_secs(1),
            udp_latency: Duration::from_millis(100),
            max_backlog: Duration::from_secs(1),
            // Wide enough for cameras that set their clock now and then, and for slow networks.
            max_clock_offset: Duration::from_secs(10),
            decoder_threads: 1,
            max_cameras: 1000,
        }
    }
}

impl Config {
    /// Checks the values that the types alone do not.
    ///
    /// # Errors
    /// The first setting that cannot be used, and what would do.
    pub fn validate(&self) -> Result<(), String> {
        let never_zero = [
            ("stall_timeout", self.stall_timeout),
            ("connect_timeout", self.connect_timeout),
            ("backoff_min", self.backoff_min),
            ("close_timeout", self.close_timeout),
            ("max_backlog", self.max_backlog),
        ];
        if let Some((name, _)) = never_zero.iter().find(|(_, value)| value.is_zero()) {
            return Err(format!("{name} is zero: give a time such as \"5s\""));
        }
        if self.backoff_max < self.backoff_min {
            return Err("backoff_max is shorter than backoff_min".into());
        }
        if !(1..=64).contains(&self.decoder_threads) {
            return Err(format!("decoder_threads is {}: use 1 to 64", self.decoder_threads));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_people_write_them() {
        let config: Config = toml::from_str("stall_timeout = \"1m 30s\"").unwrap();
        assert_eq!(config, Config { stall_timeout: Duration::from_secs(90), ..Config::default() });
    }

    #[test]
    fn a_typo_is_an_error_that_names_it() {
        let error = toml::from_str::<Config>("stall_timeuot = \"5s\"").unwrap_err();
        assert!(error.to_string().contains("stall_timeuot"));
    }

    #[test]
    fn values_that_cannot_work_are_named() {
        assert_eq!(Config::default().validate(), Ok(()));
        let zero = Config { stall_timeout: Duration::ZERO, ..Config::default() };
        assert!(zero.validate().unwrap_err().contains("stall_timeout"));
        let threads = Config { decoder_threads: 0, ..Config::default() };
        assert!(threads.validate().unwrap_err().contains("decoder_threads"));
    }
}
