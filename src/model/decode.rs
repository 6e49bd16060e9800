//! The end of a CenterNet as graph nodes: from heads to `detections`.
//!
//! The decode of *Objects as Points* (Zhou et al. 2019, section 4): a cell is a peak if no cell of its
//! class around it (3x3) scores higher; the K best peaks of all classes give the boxes. Only operators that
//! both ONNX Runtime and TensorRT take are used, and the batch may be of any size.
//!
//! A family differs from another in its heads and in the formula of its boxes: one entry of [`FAMILIES`].

use super::graph::{Attr, Graph};
use super::onnx::{Dim, ElementType};
use super::{INPUT, OUTPUT};

/// How far a cell's score falls per unit it lies under its neighbourhood's maximum.
///
/// `v - SLOPE * (maximum - v)` is `v` itself for a peak. Any other cell comes out at least a thousand lower
/// if it lies under its maximum by 1e-27 or more, as any two different floats over 1e-20 do. On ONNX
/// Runtime's CPU kernels that takes half the time of `Where(v == maximum, v, -inf)`.
const SLOPE: f32 = 1e30;

/// A family of detectors.
pub struct Family {
    /// Its name in the metadata.
    pub name: &'static str,
    /// The heads beside the heatmap, in order: name and channels.
    pub regressions: &'static [(&'static str, usize)],
    boxes: BoxFormula,
}

/// Adds the nodes that compute x1, y1, x2, y2 (each `[N, 1, K]`, input pixels) from the peaks and from the
/// regressions' channels at them (each `[N, 1, K]`), heads one after the other.
type BoxFormula = fn(&mut Graph, &Peaks, &[String]) -> [String; 4];

/// Centre, size and sub-cell offset, all in cells: *Objects as Points*, and centerX after it.
pub static CENTERNET: Family =
    Family { name: "centernet", regressions: &[("wh", 2), ("reg", 2)], boxes: centernet_box };

/// Distances from the cell to the four sides, in input pixels: TTFNet (Liu et al. 2019).
pub static TTF: Family = Family { name: "ttf", regressions: &[("ltrb", 4)], boxes: ttf_box };

/// The families there are.
pub static FAMILIES: [&Family; 2] = [&CENTERNET, &TTF];

impl Family {
    /// The family called `name`.
    pub fn by_name(name: &str) -> Option<&'static Self> {
        FAMILIES.into_iter().find(|family| family.name == name)
    }
}

/// Values `[N, 1, K]` of the chosen peaks.
struct Peaks {
    /// Column, in cells.
    x: String,
    /// Row, in cells.
    y: String,
    /// Input pixels a cell; a number.
    stride: String,
}

/// What the heatmap's values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heat {
    /// Any number; the sigmoid of it is the score. It is taken of the K best only: it keeps the order.
    Logits,
    /// Scores between 0 and 1.
    Scores,
}

/// A head's value in the graph, `[N, channels, height, width]`.
#[derive(Clone, Debug)]
#[expect(missing_docs)]
pub struct Head {
    pub value: String,
    pub channels: usize,
    pub height: usize,
    pub width: usize,
}

/// The heads of a network and what is to be known of them.
#[derive(Clone, Debug)]
pub struct Heads {
    /// One channel a class.
    pub heatmap: Head,
    /// What the heatmap holds.
    pub heat: Heat,
    /// The other heads, as the family lists them.
    pub regressions: Vec<Head>,
    /// Input pixels a cell.
    pub stride: f32,
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
        /// Classes times cells.
        values: usize,
    },
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

