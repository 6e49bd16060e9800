//! Rows against rows, matched by class and place: near-equal scores may change their order.

use serde::Serialize;

use super::{Disagreement, Limits};
use crate::model::reference::{Decoded, Mark, Row};

/// A row that only one side has counts as a difference from this score.
pub const LEAST_SCORE: f64 = 0.01;
/// Rows further apart than this, in input pixels, are not taken for the same object.
const SAME_OBJECT: f64 = 64.0;

/// How well rows agree, over all pictures.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Agreement {
    /// Pairs of rows compared.
    pub rows: usize,
    /// Greatest difference in score.
    pub score: f64,
    /// Greatest difference in x1, y1, x2 and y2, in input pixels.
    #[serde(rename = "box")]
    pub bbox: [f64; 4],
    /// Pairs of landmarks compared.
    pub landmarks: usize,
    /// Greatest difference in a landmark's x and y, in input pixels.
    pub landmark: [f64; 2],
    /// Greatest difference in a landmark's score.
    pub landmark_score: f64,
    /// Rows over a score of 0.01 that the detector lacks.
    pub missing: usize,
    /// Rows over a score of 0.01 that only the detector has.
    pub extra: usize,
    /// Rows that only one side has because two scores or overlaps are equal but for the last digits: at the
    /// K-th place, between neighbouring cells, or at the suppression's limit.
    pub near_ties: usize,
    /// Landmarks that differ because two candidates are equally good but for the last digits.
    pub landmark_near_ties: usize,
    /// Rows under a score of 0.01 without a counterpart.
    pub faint: usize,
    /// The worst pair.
    pub worst: Option<Worst>,
}

/// Two rows that should be the same.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Worst {
    /// The picture.
    pub picture: String,
    /// The independent decode's row.
    pub expected: Option<Row>,
    /// The detector's.
    pub detector: Option<Row>,
    /// How far apart they are as a multiple of what is allowed; infinite (null in JSON) if they are not the
    /// same object, but one that the other side lacks and what is nearest to it there.
    pub excess: f64,
}

/// The detector's output cannot be read.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RowsError {
    /// It holds what is no number.
    #[error(
        "the detector's row {row} of {picture} holds NaN or an infinity (column {column}), though all heads hold numbers"
    )]
    NotFinite {
        /// The picture.
        picture: String,
        /// The row.
        row: usize,
        /// The column.
        column: usize,
    },
}

/// Takes the detector's output for one picture apart, `[K, columns]`; rows of score 0 are filling.
///
/// # Errors
/// A row that holds no numbers.
pub fn rows(values: &[f32], columns: usize, picture: &str) -> Result<Vec<Row>, RowsError> {
    let mut rows = Vec::new();
    for (nth, row) in values.chunks_exact(columns.max(6)).enumerate() {
        let row: Vec<f64> = row.iter().copied().map(f64::from).collect();
        let [x1, y1, x2, y2, score, class, ref marks @ ..] = row[..] else { continue };
        if score == 0.0 {
            continue;
        }
        if let Some(column) = row.iter().position(|value| !value.is_finite()) {
            return Err(RowsError::NotFinite { picture: picture.to_owned(), row: nth, column });
        }
        let marks = marks.chunks_exact(3);
        let landmarks = marks.map(|m| Mark { x: m[0], y: m[1], score: m[2], doubt: false }).collect();
        rows.push(Row { bbox: [x1, y1, x2, y2], score, class: class as usize, landmarks, doubt: false });
    }
    Ok(rows)
}

impl Agreement {
    /// Adds what is to be said of one picture.
    pub fn add(&mut self, picture: &str, expected: &Decoded, found: &[Row], limits: Limits) {
        let mut wanted: Vec<Option<&Row>> = expected.rows.iter().map(Some).collect();
        let mut maybe: Vec<Option<&Row>> = expected.maybe.iter().map(Some).collect();
        let mut left = Vec::new();
        for row in found {
            if let Some(pair) = take_nearest(&mut wanted, row, |other| excess(other, row, limits) <= 1.0) {
                self.pair(picture, pair, row, limits);
            } else if take_nearest(&mut maybe, row, |other| excess(other, row, limits) <= 1.0).is_some() {
                self.near_ties += 1;
            } else {
                left.push(row);
            }
        }
        for row in left {
            let near =
                |other: &Row| row.score.max(other.score) >= LEAST_SCORE && apart(other, row) < SAME_OBJECT;
            match take_nearest(&mut wanted, row, near) {
                Some(pair) => self.pair(picture, pair, row, limits),
                None if row.score < LEAST_SCORE => self.faint += 1,
                None => {
                    self.extra += 1;
                    let nearest = nearest(&expected.rows, row);
                    self.note(picture, nearest, Some(row), f64::INFINITY);
                }
            }
        }
        for row in wanted.into_iter().flatten().filter(|row| row.score > 0.0) {
            if row.score < LEAST_SCORE {
                self.faint += 1;
            } else if row.doubt {
                self.near_ties += 1;
            } else {
                self.missing += 1;
                self.note(picture, Some(row), nearest(found, row), f64::INFINITY);
            }
        }
    }

