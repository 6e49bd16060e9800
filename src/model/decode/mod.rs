//! The end of a CenterNet as graph nodes: from heads to `detections`.
//!
//! The decode of *Objects as Points* (Zhou et al. 2019, section 4): a cell is a peak if no cell of its
//! class around it (3x3) scores higher; the K best peaks of all classes give the objects. Only operators
//! that both ONNX Runtime and TensorRT take are used, and the batch may be of any size.
//!
//! A family differs from another in its heads and in the formula of its objects: one entry of [`FAMILIES`].

pub mod family;
mod joints;
mod nms;
mod peaks;

use super::graph::{Attr, Graph};
use super::onnx::{Dim, ElementType};
use super::{INPUT, OUTPUT};
pub use family::{CENTERFACE, CENTERNET, CENTERPOSE, FAMILIES, Family, HeadSpec, QUAD, TTF};
pub use joints::{COCO_JOINTS, COCO_SKELETON};
use peaks::Peaks;
pub(super) use peaks::{best_of_all, suppress_within};

/// What the heatmap's values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Heat {
    /// Any number; the sigmoid of it is the score. It is taken of the K best only: it keeps the order.
    Logits,
    /// Scores between 0 and 1.
    Scores,
}

/// A head's value in the graph, `[N, channels, height, width]`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[expect(missing_docs)]
pub struct Head {
    pub value: String,
    pub channels: usize,
    pub height: usize,
    pub width: usize,
}

impl Head {
    /// Height and width.
    pub fn size(&self) -> [usize; 2] {
        [self.height, self.width]
    }
}

/// The heads of a network and what is to be known of them.
#[derive(Clone, Debug, PartialEq, serde::Deserialize, serde::Serialize)]
pub struct Heads {
    /// One channel a class.
    pub heatmap: Head,
    /// What the heatmap holds, and that of the joints if there is one.
    pub heat: Heat,
    /// The other heads, as the family lists them; none for those it can do without and that are not there.
    pub regressions: Vec<Option<Head>>,
    /// Input pixels a cell.
    pub stride: f32,
}

impl Heads {
    /// The regression at an index of the family's list; [`check`] has seen that it is there.
    fn regression(&self, at: usize) -> &Head {
        self.optional(at).unwrap_or(&self.heatmap)
    }

    fn optional(&self, at: usize) -> Option<&Head> {
        self.regressions.get(at).and_then(Option::as_ref)
    }

    /// All heads that are there, the heatmap first.
    pub fn all(&self) -> impl Iterator<Item = &Head> {
        [Some(&self.heatmap)].into_iter().chain(self.regressions.iter().map(Option::as_ref)).flatten()
    }

    /// The joints' heatmap of a pose network.
    fn joint_heat(&self) -> &Head {
        self.regression(3)
    }
}

/// What of the decode is chosen by who makes the model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// Detections a picture, K.
    pub top_k: usize,
    /// Overlap (intersection over union) with a better object of its class from which an object is left out;
    /// none keeps all.
    pub nms: Option<f32>,
}

/// Why heads cannot be decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A head is not the one the family has.
    #[error("family {family}: head {head} must be [N,{expected}], it is [N,{found}]")]
    Head {
        /// The family.
        family: &'static str,
        /// The head.
        head: &'static str,
        /// Channels, height and width that fit.
        expected: String,
        /// Those it has.
        found: String,
    },
    /// A head that the family cannot do without is not there.
    #[error("family {family} needs the head {head}, which was not given")]
    Missing {
        /// The family.
        family: &'static str,
        /// The head.
        head: &'static str,
    },
    /// Heads are missing or too many.
    #[error("family {family} has {expected} heads beside the heatmap, {found} were given")]
    HeadCount {
        /// The family.
        family: &'static str,
        /// How many there should be.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// More detections are asked for than the heatmap has values.
    #[error("K is {top_k}; it must be between 1 and the heatmap's {values} values")]
    TopK {
        /// What was asked for.
        top_k: usize,
        /// The most there can be.
        values: usize,
    },
}

impl DecodeError {
    /// `found` is not the head that the family has: so many channels of the heatmap's size.
    pub(super) fn head(
        family: &'static str,
        head: &'static str,
        channels: usize,
        heatmap: &Head,
        found: &Head,
    ) -> Self {
        let shown = |channels: usize, [height, width]: [usize; 2]| format!("{channels},{height},{width}");
        let (expected, found) = (shown(channels, heatmap.size()), shown(found.channels, found.size()));
        Self::Head { family, head, expected, found }
    }
}

