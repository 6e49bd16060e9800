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

/// How often the decision among `count` boxes is iterated: exact for chains of so many boxes. Crowds of random
/// boxes need up to 7 among 100, 9 among 300 and 12 among 1000. One costs a product of a K-vector with a K x K
/// matrix.
fn rounds(count: usize) -> usize {
    8 + 2 * count.div_ceil(100).next_power_of_two().ilog2() as usize
}

/// 1 for the objects to keep and 0 for the others, float32 `[N, 1, K]`; `boxes` are `[N, 4, K]`, best first.
pub(super) fn keep(graph: &mut Graph, peaks: &Peaks, boxes: &str, iou: f32) -> String {
    let rivals = rivals(graph, peaks, boxes, iou);
    let one = graph.float("one", 1.0);
    let all = graph.floats("all", &[1, 1, peaks.count], &vec![1.0; peaks.count]);
    (0..rounds(peaks.count)).fold(all, |keep, _| {
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

#[cfg(test)]
mod tests {
    use super::rounds;

    /// Whether the first box would take out the second one.
    fn overlap(a: [f32; 4], b: [f32; 4], iou: f32) -> bool {
        let area = |b: [f32; 4]| (b[2] - b[0]).max(0.0) * (b[3] - b[1]).max(0.0);
        let common = area([a[0].max(b[0]), a[1].max(b[1]), a[2].min(b[2]), a[3].min(b[3])]);
        common > iou * (area(a) + area(b) - common)
    }

    /// Rounds until nothing changes any more.
    fn needed(boxes: &[[f32; 4]], iou: f32) -> usize {
        let rivals = boxes.iter().enumerate();
        let rivals =
            rivals.map(|(at, own)| (0..at).filter(|&better| overlap(boxes[better], *own, iou)).collect());
        let rivals: Vec<Vec<usize>> = rivals.collect();
        let mut keep = vec![true; boxes.len()];
        for round in 0.. {
            let next: Vec<bool> = rivals.iter().map(|rivals| !rivals.iter().any(|&at| keep[at])).collect();
            if next == keep {
                return round;
            }
            keep = next;
        }
        usize::MAX
    }

    #[test]
    fn crowds_are_settled_in_time() {
        assert_eq!([1, 100, 300, 1000].map(rounds), [8, 8, 12, 16]);
        let mut rng = fastrand::Rng::with_seed(5);
        for (count, tries) in [(100, 60), (300, 20), (1000, 3)] {
            for (iou, spread) in [(0.1, 32.0), (0.3, 32.0), (0.5, 8.0), (0.7, 8.0)] {
                for _ in 0..tries {
                    let one = |_| {
                        let [x, y] = [(); 2].map(|()| rng.f32() * spread);
                        let [w, h] = [(); 2].map(|()| 2.0 + rng.f32() * 4.0);
                        [x - w, y - h, x + w, y + h]
                    };
                    let boxes: Vec<_> = (0..count).map(one).collect();
                    let needed = needed(&boxes, iou);
                    assert!(needed <= rounds(count), "{needed} rounds for {count} boxes at {iou}");
                }
            }
        }
    }
}
