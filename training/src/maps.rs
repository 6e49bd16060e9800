//! What a CenterNet says about one picture, in the form in which all networks here say it.

use std::sync::Arc;

use centerx::detection::BoundingBox;

/// Heads of a CenterNet for one picture, on a grid of `height` by `width` cells, row by row.
///
/// Whatever a teacher's family is, its maps are brought to this one (*Objects as Points*, Zhou et al. 2019): an object
/// at the cell (row `i`, column `j`) has its centre at `((j + offset x) * stride, (i + offset y) * stride)` and the size
/// `(size w * stride, size h * stride)`, in input pixels. An offset may leave 0..1, where a family has it so.
#[derive(Clone, Debug, PartialEq)]
pub struct Maps {
    /// Number of classes, C.
    pub classes: usize,
    /// Rows of cells.
    pub height: usize,
    /// Columns of cells.
    pub width: usize,
    /// Scores from 0 to 1, `[C, height, width]`.
    pub heat: Vec<f32>,
    /// Width, then height of the object at each cell, in cells, `[2, height, width]`.
    pub size: Vec<f32>,
    /// x, then y of its centre from the cell's top left corner, in cells, `[2, height, width]`.
    pub offset: Vec<f32>,
}

impl Maps {
    /// Maps in which nothing is anywhere.
    pub fn empty(classes: usize, height: usize, width: usize) -> Self {
        let cells = height * width;
        Self {
            classes,
            height,
            width,
            heat: vec![0.0; classes * cells],
            size: vec![0.0; 2 * cells],
            offset: vec![0.0; 2 * cells],
        }
    }

    /// Whether no cell of the 3x3 around this one scores higher in this class: the peak of *Objects as Points*.
    pub fn is_peak(&self, class: usize, (row, column): (usize, usize)) -> bool {
        let heat = &self.heat[class * self.height * self.width..];
        let score = heat[row * self.width + column];
        let around = |at: usize, count: usize| at.saturating_sub(1)..(at + 2).min(count);
        let columns = around(column, self.width);
        around(row, self.height)
            .all(|y| heat[y * self.width..][columns.clone()].iter().all(|other| *other <= score))
    }

    /// Whether the lists are as long as the sizes say.
    pub fn is_sound(&self) -> bool {
        let cells = self.height * self.width;
        let lengths = [self.heat.len(), self.size.len(), self.offset.len()];
        lengths == [self.classes * cells, 2 * cells, 2 * cells]
    }

    /// What they would be of the picture's mirror image, left and right exchanged.
    pub fn flipped(&self) -> Self {
        let mut flipped = self.clone();
        let width = self.width.max(1);
        for head in [&mut flipped.heat, &mut flipped.size, &mut flipped.offset] {
            head.chunks_exact_mut(width).for_each(<[f32]>::reverse);
        }
        // From a cell's other edge.
        let cells = self.height * self.width;
        flipped.offset[..cells].iter_mut().for_each(|x| *x = 1.0 - *x);
        flipped
    }

    /// Takes over the window of `size` (rows, columns) cells that is at `source` (row, column) in `from`, to `target` here.
    ///
    /// # Panics
    /// A window that leaves either, another number of classes.
    pub fn paste(
        &mut self,
        from: &Self,
        source: (usize, usize),
        target: (usize, usize),
        size: (usize, usize),
    ) {
        assert_eq!(self.classes, from.classes);
        assert!(source.0 + size.0 <= from.height && target.0 + size.0 <= self.height);
        assert!(source.1 + size.1 <= from.width && target.1 + size.1 <= self.width);
        let (height, width) = (self.height, self.width);
        let heads =
            [(&mut self.heat, &from.heat), (&mut self.size, &from.size), (&mut self.offset, &from.offset)];
        for (to, from_head) in heads {
            for channel in 0..to.len() / (height * width).max(1) {
                for row in 0..size.0 {
                    let read = (channel * from.height + source.0 + row) * from.width + source.1;
                    let write = (channel * height + target.0 + row) * width + target.1;
                    to[write..write + size.1].copy_from_slice(&from_head[read..read + size.1]);
                }
            }
        }
    }
}

/// An object in a picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Object {
    /// Index into the student's classes.
    pub class: usize,
    /// Where it is, in pixels of whatever the picture is at that moment.
    pub bbox: BoundingBox,
    /// Many objects in one box, or one that is not to be judged: what is found there is neither right nor wrong.
    pub ignore: bool,
}

impl Object {
    /// What is left of it within `window`: where that is less than a quarter, nobody can be asked to find it any more, and
    /// it is not to be judged. None if nothing is left.
    pub fn cut(self, window: BoundingBox) -> Option<Self> {
        let b = self.bbox;
        let bbox = BoundingBox {
            x1: b.x1.max(window.x1),
            y1: b.y1.max(window.y1),
            x2: b.x2.min(window.x2),
            y2: b.y2.min(window.y2),
        };
        let is_seen = bbox.x2 > bbox.x1 && bbox.y2 > bbox.y1;
        let ignore = self.ignore || bbox.area() < LEAST_LEFT * b.area();
        is_seen.then_some(Self { bbox, ignore, ..self })
    }
}

/// The share of an object that has to be left of it.
const LEAST_LEFT: f32 = 0.25;

/// What is known of the objects in a picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Labels {
    /// The objects.
    pub objects: Vec<Object>,
    /// For each of the student's classes whether its objects are labelled in this picture. Where they are not, their
    /// absence says nothing.
    pub known: Arc<[bool]>,
}

impl Labels {
    /// What they would be of the mirror image of the picture, which is `width` pixels wide.
    pub fn flipped(&self, width: f32) -> Self {
        let mirror = |object: &Object| {
            let b = object.bbox;
            Object { bbox: BoundingBox { x1: width - b.x2, x2: width - b.x1, ..b }, ..*object }
        };
        Self { objects: self.objects.iter().map(mirror).collect(), known: Arc::clone(&self.known) }
    }
}

