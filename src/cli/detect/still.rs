//! One picture.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::Context;

use crate::annotate;
use crate::cli::output;
use crate::picture_file;

use super::report::{Record, picture_table};
use super::{Detector, Settings};

/// Whether the file begins like a picture that can be read here. An empty file counts as one, for the
/// clearer error.
pub fn is_picture(path: &Path) -> anyhow::Result<bool> {
    let mut head = Vec::new();
    File::open(path)
        .and_then(|file| file.take(64).read_to_end(&mut head))
        .with_context(|| path.display().to_string())?;
    Ok(head.is_empty() || image::guess_format(&head).is_ok())
}

/// Looks at one picture and reports it.
pub fn detect(detector: &mut Detector, path: &Path, settings: &Settings<'_>) -> anyhow::Result<()> {
    let picture = picture_file::decode(&std::fs::read(path)?)?;
    let detections = detector.look(&picture)?;
    let size = (picture.width, picture.height);
    if settings.json {
        let record = Record {
            file: path,
            frame: None,
            time: None,
            width: size.0,
            height: size.1,
            model: &detector.model.name,
            detections: detector.found(&detections),
        };
        output::line(serde_json::to_string(&record)?)?;
    } else {
        if settings.many {
            output::line(path.display())?;
        }
        output::line(picture_table(&detections))?;
    }
    if let Some(output) = settings.output {
        let mut rgb = picture.plane(0).to_vec();
        annotate::draw(&mut rgb, size, &detections, &detector.model.skeleton)?;
        image::save_buffer(output, &rgb, size.0, size.1, image::ColorType::Rgb8)
            .with_context(|| format!("cannot write {}", output.display()))?;
        eprintln!("wrote {}", output.display());
    }
    Ok(())
}