/// Adds the input `images` (uint8 `[N, height, width, 3]`) and returns its pixels as float32
/// `[N, 3, height, width]`, 0 to 255. The cast comes first because TensorRT transposes no uint8.
pub fn images(graph: &mut Graph, height: usize, width: usize) -> String {
    let dims = [Dim::Param("N".to_owned()), dim(height), dim(width), dim(3)];
    let images = graph.input(INPUT, ElementType::Uint8, &dims);
    let to = Attr::Int(ElementType::Float as i64);
    let floats = graph.node("Cast", &[&images], "images_float", &[("to", to)]);
    graph.node("Transpose", &[&floats], "pixels", &[("perm", Attr::Ints(&[0, 3, 1, 2]))])
}

fn dim(size: usize) -> Dim {
    Dim::Value(size as i64)
}

/// Adds the decode and the output `detections`: float32 `[N, top_k, 6 + 3 * P]`, best first, each x1, y1,
/// x2, y2 in input pixels, score and class, then x, y, score of each landmark. Where a picture has fewer
/// peaks than `top_k`, the rest have score 0. The heads must be float32.
///
/// # Errors
/// Heads that are not the family's, or a `top_k` out of range.
pub fn append(graph: &mut Graph, family: &Family, heads: &Heads, choice: Choice) -> Result<(), DecodeError> {
    check(family, heads, choice.top_k)?;
    let peaks = Peaks::of(graph, heads, choice.top_k);
    let objects = (family.formula)(graph, &peaks, heads);
    let class = graph.unsqueeze(&peaks.class, 1);
    let class = graph.cast(&class, ElementType::Float);
    let kept = choice.nms.map(|iou| nms::keep(graph, &peaks, &objects.boxes, iou));
    let score = match &kept {
        Some(keep) => graph.binary("Mul", &peaks.score, keep),
        None => peaks.score.clone(),
    };
    let mut lines = vec![objects.boxes, score.clone(), class];
    if let Some(marks) = objects.landmarks {
        lines.push(mark_lines(graph, &marks, family.landmarks.len(), choice.top_k));
    }
    let parts: Vec<&str> = lines.iter().map(String::as_str).collect();
    let mut rows = graph.concat(&parts, 1);
    let columns = columns(family);
    if kept.is_some() {
        rows = best_first(graph, &rows, &score, columns, choice.top_k);
    }
    let detections = graph.node("Transpose", &[&rows], OUTPUT, &[("perm", Attr::Ints(&[0, 2, 1]))]);
    let dims = [Dim::Param("N".to_owned()), dim(choice.top_k), dim(columns)];
    graph.output(&detections, ElementType::Float, &dims);
    Ok(())
}

/// Numbers a detection of `family`.
pub fn columns(family: &Family) -> usize {
    6 + 3 * family.landmarks.len()
}

/// `[N, 3 * P, K]`: x, y and score of one landmark after the other.
fn mark_lines(graph: &mut Graph, marks: &family::Landmarks, count: usize, top_k: usize) -> String {
    let scores = graph.expand(&marks.scores, &[1, count as i64, 1]);
    let scores = graph.unsqueeze(&scores, 2);
    let all = graph.concat(&[&marks.places, &scores], 2);
    graph.reshape(&all, &[0, 3 * count as i64, top_k as i64])
}

/// The rows (`[N, columns, K]`) in the order of their scores (`[N, 1, K]`), after some became 0.
fn best_first(graph: &mut Graph, rows: &str, score: &str, columns: usize, top_k: usize) -> String {
    let (_, order) = graph.top(score, 2, top_k);
    let order = graph.expand(&order, &[1, columns as i64, 1]);
    graph.gather_elements(rows, &order, 2)
}

