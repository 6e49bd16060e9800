//! Whether a network that runs makes sense: what it finds in a picture of noise must be numbers, and classes
//! that have names. Weights that are not numbers load and run like any others.

use super::{EngineError, Lane};

/// What a model's metadata promise of its output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promise {
    /// Input width and height in pixels.
    pub input: (u32, u32),
    /// Detections a picture.
    pub top_k: u32,
    /// Classes with a name.
    pub classes: usize,
}

/// Runs `lane` over a picture of noise. Twice, which warms it up as well: with the first run a runtime learns
/// what memory it needs, with the second it takes it. `model` is its name, for messages.
///
/// # Errors
/// A failed run, or an output that breaks the promise.
pub fn check(model: &str, lane: &mut dyn Lane, promise: Promise) -> Result<(), EngineError> {
    // The same noise each time, so that a model is refused or taken each time.
    fastrand::Rng::with_seed(1).fill(lane.input());
    lane.infer(1)?;
    let rows = lane.infer(1)?;
    let broken = |problem| EngineError::Broken { model: model.to_owned(), problem };
    if rows.top_k != promise.top_k as usize {
        let (got, told) = (rows.top_k, promise.top_k);
        return Err(broken(format!("it gives {got} detections a picture and its metadata tell of {told}")));
    }
    match rows.picture(0).find_map(|row| problem(row, promise.classes)) {
        Some(problem) => Err(broken(problem)),
        None => Ok(()),
    }
}

/// What is wrong with one row. One without a score is no detection: only that must be told by a number.
fn problem(row: &[f32], classes: usize) -> Option<String> {
    let &[x1, y1, x2, y2, score, class, ..] = row else { return Some("a detection lacks numbers".into()) };
    if score <= 0.0 {
        return None;
    }
    if score.is_nan() || score > 1.001 {
        return Some(format!("a score is {score}, which is not from 0 to 1; are its weights numbers?"));
    }
    if [x1, y1, x2, y2].iter().any(|side| !side.is_finite()) {
        return Some(format!("a box is [{x1}, {y1}, {x2}, {y2}], which are not all numbers"));
    }
    if class < 0.0 || class.fract() != 0.0 || class as usize >= classes {
        return Some(format!("a detection is of class {class}, and it has {classes} classes"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Engine;
    use crate::engine::fake::FakeEngine;

    fn checked(rows: Vec<[f32; 6]>, top_k: u32) -> Result<(), String> {
        let mut lane = FakeEngine::new((8, 8)).finds(rows).open_lane().unwrap();
        let promise = Promise { input: (8, 8), top_k, classes: 2 };
        check("yard", &mut *lane, promise).map_err(|error| error.to_string())
    }

    #[test]
    fn sane_rows_pass_and_rows_without_a_score_are_not_looked_into() {
        let nan = f32::NAN;
        checked(vec![[0.0, 0.0, 4.0, 4.0, 0.9, 1.0], [nan, nan, nan, nan, -7.0, -1.0]], 2).unwrap();
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        let good = [0.0, 0.0, 4.0, 4.0, 0.9, 1.0];
        let with = |at: usize, value: f32| {
            let mut row = good;
            row[at] = value;
            checked(vec![good, row], 2).unwrap_err()
        };
        assert!(with(4, f32::NAN).contains("a score is NaN"), "{}", with(4, f32::NAN));
        assert!(with(4, 1.5).contains("a score is 1.5"));
        assert!(with(2, f32::INFINITY).contains("a box is [0, 0, inf, 4]"));
        assert!(with(5, 2.0).contains("class 2, and it has 2 classes"));
        assert!(with(5, 0.5).contains("class 0.5"));
        assert!(checked(vec![good], 7).unwrap_err().contains("1 detections a picture"));
    }
}
