//! An independent decode: from the heads of a network to detections in plain loops, written from the papers'
//! formulas and not from the graph, so that each proves the other.
//!
//! It computes in float64 and knows where the outcome hangs by a hair: two neighbours that score almost the
//! same, an overlap at the very limit. Who compares it with a decode in float32 leaves those places out.
//!
//! What does not belong here: speed. An engine decodes in its graph.

mod formulas;
mod joints;
mod suppression;

use super::decode::{Choice, Family, Head, Heads, Heat};

/// What the heads hold for one picture, each `[C, H, W]` row by row.
#[derive(Clone, Debug)]
pub struct Values<'a> {
    /// The heatmap.
    pub heatmap: &'a [f32],
    /// The other heads, as [`Heads::regressions`] lists them.
    pub regressions: Vec<Option<&'a [f32]>>,
}

/// How far heads may be off before it matters: what is closer to a decision's edge is in doubt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slack {
    /// Of a score.
    pub score: f64,
    /// Of a place, in input pixels.
    pub px: f64,
}

/// One detection.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Row {
    /// x1, y1, x2, y2 in input pixels.
    #[serde(rename = "box")]
    pub bbox: [f64; 4],
    /// 0 to 1.
    pub score: f64,
    /// Index of the class.
    pub class: usize,
    /// The family's landmarks, in its order.
    pub landmarks: Vec<Mark>,
    /// Whether it is there at all hangs by a hair.
    #[serde(skip)]
    pub doubt: bool,
}

/// One landmark.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Mark {
    /// Column in input pixels.
    pub x: f64,
    /// Row in input pixels.
    pub y: f64,
    /// 0 to 1.
    pub score: f64,
    /// Which candidate it is hangs by a hair.
    #[serde(skip)]
    pub doubt: bool,
}

/// What was found in one picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    /// The detections, best first, at most K.
    pub rows: Vec<Row>,
    /// Those that would be there if the heads were different by less than the slack.
    pub maybe: Vec<Row>,
}

/// Why heads cannot be decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// There is no formula for it.
    #[error(
        "there is no independent decode for the family {0}; have centernet, ttf, centerface, centerpose, quad"
    )]
    Family(String),
    /// A head is missing or has another size than it should have.
    #[error("head {head} has {found} values; the family {family} needs {expected}")]
    Size {
        /// The family.
        family: &'static str,
        /// The head.
        head: &'static str,
        /// Values it should have.
        expected: usize,
        /// Values it has.
        found: usize,
    },
    /// A head holds what is no number.
    #[error(
        "head {head} holds NaN or an infinity (at value {at}): the network itself computes no numbers here"
    )]
    NotFinite {
        /// The head.
        head: &'static str,
        /// Where.
        at: usize,
    },
}

/// Under this score, near-peaks are not worth listing.
const LEAST_MAYBE: f64 = 0.005;

/// Decodes what `heads` hold for one picture.
///
/// # Errors
/// Heads that are not the family's, or hold no numbers.
pub fn decode(
    family: &'static Family,
    heads: &Heads,
    values: &Values<'_>,
    choice: Choice,
    slack: Slack,
) -> Result<Decoded, ReferenceError> {
    check(family, heads, values)?;
    let shape = Shape::of(&heads.heatmap);
    let mut peaks = peaks(values.heatmap, shape, heads.heat, slack.score);
    let edges = best(&mut peaks, choice.top_k, hair(heads.heat, slack.score));
    let scene = Scene { heads, values, shape, slack, top_k: choice.top_k };
    let rows = |peaks: &[Peak]| formulas::rows(family, &scene, peaks);
    let mut decoded = Decoded { rows: rows(&peaks)?, maybe: rows(&edges)? };
    if let Some(iou) = choice.nms {
        suppression::suppress(&mut decoded, f64::from(iou), slack.score);
    }
    Ok(decoded)
}

/// Channels, height and width of a map.
#[derive(Clone, Copy, Debug)]
struct Shape {
    channels: usize,
    height: usize,
    width: usize,
}

impl Shape {
    fn of(head: &Head) -> Self {
        Self { channels: head.channels, height: head.height, width: head.width }
    }

    fn index(self, channel: usize, row: usize, column: usize) -> usize {
        (channel * self.height + row) * self.width + column
    }
}

/// All that the formulas look at.
struct Scene<'a> {
    heads: &'a Heads,
    values: &'a Values<'a>,
    /// Of the heatmap.
    shape: Shape,
    slack: Slack,
    top_k: usize,
}