    /// What is wrong, if anything is.
    pub(super) fn verdict(&self, limits: Limits, batch: usize) -> Result<(), Disagreement> {
        match &self.worst {
            Some(worst) if worst.excess > 1.0 => {
                let problem = self.problem(worst, limits);
                Err(Disagreement::Rows { batch, problem, worst: Box::new(worst.clone()) })
            }
            _ if self.rows == 0 => Err(Disagreement::Nothing("no picture has an object in it".to_owned())),
            _ if self.faint > self.rows => Err(Disagreement::Nothing(format!(
                "{} rows under a score of {LEAST_SCORE} have no counterpart and only {} have one",
                self.faint, self.rows
            ))),
            _ => Ok(()),
        }
    }

    fn problem(&self, worst: &Worst, limits: Limits) -> String {
        match (&worst.expected, &worst.detector) {
            (Some(a), Some(b)) if worst.excess.is_finite() => format!(
                "boxes are {:.4} px apart, landmarks {:.4} px, scores {:.2e} (allowed: {} px and {:.0e})",
                apart(a, b),
                marks_apart(a, b),
                scores_apart(a, b),
                limits.max_px,
                limits.max_score
            ),
            _ => format!(
                "rows over a score of {LEAST_SCORE}: {} missing, {} too many; the first and what is nearest to it:",
                self.missing, self.extra
            ),
        }
    }

    fn pair(&mut self, picture: &str, expected: &Row, found: &Row, limits: Limits) {
        self.rows += 1;
        self.score = self.score.max((expected.score - found.score).abs());
        for (side, most) in self.bbox.iter_mut().enumerate() {
            *most = most.max((expected.bbox[side] - found.bbox[side]).abs());
        }
        for (a, b) in expected.landmarks.iter().zip(&found.landmarks) {
            if a.doubt && mark_excess(a, b, limits) > 1.0 {
                self.landmark_near_ties += 1;
                continue;
            }
            self.landmarks += 1;
            let [x, y] = &mut self.landmark;
            (*x, *y) = (x.max((a.x - b.x).abs()), y.max((a.y - b.y).abs()));
            self.landmark_score = self.landmark_score.max((a.score - b.score).abs());
        }
        self.note(picture, Some(expected), Some(found), excess(expected, found, limits));
    }

    fn note(&mut self, picture: &str, expected: Option<&Row>, detector: Option<&Row>, excess: f64) {
        if self.worst.as_ref().is_none_or(|worst| excess > worst.excess) {
            let (expected, detector) = (expected.cloned(), detector.cloned());
            self.worst = Some(Worst { picture: picture.to_owned(), expected, detector, excess });
        }
    }
}

/// Takes out the row of the same class that is nearest to `row`, of those that `may` be it.
fn take_nearest<'a>(rows: &mut [Option<&'a Row>], row: &Row, may: impl Fn(&Row) -> bool) -> Option<&'a Row> {
    let candidates = rows.iter().enumerate().filter_map(|(at, other)| other.map(|other| (at, other)));
    let candidates = candidates.filter(|(_, other)| other.class == row.class && may(other));
    let (at, _) = candidates.min_by(|(_, a), (_, b)| apart(a, row).total_cmp(&apart(b, row)))?;
    rows[at].take()
}

fn nearest<'a>(rows: &'a [Row], row: &Row) -> Option<&'a Row> {
    rows.iter().min_by(|a, b| apart(a, row).total_cmp(&apart(b, row)))
}

/// The greatest difference in a coordinate of two boxes.
fn apart(a: &Row, b: &Row) -> f64 {
    a.bbox.iter().zip(b.bbox).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

fn sure_marks<'a>(expected: &'a Row, found: &'a Row) -> impl Iterator<Item = (&'a Mark, &'a Mark)> {
    expected.landmarks.iter().zip(&found.landmarks).filter(|(mark, _)| !mark.doubt)
}

fn marks_apart(expected: &Row, found: &Row) -> f64 {
    let apart = |(a, b): (&Mark, &Mark)| (a.x - b.x).abs().max((a.y - b.y).abs());
    sure_marks(expected, found).map(apart).fold(0.0, f64::max)
}

fn scores_apart(expected: &Row, found: &Row) -> f64 {
    let marks = sure_marks(expected, found).map(|(a, b)| (a.score - b.score).abs());
    marks.fold((expected.score - found.score).abs(), f64::max)
}

fn mark_excess(expected: &Mark, found: &Mark, limits: Limits) -> f64 {
    let px = (expected.x - found.x).abs().max((expected.y - found.y).abs());
    (px / limits.max_px).max((expected.score - found.score).abs() / limits.max_score)
}

