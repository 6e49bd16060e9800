//! From maps to boxes, for pictures of what a network says while it learns.

use centerx::detection::BoundingBox;

use crate::maps::Maps;

/// The objects in `maps`, best first: class, score from 0 to 1, box in input pixels.
///
/// An object is at each cell whose score is at least `min_score` and is not exceeded by any of the eight around it in
/// its class (*Objects as Points*, Zhou et al. 2019); at most the `top_k` best of all classes are taken. `stride` is
/// input pixels a cell.
pub fn decode(maps: &Maps, stride: usize, min_score: f32, top_k: usize) -> Vec<(usize, f32, BoundingBox)> {
    let cells = maps.height * maps.width;
    let mut found: Vec<_> = (0..maps.classes * cells)
        .map(|index| (index / cells, index % cells, maps.heat[index]))
        .filter(|&(class, cell, score)| {
            score >= min_score && maps.is_peak(class, (cell / maps.width, cell % maps.width))
        })
        .collect();
    found.sort_by(|a, b| b.2.total_cmp(&a.2));
    found.truncate(top_k);
    found.into_iter().map(|(class, cell, score)| (class, score, bbox(maps, cell, stride as f32))).collect()
}

fn bbox(maps: &Maps, cell: usize, stride: f32) -> BoundingBox {
    let cells = maps.height * maps.width;
    let [w, h] = [maps.size[cell], maps.size[cells + cell]].map(|side| side.max(0.0) * stride / 2.0);
    let x = ((cell % maps.width) as f32 + maps.offset[cell]) * stride;
    let y = ((cell / maps.width) as f32 + maps.offset[cells + cell]) * stride;
    BoundingBox { x1: x - w, y1: y - h, x2: x + w, y2: y + h }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Two classes on 4 x 6 cells, with these scores at (class, row, column).
    fn maps(scores: &[((usize, usize, usize), f32)]) -> Maps {
        let mut maps = Maps::empty(2, 4, 6);
        for &((class, row, column), score) in scores {
            maps.heat[class * 24 + row * 6 + column] = score;
        }
        maps
    }

    #[test]
    fn a_peak_becomes_the_box_around_its_centre() {
        let mut maps = maps(&[((1, 2, 3), 0.9)]);
        let cell = 2 * 6 + 3;
        (maps.size[cell], maps.size[24 + cell]) = (4.0, 2.0);
        (maps.offset[cell], maps.offset[24 + cell]) = (0.5, 0.25);
        let bbox = BoundingBox { x1: 6.0, y1: 5.0, x2: 22.0, y2: 13.0 };
        assert_eq!(decode(&maps, 4, 0.3, 10), [(1, 0.9, bbox)]);
    }

    #[test]
    fn the_best_come_first_and_slopes_are_no_peaks() {
        let maps = maps(&[((0, 0, 0), 0.5), ((0, 0, 1), 0.4), ((0, 3, 5), 0.8), ((1, 0, 1), 0.6)]);
        let found: Vec<_> = decode(&maps, 4, 0.3, 10).iter().map(|found| (found.0, found.1)).collect();
        assert_eq!(found, [(0, 0.8), (1, 0.6), (0, 0.5)]);
        assert_eq!(decode(&maps, 4, 0.3, 1).len(), 1);
        assert_eq!(decode(&maps, 4, 0.55, 10).len(), 2);
    }

    #[test]
    fn what_is_no_number_is_no_object() {
        assert_eq!(decode(&maps(&[((0, 1, 1), f32::NAN)]), 4, 0.3, 10), []);
        assert_eq!(decode(&maps(&[]), 4, 0.3, 10), []);
    }

    proptest! {
        #[test]
        fn the_greatest_score_is_always_found_first(heat in prop::collection::vec(0.3f32..1.0, 48)) {
            let greatest = heat.iter().copied().fold(0.0, f32::max);
            let found = decode(&Maps { heat, ..Maps::empty(2, 4, 6) }, 4, 0.3, 48);
            prop_assert_eq!(found[0].1, greatest);
            prop_assert!(found.is_sorted_by(|a, b| a.1 >= b.1));
        }
    }
}
