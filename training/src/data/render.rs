//! From a picture to a network's input, as a [`View`] says.

use std::borrow::Cow;

use centerx::detection::BoundingBox;
use centerx::frame::{Picture, PixelFormat};
use centerx::letterbox::resize::{Grow, Resizer, Rows, Scratch};
use centerx::letterbox::{Letterbox, Preprocessor};

use crate::maps::Labels;
use crate::view::View;

/// How many more of a picture's pixels may be scaled than are seen, at each edge, so that the edge comes closer to a whole
/// input pixel.
const REACH: u32 = 8;

/// Which of a picture's pixels are seen along one axis, and where they come to.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Span {
    /// The first of the picture's pixels.
    from: usize,
    /// How many of them.
    length: usize,
    /// Where the first comes to, in input pixels; less than 0 where it is not seen itself.
    begin: i64,
    /// Input pixels that they come to.
    scaled: usize,
}

impl Span {
    /// None if the picture is not in the input at all.
    fn of(length: u32, scale: f32, shift: f32, input: u32) -> Option<Self> {
        let (scale, shift) = (f64::from(scale), f64::from(shift));
        if !(scale.is_finite() && scale > 0.0 && shift.is_finite()) {
            return None;
        }
        let place = |at: u32| f64::from(at) * scale + shift;
        let seen = |at: f64| ((at - shift) / scale).clamp(0.0, f64::from(length));
        let (first, last) = (seen(0.0), seen(f64::from(input)));
        if last <= first {
            return None;
        }
        let (first, last) = (first.floor() as u32, last.ceil() as u32);
        let off = |at: u32| (place(at) - place(at).round()).abs();
        let nearest = |a: &u32, b: &u32| off(*a).total_cmp(&off(*b));
        let from = (first.saturating_sub(REACH)..=first).rev().min_by(nearest)?;
        let until = (last..=(last + REACH).min(length)).min_by(nearest)?;
        let (begin, end) = (place(from).round() as i64, place(until).round() as i64);
        let (from, length) = (from as usize, (until - from) as usize);
        Some(Self { from, length, begin, scaled: (end - begin).max(1) as usize })
    }

    /// The input pixels that are covered, and how many of the scaled ones come before them.
    fn seen(&self, input: u32) -> (std::ops::Range<usize>, usize) {
        let limit = |at: i64| at.clamp(0, i64::from(input)) as usize;
        let range = limit(self.begin)..limit(self.begin + self.scaled as i64);
        (range, (-self.begin).max(0) as usize)
    }
}

/// Where a picture of `picture` pixels lies in the input, across and down.
fn spans(picture: (u32, u32), view: View, input: (u32, u32)) -> Option<(Span, Span)> {
    let mut x = Span::of(picture.0, view.scale, view.left, input.0)?;
    let mut y = Span::of(picture.1, view.scale, view.top, input.1)?;
    if view == View::letterbox(picture, input) {
        // To the pixel as the server does, whichever way a half is rounded.
        let fit = Letterbox::fit(picture, input);
        (x.scaled, y.scaled) = (fit.width as usize, fit.height as usize);
    }
    Some((x, y))
}

/// The part of the input that a picture covers: columns and rows.
pub(super) fn covered(
    picture: (u32, u32),
    view: View,
    input: (u32, u32),
) -> (std::ops::Range<usize>, std::ops::Range<usize>) {
    spans(picture, view, input).map_or((0..0, 0..0), |(x, y)| (x.seen(input.0).0, y.seen(input.1).0))
}

