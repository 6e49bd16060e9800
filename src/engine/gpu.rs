//! What runs the models, and the settings of TensorRT: also read where centerx was built without it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::Deserialize;

use super::flavour::Flavour;

/// What runs the models.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// TensorRT where centerx was built with it and there is a GPU, else the CPU.
    #[default]
    Auto,
    /// ONNX Runtime on the CPU.
    Cpu,
    /// TensorRT; the CPU, with a warning, where that is not possible.
    TensorRt,
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Cpu => "cpu",
            Self::TensorRt => "tensorrt",
        })
    }
}

impl FromStr for Preprocess {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "cpu" => Ok(Self::Cpu),
            "gpu" => Ok(Self::Gpu),
            _ => Err(format!("{text:?} is neither cpu nor gpu")),
        }
    }
}

impl FromStr for Backend {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Auto, Self::Cpu, Self::TensorRt]
            .into_iter()
            .find(|backend| backend.to_string() == text)
            .ok_or_else(|| format!("{text:?} is none of auto, cpu and tensorrt"))
    }
}

/// Where decoded pictures become network input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preprocess {
    /// On the CPU.
    #[default]
    Cpu,
    /// On the GPU that runs the network, if NVRTC is there to compile for it.
    Gpu,
}

/// Settings of TensorRT.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Which TensorRT. Without it, the first that can be loaded.
    pub library: Option<Flavour>,
    /// The folder of its libraries. Without it, `TENSORRT_LIBRARY_DIR`, and then where the system finds them.
    pub library_dir: Option<PathBuf>,
    /// The GPUs to use, by CUDA's numbers; all where none is said.
    pub devices: Vec<usize>,
    /// Pictures a run at most, 1 to 256.
    pub max_batch: usize,
    /// The batch sizes that compiled models are tuned for; the last one is waited for.
    pub best_batches: Vec<usize>,
    /// Contexts a GPU, 1 to 8, each with a stream of its own: while one computes, another copies.
    pub lanes: usize,
    /// Capture runs as CUDA graphs, one a batch size.
    pub graphs: bool,
    /// Where decoded pictures become network input.
    pub preprocess: Preprocess,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            library: None,
            library_dir: None,
            devices: Vec::new(),
            max_batch: 16,
            best_batches: vec![8],
            lanes: 2,
            graphs: true,
            preprocess: Preprocess::Cpu,
        }
    }
}

impl Settings {
    /// More is no batch any more: memory and latency go with it.
    pub const MAX_BATCH: usize = 256;
    const MAX_LANES: usize = 8;

    /// Checks the ranges.
    ///
    /// # Errors
    /// The setting that cannot be accepted, and what would be right.
    pub fn validate(&self) -> Result<(), String> {
        if self.max_batch == 0 || self.max_batch > Self::MAX_BATCH {
            return Err(format!(
                "max_batch: {} is not a number from 1 to {}",
                self.max_batch,
                Self::MAX_BATCH
            ));
        }
        if let Some(wrong) = self.best_batches.iter().find(|&&best| best == 0 || best > self.max_batch) {
            return Err(format!(
                "best_batches: {wrong} is not a number from 1 to max_batch, {}",
                self.max_batch
            ));
        }
        if self.lanes == 0 || self.lanes > Self::MAX_LANES {
            return Err(format!("lanes: {} is not a number from 1 to {}", self.lanes, Self::MAX_LANES));
        }
        let twice = |device: &usize| self.devices.iter().filter(|&other| other == device).count() > 1;
        match self.devices.iter().find(|device| twice(device)) {
            Some(device) => Err(format!("devices: {device} stands there twice")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_out_of_range_are_named() {
        let default = Settings::default;
        assert_eq!(default().validate(), Ok(()));
        let refused = |settings: Settings| settings.validate().unwrap_err();
        assert!(refused(Settings { max_batch: 0, ..default() }).contains("max_batch: 0"));
        assert!(refused(Settings { max_batch: 257, ..default() }).contains("from 1 to 256"));
        assert!(refused(Settings { best_batches: vec![4, 32], ..default() }).contains("best_batches: 32"));
        assert!(refused(Settings { lanes: 9, ..default() }).contains("lanes: 9"));
        assert!(refused(Settings { devices: vec![1, 0, 1], ..default() }).contains("devices: 1"));
    }

    #[test]
    fn backends_are_read_as_they_are_written() {
        for backend in [Backend::Auto, Backend::Cpu, Backend::TensorRt] {
            assert_eq!(backend.to_string().parse(), Ok(backend));
        }
        assert!("gpu".parse::<Backend>().unwrap_err().contains("auto, cpu and tensorrt"));
    }
}
