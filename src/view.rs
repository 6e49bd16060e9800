//! What people ask to see of a camera, and the pictures they get.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;

use crate::camera::CameraId;
use crate::detection::Published;

/// The longer side of a picture in pixels, at most. There are few of them, so that those who look share pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Side(u32);

impl Side {
    /// All there are, smallest first.
    pub const ALL: [Self; 4] = [Self(320), Self(640), Self(1280), Self(1920)];
    /// For those who do not say.
    pub const DEFAULT: Self = Self(640);

    /// The smallest of at least so many pixels, or the largest; the default for 0.
    pub fn at_least(pixels: u32) -> Self {
        if pixels == 0 {
            return Self::DEFAULT;
        }
        let [.., largest] = Self::ALL;
        Self::ALL.into_iter().find(|side| side.0 >= pixels).unwrap_or(largest)
    }

    /// In pixels.
    pub fn pixels(self) -> u32 {
        self.0
    }

    /// The (width, height) of the picture of a frame of `width` x `height`: never larger than that.
    pub fn fit(self, (width, height): (u32, u32)) -> (u32, u32) {
        let longer = width.max(height);
        if longer <= self.0 {
            return (width, height);
        }
        let scaled = |side: u32| {
            let exact = f64::from(side) * f64::from(self.0) / f64::from(longer);
            (exact.round() as u32).max(1)
        };
        (scaled(width), scaled(height))
    }
}

/// What somebody looks at.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// The camera.
    pub camera: CameraId,
    /// How large.
    pub side: Side,
    /// Whether boxes and labels are drawn on the pictures.
    pub boxes: bool,
    /// Pictures a second at most; see [`check_max_fps`].
    pub max_fps: Option<f64>,
}

/// Checks a limit of pictures a second.
///
/// # Errors
/// What would do.
pub fn check_max_fps(max_fps: f64) -> Result<(), String> {
    if (0.01..=1000.0).contains(&max_fps) {
        Ok(())
    } else {
        Err(format!("{max_fps} is not a number from 0.01 to 1000"))
    }
}

/// A camera's picture as it is shown, and what was found in it.
#[derive(Clone, Debug)]
pub struct LivePicture {
    /// The frame's detections, as subscribers receive them; in pixels of the frame, not of the picture.
    pub found: Arc<Published>,
    /// The picture, a JPEG.
    pub jpeg: Bytes,
    /// The picture's width in pixels.
    pub width: u32,
    /// The picture's height in pixels.
    pub height: u32,
    /// How old the frame was when its detections were published.
    pub age: Duration,
    /// Frames of the camera that were published since the viewer's picture before, and not shown to it.
    pub skipped: u64,
}

/// Why there are no pictures, or no more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ViewError {
    /// There is no such camera.
    #[error("there is no camera {0}")]
    Unknown(CameraId),
    /// All cameras that were watched are gone.
    #[error("the cameras that were watched have been removed")]
    Removed,
    /// The server is on its way out.
    #[error("the server is shutting down")]
    ShuttingDown,
}

/// Pictures for one viewer, of which a slow one gets the newest. The last item tells why it ends. Dropping it ends
/// the watching.
pub type LiveStream = Pin<Box<dyn Stream<Item = Result<LivePicture, ViewError>> + Send>>;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sides_are_rounded_up_to_those_there_are() {
        let pixels = |asked| Side::at_least(asked).pixels();
        assert_eq!([0, 1, 320, 321, 1920, 5000].map(pixels), [640, 320, 320, 640, 1920, 1920]);
    }

    #[test]
    fn max_fps_is_a_number_that_a_pause_can_be_made_of() {
        assert!(check_max_fps(0.01).is_ok() && check_max_fps(30.0).is_ok());
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-300] {
            assert!(check_max_fps(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn pictures_keep_their_shape_and_never_grow(width in 1u32..8000, height in 1u32..8000, at in 0usize..4) {
            let side = Side::ALL[at];
            let (w, h) = side.fit((width, height));
            prop_assert!(w >= 1 && h >= 1 && w <= width && h <= height && w.max(h) <= side.pixels());
            if w.min(h) > 1 {
                // Within half a pixel of the shape.
                let scale = f64::from(w.max(h)) / f64::from(width.max(height));
                prop_assert!((f64::from(w) - f64::from(width) * scale).abs() <= 0.5);
                prop_assert!((f64::from(h) - f64::from(height) * scale).abs() <= 0.5);
            }
        }
    }
}
