//! Joints of persons: regressed from the centre, refined by the joints' own heatmaps.

use super::family::Landmarks;
use super::peaks::{self, Peaks};
use super::{Head, Heads, Heat};
use crate::model::graph::Graph;
use crate::model::onnx::ElementType;

/// COCO's names of a person's joints, in its order (Lin et al. 2014, keypoints of 2017).
pub const COCO_JOINTS: [&str; 17] = [
    "nose",
    "left_eye",
    "right_eye",
    "left_ear",
    "right_ear",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
];

/// Which of [`COCO_JOINTS`] a drawing joins: head, arms, trunk, legs.
pub const COCO_SKELETON: [[u32; 2]; 18] = [
    [0, 1],
    [0, 2],
    [1, 3],
    [2, 4],
    [0, 5],
    [0, 6],
    [5, 7],
    [7, 9],
    [6, 8],
    [8, 10],
    [5, 6],
    [5, 11],
    [6, 12],
    [11, 12],
    [11, 13],
    [13, 15],
    [12, 14],
    [14, 16],
];

const JOINTS: i64 = COCO_JOINTS.len() as i64;

/// Peaks of a joint's heatmap under this score are no candidates, as in the paper's own code.
const LEAST_SCORE: f32 = 0.1;
/// A candidate counts only within this share of the box's longer side from the regressed place.
const REACH: f32 = 0.3;

/// The joints of the persons whose boxes (`[N, 4, K]`, input pixels) are given.
///
/// Each joint goes to the peak of its heatmap that is nearest to where the centre's regression puts it, if
/// that peak lies in the person's box and near enough; it keeps the regressed place otherwise. Its score is
/// that of the peak, or what the heatmap holds at the regressed place.
pub(super) fn refined(graph: &mut Graph, peaks: &Peaks, heads: &Heads, boxes: &str) -> Landmarks {
    let regressed = regressed(graph, peaks, heads.regression(2));
    let candidates = Candidates::of(graph, heads, peaks.count);
    let count = peaks.count as i64;
    // [N, 17, K persons, K candidates], squares of distances in cells.
    let from = graph.unsqueeze(&regressed, 4);
    let to = graph.unsqueeze(&candidates.places, 3);
    let apart = graph.binary("Sub", &from, &to);
    let squares = graph.binary("Mul", &apart, &apart);
    let parts = graph.split(&squares, 2, &[1, 1]);
    let distance = graph.binary("Add", &parts[0], &parts[1]);
    let distance = graph.reshape(&distance, &[0, JOINTS, count, count]);
    let weak = graph.unsqueeze(&candidates.weak, 2);
    let distance = graph.binary("Add", &distance, &weak);
    let nearest = graph.node("Neg", &[&distance], "nearness", &[]);
    let (nearest, which) = graph.top(&nearest, 3, 1);
    let [nearest, which] = [nearest, which].map(|v| graph.reshape(&v, &[0, JOINTS, count]));
    let score = graph.gather_elements(&candidates.scores, &which, 2);
    let both = graph.unsqueeze(&which, 2);
    let both = graph.expand(&both, &[1, 1, 2, 1]);
    let found = graph.gather_elements(&candidates.places, &both, 3);
    let taken = fits(graph, &found, &nearest, boxes, heads.stride);
    let guessed = at(graph, &regressed, heads.joint_heat(), heads.heat);
    let scores = blend(graph, &taken, &score, &guessed);
    let wide = graph.unsqueeze(&taken, 2);
    let places = blend(graph, &wide, &found, &regressed);
    Landmarks { places: graph.with_number("Mul", &places, heads.stride), scores }
}

/// `[N, 17, 2, K]` in cells: the peak's cell plus what its regression says.
fn regressed(graph: &mut Graph, peaks: &Peaks, head: &Head) -> String {
    let offsets = peaks.gather(graph, head);
    let offsets = graph.reshape(&offsets, &[0, JOINTS, 2, -1]);
    let cell = graph.unsqueeze(&peaks.xy, 1);
    graph.binary("Add", &offsets, &cell)
}

/// The K best peaks of each joint's heatmap.
struct Candidates {
    /// In cells, `[N, 17, 2, K]`.
    places: String,
    /// `[N, 17, K]`.
    scores: String,
    /// Far more than any distance for those that are too weak, else 0; `[N, 17, K]`.
    weak: String,
}

