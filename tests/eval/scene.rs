//! Real frames as picture files, and labels for them made by the model itself.

use std::path::{Path, PathBuf};

use centerx::ingest::clip::ClipReader;
use centerx::letterbox::Preprocessor;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::files::sample;
use crate::process::{errors, run};

/// Every so-manieth frame of the video becomes a picture.
const STEP: usize = 60;

/// A folder of pictures and a file of annotations beside it.
pub struct Scene {
    folder: TempDir,
    /// In the order of their names.
    pub pictures: Vec<PathBuf>,
}

impl Scene {
    /// So many frames of people in a courtyard, as PNG files.
    pub fn of_frames(count: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pictures = folder.path().join("pictures");
        std::fs::create_dir(&pictures).unwrap();
        let mut reader = ClipReader::open(&sample("vtest.avi")).unwrap();
        let mut scene = Self { folder, pictures: Vec::new() };
        for number in 0..count * STEP {
            let frame = reader.next_frame().unwrap().unwrap().picture;
            if number % STEP != 0 {
                continue;
            }
            let size = (frame.width, frame.height);
            let mut rgb = vec![0; size.0 as usize * size.1 as usize * 3];
            Preprocessor::default().letterbox(&frame, size, &mut rgb).unwrap();
            let path = pictures.join(format!("{number:04}.png"));
            image::save_buffer(&path, &rgb, size.0, size.1, image::ColorType::Rgb8).unwrap();
            scene.pictures.push(path);
        }
        scene
    }

    /// The folder of pictures.
    pub fn images(&self) -> &str {
        self.pictures[0].parent().unwrap().to_str().unwrap()
    }

    /// A path beside the pictures.
    pub fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// What the model finds in the pictures, as COCO annotations, each box moved to the right by `shift` of
    /// its width.
    pub fn annotations(&self, shift: f64) -> Value {
        let files: Vec<&str> = self.pictures.iter().map(|path| path.to_str().unwrap()).collect();
        let output = run(&[&["detect", "--json", "--min-score", "0.3"], &files[..]].concat());
        assert!(output.status.success(), "{}", errors(&output));
        let text = String::from_utf8(output.stdout).unwrap();
        let records: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let name = |record: &Value| {
            Path::new(record["file"].as_str().unwrap()).file_name().unwrap().to_str().unwrap().to_owned()
        };
        let images = records.iter().zip(1..).map(|(record, id)| {
            json!({"id": id, "file_name": name(record), "width": record["width"], "height": record["height"]})
        });
        let mut instances = Vec::new();
        let mut classes = std::collections::BTreeMap::new();
        for (record, image) in records.iter().zip(1..) {
            for found in record["detections"].as_array().unwrap() {
                let [x1, y1, x2, y2] = std::array::from_fn(|i| found["box"][i].as_f64().unwrap());
                let (id, class) = (instances.len() + 1, found["class_id"].as_u64().unwrap());
                // COCO's categories need not count from 0, nor be spelt as the model spells them.
                classes.insert(class + 100, found["label"].as_str().unwrap().to_uppercase());
                instances.push(json!({"id": id, "image_id": image, "category_id": class + 100, "iscrowd": 0,
                    "bbox": [x1 + shift * (x2 - x1), y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1)}));
            }
        }
        assert!(instances.len() > 2 * records.len(), "there are people in the courtyard: {instances:?}");
        let categories: Vec<_> = classes.iter().map(|(id, name)| json!({"id": id, "name": name})).collect();
        json!({"images": images.collect::<Vec<_>>(), "categories": categories, "annotations": instances})
    }

    /// Writes a file beside the pictures and gives its path.
    pub fn write(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Runs `centerx eval` for a report.
    pub fn report(&self, arguments: &[&str]) -> Value {
        let path = self.path("report.json");
        let output = run(&[&["eval", "--model", "coco", "--json", &path], arguments].concat());
        assert!(output.status.success(), "{}", errors(&output));
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    }
}
