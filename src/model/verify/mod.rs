//! Proves a detector equal to the network it was made of: what is compared, by which limits, and the
//! report. `app::verify` runs the networks.

pub mod compare;
pub mod pictures;
pub mod tap;

use serde::Serialize;

use super::reference::{Row, Slack};
use compare::{Agreement, Worst};

/// How far the detector may be off.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Limits {
    /// A coordinate of a box or landmark, in input pixels.
    pub max_px: f64,
    /// A score.
    pub max_score: f64,
}

impl Limits {
    /// What float32 allows, or float16.
    pub fn of(float16: bool) -> Self {
        match float16 {
            false => Self { max_px: 0.01, max_score: 1e-5 },
            true => Self { max_px: 1.0, max_score: 0.02 },
        }
    }

    /// What is closer to a decision's edge than this is not compared.
    pub fn slack(&self) -> Slack {
        Slack { score: self.max_score, px: self.max_px / 10.0 }
    }
}

/// What a verification came to.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The heads come from the original network, not out of the detector itself.
    pub against_original: bool,
    /// Pictures looked at.
    pub pictures: usize,
    /// The limits.
    pub limits: Limits,
    /// One picture at a time against the independent decode.
    pub single: Agreement,
    /// Batches of three pictures against the independent decode.
    pub batched: Agreement,
    /// Milliseconds a picture of the network that gives the heads, the median.
    pub network_ms: f64,
    /// Milliseconds a picture of the independent decode, the median.
    pub decode_ms: f64,
    /// Milliseconds a picture of the detector, the median.
    pub detector_ms: f64,
}

impl Report {
    /// What is wrong, if anything is.
    pub fn verdict(&self) -> Result<(), Disagreement> {
        for (agreement, batch) in [(&self.single, 1), (&self.batched, 3)] {
            agreement.verdict(self.limits, batch)?;
        }
        Ok(())
    }
}

/// The detector does not do what the network and the decode do.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Disagreement {
    /// Two rows differ, or one has no counterpart.
    #[error(
        "the detector differs from the independent decode in {} (batch {batch}): {problem}\n  expected {}\n  detector {}",
        worst.picture,
        shown(&worst.expected),
        shown(&worst.detector)
    )]
    Rows {
        /// Pictures at a time.
        batch: usize,
        /// In short.
        problem: String,
        /// The rows.
        worst: Box<Worst>,
    },
    /// There was nothing to see.
    #[error("nothing could be compared: {0}; pass --picture FILE with objects that the network knows")]
    Nothing(String),
}

fn shown(row: &Option<Row>) -> String {
    let Some(row) = row else { return "nothing".to_owned() };
    let [x1, y1, x2, y2] = row.bbox;
    let mut text = format!("class {} score {:.6} box {x1:.3} {y1:.3} {x2:.3} {y2:.3}", row.class, row.score);
    for mark in &row.landmarks {
        text += &format!(" ({:.3} {:.3} {:.5})", mark.x, mark.y, mark.score);
    }
    text
}