/// The view of a picture that a network of this `input` (width, height) gets: RGB, `[height, width, 3]`, area averaging
/// where it shrinks, linear interpolation where it grows, zeros where there is no picture.
///
/// An edge that is cropped comes to within half an input pixel of its place, as the letterbox's edges do. Of
/// [`View::letterbox`] it is byte for byte what the server makes.
pub fn render(picture: &Picture, view: View, input: (u32, u32)) -> Vec<u8> {
    let row = input.0 as usize * 3;
    let mut target = vec![0; row * input.1 as usize];
    let Some((x, y)) = spans((picture.width, picture.height), view, input) else { return target };
    let (rgb, stride) = to_rgb(picture);
    let source = Rows { bytes: &rgb[y.from * stride + x.from * 3..], stride };
    let mut scaled = vec![0; x.scaled * y.scaled * 3];
    let resizer = Resizer::new((x.length, y.length), (x.scaled, y.scaled), Grow::Linear);
    resizer.resize::<3>(source, x.length, &mut scaled, x.scaled * 3, &mut Scratch::default());
    let ((columns, left), (rows, top)) = (x.seen(input.0), y.seen(input.1));
    for (row_at, line) in rows.zip(scaled.chunks_exact(x.scaled * 3).skip(top)) {
        let to = &mut target[row_at * row..][columns.start * 3..columns.end * 3];
        to.copy_from_slice(&line[left * 3..][..columns.len() * 3]);
    }
    target
}

/// The picture's RGB bytes and how far its rows are apart. Pictures of files have them; a video's frame is converted.
fn to_rgb(picture: &Picture) -> (Cow<'_, [u8]>, usize) {
    if picture.format == PixelFormat::Rgb {
        return (Cow::Borrowed(picture.plane(0)), picture.strides[0]);
    }
    let (size, stride) = ((picture.width, picture.height), picture.width as usize * 3);
    let mut rgb = vec![0; stride * picture.height as usize];
    // A conversion that fails, of a format that this crate does not make, leaves the picture black.
    let _ = Preprocessor::default().scale(picture, size, &mut rgb);
    (Cow::Owned(rgb), stride)
}

