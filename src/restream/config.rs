//! The settings of the RTSP re-stream.

use std::net::SocketAddr;
use std::num::NonZeroU32;

use serde::Deserialize;

/// The table `[restream]` of the settings.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address and port to listen on; without it there is no re-stream.
    pub listen: Option<SocketAddr>,
    /// Clients at a time; more are refused.
    pub max_clients: NonZeroU32,
    /// Pictures a second at most.
    pub max_fps: NonZeroU32,
    /// The pictures' longer side in pixels at most, rounded up to 320, 640, 1280 or 1920.
    pub max_side: u32,
    /// Kilobits a second of each camera's stream.
    pub bitrate: NonZeroU32,
}

impl Default for Config {
    fn default() -> Self {
        let number = |number: u32| NonZeroU32::MIN.saturating_add(number - 1);
        Self {
            listen: None,
            max_clients: number(16),
            max_fps: number(15),
            max_side: 1280,
            bitrate: number(2000),
        }
    }
}

impl Config {
    /// Checks what parsing alone does not.
    ///
    /// # Errors
    /// The first value that cannot be accepted, and what would do.
    pub fn validate(&self) -> Result<(), String> {
        if self.max_fps.get() > 60 {
            return Err(format!("max_fps is {}: use 1 to 60", self.max_fps));
        }
        if !(16..=1920).contains(&self.max_side) {
            return Err(format!("max_side is {}: use 16 to 1920", self.max_side));
        }
        if !(50..=50_000).contains(&self.bitrate.get()) {
            return Err(format!("bitrate is {}: use 50 to 50000 (kilobits a second)", self.bitrate));
        }
        if self.max_clients.get() > 1000 {
            return Err(format!("max_clients is {}: use 1 to 1000", self.max_clients));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_off_by_default_and_limits_are_named() {
        assert_eq!((Config::default().listen, Config::default().validate()), (None, Ok(())));
        for (text, setting) in [
            ("max_fps = 61", "max_fps"),
            ("max_side = 4000", "max_side"),
            ("bitrate = 10", "bitrate"),
            ("max_clients = 5000", "max_clients"),
        ] {
            let config: Config = toml::from_str(text).unwrap();
            assert!(config.validate().unwrap_err().starts_with(setting));
        }
        assert!(toml::from_str::<Config>("max_fps = 0").is_err());
    }
}
