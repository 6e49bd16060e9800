//! How good a model is: COCO's average precision where there are labels, agreement with a better model
//! where there are none.
//!
//! Pure: detections and bytes in, numbers out. Looking at the pictures is the caller's work
//! (`cli::eval`). [`annotations`] reads ground truth, [`classes`] brings two lists of class names together,
//! [`metric`] is COCO's metric, [`agreement`] the comparison with a teacher, [`report`] what is written
//! down.

use crate::detection::BoundingBox;

pub mod agreement;
pub mod annotations;
pub mod classes;
pub mod metric;
pub mod report;

/// Names of a list that a message shows before it says how many more there are.
const SHOWN_NAMES: usize = 20;

/// Something found by a model whose classes were brought together with another list of classes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Found {
    /// The class in the other list: a data set's category id, or an index into the shared classes.
    pub class: u64,
    /// The model's confidence, 0..=1.
    pub score: f32,
    /// Where it is, in pixels of the picture.
    pub bbox: BoundingBox,
}

/// Why a model cannot be scored.
#[derive(Debug, thiserror::Error)]
pub enum EvalError {
    /// The model and the data set, or the two models, have no class in common.
    #[error(
        "the two have no class name in common, so nothing can be compared. The model finds: {}; {other} has: {}. \
         Rename one side's classes, or take a model made for these",
        listed(model),
        listed(data)
    )]
    NoSharedClass {
        /// What the model is compared with, such as `the data set`.
        other: &'static str,
        /// The model's class names.
        model: Vec<String>,
        /// The other side's class names.
        data: Vec<String>,
    },
    /// The metric could not be computed.
    #[error("the average precision cannot be computed: {0}")]
    Metric(String),
}

/// Names in a row, cut when there are many.
pub fn listed(names: &[String]) -> String {
    let (first, rest) = names.split_at(names.len().min(SHOWN_NAMES));
    let more = if rest.is_empty() { String::new() } else { format!(", and {} more", rest.len()) };
    format!("{}{more}", first.join(", "))
}

#[cfg(test)]
mod tests {
    use super::listed;

    #[test]
    fn long_lists_are_cut() {
        let names: Vec<_> = (0..23).map(|n| format!("c{n}")).collect();
        assert_eq!(listed(&names[..2]), "c0, c1");
        assert!(listed(&names).ends_with("c19, and 3 more"));
    }
}
