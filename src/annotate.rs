//! Boxes, labels and landmarks on RGB pixels.

use opencv::core::{Mat, Point, Rect, Scalar, Size, ToInputOutputArray};
use opencv::imgproc::{
    FILLED, FONT_HERSHEY_SIMPLEX, LINE_8, LINE_AA, circle, get_text_size, line, put_text, rectangle,
};
use opencv::prelude::*;

use crate::detection::{BoundingBox, Detection, Landmark};
use crate::letterbox::Letterbox;

/// Draws every detection onto `rgb`, uint8 `[height, width, 3]`, its landmarks joined as `skeleton` says.
///
/// # Errors
/// What OpenCV refuses.
pub fn draw(
    rgb: &mut [u8],
    (width, height): (u32, u32),
    detections: &[Detection],
    skeleton: &[[u32; 2]],
) -> opencv::Result<()> {
    let mut rows = Mat::new_rows_cols_with_data_mut(height as i32, width as i32 * 3, rgb)?;
    let mut canvas = rows.reshape_mut(3, 0)?;
    // Lines and letters grow with the picture, so that they can be read at any size.
    let scale = (f64::from(width.max(height)) / 1000.0).max(0.5);
    // The best on top.
    for detection in detections.iter().rev() {
        let color = color(detection.class_id);
        let frame = to_rect(detection.bbox);
        let thickness = (2.0 * scale).round().max(1.0) as i32;
        rectangle(&mut canvas, frame, color, thickness, LINE_8, 0)?;
        bones(&mut canvas, &detection.landmarks, skeleton, color, thickness)?;
        joints(&mut canvas, &detection.landmarks, color, thickness)?;
        let text = format!("{} {:.2}", detection.label, detection.score);
        label(&mut canvas, width as i32, &text, frame, color, 0.55 * scale)?;
    }
    Ok(())
}

/// Takes what was found in a frame to where the frame lies in the picture that is drawn on.
pub fn place(found: &mut Detection, fit: Letterbox) {
    found.bbox = fit.map(found.bbox);
    for landmark in &mut found.landmarks {
        [landmark.x, landmark.y] = fit.map_point([landmark.x, landmark.y]);
    }
}

fn to_rect(bbox: BoundingBox) -> Rect {
    let (x, y) = (bbox.x1.round() as i32, bbox.y1.round() as i32);
    Rect::new(x, y, (bbox.x2.round() as i32 - x).max(1), (bbox.y2.round() as i32 - y).max(1))
}

/// A line between the two landmarks of each pair of `skeleton` that were both seen.
fn bones(
    canvas: &mut impl ToInputOutputArray,
    landmarks: &[Landmark],
    skeleton: &[[u32; 2]],
    color: Scalar,
    thickness: i32,
) -> opencv::Result<()> {
    let seen = |index: u32| landmarks.get(index as usize).filter(|landmark| landmark.is_seen());
    for &[from, to] in skeleton {
        if let (Some(from), Some(to)) = (seen(from), seen(to)) {
            line(canvas, to_point(from), to_point(to), color, thickness, LINE_AA, 0)?;
        }
    }
    Ok(())
}

/// A dot in a dark ring, to be told from the lines and from any background, at each landmark that was seen.
fn joints(
    canvas: &mut impl ToInputOutputArray,
    landmarks: &[Landmark],
    color: Scalar,
    thickness: i32,
) -> opencv::Result<()> {
    let black = Scalar::new(0.0, 0.0, 0.0, 0.0);
    for at in landmarks.iter().filter(|landmark| landmark.is_seen()).map(to_point) {
        circle(canvas, at, 2 * thickness, black, FILLED, LINE_8, 0)?;
        circle(canvas, at, (2 * thickness - 1).max(1), color, FILLED, LINE_8, 0)?;
    }
    Ok(())
}

