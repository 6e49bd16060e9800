//! Small maps whose detections were worked out by hand.

use super::*;
use crate::model::decode::{CENTERFACE, CENTERNET, CENTERPOSE, FAMILIES, QUAD, TTF};

const SLACK: Slack = Slack { score: 1e-5, px: 1e-3 };
const SIDE: usize = 6;

/// Heads of one class over 6x6 cells of 4 pixels, with `values` for each channel the same in all cells.
fn heads(family: &'static Family, regressions: &[Option<&[f32]>]) -> (Heads, Vec<Option<Vec<f32>>>) {
    let head = |channels| Head { value: "v".to_owned(), channels, height: SIDE, width: SIDE };
    let flat = |values: &&[f32]| values.iter().flat_map(|value| [*value; SIDE * SIDE]).collect();
    let heads = Heads {
        heatmap: head(1),
        heat: Heat::Scores,
        regressions: regressions.iter().map(|values| values.map(|v| head(v.len()))).collect(),
        stride: 4.0,
    };
    assert_eq!(regressions.len(), family.heads.len());
    (heads, regressions.iter().map(|values| values.as_ref().map(flat)).collect())
}

fn map(peaks: &[([usize; 2], f32)]) -> Vec<f32> {
    let mut map = vec![0.0; SIDE * SIDE];
    peaks.iter().for_each(|([x, y], score)| map[y * SIDE + x] = *score);
    map
}

fn found(
    family: &'static Family,
    heatmap: &[f32],
    regressions: &[Option<&[f32]>],
    (top_k, nms): (usize, Option<f32>),
) -> Decoded {
    let (heads, values) = heads(family, regressions);
    let values = Values { heatmap, regressions: values.iter().map(Option::as_deref).collect() };
    decode(family, &heads, &values, Choice { top_k, nms }, SLACK).unwrap()
}

/// The one object at column 2, row 3.
fn object(family: &'static Family, regressions: &[Option<&[f32]>]) -> Row {
    let decoded = found(family, &map(&[([2, 3], 0.5)]), regressions, (1, None));
    assert_eq!(decoded.rows.len(), 1);
    decoded.rows[0].clone()
}

fn places(row: &Row) -> Vec<[f64; 2]> {
    row.landmarks.iter().map(|mark| [mark.x, mark.y]).collect()
}

#[test]
fn boxes_are_those_of_the_papers() {
    let size: Option<&[f32]> = Some(&[2.0, 4.0]);
    assert_eq!(object(&CENTERNET, &[size, Some(&[0.25, 0.75])]).bbox, [5.0, 7.0, 13.0, 23.0]);
    assert_eq!(object(&CENTERNET, &[size, None]).bbox, [6.0, 6.0, 14.0, 22.0]);
    assert_eq!(object(&TTF, &[Some(&[1.0, 2.0, 3.0, 4.0])]).bbox, [7.0, 10.0, 11.0, 16.0]);
}