/// Adds the decode and the output `detections`: float32 `[N, top_k, 6]`, best first, each x1, y1, x2, y2 in
/// input pixels, score and class. Where a picture has fewer peaks than `top_k`, the rest have score 0.
///
/// # Errors
/// Heads that are not the family's, or a `top_k` out of range.
pub fn append(graph: &mut Graph, family: &Family, heads: &Heads, top_k: usize) -> Result<(), DecodeError> {
    check(family, heads, top_k)?;
    let Head { channels, height, width, .. } = heads.heatmap;
    let suppressed = suppress(graph, &heads.heatmap.value);
    let (best, index) = if channels * height >= top_k {
        best_by_rows(graph, &suppressed, width, top_k)
    } else {
        best_of_all(graph, &suppressed, top_k)
    };
    let score = match heads.heat {
        Heat::Logits => graph.node("Sigmoid", &[&best], "score", &[]),
        // Cells that are no peaks lie far below zero.
        Heat::Scores => graph.node("Relu", &[&best], "score", &[]),
    };
    let cells = graph.int64s("cells", &[], &[(height * width) as i64]);
    let columns = graph.int64s("columns", &[], &[width as i64]);
    let class = graph.node("Div", &[&index, &cells], "class", &[]);
    let cell = graph.node("Mod", &[&index, &cells], "cell", &[]);
    let y = graph.node("Div", &[&cell, &columns], "row", &[]);
    let x = graph.node("Mod", &[&cell, &columns], "column", &[]);
    let axis = graph.int64s("channel_axis", &[1], &[1]);
    let stride = graph.float("stride", heads.stride);
    let peaks = Peaks { x: float_line(graph, &x, &axis), y: float_line(graph, &y, &axis), stride };
    let cell = graph.node("Unsqueeze", &[&cell, &axis], "cell_line", &[]);
    let regressed: Vec<String> =
        heads.regressions.iter().flat_map(|head| gather(graph, head, &cell)).collect();
    let [x1, y1, x2, y2] = (family.boxes)(graph, &peaks, &regressed);
    let score = graph.node("Unsqueeze", &[&score, &axis], "score_line", &[]);
    let class = float_line(graph, &class, &axis);
    let lines =
        graph.node("Concat", &[&x1, &y1, &x2, &y2, &score, &class], "lines", &[("axis", Attr::Int(1))]);
    let detections = graph.node("Transpose", &[&lines], OUTPUT, &[("perm", Attr::Ints(&[0, 2, 1]))]);
    graph.output(&detections, ElementType::Float, &[Dim::Param("N".to_owned()), dim(top_k), dim(6)]);
    Ok(())
}

fn check(family: &Family, heads: &Heads, top_k: usize) -> Result<(), DecodeError> {
    let heatmap = &heads.heatmap;
    if heads.regressions.len() != family.regressions.len() {
        let (expected, found) = (family.regressions.len(), heads.regressions.len());
        return Err(DecodeError::HeadCount { family: family.name, expected, found });
    }
    for (head, &(name, channels)) in heads.regressions.iter().zip(family.regressions) {
        let expected = [channels, heatmap.height, heatmap.width];
        let found = [head.channels, head.height, head.width];
        if expected != found {
            let [expected, found] = [expected, found].map(|s| format!("{},{},{}", s[0], s[1], s[2]));
            return Err(DecodeError::Head { family: family.name, head: name, expected, found });
        }
    }
    let values = heatmap.channels * heatmap.height * heatmap.width;
    if !(1..=values).contains(&top_k) {
        return Err(DecodeError::TopK { top_k, values });
    }
    Ok(())
}

/// The heatmap with every cell that is no peak of its class far under every peak.
fn suppress(graph: &mut Graph, heatmap: &str) -> String {
    let window = [
        ("kernel_shape", Attr::Ints(&[3, 3])),
        ("strides", Attr::Ints(&[1, 1])),
        ("pads", Attr::Ints(&[1; 4])),
    ];
    let maximum = graph.node("MaxPool", &[heatmap], "neighbourhood", &window);
    let below = graph.node("Sub", &[&maximum, heatmap], "below", &[]);
    let slope = graph.float("slope", SLOPE);
    let fall = graph.node("Mul", &[&below, &slope], "fall", &[]);
    graph.node("Sub", &[heatmap, &fall], "suppressed", &[])
}

