//! The settings of traces.

use serde::Deserialize;

/// The table `[otlp]` of the settings.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The collector, such as `http://127.0.0.1:4317`; without it there are no traces.
    pub endpoint: Option<String>,
    /// The part of the frames that is traced, 0 to 1.
    pub sample_ratio: f64,
    /// The server's name among others.
    pub service_name: String,
}

impl Default for Config {
    fn default() -> Self {
        Self { endpoint: None, sample_ratio: 0.01, service_name: "centerx".into() }
    }
}

impl Config {
    /// Checks what parsing alone does not.
    ///
    /// # Errors
    /// The first value that cannot be accepted, and what would do.
    pub fn validate(&self) -> Result<(), String> {
        if !(0.0..=1.0).contains(&self.sample_ratio) {
            return Err(format!("sample_ratio: {} is not a number from 0 to 1", self.sample_ratio));
        }
        if self.service_name.trim().is_empty() {
            return Err("service_name is empty: leave it out for \"centerx\"".into());
        }
        let Some(endpoint) = &self.endpoint else { return Ok(()) };
        if !["http://", "https://"].iter().any(|scheme| endpoint.starts_with(scheme)) {
            return Err(
                "endpoint is no URL of a collector's gRPC receiver, such as \"http://127.0.0.1:4317\"".into(),
            );
        }
        if cfg!(feature = "otlp") {
            Ok(())
        } else {
            Err("endpoint is set, and this centerx was built without traces: build it with `--features otlp`, or \
                 leave [otlp] out"
                .into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_is_named() {
        assert_eq!(Config::default().validate(), Ok(()));
        for (text, setting) in [
            ("sample_ratio = 1.5", "sample_ratio"),
            ("sample_ratio = nan", "sample_ratio"),
            ("service_name = \" \"", "service_name"),
            ("endpoint = \"collector:4317\"", "endpoint is no URL"),
        ] {
            let config: Config = toml::from_str(text).unwrap();
            assert!(config.validate().unwrap_err().starts_with(setting), "{text}");
        }
    }

    #[test]
    fn an_endpoint_takes_the_feature() {
        let config: Config = toml::from_str("endpoint = \"http://127.0.0.1:4317\"").unwrap();
        let checked = config.validate();
        if cfg!(feature = "otlp") {
            assert_eq!(checked, Ok(()));
        } else {
            assert!(checked.unwrap_err().contains("--features otlp"));
        }
    }
}
