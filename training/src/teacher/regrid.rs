//! From a teacher's grid to the student's.

use std::ops::Range;

use crate::maps::Maps;

/// The same picture on a grid of `height` by `width` cells; one of the teacher's cells is `ratio` of them wide. Both
/// grids begin at the picture's top left corner.
///
/// On a coarser grid, a cell takes the greatest score of the teacher's cells whose middles it covers, and the object of
/// the very cell that had it. On a finer one, scores are interpolated between the middles of the teacher's cells, and the
/// object is that of the cell in which the middle lies; a peak keeps its score at the cell that has its middle, so that it
/// is not weakened, and is one peak rather than several of one height.
pub(super) fn regrid(maps: &Maps, ratio: f32, (height, width): (usize, usize)) -> Maps {
    if ratio <= 1.0 { shrink(maps, ratio, (height, width)) } else { grow(maps, ratio, (height, width)) }
}

/// The teacher's cells, of `count` along an axis, whose middles the cell at `place` covers: at least one, as far as the
/// teacher's grid goes.
fn covered(place: usize, ratio: f32, count: usize) -> Range<usize> {
    // The end of one is the beginning of the next, so that none counts twice.
    let begin =
        |place: usize| (place as f64 / f64::from(ratio) - 0.5).ceil().clamp(0.0, count as f64) as usize;
    begin(place)..begin(place + 1)
}

fn shrink(maps: &Maps, ratio: f32, (height, width): (usize, usize)) -> Maps {
    let mut target = Maps::empty(maps.classes, height, width);
    let cells = maps.height * maps.width;
    for row in 0..height {
        let rows = covered(row, ratio, maps.height);
        for column in 0..width {
            let columns = covered(column, ratio, maps.width);
            let mut best = None;
            for (i, j) in rows.clone().flat_map(|i| columns.clone().map(move |j| (i, j))) {
                let from = i * maps.width + j;
                for class in 0..maps.classes {
                    let (heat, to) =
                        (maps.heat[class * cells + from], (class * height + row) * width + column);
                    target.heat[to] = target.heat[to].max(heat);
                    if best.is_none_or(|(most, _)| heat > most) {
                        best = Some((heat, from));
                    }
                }
            }
            if let Some((_, from)) = best {
                place(maps, from, ratio, &mut target, (row, column));
            }
        }
    }
    target
}

fn grow(maps: &Maps, ratio: f32, (height, width): (usize, usize)) -> Maps {
    let mut target = Maps::empty(maps.classes, height, width);
    let middle = |place: usize| (place as f32 + 0.5) / ratio;
    for row in 0..height {
        for column in 0..width {
            let (y, x) = (middle(row), middle(column));
            for class in 0..maps.classes {
                target.heat[(class * height + row) * width + column] =
                    between(maps, class, (y - 0.5, x - 0.5));
            }
            let from = (y as usize).min(maps.height - 1) * maps.width + (x as usize).min(maps.width - 1);
            place(maps, from, ratio, &mut target, (row, column));
        }
    }
    keep_peaks(maps, ratio, &mut target);
    target
}

/// Gives every peak its score at the cell that has its middle.
fn keep_peaks(maps: &Maps, ratio: f32, target: &mut Maps) {
    let to = |place: usize| ((place as f32 + 0.5) * ratio) as usize;
    for class in 0..maps.classes {
        for (i, j) in (0..maps.height).flat_map(|i| (0..maps.width).map(move |j| (i, j))) {
            let (row, column) = (to(i), to(j));
            if row < target.height && column < target.width && maps.is_peak(class, (i, j)) {
                let heat = maps.heat[(class * maps.height + i) * maps.width + j];
                target.heat[(class * target.height + row) * target.width + column] = heat;
            }
        }
    }
}

/// The score between four cells, which lie at whole numbers. It falls to 0 beyond the edge: were it the edge's there, a
/// peak at the edge would be several.
fn between(maps: &Maps, class: usize, (y, x): (f32, f32)) -> f32 {
    let heat = |i: f32, j: f32| {
        let inside = i >= 0.0 && j >= 0.0 && i < maps.height as f32 && j < maps.width as f32;
        let at = || (class * maps.height + i as usize) * maps.width + j as usize;
        if inside { maps.heat[at()] } else { 0.0 }
    };
    let (top, left) = (y.floor(), x.floor());
    let (down, along) = (y - top, x - left);
    let row = |i: f32| heat(i, left) * (1.0 - along) + heat(i, left + 1.0) * along;
    row(top) * (1.0 - down) + row(top + 1.0) * down
}

