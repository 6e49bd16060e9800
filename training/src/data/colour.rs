//! Other light, another camera: colours that change and objects that stay.

use fastrand::Rng;

use super::AugmentConfig;

/// How bright red, green and blue are. ITU-R BT.601.
const LUMA: [f32; 3] = [0.299, 0.587, 0.114];

/// A change of colours: `matrix * rgb + shift`, all of RGB from 0 to 255.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Colour {
    matrix: [[f32; 3]; 3],
    shift: f32,
}

impl Colour {
    /// Draws one; brightness, contrast and saturation times `1 - x` to `1 + x`, the hue turned by `-x` to `x` degrees.
    pub fn draw(config: &AugmentConfig, rng: &mut Rng) -> Self {
        let mut within = |x: f32| (2.0 * rng.f32() - 1.0) * x;
        let brightness = 1.0 + within(config.brightness);
        let contrast = 1.0 + within(config.contrast);
        let saturation = 1.0 + within(config.saturation);
        Self::new(brightness, contrast, saturation, within(config.hue).to_radians())
    }

    /// Contrast is about the middle grey, saturation about each pixel's own grey; the hue (in radians) turns about the
    /// axis of greys, which stay.
    fn new(brightness: f32, contrast: f32, saturation: f32, hue: f32) -> Self {
        let (sin, cos) = hue.sin_cos();
        let (same, next) = (cos + (1.0 - cos) / 3.0, (1.0 - cos) / 3.0);
        let side = sin / 3f32.sqrt();
        let turn = [
            [same, next - side, next + side],
            [next + side, same, next - side],
            [next - side, next + side, same],
        ];
        let gain = brightness * contrast;
        let matrix = std::array::from_fn(|row| {
            std::array::from_fn(|column| {
                let grey: f32 = (0..3).map(|of| LUMA[of] * turn[of][column]).sum();
                gain * (saturation * turn[row][column] + (1.0 - saturation) * grey)
            })
        });
        Self { matrix, shift: 128.0 * (1.0 - contrast) }
    }

    /// Changes pixels, three bytes each.
    pub fn apply(&self, rgb: &mut [u8]) {
        for pixel in rgb.chunks_exact_mut(3) {
            let [r, g, b] = [pixel[0], pixel[1], pixel[2]].map(f32::from);
            for (value, [x, y, z]) in pixel.iter_mut().zip(self.matrix) {
                // The conversion keeps to 0 and 255.
                *value = (x * r + y * g + z * b + self.shift + 0.5) as u8;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(colour: Colour, mut pixel: [u8; 3]) -> [u8; 3] {
        colour.apply(&mut pixel);
        pixel
    }

    #[test]
    fn each_change_is_what_it_is_called() {
        let pixel = [200, 100, 50];
        assert_eq!(changed(Colour::new(1.0, 1.0, 1.0, 0.0), pixel), pixel);
        assert_eq!(changed(Colour::new(0.5, 1.0, 1.0, 0.0), pixel), [100, 50, 25]);
        assert_eq!(changed(Colour::new(1.0, 0.5, 1.0, 0.0), pixel), [164, 114, 89]);
        // 0.299 * 200 + 0.587 * 100 + 0.114 * 50
        assert_eq!(changed(Colour::new(1.0, 1.0, 0.0, 0.0), pixel), [124, 124, 124]);
        let third = std::f32::consts::TAU / 3.0;
        assert_eq!(changed(Colour::new(1.0, 1.0, 1.0, third), pixel), [50, 200, 100], "a third of a turn");
        assert_eq!(changed(Colour::new(1.0, 1.0, 1.3, 0.2), [90, 90, 90]), [90, 90, 90], "grey stays grey");
        assert_eq!(changed(Colour::new(2.0, 1.0, 1.0, 0.0), pixel), [255, 200, 100]);
    }
}
