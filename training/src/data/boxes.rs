//! Checking labelled boxes.

use centerx::detection::BoundingBox;

use super::DataError;
use std::path::Path;

/// How far a box may reach out of its picture, in pixels, before it is told: labels are rounded.
const TOLERANCE: f64 = 2.0;

/// Checks the boxes of one source and counts what is wrong with them.
#[derive(Debug, Default)]
pub(super) struct Boxes {
    good: usize,
    clipped: Count,
    outside: Count,
    empty: Count,
}

/// How often something was met, and where first.
#[derive(Debug, Default)]
pub(super) struct Count {
    pub number: usize,
    pub first: String,
}

impl Count {
    pub fn add(&mut self, place: impl FnOnce() -> String) {
        if self.number == 0 {
            self.first = place();
        }
        self.number += 1;
    }

    /// `WHAT: NUMBER (the first: PLACE); SO`, if it was met at all.
    pub fn note(&self, path: &Path, what: &str, so: &str) -> Option<String> {
        let Self { number, first } = self;
        (*number > 0).then(|| format!("{}: {what}: {number} (the first: {first}); {so}", path.display()))
    }
}

impl Boxes {
    /// The box `[x1, y1, x2, y2]`, in pixels, clipped to a picture of `size`; none if nothing is left of it.
    pub fn check(
        &mut self,
        corners: [f64; 4],
        size: (u32, u32),
        place: impl FnOnce() -> String,
    ) -> Option<BoundingBox> {
        let [x1, y1, x2, y2] = corners;
        let (width, height) = (f64::from(size.0), f64::from(size.1));
        let told = || format!("{:?} in {}", corners.map(|v| v as f32), place());
        // Written so that NaN fails.
        if !(corners.iter().all(|v| v.is_finite()) && x2 > x1 && y2 > y1) {
            self.empty.add(told);
            return None;
        }
        let [left, right] = [x1, x2].map(|x| x.clamp(0.0, width));
        let [top, bottom] = [y1, y2].map(|y| y.clamp(0.0, height));
        if !(right > left && bottom > top) {
            self.outside.add(told);
            return None;
        }
        let reach = [left - x1, top - y1, x2 - right, y2 - bottom];
        if reach.into_iter().any(|by| by > TOLERANCE) {
            self.clipped.add(told);
        }
        self.good += 1;
        let [x1, y1, x2, y2] = [left, top, right, bottom].map(|v| v as f32);
        Some(BoundingBox { x1, y1, x2, y2 })
    }

    /// What is to be told at the end.
    ///
    /// # Errors
    /// There were boxes, and not one of them was good.
    pub fn finish(self, path: &Path) -> Result<Vec<String>, DataError> {
        let bad = self.outside.number + self.empty.number;
        if self.good == 0 && bad > 0 {
            let first = if self.empty.number > 0 { &self.empty.first } else { &self.outside.first };
            let problem = format!(
                "all of its {bad} boxes are outside of their pictures or without size, the first [x1, y1, x2, y2] is \
                 {first}; see that boxes are in the form and the units of this kind of labels, and of these pictures"
            );
            return Err(DataError::source(path, problem));
        }
        let notes = [
            self.empty.note(path, "boxes of no or negative size, or not numbers", "they are left out"),
            self.outside.note(path, "boxes outside of their picture", "they are left out"),
            self.clipped.note(path, "boxes that reach out of their picture", "they are clipped"),
        ];
        Ok(notes.into_iter().flatten().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(boxes: &mut Boxes, corners: [f64; 4]) -> Option<BoundingBox> {
        boxes.check(corners, (100, 50), || "a.jpg".into())
    }

    #[test]
    fn boxes_are_clipped_and_those_with_nothing_left_are_left_out() {
        let mut boxes = Boxes::default();
        let whole = BoundingBox { x1: 0.0, y1: 10.0, x2: 100.0, y2: 50.0 };
        assert_eq!(check(&mut boxes, [-1.0, 10.0, 101.5, 50.0]), Some(whole), "rounded; not worth a note");
        assert_eq!(check(&mut boxes, [-30.0, 10.0, 100.0, 90.0]), Some(whole));
        let bad = [
            [100.0, 0.0, 120.0, 20.0],
            [10.0, -20.0, 20.0, 0.0],
            [10.0, 10.0, 10.0, 20.0],
            [20.0, 10.0, 10.0, 20.0],
            [f64::NAN, 10.0, 30.0, 20.0],
            [0.0, 10.0, f64::INFINITY, 20.0],
        ];
        for corners in bad {
            assert_eq!(check(&mut boxes, corners), None, "{corners:?}");
        }
        let notes = boxes.finish(Path::new("set")).unwrap();
        assert_eq!(
            notes,
            [
                "set: boxes of no or negative size, or not numbers: 4 (the first: [10.0, 10.0, 10.0, 20.0] in a.jpg); \
                 they are left out",
                "set: boxes outside of their picture: 2 (the first: [100.0, 0.0, 120.0, 20.0] in a.jpg); they are left out",
                "set: boxes that reach out of their picture: 1 (the first: [-30.0, 10.0, 100.0, 90.0] in a.jpg); \
                 they are clipped",
            ]
        );
    }

    #[test]
    fn nothing_but_bad_boxes_is_an_error() {
        let mut boxes = Boxes::default();
        check(&mut boxes, [300.0, 10.0, 310.0, 20.0]);
        check(&mut boxes, [3.0, 10.0, 3.0, 20.0]);
        let message = boxes.finish(Path::new("set")).unwrap_err().to_string();
        assert!(
            message.contains("all of its 2 boxes") && message.contains("[3.0, 10.0, 3.0, 20.0] in a.jpg"),
            "{message}"
        );
        assert!(Boxes::default().finish(Path::new("set")).unwrap().is_empty(), "no boxes are no bad boxes");
    }

    proptest! {
        #[test]
        fn a_checked_box_lies_in_its_picture(
            x in -300f64..300.0, y in -300f64..300.0, w in -50f64..400.0, h in -50f64..400.0,
        ) {
            if let Some(b) = check(&mut Boxes::default(), [x, y, x + w, y + h]) {
                prop_assert!(w > 0.0 && h > 0.0);
                prop_assert!(0.0 <= b.x1 && b.x1 <= b.x2 && b.x2 <= 100.0);
                prop_assert!(0.0 <= b.y1 && b.y1 <= b.y2 && b.y2 <= 50.0);
            }
        }
    }
}