/// Labels of a picture in input pixels. What is cut off is gone; see [`Object::cut`](crate::maps::Object::cut).
pub fn to_input(labels: &Labels, view: View, input: (u32, u32)) -> Labels {
    let window = BoundingBox { x1: 0.0, y1: 0.0, x2: input.0 as f32, y2: input.1 as f32 };
    let objects = labels.objects.iter().filter_map(|object| {
        let mapped = crate::maps::Object { bbox: view.map(object.bbox), ..*object };
        mapped.cut(window)
    });
    Labels { objects: objects.collect(), known: labels.known.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maps::Object;
    use proptest::prelude::*;

    fn noise(width: u32, height: u32, seed: u64) -> Picture {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut bytes = vec![0; (width * height * 3) as usize];
        rng.fill(&mut bytes);
        Picture::rgb(width, height, bytes).unwrap()
    }

    /// A black picture with a white box.
    fn boxed(size: (u32, u32), [x1, y1, x2, y2]: [u32; 4]) -> Picture {
        let inside = |x, y| (x1..x2).contains(&x) && (y1..y2).contains(&y);
        let pixel = |at: u32| [if inside(at % size.0, at / size.0) { 255 } else { 0 }; 3];
        Picture::rgb(size.0, size.1, (0..size.0 * size.1).flat_map(pixel).collect()).unwrap()
    }

    /// The bounding box of what is white. An edge between two pixels is found by their brightness: whatever spreads it,
    /// what it takes from one side it gives to the other.
    fn find(pixels: &[u8], input: (u32, u32)) -> Option<BoundingBox> {
        let (w, h) = (input.0 as usize, input.1 as usize);
        let at = |x: usize, y: usize| f32::from(pixels[(y * w + x) * 3]) / 255.0;
        let columns: Vec<f32> = (0..w).map(|x| (0..h).map(|y| at(x, y)).fold(0.0, f32::max)).collect();
        let rows: Vec<f32> = (0..h).map(|y| (0..w).map(|x| at(x, y)).fold(0.0, f32::max)).collect();
        let edges = |line: &[f32]| {
            let first = line.iter().position(|v| *v > 0.99)?;
            let (before, after) = line.split_at(first);
            let sum = |part: &[f32]| part.iter().sum::<f32>();
            Some((first as f32 - sum(before), first as f32 + sum(after)))
        };
        let ((x1, x2), (y1, y2)) = (edges(&columns)?, edges(&rows)?);
        Some(BoundingBox { x1, y1, x2, y2 })
    }

    proptest! {
        #[test]
        fn the_letterbox_is_the_servers(
            w in 1u32..90, h in 1u32..90, iw in 1u32..60, ih in 1u32..60, seed: u64,
        ) {
            let picture = noise(w, h, seed);
            let mut expected = vec![1; (iw * ih * 3) as usize];
            Preprocessor::default().letterbox(&picture, (iw, ih), &mut expected).unwrap();
            prop_assert_eq!(render(&picture, View::letterbox((w, h), (iw, ih)), (iw, ih)), expected);
        }

        #[test]
        fn boxes_are_where_their_pixels_are(
            x in 20u32..120, y in 20u32..70, w in 20u32..60, h in 20u32..60,
            scale in 0.3f32..2.5, left in -60i32..30, top in -60i32..30,
        ) {
            let (size, input) = ((200, 150), (96, 64));
            let picture = boxed(size, [x, y, x + w, y + h]);
            let view = View { scale, left: left as f32, top: top as f32 };
            let (x, y, w, h) = (x as f32, y as f32, w as f32, h as f32);
            let bbox = BoundingBox { x1: x, y1: y, x2: x + w, y2: y + h };
            let known = [true];
            let labels = Labels { objects: vec![Object { class: 0, bbox, ignore: false }], known: known.into() };
            let objects = to_input(&labels, view, input).objects;
            let found = find(&render(&picture, view, input), input);
            match (objects.first(), found) {
                (Some(object), Some(found)) => {
                    let b = object.bbox;
                    let off = [b.x1 - found.x1, b.y1 - found.y1, b.x2 - found.x2, b.y2 - found.y2];
                    prop_assert!(off.iter().all(|off| off.abs() <= 0.6), "{:?} but {:?}", b, found);
                }
                // No pixel is full of it.
                (Some(object), None) => prop_assert!(
                    (object.bbox.x2 - object.bbox.x1).min(object.bbox.y2 - object.bbox.y1) < 2.6
                ),
                (None, found) => prop_assert!(found.is_none_or(|found| (found.x2 - found.x1).min(found.y2 - found.y1) < 2.6)),
            }
        }

        #[test]
        fn what_is_covered_is_where_a_white_picture_is(
            scale in 0.1f32..3.0, left in -150i32..120, top in -150i32..120,
        ) {
            let (size, input) = ((50, 40), (64, 48));
            let view = View { scale, left: left as f32, top: top as f32 };
            let pixels = render(&boxed(size, [0, 0, 50, 40]), view, input);
            let (columns, rows) = covered(size, view, input);
            for (at, pixel) in pixels.chunks(3).enumerate() {
                let inside = columns.contains(&(at % 64)) && rows.contains(&(at / 64));
                prop_assert_eq!(pixel[0], if inside { 255 } else { 0 });
            }
        }
    }

    #[test]
    fn a_crop_is_the_window_of_the_whole() {
        // Twice as large, moved by whole pixels: each of the picture's edges comes to a pixel's edge.
        let picture = noise(40, 30, 3);
        let whole = render(&picture, View { scale: 0.5, left: 0.0, top: 0.0 }, (20, 15));
        let window = render(&picture, View { scale: 0.5, left: -6.0, top: -4.0 }, (10, 8));
        for y in 0..8 {
            let expected = &whole[((y + 4) * 20 + 6) * 3..][..30];
            assert_eq!(&window[y * 30..][..30], expected, "row {y}");
        }
    }

    #[test]
    fn a_view_of_nothing_is_black() {
        let picture = noise(10, 10, 1);
        for (scale, left) in [(1.0, 50.0), (1.0, -10.0), (f32::NAN, 0.0), (0.0, 0.0), (f32::INFINITY, 0.0)] {
            let view = View { scale, left, top: 0.0 };
            assert!(render(&picture, view, (8, 8)).iter().all(|v| *v == 0), "{view:?}");
        }
    }
}
