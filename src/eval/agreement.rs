//! How far a student agrees with its teacher: what the teacher is sure of counts as the truth.
//!
//! Matching is greedy, as COCO does it: the student's detections by falling score, each taking the free
//! detection of the teacher of its class that it overlaps most, if by the threshold at least. What the
//! teacher finds but is not sure of is treated as COCO treats what is to be ignored: a student that finds
//! it too is neither right nor wrong, so that a copy of the teacher scores 1.

use super::Found;

/// Two boxes this alike, as intersection over union, are of the same object.
pub const MATCH_IOU: f32 = 0.5;

/// Counts of one class, or of all.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Agreement {
    /// Both found it.
    pub matched: u64,
    /// Only the student did.
    pub only_student: u64,
    /// Only the teacher did.
    pub only_teacher: u64,
    /// The student found what the teacher is not sure of; in none of the ratios.
    pub unsure: u64,
    iou_sum: f64,
    score_sum: f64,
}

impl Agreement {
    /// The share of the student's detections that the teacher confirms; none if there are none.
    pub fn precision(&self) -> Option<f64> {
        ratio(self.matched as f64, self.matched + self.only_student)
    }

    /// The share of the teacher's detections that the student finds; none if there are none.
    pub fn recall(&self) -> Option<f64> {
        ratio(self.matched as f64, self.matched + self.only_teacher)
    }

    /// The harmonic mean of precision and recall; none if neither found anything.
    pub fn f1(&self) -> Option<f64> {
        ratio(2.0 * self.matched as f64, 2 * self.matched + self.only_student + self.only_teacher)
    }

    /// Mean intersection over union of the matches.
    pub fn mean_iou(&self) -> Option<f64> {
        ratio(self.iou_sum, self.matched)
    }

    /// Mean of the student's score less the teacher's over the matches: below 0, the student is less sure.
    pub fn score_difference(&self) -> Option<f64> {
        ratio(self.score_sum, self.matched)
    }

    fn add(&mut self, other: &Self) {
        self.matched += other.matched;
        self.only_student += other.only_student;
        self.only_teacher += other.only_teacher;
        self.unsure += other.unsure;
        self.iou_sum += other.iou_sum;
        self.score_sum += other.score_sum;
    }
}

fn ratio(part: f64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part / whole as f64)
}

/// Agreement over many pictures, a class each.
#[derive(Clone, Debug)]
pub struct Agreements {
    classes: Vec<Agreement>,
    sure_from: f32,
}

impl Agreements {
    /// Of so many shared classes; the teacher's detections are the truth from the score `sure_from` up.
    pub fn new(classes: usize, sure_from: f32) -> Self {
        Self { classes: vec![Agreement::default(); classes], sure_from }
    }

    /// Counts one picture. Classes are indices below the number of shared classes; others are left out.
    pub fn add(&mut self, mut student: Vec<Found>, teacher: &[Found]) {
        let sure_from = self.sure_from;
        let is_sure = |index: usize| teacher[index].score >= sure_from;
        let mut free = vec![true; teacher.len()];
        student.sort_by(|a, b| b.score.total_cmp(&a.score));
        for mine in &student {
            let best = best_match(mine, teacher, |index| free[index] && is_sure(index))
                .or_else(|| best_match(mine, teacher, |index| free[index]));
            let Some(class) = self.class(mine.class) else { continue };
            let Some((index, iou)) = best else {
                class.only_student += 1;
                continue;
            };
            free[index] = false;
            if is_sure(index) {
                class.matched += 1;
                class.iou_sum += f64::from(iou);
                class.score_sum += f64::from(mine.score) - f64::from(teacher[index].score);
            } else {
                class.unsure += 1;
            }
        }
        for (_, theirs) in teacher.iter().enumerate().filter(|(index, _)| free[*index] && is_sure(*index)) {
            if let Some(class) = self.class(theirs.class) {
                class.only_teacher += 1;
            }
        }
    }

    fn class(&mut self, class: u64) -> Option<&mut Agreement> {
        self.classes.get_mut(usize::try_from(class).ok()?)
    }

    /// A class each.
    pub fn classes(&self) -> &[Agreement] {
        &self.classes
    }

    /// All classes together.
    pub fn overall(&self) -> Agreement {
        let mut all = Agreement::default();
        self.classes.iter().for_each(|class| all.add(class));
        all
    }
}

