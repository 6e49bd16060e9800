//! Greedy non-maximum suppression, as everybody has it: best first, each box takes out those of its class
//! that overlap it by more than the limit.

use super::{Decoded, Row};

/// How near to the limit an overlap is in doubt, for each unit of the scores' slack.
const IOU_SLACK: f64 = 10.0;

/// Moves the rows that others take out from `rows`; those that only just go, to `maybe`.
pub(super) fn suppress(decoded: &mut Decoded, limit: f64, score_slack: f64) {
    let edge = (IOU_SLACK * score_slack).min(0.05);
    let rows = std::mem::take(&mut decoded.rows);
    let mut judged: Vec<(Row, bool)> = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        let (mut keep, mut doubt) = (true, row.doubt);
        for (better, kept) in judged.iter().filter(|(better, _)| better.class == row.class) {
            let overlap = iou(better.bbox, row.bbox);
            keep &= !(*kept && overlap > limit);
            doubt |=
                if better.doubt { overlap > limit - edge } else { *kept && (overlap - limit).abs() < edge };
        }
        // Almost as good ones, which might as well come first.
        let near = rows[at + 1..].iter().take_while(|other| other.score >= row.score - score_slack);
        let rivals = near.chain(decoded.maybe.iter().filter(|other| other.score >= row.score - score_slack));
        doubt |= rivals
            .filter(|other| other.class == row.class)
            .any(|other| iou(other.bbox, row.bbox) > limit - edge);
        judged.push((Row { doubt, ..row.clone() }, keep));
    }
    for (row, kept) in judged {
        match kept {
            true => decoded.rows.push(row),
            false if row.doubt => decoded.maybe.push(row),
            false => {}
        }
    }
}

/// Intersection over union; boxes turned inside out have no area.
fn iou(a: [f64; 4], b: [f64; 4]) -> f64 {
    let area = |b: [f64; 4]| (b[2] - b[0]).max(0.0) * (b[3] - b[1]).max(0.0);
    let common = area([a[0].max(b[0]), a[1].max(b[1]), a[2].min(b[2]), a[3].min(b[3])]);
    let union = area(a) + area(b) - common;
    if union > 0.0 { common / union } else { 0.0 }
}
