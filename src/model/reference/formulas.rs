//! The boxes and landmarks of each family at its peaks.

use super::{Mark, Peak, ReferenceError, Row, Scene, joints};
use crate::model::decode::Family;

/// Box and landmarks of the object at a peak.
type Formula = fn(&Scene<'_>, &Peak) -> ([f64; 4], Vec<[f64; 2]>);

/// The detections at `peaks`.
pub(super) fn rows(
    family: &'static Family,
    scene: &Scene<'_>,
    peaks: &[Peak],
) -> Result<Vec<Row>, ReferenceError> {
    let object: Formula = match family.name {
        "centernet" => |scene, peak| (centred(scene, peak), Vec::new()),
        "ttf" => |scene, peak| (sides(scene, peak), Vec::new()),
        "centerface" => face,
        "quad" => corners,
        "centerpose" => {
            let joints = joints::Joints::of(scene);
            let row = |peak: &Peak| {
                let bbox = centred(scene, peak);
                let landmarks = joints.of_person(scene, peak, bbox);
                row(peak, bbox, landmarks)
            };
            return Ok(peaks.iter().map(row).collect());
        }
        name => return Err(ReferenceError::Family(name.to_owned())),
    };
    let row = |peak: &Peak| {
        let (bbox, marks) = object(scene, peak);
        let mark = |[x, y]: [f64; 2]| Mark { x, y, score: peak.score, doubt: false };
        row(peak, bbox, marks.into_iter().map(mark).collect())
    };
    Ok(peaks.iter().map(row).collect())
}

fn row(peak: &Peak, bbox: [f64; 4], landmarks: Vec<Mark>) -> Row {
    Row { bbox, score: peak.score, class: peak.channel, landmarks, doubt: peak.doubt }
}

/// Column and row of the peak's cell.
fn cell(peak: &Peak) -> [f64; 2] {
    peak.cell.map(|at| at as f64)
}

/// The centre in cells: moved by the head `reg`, the second of its family, or to the middle of the cell.
fn centre(scene: &Scene<'_>, peak: &Peak) -> [f64; 2] {
    let [x, y] = cell(peak);
    let offset = |channel| scene.at(1, channel, peak.cell).unwrap_or(0.5);
    [x + offset(0), y + offset(1)]
}

/// *Objects as Points*, section 4: `(x + dx - w/2, y + dy - h/2, x + dx + w/2, y + dy + h/2)`, in cells.
fn centred(scene: &Scene<'_>, peak: &Peak) -> [f64; 4] {
    let [x, y] = centre(scene, peak);
    let per_class = scene.heads.regressions.first().and_then(Option::as_ref).is_some_and(|h| h.channels > 2);
    let first = if per_class { 2 * peak.channel } else { 0 };
    let [w, h] = [first, first + 1].map(|channel| scene.value(0, channel, peak.cell));
    [x - w / 2.0, y - h / 2.0, x + w / 2.0, y + h / 2.0].map(|side| side * scene.stride())
}

/// TTFNet: `(4x - l, 4y - t, 4x + r, 4y + b)`.
fn sides(scene: &Scene<'_>, peak: &Peak) -> [f64; 4] {
    let [x, y] = cell(peak).map(|at| at * scene.stride());
    let [left, top, right, bottom] = [0, 1, 2, 3].map(|channel| scene.value(0, channel, peak.cell));
    [x - left, y - top, x + right, y + bottom]
}

/// CenterFace's own decode: sizes `exp(s) * 4`, left side `(x + o + 0.5) * 4 - w / 2`, landmarks from there
/// in units of the size. Height comes before width and y before x.
fn face(scene: &Scene<'_>, peak: &Peak) -> ([f64; 4], Vec<[f64; 2]>) {
    let [x, y] = cell(peak);
    let value = |head, channel| scene.value(head, channel, peak.cell);
    let (h, w) = (value(0, 0).exp() * scene.stride(), value(0, 1).exp() * scene.stride());
    let left = (x + value(1, 1) + 0.5) * scene.stride() - w / 2.0;
    let top = (y + value(1, 0) + 0.5) * scene.stride() - h / 2.0;
    let mark = |nth: usize| [left + value(2, 2 * nth + 1) * w, top + value(2, 2 * nth) * h];
    ([left, top, left + w, top + h], (0..5).map(mark).collect())
}

/// Four corners as offsets from the centre, and the box around them.
fn corners(scene: &Scene<'_>, peak: &Peak) -> ([f64; 4], Vec<[f64; 2]>) {
    let centre = centre(scene, peak);
    let corner = |nth: usize| {
        [0, 1].map(|axis| (centre[axis] + scene.value(0, 2 * nth + axis, peak.cell)) * scene.stride())
    };
    let corners: Vec<[f64; 2]> = (0..4).map(corner).collect();
    let least = |axis: usize| corners.iter().map(|c| c[axis]).fold(f64::INFINITY, f64::min);
    let most = |axis: usize| corners.iter().map(|c| c[axis]).fold(f64::NEG_INFINITY, f64::max);
    ([least(0), least(1), most(0), most(1)], corners)
}