impl Scene<'_> {
    /// What the head at `index` of the family's list holds in `channel` at a cell; none if it is not there.
    fn at(&self, index: usize, channel: usize, [column, row]: [usize; 2]) -> Option<f64> {
        let values = self.values.regressions.get(index).copied().flatten()?;
        values.get(self.shape.index(channel, row, column)).copied().map(f64::from)
    }

    /// As [`Scene::at`] of a head that [`check`] has seen.
    fn value(&self, index: usize, channel: usize, cell: [usize; 2]) -> f64 {
        self.at(index, channel, cell).unwrap_or(f64::NAN)
    }

    fn stride(&self) -> f64 {
        f64::from(self.heads.stride)
    }
}

/// A cell of a heatmap that scores as high as all around it, or almost.
#[derive(Clone, Copy, Debug)]
struct Peak {
    channel: usize,
    /// Column and row.
    cell: [usize; 2],
    value: f32,
    score: f64,
    is_peak: bool,
    doubt: bool,
}

/// The value as a score: *Objects as Points* has the sigmoid at the end of the heatmap's head.
fn score(value: f32, heat: Heat) -> f64 {
    match heat {
        Heat::Logits => 1.0 / (1.0 + (-f64::from(value)).exp()),
        Heat::Scores => f64::from(value).max(0.0),
    }
}

/// The difference of heatmap values that makes `slack` of a score, where the sigmoid is steepest.
fn hair(heat: Heat, slack: f64) -> f64 {
    match heat {
        Heat::Logits => 4.0 * slack,
        Heat::Scores => slack,
    }
}

/// Cells that are not lower than any of the eight around them, and those that would be with `slack` more.
fn peaks(map: &[f32], shape: Shape, heat: Heat, slack: f64) -> Vec<Peak> {
    let (mut found, hair) = (Vec::new(), hair(heat, slack));
    for channel in 0..shape.channels {
        for row in 0..shape.height {
            for column in 0..shape.width {
                let value = map[shape.index(channel, row, column)];
                let around = highest_around(map, shape, channel, [column, row]);
                let own = score(value, heat);
                let (is_peak, margin) = (value >= around, f64::from(value) - f64::from(around));
                if is_peak || (margin >= -hair && own > LEAST_MAYBE) {
                    let doubt = margin < hair;
                    found.push(Peak { channel, cell: [column, row], value, score: own, is_peak, doubt });
                }
            }
        }
    }
    found
}

fn highest_around(map: &[f32], shape: Shape, channel: usize, [column, row]: [usize; 2]) -> f32 {
    let near = |at: usize, size: usize| at.saturating_sub(1)..(at + 2).min(size);
    let mut highest = f32::NEG_INFINITY;
    for y in near(row, shape.height) {
        for x in near(column, shape.width) {
            if [x, y] != [column, row] {
                highest = highest.max(map[shape.index(channel, y, x)]);
            }
        }
    }
    highest
}

/// Leaves the `count` best peaks, best first, those of equal value in the order of the map. What is almost
/// one of them, by `hair` of a value, is returned.
fn best(peaks: &mut Vec<Peak>, count: usize, hair: f64) -> Vec<Peak> {
    let (mut real, mut edges): (Vec<Peak>, Vec<Peak>) = peaks.drain(..).partition(|peak| peak.is_peak);
    real.sort_by(|a, b| b.value.total_cmp(&a.value));
    let beyond = real.split_off(count.min(real.len()));
    let value = |peak: &Peak| f64::from(peak.value);
    if let (Some(last), Some(next)) = (real.last().map(value), beyond.first().map(value)) {
        real.iter_mut().filter(|peak| value(peak) <= next + hair).for_each(|peak| peak.doubt = true);
        edges.extend(beyond.into_iter().take_while(|peak| value(peak) >= last - hair).take(count));
    }
    *peaks = real;
    edges
}

fn check(family: &'static Family, heads: &Heads, values: &Values<'_>) -> Result<(), ReferenceError> {
    let named = family.heads.iter().zip(&heads.regressions).zip(&values.regressions);
    let named = named.filter_map(|((spec, head), values)| match (head, values) {
        (None, None) if spec.optional => None,
        (head, values) => Some((spec.name, head.as_ref().map_or(spec.channels, |h| h.channels), *values)),
    });
    let heatmap = ("heatmap", heads.heatmap.channels, Some(values.heatmap));
    for (head, channels, values) in std::iter::once(heatmap).chain(named) {
        let values = values.unwrap_or(&[]);
        let expected = channels * heads.heatmap.height * heads.heatmap.width;
        if values.len() != expected || expected == 0 {
            return Err(ReferenceError::Size { family: family.name, head, expected, found: values.len() });
        }
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            return Err(ReferenceError::NotFinite { head, at });
        }
    }
    match values.regressions.len() == family.heads.len() && heads.regressions.len() == family.heads.len() {
        true => Ok(()),
        false => Err(ReferenceError::Size {
            family: family.name,
            head: "list",
            expected: family.heads.len(),
            found: values.regressions.len(),
        }),
    }
}

#[cfg(test)]
mod tests;