fn check(family: &Family, heads: &Heads, top_k: usize) -> Result<(), DecodeError> {
    let heatmap = &heads.heatmap;
    if heads.regressions.len() != family.heads.len() {
        let (expected, found) = (family.heads.len(), heads.regressions.len());
        return Err(DecodeError::HeadCount { family: family.name, expected, found });
    }
    for (head, spec) in heads.regressions.iter().zip(family.heads) {
        let Some(head) = head else {
            if spec.optional {
                continue;
            }
            return Err(DecodeError::Missing { family: family.name, head: spec.name });
        };
        if !spec.takes(head.channels, heatmap.channels) || head.size() != heatmap.size() {
            return Err(DecodeError::head(family.name, spec.name, spec.channels, heatmap, head));
        }
    }
    let cells = heatmap.height * heatmap.width;
    // A pose network looks for as many candidates in each joint's heatmap.
    let values = if family.name == CENTERPOSE.name { cells } else { heatmap.channels * cells };
    if !(1..=values).contains(&top_k) {
        return Err(DecodeError::TopK { top_k, values });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heads(graph: &mut Graph, family: &Family, [classes, height, width]: [usize; 3]) -> Heads {
        let mut head = |name: &str, channels| {
            let dims = [Dim::Param("N".into()), dim(channels), dim(height), dim(width)];
            let value = graph.input(name, ElementType::Float, &dims);
            Head { value, channels, height, width }
        };
        Heads {
            heatmap: head("hm", classes),
            heat: Heat::Logits,
            regressions: family.heads.iter().map(|spec| Some(head(spec.name, spec.channels))).collect(),
            stride: 4.0,
        }
    }

    fn choice(top_k: usize) -> Choice {
        Choice { top_k, nms: None }
    }

    fn ops(graph: &Graph) -> Vec<&str> {
        graph.proto().node.iter().filter_map(|node| node.op_type.as_deref()).collect()
    }

    /// What FACTS.md and TensorRT's list of operators have in common with what is used here.
    const ALLOWED: [&str; 30] = [
        "Add",
        "Cast",
        "Concat",
        "Div",
        "Equal",
        "Exp",
        "Expand",
        "Floor",
        "Gather",
        "GatherElements",
        "Greater",
        "Less",
        "MatMul",
        "Max",
        "MaxPool",
        "Min",
        "Mod",
        "Mul",
        "Neg",
        "ReduceMax",
        "ReduceMin",
        "Relu",
        "Reshape",
        "Sigmoid",
        "Split",
        "Sub",
        "TopK",
        "Transpose",
        "Unsqueeze",
        "Identity",
    ];

    #[test]
    fn every_family_gives_a_well_formed_graph_of_known_operators() {
        for family in FAMILIES {
            // Enough rows for the faster search, and too few for it; with and without suppression.
            for (shape, nms) in [([3, 8, 6], None), ([1, 4, 6], Some(0.5))] {
                let mut graph = Graph::new("g");
                let heads = heads(&mut graph, family, shape);
                append(&mut graph, family, &heads, Choice { top_k: 20, nms }).unwrap();
                graph.check().unwrap();
                let unknown: Vec<_> = ops(&graph).into_iter().filter(|op| !ALLOWED.contains(op)).collect();
                assert!(unknown.is_empty(), "{unknown:?}");
                let output = graph.proto().output[0].to_string();
                assert_eq!(output, format!("detections float32 [N,20,{}]", columns(family)));
            }
        }
    }

    #[test]
    fn sizes_may_be_one_a_class_and_offsets_may_be_missing() {
        let mut graph = Graph::new("g");
        let mut heads = heads(&mut graph, &CENTERNET, [3, 8, 6]);
        heads.regressions[1] = None;
        if let Some(size) = &mut heads.regressions[0] {
            size.channels = 6;
        }
        append(&mut graph, &CENTERNET, &heads, choice(20)).unwrap();
        graph.check().unwrap();
    }

    #[test]
    fn images_are_cast_before_they_are_transposed() {
        let mut graph = Graph::new("g");
        assert_eq!(images(&mut graph, 4, 8), "pixels");
        assert_eq!(graph.proto().input[0].to_string(), "images uint8 [N,4,8,3]");
        assert_eq!(ops(&graph), ["Cast", "Transpose"]);
    }

    #[test]
    fn heads_that_do_not_fit_are_named() {
        let family = &TTF;
        let mut graph = Graph::new("g");
        let good = heads(&mut graph, family, [2, 4, 4]);
        let with = |heads: Vec<Option<Head>>| Heads { regressions: heads, ..good.clone() };
        let narrow = good.regressions[0].clone().map(|head| Head { channels: 2, ..head });
        let error = append(&mut graph, family, &with(vec![narrow]), choice(5)).unwrap_err();
        assert_eq!(error.to_string(), "family ttf: head ltrb must be [N,4,4,4], it is [N,2,4,4]");
        let error = append(&mut graph, family, &with(vec![None]), choice(5)).unwrap_err();
        assert_eq!(error.to_string(), "family ttf needs the head ltrb, which was not given");
        let none = append(&mut graph, family, &with(Vec::new()), choice(5)).unwrap_err();
        assert!(matches!(none, DecodeError::HeadCount { found: 0, .. }));
        for top_k in [0, 33] {
            let error = append(&mut graph, family, &good, choice(top_k)).unwrap_err();
            assert_eq!(error, DecodeError::TopK { top_k, values: 32 });
        }
        assert!(ops(&graph).is_empty(), "nothing is added on an error");
    }

    #[test]
    fn families_are_found_by_name() {
        assert_eq!(Family::by_name("centernet").map(|family| family.name), Some("centernet"));
        assert!(Family::by_name("yolo").is_none());
    }
}
