//! Pictures that nobody took: seeded noise and smooth blobs, and the way of a picture into a network.

use crate::model::recipe::{Input, Layout};

/// A picture, uint8 RGB `[height, width, 3]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RgbPicture {
    /// What to call it.
    pub name: String,
    /// Its pixels.
    pub rgb: Vec<u8>,
}

/// `count` pictures, noise and blobs in turns; the same for the same `seed`.
pub fn random(count: usize, [width, height]: [usize; 2], seed: u64) -> Vec<RgbPicture> {
    let picture = |nth: usize| {
        let mut rng = fastrand::Rng::with_seed(seed.wrapping_add(nth as u64));
        let (kind, rgb) = match nth % 2 {
            0 => ("blobs", blobs(&mut rng, width, height)),
            _ => ("noise", (0..width * height * 3).map(|_| rng.u8(..)).collect()),
        };
        RgbPicture { name: format!("random picture {} ({kind})", nth + 1), rgb }
    };
    (0..count).map(picture).collect()
}

/// Smooth spots of all sizes and colours on grey.
fn blobs(rng: &mut fastrand::Rng, width: usize, height: usize) -> Vec<u8> {
    let mut sums = vec![0f32; width * height * 3];
    for _ in 0..40 {
        let (x, y) = (rng.f32() * width as f32, rng.f32() * height as f32);
        let spread = 2.0 + rng.f32() * width.min(height) as f32 / 8.0;
        let colour: [f32; 3] = std::array::from_fn(|_| rng.f32() * 400.0 - 200.0);
        let reach = |centre: f32, size: usize| {
            let at = |shift: f32| (centre + shift * spread).clamp(0.0, size as f32) as usize;
            at(-3.0)..at(3.0)
        };
        for row in reach(y, height) {
            for column in reach(x, width) {
                let squares = (row as f32 - y).powi(2) + (column as f32 - x).powi(2);
                let weight = (-squares / (2.0 * spread * spread)).exp();
                let at = (row * width + column) * 3;
                sums[at..at + 3].iter_mut().zip(colour).for_each(|(sum, part)| *sum += weight * part);
            }
        }
    }
    sums.iter().map(|sum| (128.0 + sum).clamp(0.0, 255.0) as u8).collect()
}

/// What the network wants for a picture `rgb` (uint8 `[height, width, 3]`), as float32 in its own layout.
pub fn feed(rgb: &[u8], input: &Input) -> Vec<f32> {
    let cells = rgb.len() / 3;
    let value = |cell: usize, channel: usize| {
        let source = if input.bgr { 2 - channel } else { channel };
        f32::from(rgb[cell * 3 + source]) * input.multiply[channel] + input.add[channel]
    };
    match input.layout {
        Layout::Nchw => (0..3 * cells).map(|at| value(at % cells, at / cells)).collect(),
        Layout::Nhwc => (0..3 * cells).map(|at| value(at / 3, at % 3)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_pictures_differ_and_come_again_by_seed() {
        let pictures = random(4, [32, 24], 7);
        assert_eq!(pictures, random(4, [32, 24], 7));
        assert_ne!(pictures, random(4, [32, 24], 8));
        assert!(pictures.iter().all(|picture| picture.rgb.len() == 32 * 24 * 3));
        let spread = |rgb: &[u8]| rgb.iter().max().unwrap() - rgb.iter().min().unwrap();
        assert!(pictures.iter().all(|picture| spread(&picture.rgb) > 60));
        assert_ne!(pictures[0].rgb, pictures[2].rgb);
    }

    #[test]
    fn pictures_are_fed_as_the_network_wants_them() {
        let rgb = [1, 2, 3, 4, 5, 6];
        let plain = Input::plain("x");
        assert_eq!(feed(&rgb, &plain), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
        let other = Input {
            layout: Layout::Nhwc,
            bgr: true,
            multiply: [2.0, 1.0, 1.0],
            add: [0.0, 0.0, -1.0],
            ..plain
        };
        assert_eq!(feed(&rgb, &other), [6.0, 2.0, 0.0, 12.0, 5.0, 3.0]);
    }
}
