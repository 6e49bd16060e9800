//! One sample out of parts of four (YOLOv4, Bochkovskiy et al. 2020).
//!
//! Parts are cut at cells of the heads' grid, so that teachers' maps are cut along with them.

use centerx::detection::BoundingBox;
use fastrand::Rng;

use crate::maps::{Labels, Maps, Object};

/// A picture in the input: all that a sample is made of.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Canvas {
    /// RGB, `[height, width, 3]`.
    pub pixels: Vec<u8>,
    /// In input pixels.
    pub labels: Option<Labels>,
    /// One a teacher.
    pub maps: Vec<Maps>,
}

/// A window: the same place in one canvas and another in the next, in cells (column, row).
#[derive(Clone, Copy, Debug, PartialEq)]
struct Window {
    source: (usize, usize),
    target: (usize, usize),
    size: (usize, usize),
}

/// Puts four together, of `grid` (columns, rows) cells of `stride` pixels; where they meet, and what is seen of each, is
/// drawn.
pub(super) fn mosaic(parts: [Canvas; 4], grid: (usize, usize), stride: usize, rng: &mut Rng) -> Canvas {
    let windows = windows(grid, rng);
    let labels = join_labels(&parts, &windows, stride);
    let mut whole = Canvas { labels, ..parts[0].clone() };
    for (part, window) in parts.iter().zip(windows) {
        copy_pixels(&part.pixels, &mut whole.pixels, grid.0 * stride, window, stride);
        for (to, from) in whole.maps.iter_mut().zip(&part.maps) {
            let swap = |(column, row)| (row, column);
            to.paste(from, swap(window.source), swap(window.target), swap(window.size));
        }
    }
    whole
}

/// The four quarters around a point in the middle third, each of another part of its canvas.
fn windows((columns, rows): (usize, usize), rng: &mut Rng) -> [Window; 4] {
    let mut middle = |cells: usize| rng.usize(cells / 3..=cells - cells / 3);
    let (x, y) = (middle(columns), middle(rows));
    let spans = |at: usize, cells: usize| [(0, at), (at, cells - at)];
    let [across, down] = [spans(x, columns), spans(y, rows)];
    std::array::from_fn(|at| {
        let ((left, width), (top, height)) = (across[at % 2], down[at / 2]);
        let source = (rng.usize(0..=columns - width), rng.usize(0..=rows - height));
        Window { source, target: (left, top), size: (width, height) }
    })
}

fn copy_pixels(from: &[u8], to: &mut [u8], width: usize, window: Window, stride: usize) {
    let at =
        |(column, row): (usize, usize), line: usize| ((row * stride + line) * width + column * stride) * 3;
    let bytes = window.size.0 * stride * 3;
    for line in 0..window.size.1 * stride {
        let (read, write) = (at(window.source, line), at(window.target, line));
        to[write..write + bytes].copy_from_slice(&from[read..read + bytes]);
    }
}

/// What is known of the whole. A class is known if it is in any part; in the others it is not to be judged.
fn join_labels(parts: &[Canvas; 4], windows: &[Window; 4], stride: usize) -> Option<Labels> {
    let classes = parts.iter().find_map(|part| Some(part.labels.as_ref()?.known.len()))?;
    let knows = |part: &Canvas, class: usize| part.labels.as_ref().is_some_and(|labels| labels.known[class]);
    let known: Vec<bool> = (0..classes).map(|class| parts.iter().any(|part| knows(part, class))).collect();
    let mut objects = Vec::new();
    for (part, window) in parts.iter().zip(windows) {
        let place = place_of(window, stride);
        let found = part.labels.iter().flat_map(|labels| &labels.objects);
        objects.extend(found.filter_map(|object| moved(*object, window, stride).cut(place)));
        let unknown = (0..classes).filter(|&class| known[class] && !knows(part, class));
        objects.extend(unknown.map(|class| Object { class, bbox: place, ignore: true }));
    }
    Some(Labels { objects, known: known.into() })
}

/// Where a window is in the whole, in pixels.
fn place_of(window: &Window, stride: usize) -> BoundingBox {
    let pixels = |cells: usize| (cells * stride) as f32;
    let ((left, top), (width, height)) = (window.target, window.size);
    BoundingBox { x1: pixels(left), y1: pixels(top), x2: pixels(left + width), y2: pixels(top + height) }
}