/// The three heads of a network, in whatever form: tensors `[N, C or 2, H/stride, W/stride]`, names in a graph.
#[derive(Clone, Debug)]
pub struct Heads<V> {
    /// Heat map, before the sigmoid.
    pub cls: V,
    /// Width and height in cells.
    pub wh: V,
    /// Offset x and y of the centre in cells.
    pub reg: V,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Objects at cells, as a teacher sees them: `(class, row, column, [w, h], [x, y])` in cells.
    type Peak = (usize, usize, usize, [f32; 2], [f32; 2]);

    fn maps((height, width): (usize, usize), peaks: &[Peak]) -> Maps {
        let mut maps = Maps::empty(2, height, width);
        let cells = height * width;
        for &(class, row, column, size, offset) in peaks {
            let cell = row * width + column;
            maps.heat[class * cells + cell] = 0.9;
            for axis in 0..2 {
                maps.size[axis * cells + cell] = size[axis];
                maps.offset[axis * cells + cell] = offset[axis];
            }
        }
        maps
    }

    /// Class and box, in cells, of each cell with a score.
    fn decode(maps: &Maps) -> Vec<(usize, BoundingBox)> {
        let cells = maps.height * maps.width;
        let found = maps.heat.iter().enumerate().filter(|(_, score)| **score > 0.5);
        found
            .map(|(at, _)| {
                let (class, cell) = (at / cells, at % cells);
                let x = (cell % maps.width) as f32 + maps.offset[cell];
                let y = (cell / maps.width) as f32 + maps.offset[cells + cell];
                let (w, h) = (maps.size[cell] / 2.0, maps.size[cells + cell] / 2.0);
                (class, BoundingBox { x1: x - w, y1: y - h, x2: x + w, y2: y + h })
            })
            .collect()
    }

    fn near(a: &[(usize, BoundingBox)], b: &[(usize, BoundingBox)]) -> bool {
        let corners = |b: &BoundingBox| [b.x1, b.y1, b.x2, b.y2];
        let close = |a, b| corners(a).iter().zip(corners(b)).all(|(a, b)| (a - b).abs() < 1e-4);
        a.len() == b.len()
            && a.iter().all(|(class, a)| b.iter().any(|(other, b)| class == other && close(a, b)))
    }

    fn peaks() -> impl Strategy<Value = ((usize, usize), Vec<Peak>)> {
        (1usize..7, 1usize..9).prop_flat_map(|size| {
            let side = || [0.5f32..9.0, 0.5f32..9.0];
            let peak = (0usize..2, 0..size.0, 0..size.1, side(), [-0.5f32..1.5, 0f32..1.0]);
            (Just(size), proptest::collection::vec(peak, 0..6)).prop_map(|(size, mut peaks)| {
                // One size and one offset a cell.
                peaks.sort_by_key(|peak| (peak.1, peak.2));
                peaks.dedup_by_key(|peak| (peak.1, peak.2));
                (size, peaks)
            })
        })
    }

    proptest! {
        #[test]
        fn peaks_of_flipped_maps_are_the_flipped_boxes((size, peaks) in peaks()) {
            let maps = maps(size, &peaks);
            let objects = decode(&maps).into_iter().map(|(class, bbox)| Object { class, bbox, ignore: false });
            let labels = Labels { objects: objects.collect(), known: [true, true].into() };
            let flipped = labels.flipped(size.1 as f32).objects;
            let expected: Vec<_> = flipped.iter().map(|object| (object.class, object.bbox)).collect();
            prop_assert!(near(&decode(&maps.flipped()), &expected));
            let again = maps.flipped().flipped();
            prop_assert_eq!((&again.heat, &again.size), (&maps.heat, &maps.size));
            prop_assert!(again.offset.iter().zip(&maps.offset).all(|(a, b)| (a - b).abs() < 1e-6));
        }

        #[test]
        fn what_is_pasted_keeps_its_boxes_moved((size, peaks) in peaks(), down in 0usize..4, right in 0usize..4) {
            let from = maps(size, &peaks);
            let mut to = Maps::empty(2, size.0 + down, size.1 + right);
            to.paste(&from, (0, 0), (down, right), size);
            let moved = |b: BoundingBox| {
                let (x, y) = (right as f32, down as f32);
                BoundingBox { x1: b.x1 + x, y1: b.y1 + y, x2: b.x2 + x, y2: b.y2 + y }
            };
            let expected: Vec<_> = decode(&from).into_iter().map(|(class, bbox)| (class, moved(bbox))).collect();
            prop_assert!(near(&decode(&to), &expected));
            let mut back = Maps::empty(2, size.0, size.1);
            back.paste(&to, (down, right), (0, 0), size);
            prop_assert_eq!(back, from);
        }
    }

    #[test]
    fn an_object_of_which_a_quarter_is_left_is_still_judged() {
        let cut = |x1: f32, x2: f32| {
            let bbox = BoundingBox { x1, y1: 0.0, x2, y2: 10.0 };
            let window = BoundingBox { x1: 0.0, y1: 0.0, x2: 50.0, y2: 10.0 };
            Object { class: 1, bbox, ignore: false }
                .cut(window)
                .map(|left| (left.bbox.x1, left.bbox.x2, left.ignore))
        };
        assert_eq!(cut(-30.0, 10.0), Some((0.0, 10.0, false)));
        assert_eq!(cut(-31.0, 9.0), Some((0.0, 9.0, true)));
        assert_eq!(cut(45.0, 55.0), Some((45.0, 50.0, false)));
        assert_eq!(cut(-10.0, 0.0), None);
    }
}