/// The detection of the teacher, among those `eligible`, that overlaps `mine` most, and how much; the first
/// of equals.
fn best_match(mine: &Found, teacher: &[Found], eligible: impl Fn(usize) -> bool) -> Option<(usize, f32)> {
    let mut best = None;
    for (index, theirs) in teacher.iter().enumerate() {
        if theirs.class != mine.class || !eligible(index) {
            continue;
        }
        let iou = mine.bbox.iou(&theirs.bbox);
        if iou >= MATCH_IOU && best.is_none_or(|(_, most)| iou > most) {
            best = Some((index, iou));
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detection::BoundingBox;
    use proptest::prelude::*;

    fn found(class: u64, score: f32, x: f32, width: f32) -> Found {
        Found { class, score, bbox: BoundingBox { x1: x, y1: 0.0, x2: x + width, y2: 10.0 } }
    }

    fn of(student: Vec<Found>, teacher: &[Found]) -> Agreements {
        let mut agreements = Agreements::new(2, 0.4);
        agreements.add(student, teacher);
        agreements
    }

    #[test]
    fn matches_take_the_best_overlap_by_falling_score() {
        let teacher = [found(0, 0.9, 0.0, 10.0), found(0, 0.8, 2.0, 10.0)];
        // The surer one comes second in the list and lies nearer the second of the teacher's.
        let student = vec![found(0, 0.5, 0.0, 10.0), found(0, 0.6, 2.0, 10.0), found(0, 0.4, 1.0, 10.0)];
        let all = of(student, &teacher).overall();
        assert_eq!((all.matched, all.only_student, all.only_teacher), (2, 1, 0));
        assert_eq!(all.mean_iou(), Some(1.0));
        assert!((all.score_difference().unwrap() + 0.3).abs() < 1e-6);
        assert!((all.precision().unwrap() - 2.0 / 3.0).abs() < 1e-12 && all.recall() == Some(1.0));
        assert!((all.f1().unwrap() - 0.8).abs() < 1e-12);
    }

    #[test]
    fn half_an_overlap_is_enough_and_less_is_not() {
        let teacher = [found(0, 0.9, 0.0, 10.0)];
        assert_eq!(of(vec![found(0, 0.9, 0.0, 5.0)], &teacher).overall().matched, 1);
        assert_eq!(of(vec![found(0, 0.9, 0.0, 4.9)], &teacher).overall().matched, 0);
    }

    #[test]
    fn classes_do_not_match_each_other() {
        let agreements = of(vec![found(1, 0.9, 0.0, 10.0)], &[found(0, 0.9, 0.0, 10.0)]);
        let [zero, one] = agreements.classes() else { panic!() };
        assert_eq!((zero.only_teacher, zero.recall(), zero.precision()), (1, Some(0.0), None));
        assert_eq!((one.only_student, one.precision(), one.recall()), (1, Some(0.0), None));
        assert_eq!(agreements.overall().f1(), Some(0.0));
    }

    #[test]
    fn what_the_teacher_is_not_sure_of_is_neither_right_nor_wrong() {
        let teacher = [found(0, 0.39, 0.0, 10.0), found(0, 0.9, 2.0, 10.0), found(1, 0.2, 0.0, 10.0)];
        // The first lies on the unsure one exactly, and still takes the sure one, as it overlaps that too.
        let student = vec![found(0, 0.8, 0.0, 10.0), found(0, 0.7, 0.0, 10.0), found(0, 0.6, 0.0, 10.0)];
        let all = of(student, &teacher).overall();
        assert_eq!((all.matched, all.unsure, all.only_student, all.only_teacher), (1, 1, 1, 0));
        assert_eq!((all.precision(), all.recall()), (Some(0.5), Some(1.0)));
    }

    #[test]
    fn nothing_on_either_side_has_no_score() {
        let all = of(Vec::new(), &[]).overall();
        assert_eq!((all.precision(), all.recall(), all.f1(), all.mean_iou()), (None, None, None, None));
    }

    fn some_found() -> impl Strategy<Value = Vec<Found>> {
        let one = (0u64..2, 0f32..1.0, 0f32..50.0, 0f32..20.0);
        prop::collection::vec(one.prop_map(|(class, score, x, width)| found(class, score, x, width)), 0..12)
    }

    proptest! {
        #[test]
        fn everything_found_is_counted_once(student in some_found(), teacher in some_found()) {
            let all = of(student.clone(), &teacher).overall();
            let sure = teacher.iter().filter(|theirs| theirs.score >= 0.4).count() as u64;
            prop_assert_eq!(all.matched + all.unsure + all.only_student, student.len() as u64);
            prop_assert_eq!(all.matched + all.only_teacher, sure);
        }

        #[test]
        fn a_copy_of_the_teacher_scores_one(teacher in some_found()) {
            let solid: Vec<_> = teacher.into_iter().filter(|one| one.bbox.area() > 1.0).collect();
            let all = of(solid.clone(), &solid).overall();
            prop_assert!(all.f1().is_none_or(|f1| f1 == 1.0), "{all:?}");
        }
    }
}
