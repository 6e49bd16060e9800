//! MoveNet's decode as graph nodes: from six heads to people with joints.
//!
//! As the network's own (MoveNet MultiPose, Google 2021), for any batch, any size and K people instead of six:
//! a peak of the centre's heatmap is a person; a head says where each joint of it should be; the joint is the
//! cell whose own heat, less the further it lies from that place, is greatest inside the person's box; a head
//! says where in that cell. The original looks at every cell of the map for every joint of every person. Here it
//! is a window around the place that reaches as far as a joint can that counts, so the result is the same.
//!
//! Only operators that both ONNX Runtime and TensorRT take are used.

mod joints;

use super::OUTPUT;
use super::decode::{self, DecodeError, Head};
use super::graph::{Attr, Graph};
use super::onnx::{Dim, ElementType};

/// The name of the family.
pub const FAMILY: &str = "movenet";
/// Joints of a person.
pub const JOINTS: usize = 17;
/// Cells around a centre in which no other may be higher, in each direction.
const PEAK: i64 = 5;
/// A joint that scores no more does not count for its person's score; the number in the original's file.
const COUNTS: f32 = 0.126_953_13;

/// The heads of the network, all of one height and width; places and sizes are in cells, y before x.
#[derive(Clone, Debug)]
pub struct Heads {
    /// Logits of there being the centre of a person.
    pub centre: Head,
    /// Height and width of the box.
    pub size: Head,
    /// From the cell to the middle of the box.
    pub offset: Head,
    /// From the cell to where each joint should be.
    pub places: Head,
    /// Logits of there being a joint, one channel for each.
    pub heat: Head,
    /// From the cell to the joint in it.
    pub offsets: Head,
    /// Input pixels a cell.
    pub stride: f32,
}

/// Adds the decode and the output `detections`: float32 `[N, top_k, 6 + 3 * 17]`, best first, each x1, y1, x2, y2
/// in input pixels, score, class 0, and x, y, score of the joints.
///
/// The score is that of the centre times the mean score of the joints that count.
///
/// # Errors
/// Heads of other shapes, or a `top_k` out of range.
pub fn append(graph: &mut Graph, heads: &Heads, top_k: usize) -> Result<(), DecodeError> {
    check(heads, top_k)?;
    let mut decode = Decode::new(graph, heads, top_k);
    let people = decode.people();
    let boxes = decode.boxes(&people);
    let places = decode.places(&people);
    let joints = decode.joints(&boxes, &places);
    let score = decode.score(&people, &joints);
    let rows = decode.rows(&boxes, &score, &joints);
    let sorted = decode.sorted(&rows, &score);
    let columns = Dim::Value(6 + 3 * JOINTS as i64);
    graph.output(
        &sorted,
        ElementType::Float,
        &[Dim::Param("N".to_owned()), Dim::Value(top_k as i64), columns],
    );
    Ok(())
}

fn check(heads: &Heads, top_k: usize) -> Result<(), DecodeError> {
    let Head { height, width, .. } = heads.centre;
    let shapes = [
        ("centre", &heads.centre, 1),
        ("size", &heads.size, 2),
        ("offset", &heads.offset, 2),
        ("places", &heads.places, 2 * JOINTS),
        ("heat", &heads.heat, JOINTS),
        ("offsets", &heads.offsets, 2 * JOINTS),
    ];
    for (name, head, channels) in shapes {
        if head.channels != channels || head.size() != heads.centre.size() {
            return Err(DecodeError::head(FAMILY, name, channels, &heads.centre, head));
        }
    }
    if !(1..=height * width).contains(&top_k) {
        return Err(DecodeError::TopK { top_k, values: height * width });
    }
    Ok(())
}

/// The chosen centres, each value `[N, K]`.
struct People {
    /// Flat index of the cell, int64.
    cell: String,
    /// Row and column of the cell.
    at: [String; 2],
    score: String,
}

/// The sides of the boxes in cells, inside the map, each `[N, K, 1]`: top and bottom, left and right.
struct Boxes([[String; 2]; 2]);

/// The joints, each value `[N, K, 17]`.
struct Joints {
    /// Row and column, in cells.
    at: [String; 2],
    score: String,
}

/// The decode under construction.
struct Decode<'a> {
    graph: &'a mut Graph,
    heads: &'a Heads,
    top_k: usize,
    /// Height and width of the heads.
    map: [usize; 2],
    /// The axis -1, for `Unsqueeze`.
    last: String,
}

impl<'a> Decode<'a> {
    fn new(graph: &'a mut Graph, heads: &'a Heads, top_k: usize) -> Self {
        let last = graph.int64s("last_axis", &[1], &[-1]);
        Self { graph, heads, top_k, map: [heads.centre.height, heads.centre.width], last }
    }

