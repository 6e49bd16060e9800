//! Making more of the pictures that there are.
//!
//! Where a picture lies in the input is drawn from a few views of each, so that what teachers say of one can be kept.
//! Colours, mirror images and mosaics change what is kept along with the pixels, and are drawn anew each time.

use serde::Deserialize;

use super::seed::{number, rng};
use super::{DataError, Item};
use crate::view::View;

/// Settings of augmentation.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct AugmentConfig {
    /// Views of each picture, the server's letterbox among them. Teachers look at each view once.
    pub variants: usize,
    /// How much smaller and larger than the letterbox a picture may be; what then sticks out is cropped.
    pub scale: [f32; 2],
    /// How far a picture may be pushed beyond the input's edge, as a share of what can be seen of it.
    pub shift: f32,
    /// The share of pictures that are mirrored, left and right.
    pub flip: f32,
    /// Brightness times `1 - x` to `1 + x`.
    pub brightness: f32,
    /// Contrast times `1 - x` to `1 + x`.
    pub contrast: f32,
    /// Saturation times `1 - x` to `1 + x`.
    pub saturation: f32,
    /// The hue turned by `-x` to `x` degrees.
    pub hue: f32,
    /// The share of samples that are made of parts of four pictures (YOLOv4, Bochkovskiy et al. 2020).
    pub mosaic: f32,
}

impl Default for AugmentConfig {
    fn default() -> Self {
        Self {
            variants: 4,
            scale: [0.6, 1.5],
            shift: 0.1,
            flip: 0.5,
            brightness: 0.3,
            contrast: 0.3,
            saturation: 0.3,
            hue: 10.0,
            mosaic: 0.2,
        }
    }
}

impl AugmentConfig {
    /// Nothing is changed: the server's letterbox of each picture.
    pub fn none() -> Self {
        Self {
            variants: 1,
            scale: [1.0, 1.0],
            shift: 0.0,
            flip: 0.0,
            brightness: 0.0,
            contrast: 0.0,
            saturation: 0.0,
            hue: 0.0,
            mosaic: 0.0,
        }
    }

    /// Checks that the numbers make sense.
    ///
    /// # Errors
    /// The first that does not, and what would.
    pub fn check(&self) -> Result<(), DataError> {
        let refuse = |name: &str, is: String, would: &str| {
            Err(DataError::Settings(format!("augmentation: `{name}` is {is}; expected {would}")))
        };
        if self.variants == 0 {
            return refuse("variants", "0".into(), "1 or more");
        }
        let [low, high] = self.scale;
        if !(0.1 <= low && low <= high && high <= 10.0) {
            return refuse(
                "scale",
                format!("{:?}", self.scale),
                "the smallest and the greatest, from 0.1 to 10",
            );
        }
        for (name, value) in [("flip", self.flip), ("mosaic", self.mosaic)] {
            if !(0.0..=1.0).contains(&value) {
                return refuse(name, value.to_string(), "a share from 0 to 1");
            }
        }
        let limits = [
            ("shift", self.shift, 0.5),
            ("brightness", self.brightness, 0.9),
            ("contrast", self.contrast, 0.9),
            ("saturation", self.saturation, 1.0),
            ("hue", self.hue, 180.0),
        ];
        for (name, value, limit) in limits {
            if !(0.0..=limit).contains(&value) {
                return refuse(name, value.to_string(), &format!("0 to {limit}"));
            }
        }
        Ok(())
    }

    /// Whether colours change at all.
    pub(super) fn is_coloured(&self) -> bool {
        [self.brightness, self.contrast, self.saturation, self.hue].into_iter().any(|x| x > 0.0)
    }

