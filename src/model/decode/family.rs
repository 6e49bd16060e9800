//! The families of CenterNets: which heads each has and what they say about an object.

use super::joints;
use super::peaks::Peaks;
use super::{Head, Heads};
use crate::model::graph::{Attr, Graph};

/// A head beside the heatmap.
#[derive(Clone, Copy, Debug)]
pub struct HeadSpec {
    /// What it is called here and on the command line.
    pub name: &'static str,
    /// Its channels.
    pub channels: usize,
    /// The network may do without.
    pub optional: bool,
    /// It may also have so many channels for each class, one class after the other.
    pub per_class: bool,
}

impl HeadSpec {
    /// Whether a head of so many channels can be this one, beside a heatmap of so many classes.
    pub fn takes(&self, channels: usize, classes: usize) -> bool {
        channels == self.channels || (self.per_class && channels == self.channels * classes)
    }
}

const fn head(name: &'static str, channels: usize) -> HeadSpec {
    HeadSpec { name, channels, optional: false, per_class: false }
}

const fn optional(name: &'static str, channels: usize) -> HeadSpec {
    HeadSpec { name, channels, optional: true, per_class: false }
}

/// A family of detectors.
pub struct Family {
    /// Its name in the metadata.
    pub name: &'static str,
    /// The heads beside the heatmap, in order.
    pub heads: &'static [HeadSpec],
    /// Names of the landmarks.
    pub landmarks: &'static [&'static str],
    /// Pairs of landmarks between which a drawing has a line.
    pub skeleton: &'static [[u32; 2]],
    pub(super) formula: Formula,
}

/// Adds the nodes that compute the objects at the peaks.
pub(super) type Formula = fn(&mut Graph, &Peaks, &Heads) -> Objects;

/// What a family's formula finds, in input pixels.
pub(super) struct Objects {
    /// x1, y1, x2, y2: `[N, 4, K]`.
    pub boxes: String,
    /// Landmarks, if the family has any.
    pub landmarks: Option<Landmarks>,
}

/// P landmarks of each object.
pub(super) struct Landmarks {
    /// Places, `[N, P, 2, K]`.
    pub places: String,
    /// Scores, `[N, P, K]` or `[N, 1, K]`.
    pub scores: String,
}

const SIZE: HeadSpec = HeadSpec { name: "wh", channels: 2, optional: false, per_class: true };

/// Centre, size and sub-cell offset, all in cells: *Objects as Points* (Zhou et al. 2019), centerX and
/// CenterNet-better after it. The size may be one a class; without offsets the centre is that of the cell.
pub static CENTERNET: Family = Family {
    name: "centernet",
    heads: &[SIZE, optional("reg", 2)],
    landmarks: &[],
    skeleton: &[],
    formula: |graph, peaks, heads| Objects { boxes: centred_boxes(graph, peaks, heads), landmarks: None },
};

/// Distances from the cell to the four sides, in input pixels: TTFNet (Liu et al. 2019).
pub static TTF: Family =
    Family { name: "ttf", heads: &[head("ltrb", 4)], landmarks: &[], skeleton: &[], formula: ttf };

/// Logarithm of height and width in cells, offset y and x, and five landmarks, y and x in units of the box
/// from its corner: CenterFace (Xu et al. 2019).
pub static CENTERFACE: Family = Family {
    name: "centerface",
    heads: &[head("scale", 2), head("offset", 2), head("landmarks", 10)],
    landmarks: &["left_eye", "right_eye", "nose", "left_mouth", "right_mouth"],
    skeleton: &[],
    formula: centerface,
};

/// Four corners as offsets from the cell, x and y in cells, clockwise from the top left of the object. The
/// box is what surrounds them.
pub static QUAD: Family = Family {
    name: "quad",
    heads: &[head("corners", 8), optional("reg", 2)],
    landmarks: &["top_left", "top_right", "bottom_right", "bottom_left"],
    skeleton: &[[0, 1], [1, 2], [2, 3], [3, 0]],
    formula: quad,
};

/// Persons with 17 joints, regressed from the centre and moved to the nearest peak of the joint's own
/// heatmap: *Objects as Points*, section 4.2 and its appendix.
pub static CENTERPOSE: Family = Family {
    name: "centerpose",
    heads: &[head("wh", 2), optional("reg", 2), head("hps", 34), head("hm_hp", 17), optional("hp_offset", 2)],
    landmarks: &joints::COCO_JOINTS,
    skeleton: &joints::COCO_SKELETON,
    formula: |graph, peaks, heads| {
        let boxes = centred_boxes(graph, peaks, heads);
        let landmarks = joints::refined(graph, peaks, heads, &boxes);
        Objects { boxes, landmarks: Some(landmarks) }
    },
};