impl Candidates {
    fn of(graph: &mut Graph, heads: &Heads, count: usize) -> Self {
        let head = heads.joint_heat();
        let suppressed = peaks::suppress(graph, &head.value);
        let flat = graph.reshape(&suppressed, &[0, JOINTS, -1]);
        let (best, cell) = graph.top(&flat, 2, count);
        let scores = peaks::score(graph, &best, heads.heat);
        let line = graph.unsqueeze(&cell, 2);
        let xy = peaks::places(graph, &line, head.width, 2);
        let places = match heads.optional(4) {
            Some(offsets) => {
                let flat = graph.reshape(&offsets.value, &[0, 1, 2, -1]);
                let flat = graph.expand(&flat, &[1, JOINTS, 1, 1]);
                let cells = graph.expand(&line, &[1, 1, 2, 1]);
                let offsets = graph.gather_elements(&flat, &cells, 3);
                graph.binary("Add", &xy, &offsets)
            }
            None => graph.with_number("Add", &xy, 0.5),
        };
        // 1 where the score is under the least, else 0, by steps that TensorRT takes.
        let missing = graph.with_number("Less", &scores, LEAST_SCORE);
        let missing = graph.cast(&missing, ElementType::Float);
        let weak = graph.with_number("Mul", &missing, 1e12);
        Self { places, scores, weak }
    }
}

/// 1 where the candidate found (`[N, 17, 2, K]`, cells) lies in its person's box and in reach, else 0;
/// `[N, 17, K]`. `nearness` is minus the square of its distance.
fn fits(graph: &mut Graph, found: &str, nearness: &str, boxes: &str, stride: f32) -> String {
    let cells = graph.with_number("Mul", boxes, 1.0 / stride);
    let sides = graph.split(&cells, 1, &[2, 2]);
    let size = graph.binary("Sub", &sides[1], &sides[0]);
    let longer = graph.reduce("ReduceMax", &size, 1);
    let reach = graph.with_number("Mul", &longer, REACH);
    let reach = graph.binary("Mul", &reach, &reach);
    let reach = graph.unsqueeze(&reach, 1);
    let slack = graph.binary("Add", nearness, &reach);
    let [low, high] = [0, 1].map(|at| graph.unsqueeze(&sides[at], 1));
    let [low, high] = [graph.binary("Sub", found, &low), graph.binary("Sub", &high, found)];
    let [low, high] = [low, high].map(|slack| graph.reduce("ReduceMin", &slack, 2));
    let least = graph.node("Min", &[&slack, &low, &high], "least_slack", &[]);
    let outside = graph.with_number("Less", &least, 0.0);
    let outside = graph.cast(&outside, ElementType::Float);
    let one = graph.float("one", 1.0);
    graph.binary("Sub", &one, &outside)
}

/// What the joints' heatmaps hold at `places` (`[N, 17, 2, K]`, cells), as scores `[N, 17, K]`.
fn at(graph: &mut Graph, places: &str, head: &Head, heat: Heat) -> String {
    let whole = graph.node("Floor", &[places], "cell_of", &[]);
    let parts = graph.split(&whole, 2, &[1, 1]);
    let [x, y] = [(0, head.width), (1, head.height)].map(|(part, size)| {
        let low = graph.with_number("Max", &parts[part], 0.0);
        graph.with_number("Min", &low, size as f32 - 1.0)
    });
    let row = graph.with_number("Mul", &y, head.width as f32);
    let cell = graph.binary("Add", &row, &x);
    let cell = graph.cast(&cell, ElementType::Int64);
    let cell = graph.reshape(&cell, &[0, JOINTS, -1]);
    let flat = graph.reshape(&head.value, &[0, JOINTS, -1]);
    let value = graph.gather_elements(&flat, &cell, 2);
    peaks::score(graph, &value, heat)
}

/// `a` where `mask` is 1, `b` where it is 0.
fn blend(graph: &mut Graph, mask: &str, a: &str, b: &str) -> String {
    let apart = graph.binary("Sub", a, b);
    let step = graph.binary("Mul", mask, &apart);
    graph.binary("Add", b, &step)
}