fn moved(object: Object, window: &Window, stride: usize) -> Object {
    let by = |target: usize, source: usize| (target as f32 - source as f32) * stride as f32;
    let (x, y) = (by(window.target.0, window.source.0), by(window.target.1, window.source.1));
    let b = object.bbox;
    Object { bbox: BoundingBox { x1: b.x1 + x, x2: b.x2 + x, y1: b.y1 + y, y2: b.y2 + y }, ..object }
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

    use super::*;

    const GRID: (usize, usize) = (12, 9);
    const STRIDE: usize = 4;
    const WIDTH: usize = GRID.0 * STRIDE;

    /// A canvas of one grey, with a white box of whole cells which is labelled and in the maps.
    fn canvas(grey: u8, (column, row): (usize, usize), known: Option<[bool; 2]>) -> Canvas {
        let (x, y) = (column * STRIDE, row * STRIDE);
        let inside = |at: usize| (x..x + 8).contains(&(at % WIDTH)) && (y..y + 8).contains(&(at / WIDTH));
        let pixel = |at: usize| [if inside(at) { 255 } else { grey }; 3];
        let bbox = BoundingBox { x1: x as f32, y1: y as f32, x2: x as f32 + 8.0, y2: y as f32 + 8.0 };
        let mut maps = Maps::empty(1, GRID.1, GRID.0);
        // The box's four cells, its centre is the corner of the last.
        maps.heat[(row + 1) * GRID.0 + column + 1] = 1.0;
        let labels = known.map(|known| Labels {
            objects: vec![Object { class: usize::from(!known[0]), bbox, ignore: false }],
            known: known.into(),
        });
        let pixels = (0..WIDTH * GRID.1 * STRIDE).flat_map(pixel).collect();
        Canvas { pixels, labels, maps: vec![maps] }
    }

    proptest! {
        #[test]
        fn labels_and_maps_go_where_their_pixels_go(
            places in proptest::array::uniform4((0usize..11, 0usize..8)), seed: u64,
        ) {
            let parts = std::array::from_fn(|at| canvas(10 * at as u8 + 10, places[at], Some([true, true])));
            let whole = mosaic(parts, GRID, STRIDE, &mut Rng::with_seed(seed));
            let labels = whole.labels.unwrap();
            let white = |x: usize, y: usize| whole.pixels[(y * WIDTH + x) * 3] == 255;
            let within = |b: &BoundingBox, x: usize, y: usize| {
                (b.x1..b.x2).contains(&(x as f32)) && (b.y1..b.y2).contains(&(y as f32))
            };
            for (y, x) in (0..GRID.1 * STRIDE).flat_map(|y| (0..WIDTH).map(move |x| (y, x))) {
                let is_labelled = labels.objects.iter().any(|object| within(&object.bbox, x, y));
                prop_assert_eq!(white(x, y), is_labelled, "{} {}", x, y);
            }
            for (cell, heat) in whole.maps[0].heat.iter().enumerate().filter(|(_, heat)| **heat > 0.0) {
                let (x, y) = (cell % GRID.0 * STRIDE, cell / GRID.0 * STRIDE);
                prop_assert!(white(x, y), "{} at {}", heat, cell);
            }
        }

        #[test]
        fn windows_cover_the_whole_once(seed: u64, columns in 3usize..40, rows in 3usize..40) {
            let windows = windows((columns, rows), &mut Rng::with_seed(seed));
            let area: usize = windows.iter().map(|window| window.size.0 * window.size.1).sum();
            prop_assert_eq!(area, columns * rows);
            for window in windows {
                prop_assert!(window.size.0 > 0 && window.size.1 > 0);
                prop_assert!(window.source.0 + window.size.0 <= columns && window.source.1 + window.size.1 <= rows);
                prop_assert!(window.target.0 + window.size.0 <= columns && window.target.1 + window.size.1 <= rows);
            }
        }
    }

    #[test]
    fn what_is_not_labelled_in_a_part_is_not_judged_there() {
        let known = [Some([true, false]), Some([false, true]), None, Some([true, true])];
        let parts = known.map(|known| canvas(50, (0, 0), known));
        let labels = mosaic(parts, GRID, STRIDE, &mut Rng::with_seed(1)).labels.unwrap();
        assert_eq!(*labels.known, [true, true]);
        let place = |object: &Object| (object.bbox.x1 > 0.0, object.bbox.y1 > 0.0);
        let not_judged = labels.objects.iter().filter(|object| object.ignore && object.bbox.area() > 64.0);
        let mut not_judged: Vec<_> = not_judged.map(|object| (place(object), object.class)).collect();
        not_judged.sort_unstable();
        // Each class in the part without it, both in the one without labels.
        assert_eq!(
            not_judged,
            [((false, false), 1), ((false, true), 0), ((false, true), 1), ((true, false), 0)]
        );
        let unlabelled = std::array::from_fn(|_| canvas(50, (0, 0), None));
        assert_eq!(mosaic(unlabelled, GRID, STRIDE, &mut Rng::with_seed(1)).labels, None);
    }
}
