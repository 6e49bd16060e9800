//! The K best peaks of a heatmap, and what heads say at them.

use super::{Head, Heads, Heat};
use crate::model::graph::{Attr, Graph};
use crate::model::onnx::ElementType;

/// How far a cell's score falls per unit it lies under its neighbourhood's maximum.
///
/// `v - SLOPE * (maximum - v)` is `v` itself for a peak. Any other cell comes out at least a thousand lower
/// if it lies under its maximum by 1e-27 or more, as any two different floats over 1e-20 do. On ONNX
/// Runtime's CPU kernels that takes half the time of `Where(v == maximum, v, -inf)`. It needs float32: the
/// decode of a float16 network begins with a cast.
const SLOPE: f32 = 1e30;

/// The chosen peaks of each picture, best first.
pub(super) struct Peaks {
    /// How many, K.
    pub count: usize,
    /// Scores, float32 `[N, 1, K]`.
    pub score: String,
    /// Classes, int64 `[N, K]`.
    pub class: String,
    /// Places in a channel of a head, row by row, int64 `[N, 1, K]`.
    pub cell: String,
    /// Column and row, in cells, float32 `[N, 2, K]`.
    pub xy: String,
}

impl Peaks {
    /// The `count` best peaks of the heatmap.
    pub fn of(graph: &mut Graph, heads: &Heads, count: usize) -> Self {
        let Head { channels, height, width, .. } = heads.heatmap;
        let suppressed = suppress(graph, &heads.heatmap.value);
        let (best, index) = if channels * height >= count {
            best_by_rows(graph, &suppressed, width, count)
        } else {
            best_of_all(graph, &suppressed, count)
        };
        let score = score(graph, &best, heads.heat);
        let cells = graph.int64s("cells", &[], &[(height * width) as i64]);
        let class = graph.node("Div", &[&index, &cells], "class", &[]);
        let cell = graph.node("Mod", &[&index, &cells], "cell", &[]);
        let cell = graph.unsqueeze(&cell, 1);
        let xy = places(graph, &cell, width, 1);
        Self { count, score: graph.unsqueeze(&score, 1), class, cell, xy }
    }

    /// What all channels of `head` hold at the peaks, `[N, channels, K]`.
    pub fn gather(&self, graph: &mut Graph, head: &Head) -> String {
        let channels = head.channels as i64;
        let flat = graph.reshape(&head.value, &[0, channels, -1]);
        let cells = graph.expand(&self.cell, &[1, channels, 1]);
        graph.gather_elements(&flat, &cells, 2)
    }

    /// What the channels of each peak's own class hold there, `[N, per_class, K]`, out of a head that has
    /// `per_class` channels for each class, one class after the other.
    pub fn gather_of_class(&self, graph: &mut Graph, head: &Head, per_class: usize) -> String {
        let cells = (head.height * head.width) as i64;
        let flat = graph.reshape(&head.value, &[0, 1, -1]);
        let line = graph.unsqueeze(&self.class, 1);
        let stride = graph.int64s("class_cells", &[], &[per_class as i64 * cells]);
        let first = graph.binary("Mul", &line, &stride);
        let first = graph.binary("Add", &first, &self.cell);
        let parts: Vec<String> = (0..per_class as i64)
            .map(|channel| {
                let shift = graph.int64s("channel_cells", &[], &[channel * cells]);
                let index = graph.binary("Add", &first, &shift);
                graph.gather_elements(&flat, &index, 2)
            })
            .collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        graph.concat(&parts, 1)
    }
}

/// Scores out of the heatmap values that won.
pub(super) fn score(graph: &mut Graph, best: &str, heat: Heat) -> String {
    match heat {
        Heat::Logits => graph.node("Sigmoid", &[best], "score", &[]),
        // Cells that are no peaks lie far below zero.
        Heat::Scores => graph.node("Relu", &[best], "score", &[]),
    }
}

/// Columns and rows of the cells (int64), as float32, joined along `axis`.
pub(super) fn places(graph: &mut Graph, cell: &str, width: usize, axis: i64) -> String {
    let columns = graph.int64s("columns", &[], &[width as i64]);
    let y = graph.node("Div", &[cell, &columns], "row", &[]);
    let x = graph.node("Mod", &[cell, &columns], "column", &[]);
    let [x, y] = [x, y].map(|numbers| graph.cast(&numbers, ElementType::Float));
    graph.concat(&[&x, &y], axis)
}

/// The heatmap with every cell that is no peak of its class far under every peak.
pub(super) fn suppress(graph: &mut Graph, heatmap: &str) -> String {
    suppress_within(graph, heatmap, 3)
}

/// As [`suppress`], of a peak being the highest of the `side` times `side` cells around it.
pub(in crate::model) fn suppress_within(graph: &mut Graph, heatmap: &str, side: i64) -> String {
    let window = [
        ("kernel_shape", Attr::Ints(&[side; 2])),
        ("strides", Attr::Ints(&[1, 1])),
        ("pads", Attr::Ints(&[side / 2; 4])),
    ];
    let maximum = graph.node("MaxPool", &[heatmap], "neighbourhood", &window);
    let below = graph.node("Sub", &[&maximum, heatmap], "below", &[]);
    let slope = graph.float("slope", SLOPE);
    let fall = graph.node("Mul", &[&below, &slope], "fall", &[]);
    graph.node("Sub", &[heatmap, &fall], "suppressed", &[])
}

/// The `top_k` greatest values of `map` (`[N, C, H, W]`) and their flat indices, both `[N, top_k]`.
pub(in crate::model) fn best_of_all(graph: &mut Graph, map: &str, top_k: usize) -> (String, String) {
    let flat = graph.reshape(map, &[0, -1]);
    graph.top(&flat, 1, top_k)
}

/// As [`best_of_all`], faster: rows whose maximum is not among the `top_k` greatest row maxima hold none of
/// the `top_k` greatest values, so only `top_k` rows are searched. There must be that many rows.
fn best_by_rows(graph: &mut Graph, map: &str, width: usize, top_k: usize) -> (String, String) {
    let width = width as i64;
    let rows = graph.reshape(map, &[0, -1, width]);
    let maxima = graph.reduce("ReduceMax", &rows, 2);
    let (_, row) = graph.top(&maxima, 1, top_k);
    let spread = graph.unsqueeze(&row, 2);
    let spread = graph.expand(&spread, &[1, 1, width]);
    let rows = graph.gather_elements(&rows, &spread, 1);
    let (best, at) = best_of_all(graph, &rows, top_k);
    let columns = graph.int64s("row_length", &[], &[width]);
    let nth = graph.node("Div", &[&at, &columns], "nth_row", &[]);
    let column = graph.node("Mod", &[&at, &columns], "column_in_row", &[]);
    let row = graph.gather_elements(&row, &nth, 1);
    let start = graph.binary("Mul", &row, &columns);
    (best, graph.node("Add", &[&start, &column], "index", &[]))
}