    fn node(&mut self, op: &str, inputs: &[&str], hint: &str) -> String {
        self.graph.node(op, inputs, hint, &[])
    }

    fn unsqueezed(&mut self, value: &str) -> String {
        let last = self.last.clone();
        self.node("Unsqueeze", &[value, &last], "unsqueezed")
    }

    fn clipped(&mut self, value: &str, low: f32, high: f32) -> String {
        let [low, high] = [low, high].map(|bound| self.graph.float("bound", bound));
        self.node("Clip", &[value, &low, &high], "clipped")
    }

    /// Quotient and remainder of whole numbers.
    fn row_and_column(&mut self, index: &str, width: usize) -> [String; 2] {
        let width = self.graph.int64s("width", &[], &[width as i64]);
        ["Div", "Mod"].map(|op| self.node(op, &[index, &width], "row_or_column"))
    }

    /// Values of `map` (`[N, C, H, W]`) at flat indices `[N, K, ...]`, whose other sides are `shape`.
    fn pick(&mut self, map: &str, index: &str, shape: &[usize]) -> String {
        let flat = self.graph.reshape(map, &[0, -1]);
        let line = self.graph.reshape(index, &[0, -1]);
        let picked = self.graph.gather_elements(&flat, &line, 1);
        let shape: Vec<i64> =
            [0, self.top_k as i64].into_iter().chain(shape.iter().map(|&n| n as i64)).collect();
        self.graph.reshape(&picked, &shape)
    }

    /// The offsets of the channels `first`, `first + step`, ... in a flat map, to be added to flat indices of
    /// cells.
    fn channels(&mut self, first: usize, step: usize, count: usize) -> String {
        let cells = self.map[0] * self.map[1];
        let offsets: Vec<i64> = (0..count).map(|n| ((first + n * step) * cells) as i64).collect();
        self.graph.int64s("channels", &[count], &offsets)
    }

    /// Two values of a head at the cells `[N, K, count]` or `[N, K, 1]`, y and x, each `[N, K, count]`.
    fn pair_at(&mut self, head: &str, cells: &str, count: usize) -> [String; 2] {
        [0, 1].map(|side| {
            let channels = self.channels(side, 2, count);
            let index = self.node("Add", &[cells, &channels], "index");
            self.pick(head, &index, &[count])
        })
    }

    fn people(&mut self) -> People {
        let suppressed = decode::suppress_within(self.graph, &self.heads.centre.value, PEAK);
        let (best, cell) = decode::best_of_all(self.graph, &suppressed, self.top_k);
        let score = self.node("Sigmoid", &[&best], "centre_score");
        let at =
            self.row_and_column(&cell, self.map[1]).map(|place| self.graph.cast(&place, ElementType::Float));
        People { cell, at, score }
    }

    fn boxes(&mut self, people: &People) -> Boxes {
        let cells = self.unsqueezed(&people.cell);
        let sizes = self.pair_at(&self.heads.size.value, &cells, 1);
        let offsets = self.pair_at(&self.heads.offset.value, &cells, 1);
        let half = self.graph.float("half", 0.5);
        Boxes([0, 1].map(|side| {
            let at = self.unsqueezed(&people.at[side]);
            let middle = self.node("Add", &[&at, &offsets[side]], "middle");
            let size = self.node("Relu", &[&sizes[side]], "size");
            let half = self.node("Mul", &[&size, &half], "half_size");
            ["Sub", "Add"].map(|op| {
                let end = self.node(op, &[&middle, &half], "side");
                self.clipped(&end, 0.0, self.map[side] as f32)
            })
        }))
    }

    /// Where the joints should be, rows and columns.
    fn places(&mut self, people: &People) -> [String; 2] {
        let cells = self.unsqueezed(&people.cell);
        let places = self.pair_at(&self.heads.places.value, &cells, JOINTS);
        [0, 1].map(|side| {
            let at = self.unsqueezed(&people.at[side]);
            self.node("Add", &[&at, &places[side]], "place")
        })
    }

    /// `[N, K]`: the centre's score times the mean of the joints that count.
    fn score(&mut self, people: &People, joints: &Joints) -> String {
        let least = self.graph.float("counts", COUNTS);
        let counts = self.node("Greater", &[&joints.score, &least], "counted");
        let counts = self.graph.cast(&counts, ElementType::Float);
        let counted = self.node("Mul", &[&joints.score, &counts], "counted_score");
        let [sum, number] = [counted, counts].map(|values| {
            let last = self.last.clone();
            self.graph.node("ReduceSum", &[&values, &last], "sum", &[("keepdims", Attr::Int(0))])
        });
        let one = self.graph.float("one", 1.0);
        let number = self.node("Max", &[&number, &one], "number");
        let mean = self.node("Div", &[&sum, &number], "mean");
        self.node("Mul", &[&people.score, &mean], "score")
    }