/// Writes the object of the teacher's cell `from` at a cell: its centre stays where it is in the picture.
fn place(maps: &Maps, from: usize, ratio: f32, target: &mut Maps, (row, column): (usize, usize)) {
    let (cells, target_cells) = (maps.height * maps.width, target.height * target.width);
    let (theirs, ours) = ([from % maps.width, from / maps.width], [column, row]);
    for axis in 0..2 {
        let (read, write) = (axis * cells + from, axis * target_cells + row * target.width + column);
        target.size[write] = maps.size[read] * ratio;
        target.offset[write] = (theirs[axis] as f32 + maps.offset[read]) * ratio - ours[axis] as f32;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::teacher::tests::peaks;

    /// A round object on a grid, with a peak in the cell of its centre: `[x, y, w, h]` in cells.
    fn object((height, width): (usize, usize), [x, y, w, h]: [f32; 4]) -> Maps {
        let mut maps = Maps::empty(1, height, width);
        let (column, row) = (x as usize, y as usize);
        for cell in 0..height * width {
            let (i, j) = (cell / width, cell % width);
            let far = (i as f32 - row as f32).powi(2) + (j as f32 - column as f32).powi(2);
            maps.heat[cell] = 0.9 * (-far / 4.0).exp();
            let values = [(&mut maps.size, [w, h]), (&mut maps.offset, [x - j as f32, y - i as f32])];
            for (list, [first, second]) in values {
                list[cell] = first;
                list[height * width + cell] = second;
            }
        }
        maps
    }

    #[test]
    fn a_grid_of_the_same_size_stays_as_it_is() {
        let maps = object((5, 7), [3.3, 2.6, 2.0, 1.0]);
        let same = regrid(&maps, 1.0, (5, 7));
        assert_eq!((&same.heat, &same.size), (&maps.heat, &maps.size));
        assert!(same.offset.iter().zip(&maps.offset).all(|(a, b)| (a - b).abs() < 1e-5));
    }

    #[test]
    fn half_the_grid_takes_the_best_of_four_cells() {
        let mut maps = Maps::empty(1, 4, 4);
        let at = 3 * 4 + 2;
        (maps.heat[at], maps.heat[2 * 4 + 3]) = (0.8, 0.5);
        (maps.size[at], maps.size[16 + at]) = (6.0, 4.0);
        (maps.offset[at], maps.offset[16 + at]) = (0.5, 0.25);
        let half = regrid(&maps, 0.5, (2, 2));
        assert_eq!(half.heat, [0.0, 0.0, 0.0, 0.8]);
        assert_eq!((half.size[3], half.size[7]), (3.0, 2.0));
        // Its centre is at 2.5, 3.25 of the old cells, 1.25, 1.625 of the new ones.
        assert_eq!((half.offset[3], half.offset[7]), (0.25, 0.625));
    }

    #[test]
    fn twice_the_grid_has_one_peak_of_the_same_height() {
        let doubled = regrid(&object((6, 6), [3.5, 3.5, 2.0, 2.0]), 2.0, (12, 12));
        let found = peaks(&doubled, 1.0, 0.5);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].score, 0.9);
    }

    #[test]
    fn grids_of_one_cell_are_grids_too() {
        let one = object((1, 1), [0.5, 0.5, 1.0, 1.0]);
        let heat = regrid(&one, 3.0, (3, 3)).heat;
        assert_eq!(heat[4], 0.9);
        assert!(heat.iter().all(|score| *score == 0.9 || *score < 0.7), "{heat:?}");
        assert_eq!(regrid(&object((3, 3), [1.5, 1.5, 3.0, 3.0]), 1.0 / 3.0, (1, 1)).size, [1.0, 1.0]);
    }

    proptest! {
        /// Whatever the ratio: one object, its score and its place in the picture.
        #[test]
        fn an_object_keeps_its_score_and_place(
            x in 0f32..20.0, y in 0f32..15.0, w in 1f32..9.0, h in 1f32..9.0, ratio in 0.3f32..3.0,
        ) {
            let maps = object((15, 20), [x, y, w, h]);
            let size = [15.0, 20.0].map(|side: f32| (side * ratio).ceil() as usize);
            let found = peaks(&regrid(&maps, ratio, (size[0], size[1])), 1.0 / ratio, 0.6);
            prop_assert_eq!(found.len(), 1, "{:?}", &found);
            let b = found[0].bbox;
            prop_assert!((found[0].score - 0.9).abs() < 1e-6);
            let expected = [x - w / 2.0, y - h / 2.0, x + w / 2.0, y + h / 2.0];
            let near = [b.x1, b.y1, b.x2, b.y2].iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-3);
            prop_assert!(near, "{:?} and not {:?}", b, expected);
        }

        /// Every one of the teacher's cells counts once, if it is on the student's grid.
        #[test]
        fn cells_are_covered_once(count in 1usize..200, ratio in 0.05f32..=1.0) {
            let places = (count as f32 * ratio).ceil() as usize;
            let ranges: Vec<_> = (0..places).map(|place| covered(place, ratio, count)).collect();
            prop_assert_eq!(ranges[0].start, 0);
            prop_assert!(ranges.windows(2).all(|two| two[0].end == two[1].start && !two[0].is_empty()));
            prop_assert_eq!(ranges[places - 1].end, count);
        }
    }
}
