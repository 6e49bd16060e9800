//! Boxes and labels on RGB pixels.

use opencv::core::{Mat, Point, Rect, Scalar, Size, ToInputOutputArray};
use opencv::imgproc::{FILLED, FONT_HERSHEY_SIMPLEX, LINE_8, LINE_AA, get_text_size, put_text, rectangle};
use opencv::prelude::*;

use crate::detection::{BoundingBox, Detection};

/// Draws every detection onto `rgb`, uint8 `[height, width, 3]`.
///
/// # Errors
/// What OpenCV refuses.
pub fn draw(rgb: &mut [u8], (width, height): (u32, u32), detections: &[Detection]) -> opencv::Result<()> {
    let mut rows = Mat::new_rows_cols_with_data_mut(height as i32, width as i32 * 3, rgb)?;
    let mut canvas = rows.reshape_mut(3, 0)?;
    // Lines and letters grow with the picture, so that they can be read at any size.
    let scale = (f64::from(width.max(height)) / 1000.0).max(0.5);
    // The best on top.
    for detection in detections.iter().rev() {
        let color = color(detection.class_id);
        let frame = to_rect(detection.bbox);
        rectangle(&mut canvas, frame, color, (2.0 * scale).round().max(1.0) as i32, LINE_8, 0)?;
        let text = format!("{} {:.2}", detection.label, detection.score);
        label(&mut canvas, width as i32, &text, frame, color, 0.55 * scale)?;
    }
    Ok(())
}

fn to_rect(bbox: BoundingBox) -> Rect {
    let (x, y) = (bbox.x1.round() as i32, bbox.y1.round() as i32);
    Rect::new(x, y, (bbox.x2.round() as i32 - x).max(1), (bbox.y2.round() as i32 - y).max(1))
}

/// A filled tag above the box, or inside it where there is no room above, moved left where it would leave the
/// picture.
fn label(
    canvas: &mut impl ToInputOutputArray,
    picture_width: i32,
    text: &str,
    frame: Rect,
    color: Scalar,
    size: f64,
) -> opencv::Result<()> {
    let thickness = if size > 0.7 { 2 } else { 1 };
    let mut baseline = 0;
    let Size { width, height } = get_text_size(text, FONT_HERSHEY_SIMPLEX, size, thickness, &mut baseline)?;
    let (full_width, full_height) = (width + 4, height + baseline + 2);
    let left = frame.x.min(picture_width - full_width).max(0);
    let top = if frame.y >= full_height { frame.y - full_height } else { frame.y };
    rectangle(canvas, Rect::new(left, top, full_width, full_height), color, FILLED, LINE_8, 0)?;
    let at = Point::new(left + 2, top + height + 1);
    let black = Scalar::new(0.0, 0.0, 0.0, 0.0);
    put_text(canvas, text, at, FONT_HERSHEY_SIMPLEX, size, black, thickness, LINE_AA, false)
}

/// A colour a class, neighbours far apart on the colour wheel, all light enough for black letters.
fn color(class_id: u32) -> Scalar {
    const GOLDEN_RATIO: f64 = 0.618_033_988_75;
    let hue = (0.33 + f64::from(class_id) * GOLDEN_RATIO).fract() * 6.0;
    let channel = |offset: f64| {
        let distance = ((hue + offset).rem_euclid(6.0) - 3.0).abs() - 1.0;
        80.0 + 175.0 * distance.clamp(0.0, 1.0)
    };
    Scalar::new(channel(0.0), channel(4.0), channel(2.0), 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_is_drawn_at_its_edges_and_leaves_its_inside_alone() {
        let (width, height) = (200, 100);
        let mut rgb = vec![0; 200 * 100 * 3];
        let bbox = BoundingBox { x1: 50.0, y1: 40.0, x2: 150.0, y2: 90.0 };
        let found =
            Detection { bbox, score: 0.9, class_id: 0, label: "person".into(), landmarks: Vec::new() };
        draw(&mut rgb, (width, height), &[found]).unwrap();
        let pixel = |x: usize, y: usize| rgb[(y * 200 + x) * 3..][..3].to_vec();
        assert_ne!(pixel(50, 70), [0, 0, 0]);
        assert_ne!(pixel(100, 89), [0, 0, 0]);
        assert_eq!(pixel(100, 65), [0, 0, 0]);
        assert_ne!(pixel(55, 32), [0, 0, 0], "the label's tag");
    }

    #[test]
    fn boxes_at_the_edges_are_drawn_too() {
        let mut rgb = vec![0; 8 * 8 * 3];
        let bbox = BoundingBox { x1: 0.0, y1: 0.0, x2: 8.0, y2: 8.0 };
        let found = Detection { bbox, score: 0.5, class_id: 79, label: "x".into(), landmarks: Vec::new() };
        draw(&mut rgb, (8, 8), &[found]).unwrap();
        assert!(rgb.iter().any(|&v| v > 0));
    }

    #[test]
    fn classes_have_colours_of_their_own() {
        let colors: std::collections::HashSet<_> =
            (0..80).map(|class| color(class).0.map(|c| c as u32)).collect();
        assert!(colors.len() > 75);
    }
}