#[test]
fn faces_have_sizes_by_exponent_and_landmarks_in_units_of_them() {
    let log2 = std::f32::consts::LN_2;
    let marks = [0.5, 0.25, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
    let face = object(&CENTERFACE, &[Some(&[log2, 0.0]), Some(&[0.25, 0.5]), Some(&marks)]);
    // Height 8, width 4; the centre at x (2 + 0.5 + 0.5) * 4, y (3 + 0.25 + 0.5) * 4.
    for (found, expected) in face.bbox.iter().zip([10.0, 11.0, 14.0, 19.0]) {
        assert!((found - expected).abs() < 1e-5, "{face:?}");
    }
    let [eye, other, ..] = places(&face)[..] else { panic!("{face:?}") };
    assert!((eye[0] - 11.0).abs() + (eye[1] - 15.0).abs() < 1e-5, "{eye:?}");
    assert!((other[0] - 14.0).abs() + (other[1] - 11.0).abs() < 1e-5, "{other:?}");
}

#[test]
fn quadrilaterals_lie_around_the_centre_in_their_box() {
    let quad = object(&QUAD, &[Some(&[-1.0, -2.0, 1.0, -1.0, 2.0, 1.0, -1.0, 1.5]), Some(&[0.0, 0.0])]);
    assert_eq!(places(&quad), [[4.0, 4.0], [12.0, 8.0], [16.0, 16.0], [4.0, 18.0]]);
    assert_eq!(quad.bbox, [4.0, 4.0, 16.0, 18.0]);
}

#[test]
fn sizes_may_be_one_a_class() {
    let (mut heads, _) = heads(&CENTERNET, &[Some(&[0.0; 4]), None]);
    heads.heatmap.channels = 2;
    let heatmap = [map(&[([0, 0], 0.25)]), map(&[([3, 3], 0.5)])].concat();
    let sizes: Vec<f32> = [1.0, 1.0, 2.0, 4.0].iter().flat_map(|size| [*size; SIDE * SIDE]).collect();
    let values = Values { heatmap: &heatmap, regressions: vec![Some(&sizes), None] };
    let choice = Choice { top_k: 2, nms: None };
    let rows = decode(&CENTERNET, &heads, &values, choice, SLACK).unwrap().rows;
    assert_eq!((rows[0].class, rows[0].bbox), (1, [10.0, 6.0, 18.0, 22.0]));
    assert_eq!((rows[1].class, rows[1].bbox), (0, [0.0, 0.0, 4.0, 4.0]));
}

#[test]
fn only_the_highest_of_a_neighbourhood_counts_and_near_ties_are_told() {
    let size: Option<&[f32]> = Some(&[1.0, 1.0]);
    let peaks = [([1, 1], 0.5), ([2, 2], 0.499_999), ([5, 5], 0.3), ([1, 4], 0.25), ([4, 1], 0.249_999)];
    let decoded = found(&CENTERNET, &map(&peaks), &[size, None], (3, None));
    let scores: Vec<_> = decoded.rows.iter().map(|row| (row.score as f32, row.doubt)).collect();
    assert_eq!(scores, [(0.5, true), (0.3, false), (0.25, true)]);
    let maybe: Vec<_> = decoded.maybe.iter().map(|row| row.score as f32).collect();
    assert_eq!(maybe, [0.499_999, 0.249_999], "a neighbour, and the one at the K-th place");
}

#[test]
fn logits_go_through_the_sigmoid() {
    assert_eq!((score(0.0, Heat::Logits), score(0.25, Heat::Scores)), (0.5, 0.25));
    assert!((score(2.0, Heat::Logits) - 0.880_797).abs() < 1e-6);
}

#[test]
fn suppression_is_greedy() {
    // Boxes 5 cells wide at columns 0, 2, 4: neighbours overlap by 3/7, the outer ones by 1/9.
    let peaks = map(&[([0, 2], 0.9), ([2, 2], 0.8), ([4, 2], 0.7)]);
    let size: &[Option<&[f32]>] = &[Some(&[5.0, 5.0]), None];
    let scores = |nms| {
        let rows = found(&CENTERNET, &peaks, size, (9, Some(nms))).rows;
        let seen = rows.iter().filter(|row| row.score > 0.0).map(|row| (row.score * 10.0).round() as u32);
        seen.collect::<Vec<_>>()
    };
    assert_eq!(scores(0.5), [9, 8, 7]);
    assert_eq!(scores(0.4), [9, 7], "the third stays: what would take it out is gone itself");
    assert_eq!(scores(0.1), [9]);
    let edge = found(&CENTERNET, &peaks, size, (3, Some(3.0 / 7.0)));
    assert!(edge.rows.iter().chain(&edge.maybe).any(|row| row.doubt && row.score > 0.75));
}

#[test]
fn joints_go_to_the_nearest_peak_that_is_in_reach() {
    let person = |peaks: &[([usize; 2], f32)], size: f32| {
        let mut regressed = [0.0; 34];
        regressed[..2].copy_from_slice(&[1.5, -0.75]);
        let (heads, mut values) = heads(
            &CENTERPOSE,
            &[Some(&[size, size]), None, Some(&regressed), Some(&[0.0; 17]), Some(&[0.25, 0.5])],
        );
        values[3].as_mut().unwrap()[..SIDE * SIDE].copy_from_slice(&map(peaks));
        let heatmap = map(&[([2, 3], 0.5)]);
        let values = Values { heatmap: &heatmap, regressions: values.iter().map(Option::as_deref).collect() };
        let choice = Choice { top_k: 5, nms: None };
        let decoded = decode(&CENTERPOSE, &heads, &values, choice, SLACK).unwrap();
        let Mark { x, y, score, doubt } = decoded.rows[0].landmarks[0];
        (x, y, score as f32, doubt)
    };
    // Regressed to column 3.5, row 2.25; the peaks at (4.25, 2.5) and (0.25, 5.5).
    let peaks = [([4, 2], 0.75), ([0, 5], 0.9)];
    assert_eq!(person(&peaks, 4.0), (17.0, 10.0, 0.75, false));
    assert_eq!(person(&[([4, 2], 0.05), ([0, 5], 0.9)], 4.0), (14.0, 9.0, 0.0, false), "too weak; too far");
    assert_eq!(person(&peaks, 2.5), (14.0, 9.0, 0.0, false), "out of reach: 0.79 cells, 0.75 are allowed");
    assert_eq!(person(&[([3, 2], 0.75)], 4.0), (13.0, 10.0, 0.75, false));
    assert!(person(&[([4, 2], 0.1)], 4.0).3, "a score at the limit leaves doubt");
}

#[test]
fn heads_that_are_none_are_named() {
    let (heads, _) = heads(&TTF, &[Some(&[1.0; 4])]);
    let good = vec![1.0; 4 * SIDE * SIDE];
    let (heatmap, choice) = (map(&[]), Choice { top_k: 1, nms: None });
    let problem = |heatmap: &[f32], sides: Option<&[f32]>| {
        let values = Values { heatmap, regressions: vec![sides] };
        decode(&TTF, &heads, &values, choice, SLACK).unwrap_err().to_string()
    };
    assert!(problem(&heatmap, None).contains("head ltrb has 0 values; the family ttf needs 144"));
    assert!(problem(&heatmap[1..], Some(&good)).contains("head heatmap has 35 values"));
    let bad: Vec<f32> = good.iter().map(|_| f32::NAN).collect();
    assert!(problem(&heatmap, Some(&bad)).contains("head ltrb holds NaN"));
}

#[test]
fn every_family_has_a_formula() {
    for family in FAMILIES {
        let regressions: Vec<Vec<f32>> = family.heads.iter().map(|spec| vec![0.0; spec.channels]).collect();
        let regressions: Vec<_> = regressions.iter().map(|values| Some(values.as_slice())).collect();
        assert_eq!(object(family, &regressions).landmarks.len(), family.landmarks.len());
    }
}