/// The `top_k` greatest values of `map` (`[N, C, H, W]`) and their flat indices, both `[N, top_k]`.
fn best_of_all(graph: &mut Graph, map: &str, top_k: usize) -> (String, String) {
    let shape = graph.int64s("flat_shape", &[2], &[0, -1]);
    let flat = graph.node("Reshape", &[map, &shape], "flat", &[]);
    top(graph, &flat, top_k)
}

/// As [`best_of_all`], faster: rows whose maximum is not among the `top_k` greatest row maxima hold none of
/// the `top_k` greatest values, so only `top_k` rows are searched. There must be that many rows.
fn best_by_rows(graph: &mut Graph, map: &str, width: usize, top_k: usize) -> (String, String) {
    let width = width as i64;
    let shape = graph.int64s("rows_shape", &[3], &[0, -1, width]);
    let rows = graph.node("Reshape", &[map, &shape], "rows", &[]);
    let attributes = [("axes", Attr::Ints(&[2])), ("keepdims", Attr::Int(0))];
    let maxima = graph.node("ReduceMax", &[&rows], "row_maxima", &attributes);
    let (_, row) = top(graph, &maxima, top_k);
    let last = graph.int64s("last_axis", &[1], &[2]);
    let spread = graph.node("Unsqueeze", &[&row, &last], "row_index", &[]);
    let shape = graph.int64s("row_shape", &[3], &[1, 1, width]);
    let spread = graph.node("Expand", &[&spread, &shape], "row_indices", &[]);
    let rows = graph.node("GatherElements", &[&rows, &spread], "best_rows", &[("axis", Attr::Int(1))]);
    let (best, at) = best_of_all(graph, &rows, top_k);
    let columns = graph.int64s("row_length", &[], &[width]);
    let nth = graph.node("Div", &[&at, &columns], "nth_row", &[]);
    let column = graph.node("Mod", &[&at, &columns], "column_in_row", &[]);
    let row = graph.node("GatherElements", &[&row, &nth], "row_of_best", &[("axis", Attr::Int(1))]);
    let start = graph.node("Mul", &[&row, &columns], "row_start", &[]);
    (best, graph.node("Add", &[&start, &column], "index", &[]))
}

fn top(graph: &mut Graph, values: &str, top_k: usize) -> (String, String) {
    let k = graph.int64s("k", &[1], &[top_k as i64]);
    let outputs @ [best, index] = &["best", "best_index"].map(|hint| graph.fresh(hint));
    graph.node_into("TopK", &[values, &k], outputs, &[("axis", Attr::Int(1))]);
    (best.clone(), index.clone())
}

/// Whole numbers `[N, K]` as floats `[N, 1, K]`.
fn float_line(graph: &mut Graph, numbers: &str, axis: &str) -> String {
    let to = Attr::Int(ElementType::Float as i64);
    let floats = graph.node("Cast", &[numbers], "float", &[("to", to)]);
    graph.node("Unsqueeze", &[&floats, axis], "line", &[])
}

/// The channels of `head` at the cells (`[N, 1, K]`), each `[N, 1, K]`.
fn gather(graph: &mut Graph, head: &Head, cell: &str) -> Vec<String> {
    let channels = head.channels as i64;
    let shape = graph.int64s("head_shape", &[3], &[0, channels, -1]);
    let flat = graph.node("Reshape", &[&head.value, &shape], "head_flat", &[]);
    let spread = graph.int64s("head_spread", &[3], &[1, channels, 1]);
    let cells = graph.node("Expand", &[cell, &spread], "head_cells", &[]);
    let at_peaks = graph.node("GatherElements", &[&flat, &cells], "at_peaks", &[("axis", Attr::Int(2))]);
    let sizes = graph.int64s("ones", &[head.channels], &vec![1; head.channels]);
    let outputs: Vec<String> = (0..channels).map(|_| graph.fresh("channel")).collect();
    graph.node_into("Split", &[&at_peaks, &sizes], &outputs, &[("axis", Attr::Int(1))]);
    outputs
}

