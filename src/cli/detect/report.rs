//! What was found, as tables and as JSON.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use crate::detection::{Detection, Landmark};

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
    /// Left out by models without landmarks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    landmarks: Vec<Point<'a>>,
}

/// One landmark of a [`Found`], in pixels of the input.
#[derive(Serialize)]
struct Point<'a> {
    name: &'a str,
    x: f32,
    y: f32,
    score: f32,
}

impl<'a> Found<'a> {
    /// A detection of a model with these names for its landmarks.
    pub fn new(found: &'a Detection, landmarks: &'a [Arc<str>]) -> Self {
        let b = found.bbox;
        let point = |(name, at): (&'a Arc<str>, &Landmark)| Point {
            name,
            x: tenth(at.x),
            y: tenth(at.y),
            score: four_digits(at.score),
        };
        Self {
            label: &found.label,
            class_id: found.class_id,
            score: four_digits(found.score),
            bbox: [b.x1, b.y1, b.x2, b.y2].map(tenth),
            landmarks: landmarks.iter().zip(&found.landmarks).map(point).collect(),
        }
    }
}

fn tenth(v: f32) -> f32 {
    (v * 10.0).round() / 10.0
}

fn four_digits(v: f32) -> f32 {
    (v * 1e4).round() / 1e4
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

/// A table of one picture's detections, with how many of their landmarks were seen where a model has some.
pub fn picture_table(detections: &[Detection]) -> String {
    if detections.is_empty() {
        return "nothing found".into();
    }
    let with_landmarks = detections.iter().any(|found| !found.landmarks.is_empty());
    let header = ["label", "score", "x1", "y1", "x2", "y2", "landmarks"];
    let mut table = table(&header[..if with_landmarks { 7 } else { 6 }]);
    for found in detections {
        let b = found.bbox;
        let mut row = vec![found.label.to_string(), format!("{:.3}", found.score)];
        row.extend([b.x1, b.y1, b.x2, b.y2].map(|v| format!("{v:.0}")));
        if with_landmarks {
            let seen = found.landmarks.iter().filter(|landmark| landmark.is_seen()).count();
            row.push(format!("{seen} of {}", found.landmarks.len()));
        }
        table.add_row(row);
    }
    align_right(&mut table, 1..7);
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
        let json = serde_json::to_value(Found::new(&detection, &[])).unwrap();
        assert!(json.get("landmarks").is_none(), "a model without landmarks tells none");
        assert_eq!(json["label"], "person");
        assert!((json["score"].as_f64().unwrap() - 0.1235).abs() < 1e-6);
        assert!((json["box"][0].as_f64().unwrap() - 1.0).abs() < 1e-6);
    }

    fn face() -> Detection {
        let points = [(10.0, 12.06, 0.912_34), (20.0, 11.0, 0.05)];
        let landmarks = points.map(|(x, y, score)| Landmark { x, y, score }).to_vec();
        Detection { landmarks, ..found("face", 0.93) }
    }

    #[test]
    fn json_names_the_landmarks() {
        let (detection, names) = (face(), ["left_eye".into(), "right_eye".into()]);
        let json = serde_json::to_value(Found::new(&detection, &names)).unwrap();
        let first = &json["landmarks"][0];
        let near = |field: &str, value: f64| (first[field].as_f64().unwrap() - value).abs() < 1e-5;
        assert_eq!(first["name"], "left_eye");
        assert!(near("x", 10.0) && near("y", 12.1) && near("score", 0.9123), "{first}");
        assert_eq!(json["landmarks"][1]["name"], "right_eye");
        assert_eq!(json["landmarks"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn the_table_tells_how_many_landmarks_were_seen_where_there_are_some() {
        let table = picture_table(&[face()]);
        let (header, row) = table.split_once('\n').unwrap();
        assert!(header.trim_end().ends_with("landmarks") && row.trim_end().ends_with("1 of 2"), "{table}");
        assert!(!picture_table(&[found("person", 0.5)]).contains("landmarks"));
    }
}
