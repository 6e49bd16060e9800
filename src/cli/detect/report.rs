//! What was found, as tables and as JSON.

use std::collections::BTreeMap;
use std::path::Path;

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use crate::detection::Detection;

/// One picture or video frame as a JSON object.
#[derive(Serialize)]
pub struct Record<'a> {
    /// The input file.
    pub file: &'a Path,
    /// Frame number from 0, for video.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frame: Option<u64>,
    /// Presentation time in seconds, for video.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<f64>,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Model name.
    pub model: &'a str,
    /// Best score first.
    pub detections: Vec<Found<'a>>,
}

/// One detection in a [`Record`].
#[derive(Serialize)]
pub struct Found<'a> {
    label: &'a str,
    class_id: u32,
    score: f32,
    /// x1, y1, x2, y2 in pixels of the input.
    #[serde(rename = "box")]
    bbox: [f32; 4],
}

impl<'a> From<&'a Detection> for Found<'a> {
    fn from(found: &'a Detection) -> Self {
        let b = found.bbox;
        let tenth = |v: f32| (v * 10.0).round() / 10.0;
        Self {
            label: &found.label,
            class_id: found.class_id,
            score: (found.score * 1e4).round() / 1e4,
            bbox: [b.x1, b.y1, b.x2, b.y2].map(tenth),
        }
    }
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    table
}

fn align_right(table: &mut Table, columns: std::ops::Range<usize>) {
    for index in columns {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

/// A table of one picture's detections.
pub fn picture_table(detections: &[Detection]) -> String {
    if detections.is_empty() {
        return "nothing found".into();
    }
    let mut table = table(&["label", "score", "x1", "y1", "x2", "y2"]);
    for found in detections {
        let b = found.bbox;
        let mut row = vec![found.label.to_string(), format!("{:.3}", found.score)];
        row.extend([b.x1, b.y1, b.x2, b.y2].map(|v| format!("{v:.0}")));
        table.add_row(row);
    }
    align_right(&mut table, 1..6);
    table.to_string()
}

/// Detections of a whole video, counted by class.
#[derive(Default)]
pub struct Summary {
    classes: BTreeMap<String, Count>,
}

#[derive(Default)]
struct Count {
    frames: u64,
    detections: u64,
    most: u64,
    best: f32,
}

impl Summary {
    /// Counts one frame's detections.
    pub fn add(&mut self, detections: &[Detection]) {
        let mut frame: BTreeMap<&str, (u64, f32)> = BTreeMap::new();
        for found in detections {
            let (count, best) = frame.entry(&found.label).or_default();
            *count += 1;
            *best = best.max(found.score);
        }
        for (label, (count, best)) in frame {
            let class = self.classes.entry(label.to_owned()).or_default();
            class.frames += 1;
            class.detections += count;
            class.most = class.most.max(count);
            class.best = class.best.max(best);
        }
    }

    /// A table, the most frequent class first.
    pub fn table(&self) -> String {
        if self.classes.is_empty() {
            return "nothing found".into();
        }
        let mut table = table(&["label", "detections", "in frames", "most at once", "best score"]);
        let mut classes: Vec<_> = self.classes.iter().collect();
        classes.sort_by_key(|(_, count)| std::cmp::Reverse(count.detections));
        for (label, count) in classes {
            table.add_row([
                label.clone(),
                count.detections.to_string(),
                count.frames.to_string(),
                count.most.to_string(),
                format!("{:.3}", count.best),
            ]);
        }
        align_right(&mut table, 1..5);
        table.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detection::BoundingBox;

    fn found(label: &str, score: f32) -> Detection {
        let bbox = BoundingBox { x1: 1.04, y1: 2.0, x2: 30.0, y2: 40.0 };
        Detection { bbox, score, class_id: 0, label: label.into(), landmarks: Vec::new() }
    }

    #[test]
    fn a_summary_counts_frames_and_detections() {
        let mut summary = Summary::default();
        summary.add(&[found("person", 0.5), found("person", 0.7), found("car", 0.4)]);
        summary.add(&[found("person", 0.6)]);
        summary.add(&[]);
        let table = summary.table();
        let person = table.lines().find(|line| line.contains("person")).unwrap();
        let cells: Vec<_> = person.split_whitespace().collect();
        assert_eq!(cells, ["person", "3", "2", "2", "0.700"]);
    }

    #[test]
    fn json_holds_rounded_numbers() {
        let detection = found("person", 0.123_456);
        let json = serde_json::to_value(Found::from(&detection)).unwrap();
        assert_eq!(json["label"], "person");
        assert!((json["score"].as_f64().unwrap() - 0.1235).abs() < 1e-6);
        assert!((json["box"][0].as_f64().unwrap() - 1.0).abs() < 1e-6);
    }
}