/// The families there are.
pub static FAMILIES: [&Family; 5] = [&CENTERNET, &TTF, &CENTERFACE, &CENTERPOSE, &QUAD];

impl Family {
    /// The family called `name`.
    pub fn by_name(name: &str) -> Option<&'static Self> {
        FAMILIES.into_iter().find(|family| family.name == name)
    }
}

impl std::fmt::Debug for Family {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Family").field(&self.name).finish()
    }
}

/// `[N, 2, K]`: the peaks' centres in cells, moved by the head of offsets, or to the middle of the cell.
fn centres(graph: &mut Graph, peaks: &Peaks, offsets: Option<&Head>) -> String {
    match offsets {
        Some(head) => {
            let offsets = peaks.gather(graph, head);
            graph.binary("Add", &peaks.xy, &offsets)
        }
        None => graph.with_number("Add", &peaks.xy, 0.5),
    }
}

/// Boxes `[N, 4, K]` from `centre` and `size`, both `[N, 2, K]`.
fn around(graph: &mut Graph, centre: &str, size: &str) -> String {
    let half = graph.with_number("Mul", size, 0.5);
    let low = graph.binary("Sub", centre, &half);
    let high = graph.binary("Add", centre, &half);
    graph.concat(&[&low, &high], 1)
}

/// Boxes by the heads `wh` and `reg`, the first two of their families.
fn centred_boxes(graph: &mut Graph, peaks: &Peaks, heads: &Heads) -> String {
    let centre = centres(graph, peaks, heads.optional(1));
    let size = match heads.regression(0) {
        head if head.channels == 2 => peaks.gather(graph, head),
        head => peaks.gather_of_class(graph, head, 2),
    };
    let boxes = around(graph, &centre, &size);
    graph.with_number("Mul", &boxes, heads.stride)
}

/// `x = column * stride`, box `(x - left, y - top, x + right, y + bottom)`.
fn ttf(graph: &mut Graph, peaks: &Peaks, heads: &Heads) -> Objects {
    let cell = graph.with_number("Mul", &peaks.xy, heads.stride);
    let sides = peaks.gather(graph, heads.regression(0));
    let sides = graph.split(&sides, 1, &[2, 2]);
    let low = graph.binary("Sub", &cell, &sides[0]);
    let high = graph.binary("Add", &cell, &sides[1]);
    Objects { boxes: graph.concat(&[&low, &high], 1), landmarks: None }
}

/// `centre = (cell + offset + 0.5) * stride`, `size = exp(scale) * stride`, landmarks `corner + l * size`;
/// the network writes all pairs as y, x.
fn centerface(graph: &mut Graph, peaks: &Peaks, heads: &Heads) -> Objects {
    let [scale, offset, marks] = [0, 1, 2].map(|at| peaks.gather(graph, heads.regression(at)));
    let [scale, offset] = [scale, offset].map(|pair| graph.pick(&pair, 1, &[1, 0]));
    let size = graph.node("Exp", &[&scale], "cells", &[]);
    let centre = graph.binary("Add", &peaks.xy, &offset);
    let centre = graph.with_number("Add", &centre, 0.5);
    let boxes = around(graph, &centre, &size);
    let boxes = graph.with_number("Mul", &boxes, heads.stride);
    let size = graph.with_number("Mul", &size, heads.stride);
    let marks = graph.pick(&marks, 1, &[1, 0, 3, 2, 5, 4, 7, 6, 9, 8]);
    let marks = graph.reshape(&marks, &[0, 5, 2, -1]);
    let size = graph.unsqueeze(&size, 1);
    let inside = graph.binary("Mul", &marks, &size);
    let corner = graph.pick(&boxes, 1, &[0, 1]);
    let corner = graph.unsqueeze(&corner, 1);
    let places = graph.binary("Add", &inside, &corner);
    Objects { boxes, landmarks: Some(Landmarks { places, scores: peaks.score.clone() }) }
}

fn quad(graph: &mut Graph, peaks: &Peaks, heads: &Heads) -> Objects {
    let centre = centres(graph, peaks, heads.optional(1));
    let centre = graph.unsqueeze(&centre, 1);
    let corners = peaks.gather(graph, heads.regression(0));
    let corners = graph.reshape(&corners, &[0, 4, 2, -1]);
    let places = graph.binary("Add", &corners, &centre);
    let places = graph.with_number("Mul", &places, heads.stride);
    let [low, high] = ["ReduceMin", "ReduceMax"].map(|op| graph.reduce(op, &places, 1));
    let boxes = graph.node("Concat", &[&low, &high], "surrounding", &[("axis", Attr::Int(1))]);
    Objects { boxes, landmarks: Some(Landmarks { places, scores: peaks.score.clone() }) }
}