    /// A view of a picture, the same whenever it is asked for, and wherever the picture's source lies. Variant 0 is the
    /// server's letterbox. `input` is width and height in pixels.
    pub fn view(&self, seed: u64, item: &Item, variant: usize, input: (u32, u32)) -> View {
        let picture = item.size;
        let whole = View::letterbox(picture, input);
        if variant == 0 {
            return whole;
        }
        let mut rng = rng(&[seed, number(item.local_name()), variant as u64]);
        let [low, high] = self.scale;
        let scale = whole.scale * (low + (high - low) * rng.f32());
        let mut place = |length: u32, input: u32| {
            let (length, input) = (length as f32 * scale, input as f32);
            let (spare, reach) = (input - length, self.shift * length.min(input));
            let (low, high) = (spare.min(0.0) - reach, spare.max(0.0) + reach);
            // A whole pixel, so that the picture's edge lies between pixels.
            (low + (high - low) * rng.f32()).round()
        };
        let (left, top) = (place(picture.0, input.0), place(picture.1, input.1));
        View { scale, left, top }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn item(name: &str, size: (u32, u32)) -> Item {
        Item {
            id: format!("folder/{name}"),
            group: "folder".into(),
            frame: None,
            file: name.into(),
            size,
            labels: None,
            repeat: 1,
        }
    }

    #[test]
    fn settings_that_make_no_sense_are_refused() {
        assert!(AugmentConfig::default().check().is_ok() && AugmentConfig::none().check().is_ok());
        let cases = [
            ("variants = 0", "`variants` is 0"),
            ("scale = [1.5, 0.5]", "`scale` is [1.5, 0.5]"),
            ("scale = [0.0, 1.0]", "from 0.1 to 10"),
            ("flip = 1.5", "`flip` is 1.5; expected a share"),
            ("mosaic = nan", "`mosaic` is NaN"),
            ("shift = 0.6", "0 to 0.5"),
            ("hue = -1.0", "0 to 180"),
        ];
        for (text, part) in cases {
            let config: AugmentConfig = toml::from_str(text).unwrap();
            let message = config.check().unwrap_err().to_string();
            assert!(message.contains(part), "{text}: {message}");
        }
        assert!(toml::from_str::<AugmentConfig>("rotate = 5").is_err());
    }

    #[test]
    fn views_depend_on_what_they_are_of() {
        let config = AugmentConfig::default();
        let view = |seed, id, variant| config.view(seed, &item(id, (640, 480)), variant, (384, 288));
        assert_eq!(view(1, "a", 2), view(1, "a", 2));
        assert_eq!(view(1, "a", 0), View::letterbox((640, 480), (384, 288)));
        let moved = Item { id: "/else/where/a".into(), group: "/else/where".into(), ..item("a", (640, 480)) };
        assert_eq!(view(1, "a", 2), config.view(1, &moved, 2, (384, 288)));
        let all = [view(1, "a", 1), view(1, "a", 2), view(1, "b", 1), view(2, "a", 1)];
        assert!((0..4).all(|a| (0..a).all(|b| all[a] != all[b])), "{all:?}");
    }

    proptest! {
        #[test]
        fn a_view_keeps_most_of_what_can_be_seen(
            w in 20u32..2000, h in 20u32..2000, variant in 0usize..20, seed: u64,
        ) {
            let (config, input) = (AugmentConfig::default(), (384u32, 288u32));
            let view = config.view(seed, &item("a", (w, h)), variant, input);
            let whole = View::letterbox((w, h), input).scale;
            prop_assert!(view.scale >= 0.599 * whole && view.scale <= 1.501 * whole);
            let seen = |length: u32, shift: f32, input: u32| {
                let (begin, end) = (shift.max(0.0), (shift + length as f32 * view.scale).min(input as f32));
                (end - begin) / (length as f32 * view.scale).min(input as f32)
            };
            // No more than the shift is lost on either side, and only what was pushed out.
            let left = |side: u32, input: u32| 0.9 - 1.0 / (side as f32 * view.scale).min(input as f32);
            prop_assert!(seen(w, view.left, input.0) >= left(w, input.0) - 1e-3);
            prop_assert!(seen(h, view.top, input.1) >= left(h, input.1) - 1e-3);
        }
    }
}
