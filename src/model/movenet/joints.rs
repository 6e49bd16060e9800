//! Where the joints are: the cell with the most heat, less the further it lies from the place that the centre
//! gives the joint, searched in a window around that place.

use super::{Boxes, COUNTS, Decode, JOINTS, Joints};
use crate::model::graph::Attr;
use crate::model::onnx::ElementType;

/// How far a joint may lie from its place: the square of the distance at which its heat counts for 1/e, as a
/// share of the map's shorter side. The number is the one in the original's file.
const SPREAD: f32 = 0.300_048_83;
/// A joint of one person scores as much as if it were that of another of the first persons, if it lies closer to
/// where theirs should be. The original, which finds six, has it so for those six; with more, its scores would
/// no longer come out the same.
const RIVALS: usize = 6;

/// For one direction, the part of the map that is searched for each joint.
struct Window {
    /// The first row or column, `[N, K, 17]`, a float.
    first: String,
    /// How many there are.
    length: usize,
    /// Each row, `[N, K, 17, length, 1]`, or column, `[N, K, 17, 1, length]`, int64.
    cells: String,
    /// How much its heat counts, as `cells`.
    closeness: String,
}

impl Decode<'_> {
    /// How much less heat counts the further it is from a place, 1 to 0, for one direction; 0 outside the box.
    fn closeness(&mut self, at: &str, place: &str, [low, high]: [&str; 2]) -> String {
        let away = self.node("Sub", &[at, place], "away");
        let squared = self.node("Mul", &[&away, &away], "squared");
        let spread = self.graph.float("spread", -1.0 / self.spread());
        let exponent = self.node("Mul", &[&squared, &spread], "exponent");
        let close = self.node("Exp", &[&exponent], "close");
        let after = self.node("GreaterOrEqual", &[at, low], "after");
        let before = self.node("Less", &[at, high], "before");
        let inside = self.node("And", &[&after, &before], "inside");
        let inside = self.graph.cast(&inside, ElementType::Float);
        self.node("Mul", &[&close, &inside], "closeness")
    }

    fn spread(&self) -> f32 {
        SPREAD * self.map[0].min(self.map[1]) as f32
    }

    /// Cells that the window reaches to either side of a place: heat is at most 1, so further away nothing
    /// scores more than [`COUNTS`].
    fn reach(&self) -> usize {
        (self.spread() * -COUNTS.ln()).sqrt().ceil() as usize
    }

    /// The windows around the places in one direction; what lies outside the box is of no use, so they are
    /// around the place nearest in it.
    fn window(&mut self, side: usize, place: &str, [low, high]: &[String; 2]) -> Window {
        let (reach, cells) = (self.reach(), self.map[side]);
        let length = (2 * reach + 1).min(cells);
        let below = self.node("Min", &[place, high], "below");
        let inside = self.node("Max", &[&below, low], "inside");
        let whole = self.node("Floor", &[&inside], "whole");
        let reach = self.graph.float("reach", reach as f32);
        let first = self.node("Sub", &[&whole, &reach], "first");
        let first = self.clipped(&first, 0.0, (cells - length) as f32);
        let steps: Vec<f32> = (0..length).map(|n| n as f32).collect();
        let steps = self.graph.floats("steps", &[length], &steps);
        let spread_first = self.unsqueezed(&first);
        let at = self.node("Add", &[&spread_first, &steps], "window");
        let [place, low, high] = [place, low, high].map(|value| self.unsqueezed(value));
        let closeness = self.closeness(&at, &place, [&low, &high]);
        let whole = self.graph.cast(&at, ElementType::Int64);
        let other_direction = if side == 0 { -1 } else { -2 };
        let [cells, closeness] =
            [whole, closeness].map(|value| self.graph.unsqueeze(&value, other_direction));
        Window { first, length, cells, closeness }
    }

    pub fn joints(&mut self, Boxes(boxes): &Boxes, places: &[String; 2]) -> Joints {
        let heat = self.node("Sigmoid", &[&self.heads.heat.value], "heat");
        let windows = [0, 1].map(|side| self.window(side, &places[side], &boxes[side]));
        let at = self.best_cells(&heat, &windows);
        let score = self.joint_score(&heat, boxes, places, &at);
        let offsets = self.offsets(&at);
        let at = [0, 1].map(|side| self.node("Add", &[&at[side], &offsets[side]], "joint"));
        Joints { at, score }
    }

    /// The rows and columns of the cells with the most heat, each the closer to the place the better.
    fn best_cells(&mut self, heat: &str, [rows, columns]: &[Window; 2]) -> [String; 2] {
        let width = self.graph.int64s("map_width", &[], &[self.map[1] as i64]);
        let channels = self.channels(0, 1, JOINTS);
        let channel = self.graph.reshape(&channels, &[JOINTS as i64, 1, 1]);
        let start = self.node("Mul", &[&rows.cells, &width], "row_start");
        let start = self.node("Add", &[&start, &channel], "row_of_channel");
        let cells = self.node("Add", &[&start, &columns.cells], "window_cells");
        let found = self.pick(heat, &cells, &[JOINTS, rows.length, columns.length]);
        let found = self.node("Mul", &[&found, &rows.closeness], "weighted_rows");
        let found = self.node("Mul", &[&found, &columns.closeness], "weighted");
        let flat = self.graph.reshape(&found, &[0, self.top_k as i64, JOINTS as i64, -1]);
        let axis = [("axis", Attr::Int(3)), ("keepdims", Attr::Int(0))];
        let best = self.graph.node("ArgMax", &[&flat], "best_in_window", &axis);
        let [row, column] = self.row_and_column(&best, columns.length);
        [(row, &rows.first), (column, &columns.first)].map(|(step, first)| {
            let step = self.graph.cast(&step, ElementType::Float);
            self.node("Add", &[&step, first], "joint_cell")
        })
    }

    /// The flat index in the map of cells `[N, K, 17]` given by row and column.
    fn cells(&mut self, at: &[String; 2]) -> String {
        let [row, column] = [0, 1].map(|side| self.graph.cast(&at[side], ElementType::Int64));
        let width = self.graph.int64s("map_width", &[], &[self.map[1] as i64]);
        let row = self.node("Mul", &[&row, &width], "row_start");
        self.node("Add", &[&row, &column], "cells")
    }

    /// From the joints' cells to the joints in them.
    fn offsets(&mut self, at: &[String; 2]) -> [String; 2] {
        let cells = self.cells(at);
        self.pair_at(&self.heads.offsets.value, &cells, JOINTS)
    }

    /// The heat of the joints' cells times their closeness to the place, or to that of a rival if it is closer.
    fn joint_score(
        &mut self,
        heat: &str,
        boxes: &[[String; 2]; 2],
        places: &[String; 2],
        at: &[String; 2],
    ) -> String {
        let cells = self.cells(at);
        let channels = self.channels(0, 1, JOINTS);
        let index = self.node("Add", &[&cells, &channels], "joint_index");
        let heat = self.pick(heat, &index, &[JOINTS]);
        let own = [0, 1].map(|side| {
            let [low, high] = &boxes[side];
            self.closeness(&at[side], &places[side], [low, high])
        });
        let rivals = [0, 1].map(|side| {
            // Joints as [N, 1, K, 17] against the rivals as [N, R, 1, 17].
            let at = self.graph.unsqueeze(&at[side], 1);
            let [low, high] = &boxes[side];
            let [place, low, high] = [&places[side], low, high].map(|value| {
                let first = self.first_rivals(value);
                self.graph.unsqueeze(&first, 2)
            });
            self.closeness(&at, &place, [&low, &high])
        });
        let [own, rivals] =
            [own, rivals].map(|[rows, columns]| self.node("Mul", &[&rows, &columns], "close"));
        let rival = self.graph.reduce("ReduceMax", &rivals, 1);
        let close = self.node("Max", &[&own, &rival], "closest");
        self.node("Mul", &[&heat, &close], "joint_score")
    }

    /// What belongs to the [`RIVALS`] persons with the best centres.
    fn first_rivals(&mut self, value: &str) -> String {
        let rivals = RIVALS.min(self.top_k) as i64;
        let [from, to, axis] = [0, rivals, 1].map(|n| self.graph.int64s("slice", &[1], &[n]));
        self.node("Slice", &[value, &from, &to, &axis], "rivals")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::graph::Graph;
    use crate::model::movenet::tests::heads;

    #[test]
    fn a_window_reaches_as_far_as_a_joint_that_counts() {
        for side in [8, 64, 96, 200] {
            let mut graph = Graph::new("g");
            let heads = heads(&mut graph, [side, 2 * side]);
            let decode = Decode::new(&mut graph, &heads, 5);
            let closeness = |cells: usize| (-((cells * cells) as f32) / decode.spread()).exp();
            assert!(closeness(decode.reach()) <= COUNTS && closeness(decode.reach() - 1) > COUNTS);
        }
    }
}