/// The greatest difference of two rows as a multiple of what is allowed.
fn excess(expected: &Row, found: &Row, limits: Limits) -> f64 {
    let px = apart(expected, found).max(marks_apart(expected, found));
    (px / limits.max_px).max(scores_apart(expected, found) / limits.max_score)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { max_px: 0.01, max_score: 1e-5 };

    fn row(class: usize, x: f64, score: f64) -> Row {
        Row { bbox: [x, 0.0, x + 10.0, 10.0], score, class, landmarks: Vec::new(), doubt: false }
    }

    fn compared(rows: &[Row], maybe: &[Row], found: &[Row]) -> Agreement {
        let mut agreement = Agreement::default();
        let expected = Decoded { rows: rows.to_vec(), maybe: maybe.to_vec() };
        agreement.add("a.jpg", &expected, found, LIMITS);
        agreement
    }

    #[test]
    fn rows_in_another_order_agree() {
        let (a, b) = (row(0, 0.0, 0.5), row(0, 40.0, 0.5));
        let agreement = compared(&[a.clone(), b.clone()], &[], &[b, a]);
        assert_eq!((agreement.rows, agreement.verdict(LIMITS, 1)), (2, Ok(())));
    }

    #[test]
    fn differences_over_the_limit_are_told_with_both_rows() {
        let agreement = compared(&[row(0, 0.0, 0.5)], &[], &[row(0, 0.5, 0.5)]);
        assert_eq!((agreement.rows, agreement.bbox[0], agreement.bbox[1]), (1, 0.5, 0.0));
        let message = agreement.verdict(LIMITS, 3).unwrap_err().to_string();
        assert!(message.contains("a.jpg (batch 3): boxes are 0.5000 px apart"), "{message}");
        assert!(message.contains("expected class 0 score 0.500000 box 0.000 0.000"), "{message}");
        let score = compared(&[row(0, 0.0, 0.5)], &[], &[row(0, 0.0, 0.50002)]);
        assert!(score.verdict(LIMITS, 1).is_err());
    }

    #[test]
    fn another_class_is_another_object() {
        let agreement = compared(&[row(0, 0.0, 0.5)], &[], &[row(1, 0.0, 0.5)]);
        assert_eq!((agreement.missing, agreement.extra), (1, 1));
        let message = agreement.verdict(LIMITS, 1).unwrap_err().to_string();
        assert!(message.contains("1 missing, 1 too many"), "{message}");
        assert!(message.contains("expected class 0") && message.contains("detector class 1"), "{message}");
    }

    #[test]
    fn near_ties_are_counted_and_not_held_against_the_detector() {
        let (first, second) = (Row { doubt: true, ..row(0, 0.0, 0.5) }, row(0, 4.0, 0.5));
        let agreement = compared(
            &[row(1, 0.0, 0.9), first],
            std::slice::from_ref(&second),
            &[row(1, 0.0, 0.9), second.clone()],
        );
        assert_eq!((agreement.rows, agreement.near_ties, agreement.missing, agreement.extra), (1, 2, 0, 0));
        assert_eq!(agreement.verdict(LIMITS, 1), Ok(()));
    }

    #[test]
    fn faint_rows_may_come_and_go_but_nothing_else_must_not_be_all() {
        let agreement = compared(&[row(0, 0.0, 0.005)], &[], &[]);
        assert_eq!((agreement.faint, agreement.missing), (1, 0));
        assert!(matches!(agreement.verdict(LIMITS, 1), Err(Disagreement::Nothing(_))));
    }

    #[test]
    fn landmarks_count_and_doubtful_ones_do_not() {
        let mark = |x, doubt| Mark { x, y: 0.0, score: 0.5, doubt };
        let with = |marks: &[Mark]| Row { landmarks: marks.to_vec(), ..row(0, 0.0, 0.5) };
        let found = with(&[mark(1.0, false), mark(9.0, false)]);
        let good = compared(&[with(&[mark(1.0, false), mark(2.0, true)])], &[], std::slice::from_ref(&found));
        assert_eq!((good.landmarks, good.landmark_near_ties, good.verdict(LIMITS, 1)), (1, 1, Ok(())));
        let bad = compared(&[with(&[mark(1.0, false), mark(2.0, false)])], &[], &[found]);
        assert!(bad.verdict(LIMITS, 1).unwrap_err().to_string().contains("landmarks 7.0000 px"));
    }

    #[test]
    fn the_detectors_rows_are_read_and_filling_is_not() {
        let values =
            [1.0, 2.0, 3.0, 4.0, 0.5, 7.0, 8.0, 9.0, 0.25, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        let rows = super::rows(&values, 9, "a.jpg").unwrap();
        assert_eq!((rows.len(), rows[0].class, rows[0].bbox), (1, 7, [1.0, 2.0, 3.0, 4.0]));
        assert_eq!(rows[0].landmarks, [Mark { x: 8.0, y: 9.0, score: 0.25, doubt: false }]);
        let error = super::rows(&[f32::NAN, 0.0, 0.0, 0.0, 0.5, 0.0], 6, "a.jpg").unwrap_err().to_string();
        assert!(error.contains("row 0 of a.jpg holds NaN"), "{error}");
    }
}