    /// `[N, K, 6 + 3 * 17]`, in pixels.
    fn rows(
        &mut self,
        Boxes([[top, bottom], [left, right]]): &Boxes,
        score: &str,
        joints: &Joints,
    ) -> String {
        let stride = self.graph.float("stride", self.heads.stride);
        let axis = [("axis", Attr::Int(2))];
        let corners = self.graph.node("Concat", &[left, top, right, bottom], "corners", &axis);
        let corners = self.node("Mul", &[&corners, &stride], "corners_pixels");
        let score = self.unsqueezed(score);
        let zero = self.graph.float("person", 0.0);
        let class = self.node("Mul", &[&score, &zero], "class");
        let [y, x] = [0, 1].map(|side| {
            let pixels = self.node("Mul", &[&joints.at[side], &stride], "joint_pixels");
            self.unsqueezed(&pixels)
        });
        let joint_score = self.unsqueezed(&joints.score);
        let axis_3 = [("axis", Attr::Int(3))];
        let triples = self.graph.node("Concat", &[&x, &y, &joint_score], "joint_triples", &axis_3);
        let triples = self.graph.reshape(&triples, &[0, self.top_k as i64, 3 * JOINTS as i64]);
        self.graph.node("Concat", &[&corners, &score, &class, &triples], "rows", &axis)
    }

    /// The rows, best score first: they came by the score of their centres.
    fn sorted(&mut self, rows: &str, score: &str) -> String {
        let (_, order) = decode::best_of_all(self.graph, score, self.top_k);
        let order = self.unsqueezed(&order);
        let order = self.graph.expand(&order, &[1, 1, 6 + 3 * JOINTS as i64]);
        self.graph.node("GatherElements", &[rows, &order], OUTPUT, &[("axis", Attr::Int(1))])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn heads(graph: &mut Graph, [height, width]: [usize; 2]) -> Heads {
        let mut head = |name: &str, channels: usize| {
            let sides = [channels, height, width].map(|side| Dim::Value(side as i64));
            let dims: Vec<_> = [Dim::Param("N".into())].into_iter().chain(sides).collect();
            Head { value: graph.input(name, ElementType::Float, &dims), channels, height, width }
        };
        Heads {
            centre: head("centre", 1),
            size: head("size", 2),
            offset: head("offset", 2),
            places: head("places", 2 * JOINTS),
            heat: head("heat", JOINTS),
            offsets: head("offsets", 2 * JOINTS),
            stride: 4.0,
        }
    }

    /// What is computed is compared with the original in `tests/zoo/pose.rs`.
    #[test]
    fn the_graph_is_well_formed_of_operators_that_tensorrt_takes() {
        // TensorRT's list: https://github.com/onnx/onnx-tensorrt/blob/main/docs/operators.md
        let taken = [
            "Add",
            "And",
            "ArgMax",
            "Cast",
            "Clip",
            "Concat",
            "Div",
            "Exp",
            "Expand",
            "Floor",
            "GatherElements",
            "Greater",
            "GreaterOrEqual",
            "Less",
            "Max",
            "MaxPool",
            "Min",
            "Mod",
            "Mul",
            "ReduceMax",
            "ReduceSum",
            "Relu",
            "Reshape",
            "Sigmoid",
            "Slice",
            "Sub",
            "TopK",
            "Unsqueeze",
        ];
        // A map smaller than a window, too.
        for size in [[96, 128], [5, 6]] {
            let mut graph = Graph::new("g");
            let heads = heads(&mut graph, size);
            append(&mut graph, &heads, 20).unwrap();
            graph.check().unwrap();
            let mut ops: Vec<_> =
                graph.proto().node.iter().filter_map(|node| node.op_type.as_deref()).collect();
            ops.sort_unstable();
            ops.dedup();
            assert_eq!(ops, taken);
            assert_eq!(graph.proto().output[0].to_string(), "detections float32 [N,20,57]");
        }
    }

    #[test]
    fn heads_that_do_not_fit_are_named() {
        let mut graph = Graph::new("g");
        let good = heads(&mut graph, [4, 4]);
        let mut bad = good.clone();
        bad.heat.channels = 3;
        let error = append(&mut graph, &bad, 5).unwrap_err().to_string();
        assert_eq!(error, "family movenet: head heat must be [N,17,4,4], it is [N,3,4,4]");
        for top_k in [0, 17] {
            assert_eq!(append(&mut graph, &good, top_k), Err(DecodeError::TopK { top_k, values: 16 }));
        }
        assert!(graph.proto().node.is_empty(), "nothing is added on an error");
    }
}
