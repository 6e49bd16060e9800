use std::sync::Arc;

use burn::tensor::Device;
use proptest::prelude::*;

use super::{labels, near, numbers, object};
use crate::loss::{LabelTarget, radius};
use crate::maps::{Labels, Object};

/// Encodes one picture of two classes on a grid with cells of four pixels.
fn encode(labels: &Labels, grid: (usize, usize)) -> LabelTarget {
    LabelTarget::encode(&[Some(labels)], 2, grid, 4, &Device::flex())
}

#[test]
fn a_centre_has_its_size_and_offset() {
    // 10 by 6 pixels, its centre at (7, 5): cell (1, 1), three quarters and one quarter into it.
    let target = encode(&labels(&[object(1, [2.0, 2.0, 12.0, 8.0])]), (2, 3));
    assert_eq!(target.heat.dims(), [1, 2, 2, 3]);
    assert_eq!(numbers(&target.at), [0.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
    let mut heat = [0.0; 12];
    heat[6 + 4] = 1.0;
    assert_eq!(numbers(&target.heat), heat);
    let at_centre = |first: f32, second: f32| {
        let mut pair = [0.0; 12];
        (pair[4], pair[6 + 4]) = (first, second);
        pair
    };
    assert_eq!(numbers(&target.size), at_centre(2.5, 1.5));
    assert_eq!(numbers(&target.offset), at_centre(0.75, 0.25));
    assert_eq!(numbers(&target.judged), [1.0; 12]);
}

#[test]
fn around_a_centre_scores_fall_as_a_gaussian() {
    // 26 by 26 cells: a radius of 26 * (1 - sqrt(0.7)) / 2 = 2.12, so a deviation of 5 / 6.
    let target = encode(&labels(&[object(0, [0.0, 0.0, 104.0, 104.0])]), (26, 26));
    let heat = numbers(&target.heat);
    let score = |dy: usize, dx: usize| heat[(13 + dy) * 26 + 13 + dx];
    let gaussian = |squared: f32| (-squared / (2.0 * 25.0 / 36.0)).exp();
    assert_eq!(score(0, 0), 1.0);
    assert!(near(score(0, 1), gaussian(1.0)) && near(score(1, 0), gaussian(1.0)));
    assert!(near(score(1, 2), gaussian(5.0)) && near(score(2, 2), gaussian(8.0)));
    assert_eq!((score(0, 3), score(3, 0)), (0.0, 0.0));
    assert_eq!(heat.iter().filter(|score| **score > 0.0).count(), 25);
}

#[test]
fn where_gaussians_overlap_the_greater_score_holds() {
    let (one, other) = (object(0, [0.0, 0.0, 80.0, 80.0]), object(0, [8.0, 0.0, 88.0, 80.0]));
    let heat = |objects: &[Object]| numbers(&encode(&labels(objects), (20, 22)).heat);
    let (a, b, both) = (heat(&[one]), heat(&[other]), heat(&[one, other]));
    let greater: Vec<f32> = a.iter().zip(&b).map(|(a, b)| a.max(*b)).collect();
    assert!(a.iter().zip(&b).any(|(a, b)| *a > 0.0 && *b > 0.0), "they overlap");
    assert_eq!(both, greater);
    assert_eq!(both.iter().filter(|score| **score == 1.0).count(), 2);
}

#[test]
fn of_two_objects_with_one_centre_the_smaller_tells_the_size() {
    let (large, small) = (object(0, [0.0, 0.0, 16.0, 16.0]), object(1, [7.0, 8.0, 11.0, 10.0]));
    for objects in [[large, small], [small, large]] {
        let target = encode(&labels(&objects), (4, 4));
        let (size, offset) = (numbers(&target.size), numbers(&target.offset));
        let cell = 2 * 4 + 2;
        assert_eq!((size[cell], size[16 + cell]), (1.0, 0.5));
        assert_eq!((offset[cell], offset[16 + cell]), (0.25, 0.25));
        let heat = numbers(&target.heat);
        assert_eq!((heat[cell], heat[16 + cell]), (1.0, 1.0));
    }
}

#[test]
fn objects_outside_and_of_no_size_and_of_other_classes_are_left_out() {
    let objects = [
        object(0, [-20.0, 0.0, 10.0, 8.0]),
        object(0, [4.0, 8.0, 8.0, 9.0]),
        object(0, [12.0, 0.0, 12.0, 8.0]),
        object(0, [8.0, 2.0, 4.0, 6.0]),
        object(2, [0.0, 0.0, 4.0, 4.0]),
        object(0, [f32::NAN, 0.0, 4.0, 4.0]),
    ];
    let target = encode(&labels(&objects), (2, 3));
    for tensor in [target.heat, target.size, target.offset, target.at] {
        assert!(numbers(&tensor).iter().all(|value| *value == 0.0));
    }
}

#[test]
fn what_is_not_known_is_not_judged() {
    let known =
        |known: [bool; 2], objects: &[Object]| Labels { known: known.into(), objects: objects.to_vec() };
    let (first, second) = (known([true, false], &[]), known([false, true], &[]));
    let target = LabelTarget::encode(&[Some(&first), None, Some(&second)], 2, (2, 3), 4, &Device::flex());
    let expected: Vec<f32> = [1.0, 0.0, 0.0, 0.0, 0.0, 1.0].iter().flat_map(|known| [*known; 6]).collect();
    assert_eq!(numbers(&target.judged), expected);
}

#[test]
fn ignored_objects_take_every_cell_they_touch_out_of_their_class() {
    let ignored = |bbox| Object { ignore: true, ..object(1, bbox) };
    let judged = |bbox| numbers(&encode(&labels(&[ignored(bbox)]), (2, 3)).judged)[6..].to_vec();
    assert_eq!(judged([4.0, 0.0, 8.0, 4.0]), [1.0, 0.0, 1.0, 1.0, 1.0, 1.0]);
    assert_eq!(judged([3.9, 0.0, 8.1, 4.1]), [0.0; 6]);
    assert_eq!(judged([5.0, -9.0, 99.0, 3.0]), [1.0, 0.0, 0.0, 1.0, 1.0, 1.0]);
    assert_eq!(judged([8.0, 4.0, 4.0, 0.0]), [1.0; 6]);
    let target = encode(&labels(&[ignored([0.0, 0.0, 12.0, 8.0])]), (2, 3));
    assert_eq!(numbers(&target.judged)[..6], [1.0; 6], "the other class");
    assert_eq!(numbers(&target.at), [0.0; 6]);
}

/// Numbers as they come, and those that break things.
fn wild() -> impl Strategy<Value = f32> {
    let odd =
        vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN, f32::MIN_POSITIVE, 0.0, 1e-30];
    prop_oneof![-50f32..80.0, -1e30f32..1e30, proptest::sample::select(odd)]
}

/// The four corners of a box and of another whose corners lie off by `r` times these.
fn moved(w: f32, h: f32, r: f32, by: [f32; 4]) -> f64 {
    let [w, h, r] = [w, h, r].map(f64::from);
    let [x1, y1, x2, y2] = by.map(f64::from).map(|by| by * r);
    let (x2, y2) = (w + x2, h + y2);
    let overlap = (x2.min(w) - x1.max(0.0)) * (y2.min(h) - y1.max(0.0));
    overlap / (w * h + (x2 - x1) * (y2 - y1) - overlap)
}

proptest! {
    #[test]
    fn wild_boxes_do_no_harm(
        boxes in proptest::collection::vec(([wild(), wild(), wild(), wild()], 0usize..4, any::<bool>()), 0..6),
        height in 1usize..9, width in 1usize..9,
    ) {
        let objects = boxes.iter().map(|(bbox, class, ignore)| Object { ignore: *ignore, ..object(*class, *bbox) });
        let labels = Labels { objects: objects.collect(), known: Arc::from([true, false]) };
        let target = encode(&labels, (height, width));
        for share in [&target.heat, &target.judged, &target.at, &target.offset] {
            prop_assert!(numbers(share).iter().all(|value| (0.0..=1.0).contains(value)));
        }
        prop_assert!(numbers(&target.size).iter().all(|value| *value >= 0.0 && value.is_finite()));
        let (heat, size) = (numbers(&target.heat), numbers(&target.size));
        for (cell, at) in numbers(&target.at).into_iter().enumerate() {
            let cells = height * width;
            prop_assert_eq!(at == 1.0, heat[cell] == 1.0 || heat[cells + cell] == 1.0);
            prop_assert_eq!(at == 1.0, size[cell] > 0.0 && size[cells + cell] > 0.0);
        }
    }

    #[test]
    fn corners_within_the_radius_leave_seven_tenths(
        w in 0.01f32..500.0, h in 0.01f32..500.0, by in [-1f32..=1.0, -1f32..=1.0, -1f32..=1.0, -1f32..=1.0],
    ) {
        let radius = radius(w, h);
        prop_assert!(moved(w, h, radius, by) >= 0.7 - 1e-5);
        // All combinations of signs, as far as corners go.
        for signs in 0..16u8 {
            let by = [0, 1, 2, 3].map(|corner| if signs >> corner & 1 == 1 { 1.0 } else { -1.0 });
            prop_assert!(moved(w, h, radius, by) >= 0.7 - 1e-5, "{by:?}");
        }
        // A little farther, both inwards, is too far.
        prop_assert!(moved(w, h, radius * 1.001, [1.0, 1.0, -1.0, -1.0]) < 0.7);
    }
}

#[test]
fn radii_by_hand() {
    // (1 - 2r)^2 = 0.7 for a square; (1 - 2t) = 0.7 for a bar so long that only its height counts.
    assert!(near(radius(10.0, 10.0), 10.0 * (1.0 - 0.7f32.sqrt()) / 2.0));
    assert!(near(radius(1e6, 1.0), 0.15));
    assert_eq!((radius(0.0, 5.0), radius(5.0, 0.0)), (0.0, 0.0));
}