/// `x = column + dx`, `half = width / 2`, box `(x - half, ..., x + half, ...)`, times the stride.
fn centernet_box(graph: &mut Graph, peaks: &Peaks, channels: &[String]) -> [String; 4] {
    let half = graph.float("half", 0.5);
    let mut sides = |cell: &str, size: &str, offset: &str| {
        let centre = graph.node("Add", &[cell, offset], "centre", &[]);
        let half_size = graph.node("Mul", &[size, &half], "half_size", &[]);
        ["Sub", "Add"].map(|op| {
            let side = graph.node(op, &[&centre, &half_size], "side", &[]);
            graph.node("Mul", &[&side, &peaks.stride], "side_pixels", &[])
        })
    };
    let [x1, x2] = sides(&peaks.x, &channels[0], &channels[2]);
    let [y1, y2] = sides(&peaks.y, &channels[1], &channels[3]);
    [x1, y1, x2, y2]
}

/// `x = column * stride`, box `(x - left, y - top, x + right, y + bottom)`.
fn ttf_box(graph: &mut Graph, peaks: &Peaks, channels: &[String]) -> [String; 4] {
    let x = graph.node("Mul", &[&peaks.x, &peaks.stride], "x_pixels", &[]);
    let y = graph.node("Mul", &[&peaks.y, &peaks.stride], "y_pixels", &[]);
    let mut side = |op, centre: &str, at: usize| graph.node(op, &[centre, &channels[at]], "side", &[]);
    [side("Sub", &x, 0), side("Sub", &y, 1), side("Add", &x, 2), side("Add", &y, 3)]
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
            regressions: family.regressions.iter().map(|&(name, channels)| head(name, channels)).collect(),
            stride: 4.0,
        }
    }

    fn ops(graph: &Graph) -> Vec<&str> {
        graph.proto().node.iter().filter_map(|node| node.op_type.as_deref()).collect()
    }

    #[test]
    fn every_family_gives_a_well_formed_graph_of_known_operators() {
        let allowed = [
            "MaxPool",
            "Sub",
            "Mul",
            "Add",
            "Reshape",
            "ReduceMax",
            "TopK",
            "Unsqueeze",
            "Expand",
            "GatherElements",
            "Div",
            "Mod",
            "Sigmoid",
            "Cast",
            "Split",
            "Concat",
            "Transpose",
        ];
        for family in FAMILIES {
            // Enough rows for the faster search, and too few for it.
            for (shape, top_k, searches) in [([3, 8, 6], 20, 2), ([1, 4, 6], 20, 1)] {
                let mut graph = Graph::new("g");
                let heads = heads(&mut graph, family, shape);
                append(&mut graph, family, &heads, top_k).unwrap();
                graph.check().unwrap();
                assert!(ops(&graph).iter().all(|op| allowed.contains(op)), "{:?}", ops(&graph));
                assert_eq!(ops(&graph).iter().filter(|&&op| op == "TopK").count(), searches);
                let output = graph.proto().output[0].to_string();
                assert_eq!(output, format!("detections float32 [N,{top_k},6]"));
            }
        }
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
        let mut narrow = good.clone();
        narrow.regressions[0].channels = 2;
        let error = append(&mut graph, family, &narrow, 5).unwrap_err();
        assert_eq!(error.to_string(), "family ttf: head ltrb must be [N,4,4,4], it is [N,2,4,4]");
        let none = Heads { regressions: Vec::new(), ..good.clone() };
        assert!(matches!(append(&mut graph, family, &none, 5), Err(DecodeError::HeadCount { found: 0, .. })));
        for top_k in [0, 33] {
            let error = append(&mut graph, family, &good, top_k).unwrap_err();
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
