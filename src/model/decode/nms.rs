//! Suppression of near-equal peaks of one object, inside the graph.
//!
//! Greedy non-maximum suppression: best first, each box takes out those of its class that overlap it more
//! than allowed. Engines have no loop over boxes that is quick and portable, so the decision is iterated for
//! all boxes at once, `keep = no kept box before it overlaps it`, which reaches what the greedy loop gives
//! once it has run as often as the longest chain of boxes that take each other out: Cluster-NMS (Zheng et
//! al. 2020, "Enhancing Geometric Factors").

use super::peaks::Peaks;
use crate::model::graph::Graph;
use crate::model::onnx::ElementType;

/// How often the decision is iterated: exact for chains of so many boxes. One costs a product of a K-vector
/// with a K x K matrix.
const ROUNDS: usize = 8;

/// 1 for the objects to keep and 0 for the others, float32 `[N, 1, K]`; `boxes` are `[N, 4, K]`, best first.
pub(super) fn keep(graph: &mut Graph, peaks: &Peaks, boxes: &str, iou: f32) -> String {
    let rivals = rivals(graph, peaks, boxes, iou);
    let one = graph.float("one", 1.0);
    let all = graph.floats("all", &[1, 1, peaks.count], &vec![1.0; peaks.count]);
    (0..ROUNDS).fold(all, |keep, _| {
        let hits = graph.binary("MatMul", &keep, &rivals);
        let kept = graph.binary("Sub", &one, &hits);
        graph.node("Relu", &[&kept], "keep", &[])
    })
}

/// `[N, K, K]`: 1 where the row's object would take out the column's, which comes after it.
fn rivals(graph: &mut Graph, peaks: &Peaks, boxes: &str, iou: f32) -> String {
    let count = peaks.count;
    let overlap = too_much_overlap(graph, boxes, iou);
    let (row, column) = (graph.unsqueeze(&peaks.class, 2), graph.unsqueeze(&peaks.class, 1));
    let same = graph.binary("Equal", &row, &column);
    let same = graph.cast(&same, ElementType::Float);
    let later = (0..count * count).map(|at| f32::from(at / count < at % count)).collect::<Vec<_>>();
    let later = graph.floats("later", &[1, count, count], &later);
    let rivals = graph.binary("Mul", &overlap, &same);
    graph.binary("Mul", &rivals, &later)
}

/// `[N, K, K]`: 1 where two boxes' intersection is more than `iou` of their union, without a division.
fn too_much_overlap(graph: &mut Graph, boxes: &str, iou: f32) -> String {
    let sides = graph.split(boxes, 1, &[2, 2]);
    let size = graph.binary("Sub", &sides[1], &sides[0]);
    let size = graph.node("Relu", &[&size], "size", &[]);
    let area = product(graph, &size, 1);
    // Each side as a row and as a column: [N, 2, K, 1] and [N, 2, 1, K].
    let [low, high] = [0, 1].map(|at| [3, 2].map(|axis| graph.unsqueeze(&sides[at], axis)));
    let low = graph.binary("Max", &low[0], &low[1]);
    let high = graph.binary("Min", &high[0], &high[1]);
    let common = graph.binary("Sub", &high, &low);
    let common = graph.node("Relu", &[&common], "common", &[]);
    let common = product(graph, &common, 1);
    let [row, column] = [2, 1].map(|axis| graph.unsqueeze(&area, axis));
    let both = graph.binary("Add", &row, &column);
    let union = graph.binary("Sub", &both, &common);
    let allowed = graph.with_number("Mul", &union, iou);
    let over = graph.binary("Greater", &common, &allowed);
    graph.cast(&over, ElementType::Float)
}

/// The product of the two slices along `axis`, which goes.
fn product(graph: &mut Graph, value: &str, axis: i64) -> String {
    let [first, second] = [0, 1].map(|at| {
        let index = graph.int64s("index", &[], &[at]);
        graph.node("Gather", &[value, &index], "slice", &[("axis", crate::model::graph::Attr::Int(axis))])
    });
    graph.binary("Mul", &first, &second)
}