/// A point that OpenCV can calculate with, however far outside of the picture a model puts it.
fn to_point(landmark: &Landmark) -> Point {
    const FAR: f32 = 100_000.0;
    let place = |v: f32| v.round().clamp(-FAR, FAR) as i32;
    Point::new(place(landmark.x), place(landmark.y))
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
        draw(&mut rgb, (width, height), &[found], &[]).unwrap();
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
        draw(&mut rgb, (8, 8), &[found], &[]).unwrap();
        assert!(rgb.iter().any(|&v| v > 0));
    }

    /// A quadrilateral 40..160 by 20..80 in a box around it, drawn with the skeleton that closes it.
    fn drawn_quadrilateral(scores: [f32; 4]) -> impl Fn(usize, usize) -> [u8; 3] {
        let corners = [(40.0, 20.0), (160.0, 20.0), (160.0, 80.0), (40.0, 80.0)];
        let landmark = |((x, y), score)| Landmark { x, y, score };
        let found = Detection {
            bbox: BoundingBox { x1: 20.0, y1: 10.0, x2: 180.0, y2: 90.0 },
            score: 0.9,
            class_id: 0,
            label: "plate".into(),
            landmarks: corners.into_iter().zip(scores).map(landmark).collect(),
        };
        let mut rgb = vec![0; 200 * 100 * 3];
        draw(&mut rgb, (200, 100), &[found], &[[0, 1], [1, 2], [2, 3], [3, 0]]).unwrap();
        move |x, y| std::array::from_fn(|channel| rgb[(y * 200 + x) * 3 + channel])
    }

    #[test]
    fn landmarks_are_dots_and_the_skeleton_joins_them() {
        let pixel = drawn_quadrilateral([0.9, 0.8, 0.7, 0.6]);
        let drawn = color(0).0.map(|channel| channel.round() as u8);
        for (x, y) in [(40, 20), (160, 20), (160, 80), (40, 80)] {
            assert_eq!(pixel(x, y), drawn[..3], "the corner at {x},{y}");
        }
        for (x, y) in [(100, 20), (160, 50), (100, 80), (40, 50)] {
            assert_ne!(pixel(x, y), [0, 0, 0], "the side at {x},{y}");
        }
        assert_eq!(pixel(100, 50), [0, 0, 0], "the inside");
    }

    #[test]
    fn a_landmark_that_is_a_guess_is_left_out_and_so_are_its_lines() {
        let pixel = drawn_quadrilateral([0.9, 0.9, 0.1, 0.9]);
        assert_eq!(pixel(160, 80), [0, 0, 0], "the corner");
        assert_eq!([pixel(160, 50), pixel(100, 80)], [[0, 0, 0]; 2], "its two sides");
        assert_ne!(pixel(100, 20), [0, 0, 0], "a side between corners that were seen");
    }

    #[test]
    fn landmarks_far_outside_and_a_skeleton_that_does_not_fit_do_no_harm() {
        let landmark = |x, y| Landmark { x, y, score: 1.0 };
        let found = Detection {
            bbox: BoundingBox { x1: 0.0, y1: 0.0, x2: 8.0, y2: 8.0 },
            score: 0.5,
            class_id: 0,
            label: "x".into(),
            landmarks: vec![landmark(-1e30, f32::NAN), landmark(f32::INFINITY, 1e12), landmark(4.0, 4.0)],
        };
        let mut rgb = vec![0; 8 * 8 * 3];
        draw(&mut rgb, (8, 8), &[found], &[[0, 1], [1, 2], [2, 99]]).unwrap();
        assert_ne!(rgb[(4 * 8 + 4) * 3..][..3], [0, 0, 0]);
    }

    #[test]
    fn classes_have_colours_of_their_own() {
        let colors: std::collections::HashSet<_> =
            (0..80).map(|class| color(class).0.map(|c| c as u32)).collect();
        assert!(colors.len() > 75);
    }

    #[test]
    fn boxes_and_landmarks_go_where_the_frame_lies_in_the_clip() {
        let mut found = Detection {
            bbox: BoundingBox { x1: 10.0, y1: 20.0, x2: 30.0, y2: 40.0 },
            score: 0.9,
            class_id: 0,
            label: "face".into(),
            landmarks: vec![Landmark { x: 12.0, y: 24.0, score: 0.7 }],
        };
        // A frame of half the clip's size.
        place(&mut found, Letterbox::fit((320, 240), (640, 480)));
        assert_eq!(found.bbox, BoundingBox { x1: 20.0, y1: 40.0, x2: 60.0, y2: 80.0 });
        assert_eq!(found.landmarks, [Landmark { x: 24.0, y: 48.0, score: 0.7 }]);
    }
}
