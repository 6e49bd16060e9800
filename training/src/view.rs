//! How a picture lies in the network's input.

use centerx::detection::BoundingBox;

/// A place of a picture in an input: scaled by one factor for both axes and moved.
///
/// A point x, y of the picture comes to `(x * scale + left, y * scale + top)`. What of the input the picture does not
/// cover is zero, as in the server's letterbox.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct View {
    /// Input pixels a picture's pixel.
    pub scale: f32,
    /// Where the picture's left edge comes to, in input pixels; less than 0 when it is cropped.
    pub left: f32,
    /// Where its top edge comes to.
    pub top: f32,
}

impl View {
    /// The server's letterbox: as large as fits, at the top left.
    pub fn letterbox(picture: (u32, u32), input: (u32, u32)) -> Self {
        let scale = (input.0 as f32 / picture.0 as f32).min(input.1 as f32 / picture.1 as f32);
        Self { scale, left: 0.0, top: 0.0 }
    }

    /// Takes a box in pixels of the picture to input pixels; it may lie outside of the input.
    pub fn map(&self, bbox: BoundingBox) -> BoundingBox {
        let [x1, x2] = [bbox.x1, bbox.x2].map(|x| x * self.scale + self.left);
        let [y1, y2] = [bbox.y1, bbox.y2].map(|y| y * self.scale + self.top);
        BoundingBox { x1, y1, x2, y2 }
    }
}
