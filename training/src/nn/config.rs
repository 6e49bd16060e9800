//! Which network.

use serde::{Deserialize, Serialize};

/// A CenterNet, described.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct NetworkConfig {
    /// What looks at the picture.
    pub backbone: BackboneKind,
    /// Factor on the channels of backbone and neck, which are rounded to multiples of 8.
    pub width: f32,
    /// What takes the backbone's cells, 32 pixels wide, back to 4.
    pub neck: NeckKind,
    /// On the way up, add what the backbone saw at 16, 8 and 4 pixels a cell (Feature Pyramid Networks, Lin et al. 2017).
    /// Without, as *Objects as Points* has it, all that is fine must come through the 32 pixels of the last cells, which a
    /// small network takes long to learn.
    pub skips: bool,
    /// Channels inside each head.
    pub head_channels: usize,
}

impl Default for NetworkConfig {
    fn default() -> Self {
        Self {
            backbone: BackboneKind::Resnet18,
            width: 1.0,
            neck: NeckKind::Transposed,
            skips: true,
            head_channels: 64,
        }
    }
}

/// The backbones there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[expect(missing_docs)]
pub enum BackboneKind {
    #[serde(rename = "resnet18")]
    Resnet18,
    #[serde(rename = "resnet34")]
    Resnet34,
    #[serde(rename = "resnet50")]
    Resnet50,
    #[serde(rename = "regnetx-200mf")]
    RegnetX200,
    #[serde(rename = "regnetx-400mf")]
    RegnetX400,
    #[serde(rename = "regnetx-800mf")]
    RegnetX800,
    #[serde(rename = "regnety-200mf")]
    RegnetY200,
    #[serde(rename = "regnety-400mf")]
    RegnetY400,
    #[serde(rename = "regnety-800mf")]
    RegnetY800,
    #[serde(rename = "mobilenetv3-small")]
    MobilenetSmall,
    #[serde(rename = "mobilenetv3-large")]
    MobilenetLarge,
}

impl BackboneKind {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Resnet18,
        Self::Resnet34,
        Self::Resnet50,
        Self::RegnetX200,
        Self::RegnetX400,
        Self::RegnetX800,
        Self::RegnetY200,
        Self::RegnetY400,
        Self::RegnetY800,
        Self::MobilenetSmall,
        Self::MobilenetLarge,
    ];

    /// Channels of the neck's three stages at a width of 1; a light backbone has a light neck.
    pub fn neck_channels(self) -> [usize; 3] {
        match self {
            Self::MobilenetSmall | Self::MobilenetLarge => [128, 64, 32],
            _ => [256, 128, 64],
        }
    }
}

/// The ways up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NeckKind {
    /// A 3x3 convolution, then a transposed one that begins as bilinear interpolation (Zhou et al. 2019 without the
    /// deformable part).
    Transposed,
    /// A pointwise convolution, each cell four times, a depthwise 3x3 convolution: light, and every runtime has it.
    Resize,
}

/// Why there is no such network.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum NetworkError {
    /// Too thin, too wide, or no number.
    #[error("the network's width is {width}; it must be from {} to {}", WIDTHS[0], WIDTHS[1])]
    Width {
        /// What was asked for.
        width: f32,
    },
    /// No channels in the heads, or too many.
    #[error("the network's head-channels are {channels}; they must be from 1 to {MAX_HEAD_CHANNELS}")]
    HeadChannels {
        /// What was asked for.
        channels: usize,
    },
    /// Nothing to detect.
    #[error("a network needs from 1 to {MAX_CLASSES} classes, not {classes}; list them in the recipe")]
    Classes {
        /// What was asked for.
        classes: usize,
    },
}

const WIDTHS: [f32; 2] = [0.0625, 4.0];
const MAX_HEAD_CHANNELS: usize = 1024;
/// As many as there are words for; the number is there to catch a wrong one.
const MAX_CLASSES: usize = 100_000;

impl NetworkConfig {
    /// Whether there is such a network of so many classes.
    ///
    /// # Errors
    /// A number that is out of its range.
    pub fn check(&self, classes: usize) -> Result<(), NetworkError> {
        if !(WIDTHS[0]..=WIDTHS[1]).contains(&self.width) {
            return Err(NetworkError::Width { width: self.width });
        }
        if !(1..=MAX_HEAD_CHANNELS).contains(&self.head_channels) {
            return Err(NetworkError::HeadChannels { channels: self.head_channels });
        }
        if !(1..=MAX_CLASSES).contains(&classes) {
            return Err(NetworkError::Classes { classes });
        }
        Ok(())
    }
}

/// The multiple of `step` nearest to `channels`, at least one `step`, and not under 9/10 of `channels` (Howard et al.
/// 2017 and after).
pub(super) fn round_to(channels: f32, step: usize) -> usize {
    let rounded = ((channels / step as f32 + 0.5) as usize * step).max(step);
    if (rounded as f32) < 0.9 * channels { rounded + step } else { rounded }
}

/// `channels` of a paper at a width factor, a multiple of 8 unless the factor is 1.
pub(super) fn scaled(channels: usize, width: f32) -> usize {
    if width == 1.0 { channels } else { round_to(channels as f32 * width, 8) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_network_is_described_in_few_words() {
        assert_eq!(toml::from_str::<NetworkConfig>("").unwrap(), NetworkConfig::default());
        let text = "backbone = \"regnety-400mf\"\nwidth = 0.5\nneck = \"resize\"\nhead-channels = 32\n";
        let config: NetworkConfig = toml::from_str(text).unwrap();
        assert_eq!(config.backbone, BackboneKind::RegnetY400);
        assert_eq!((config.width, config.neck, config.head_channels), (0.5, NeckKind::Resize, 32));
        assert_eq!(toml::from_str::<NetworkConfig>(&toml::to_string(&config).unwrap()).unwrap(), config);
        let error = toml::from_str::<NetworkConfig>("backbone = \"vgg\"").unwrap_err().to_string();
        assert!(error.contains("resnet18") && error.contains("mobilenetv3-large"), "{error}");
        assert!(toml::from_str::<NetworkConfig>("dcn = true").is_err());
    }

    #[test]
    fn numbers_out_of_range_are_told() {
        let config = |width, head_channels| NetworkConfig { width, head_channels, ..Default::default() };
        for (config, classes, word) in [
            (config(f32::NAN, 64), 1, "width"),
            (config(0.0, 64), 1, "width"),
            (config(9.0, 64), 1, "width"),
            (config(1.0, 0), 1, "head-channels"),
            (config(1.0, 64), 0, "classes"),
        ] {
            let error = config.check(classes).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
        assert_eq!(config(0.25, 16).check(80), Ok(()));
    }

    proptest! {
        #[test]
        fn channels_are_multiples_near_to_what_was_asked(channels in 1f32..2048.0, step in 1usize..64) {
            let rounded = round_to(channels, step);
            prop_assert!(rounded > 0 && rounded.is_multiple_of(step));
            prop_assert!(rounded as f32 >= 0.9 * channels);
            prop_assert!(rounded as f32 <= channels + step as f32);
        }
    }
}
