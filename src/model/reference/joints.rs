//! Joints of persons, as the decode of CenterNet's `multi_pose` has them: the best peaks of each joint's
//! heatmap are candidates; a regressed joint moves to the nearest one if that is good enough, in the person's
//! box, and no further off than 0.3 of the box's longer side.

use super::{Mark, Peak, Scene, Shape, best, hair, peaks, score};

/// Heads by their index in the family's list.
const REGRESSED: usize = 2;
const HEAT: usize = 3;
const OFFSET: usize = 4;

const JOINTS: usize = 17;
const LEAST_SCORE: f64 = 0.1;
const REACH: f64 = 0.3;

/// A place where a joint may be.
#[derive(Clone, Copy)]
struct Candidate {
    /// In cells.
    place: [f64; 2],
    score: f64,
    /// It is one for sure, not nearly.
    sure: bool,
    /// It is one.
    real: bool,
}

/// The candidates of each joint.
pub(super) struct Joints(Vec<Vec<Candidate>>);

impl Joints {
    pub(super) fn of(scene: &Scene<'_>) -> Self {
        Self((0..JOINTS).map(|joint| candidates(scene, joint)).collect())
    }

    /// The joints of the person at `peak`, whose box in input pixels is `bbox`.
    pub(super) fn of_person(&self, scene: &Scene<'_>, peak: &Peak, bbox: [f64; 4]) -> Vec<Mark> {
        let bbox = bbox.map(|side| side / scene.stride());
        let joint = |(nth, candidates): (usize, &Vec<Candidate>)| {
            let part = |axis| peak.cell[axis] as f64 + scene.value(REGRESSED, 2 * nth + axis, peak.cell);
            let regressed = [part(0), part(1)];
            refined(scene, nth, regressed, candidates, bbox)
        };
        self.0.iter().enumerate().map(joint).collect()
    }
}

fn candidates(scene: &Scene<'_>, joint: usize) -> Vec<Candidate> {
    let Some(map) = scene.values.regressions.get(HEAT).copied().flatten() else { return Vec::new() };
    let cells = scene.shape.height * scene.shape.width;
    let shape = Shape { channels: 1, ..scene.shape };
    let own = &map[joint * cells..(joint + 1) * cells];
    let mut found = peaks(own, shape, scene.heads.heat, scene.slack.score);
    let edges = best(&mut found, scene.top_k, hair(scene.heads.heat, scene.slack.score));
    let candidate = |real: bool| {
        move |peak: Peak| {
            let part = |axis| peak.cell[axis] as f64 + scene.at(OFFSET, axis, peak.cell).unwrap_or(0.5);
            let sure = real && !peak.doubt && (peak.score - LEAST_SCORE).abs() > scene.slack.score;
            let real = real && peak.score >= LEAST_SCORE;
            Candidate { place: [part(0), part(1)], score: peak.score, sure, real }
        }
    };
    let worth = |c: &Candidate| c.score >= LEAST_SCORE - scene.slack.score;
    let all = found.into_iter().map(candidate(true)).chain(edges.into_iter().map(candidate(false)));
    all.filter(worth).collect()
}

fn distance(a: [f64; 2], b: [f64; 2]) -> f64 {
    (a[0] - b[0]).hypot(a[1] - b[1])
}

fn refined(
    scene: &Scene<'_>,
    joint: usize,
    regressed: [f64; 2],
    candidates: &[Candidate],
    bbox: [f64; 4],
) -> Mark {
    let hair = scene.slack.px / scene.stride();
    let nearness = |c: &&Candidate| distance(c.place, regressed);
    let nearest = candidates.iter().filter(|c| c.real).min_by(|a, b| nearness(a).total_cmp(&nearness(b)));
    let limit = nearest.map_or(f64::INFINITY, |c| distance(c.place, regressed));
    // Room to the nearest of the conditions' edges; it fits if there is some.
    let room = |c: &Candidate| {
        let [x, y] = c.place;
        let sides = [x - bbox[0], bbox[2] - x, y - bbox[1], bbox[3] - y];
        let reach = REACH * (bbox[2] - bbox[0]).max(bbox[3] - bbox[1]) - distance(c.place, regressed);
        sides.into_iter().fold(reach, f64::min)
    };
    // Another choice would do as well, and would lead elsewhere.
    let rivals = candidates.iter().filter(|c| distance(c.place, regressed) <= limit + hair);
    let mut rivals = rivals.filter(|c| room(c) > -hair);
    let taken = nearest.filter(|c| room(c) >= 0.0);
    let torn = match nearest {
        Some(own) if room(own) > -hair => {
            !own.sure || room(own) < hair || rivals.any(|c| !std::ptr::eq(c, own))
        }
        _ => rivals.next().is_some(),
    };
    let (place, score, doubt) = match taken {
        Some(own) => (own.place, own.score, torn),
        None => {
            let (score, edge) = guessed(scene, joint, regressed, hair);
            (regressed, score, torn || edge)
        }
    };
    let [x, y] = place.map(|at| at * scene.stride());
    Mark { x, y, score, doubt }
}

/// What the joint's heatmap holds in the cell of `place`, the nearest one if that lies outside; and whether
/// the place lies at the edge between two cells.
fn guessed(scene: &Scene<'_>, joint: usize, place: [f64; 2], hair: f64) -> (f64, bool) {
    let size = [scene.shape.width, scene.shape.height];
    let cell = [0, 1].map(|axis| place[axis].floor().clamp(0.0, size[axis] as f64 - 1.0) as usize);
    let edge = place.iter().any(|at| (at - at.round()).abs() < hair);
    let value = scene.value(HEAT, joint, cell) as f32;
    (score(value, scene.heads.heat), edge)
}
